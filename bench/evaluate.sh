#!/usr/bin/env bash
# Evaluation speed at context 2,048 beside the peers, in turns within one run, so that a machine whose speed drifts still gives fair
# ratios. Usage: bench/evaluate.sh GGUF HF_FOLDER TEXT [THREADS] [ROUNDS]
# Peers are run where the environment names them: PEER_PYTHON (a Python with torch and transformers; PEER_DTYPES names its number
# types), LLAMA_BENCH (llama.cpp's llama-bench) with LLAMA_GGUF (a bf16 GGUF of the same model). WINDOWS (4) are scored each time.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
gguf=$1 folder=$2 text=$3 threads=${4:-2} rounds=${5:-3} windows=${WINDOWS:-4}
pare=${PARE:-$here/../build/pare}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -fopenmp "$here/peak.c" -o "$work/peak"

row() { # name, tokens a second
    echo "$2" >>"$work/$1"
    printf '%-22s %s tokens/s\n' "$1" "$2"
}
pare_rate() {
    "$pare" eval "$1" --text "$text" --protocol joined2048 --windows "$windows" --threads "$threads" --json | sed -n 's/.*"tokens_per_s": \([0-9.]*\).*/\1/p'
}
for round in $(seq "$rounds"); do
    echo "round $round: f32 peak $("$work/peak" "$threads") GFLOP/s"
    row "pare-quantised" "$(pare_rate "$gguf")"
    row "pare-folder" "$(pare_rate "$folder")"
    if [ -n "${PEER_PYTHON:-}" ]; then
        for dtype in ${PEER_DTYPES:-float32 bfloat16}; do
            row "torch-$dtype" "$("$PEER_PYTHON" "$here/evaluate_torch.py" "$folder" "$text" "$windows" 2048 $dtype "$threads" 2>/dev/null | cut -d' ' -f1)"
        done
    fi
    if [ -n "${LLAMA_BENCH:-}" ]; then
        row "llama.cpp-bf16-pp2048" "$("$LLAMA_BENCH" -m "$LLAMA_GGUF" -t "$threads" -p 2048 -n 0 -r 2 -fa 1 -o jsonl 2>/dev/null |
            sed -n 's/.*"avg_ts": \([0-9.]*\).*/\1/p')"
    fi
done
echo "medians:"
for file in "$work"/*-*; do
    printf '%-22s %s\n' "$(basename "$file")" "$(sort -n "$file" | sed -n "$((($(wc -l <"$file") + 1) / 2))p")"
done
