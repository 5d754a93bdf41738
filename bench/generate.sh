#!/usr/bin/env bash
# Greedy generation beside transformers: ten prompts, the same tokens. Needs a Python with torch and transformers.
# Usage: bench/generate.sh PARE MODEL_DIR PYTHON [TOKENS]
set -euo pipefail
pare=$1 model=$2 python=$3 tokens=${4:-64}
"$python" "$(dirname "$0")/../tools/fixtures/generate_greedy.py" "$model" "$tokens" | "$python" -c '
import json, subprocess, sys
pare, model, tokens = sys.argv[1:]
same = 0
rows = [json.loads(line) for line in sys.stdin]
for row in rows:
    out = subprocess.run([pare, "generate", model, "-p", row["prompt"], "--tokens", tokens, "--json"], capture_output=True, check=True)
    ids = json.loads(out.stdout)["ids"]
    same += ids == row["ids"]
    first = next((i for i, (a, b) in enumerate(zip(ids, row["ids"])) if a != b), min(len(ids), len(row["ids"])))
    note = "the same" if ids == row["ids"] else f"differ from token {first} on"
    print("%r: %d tokens, %s; smallest gap of the two likeliest logits %.2g" % (row["prompt"][:40], len(ids), note, row["gap"]))
print(f"{same} of {len(rows)} prompts: the same tokens")
sys.exit(same != len(rows))
' "$pare" "$model" "$tokens"
