#!/usr/bin/env python3
"""Do checkpoints that pare wrote lose in stock transformers what pare measured in memory, before any was written?

Usage: compressed.py MODEL TEXT CALIBRATION [--windows N] [--methods A,B] [--ratios A,B] [--threads N]
For each method and ratio: `pare study run` measures the cut model in memory (joined2048, the first N windows), `pare compress --type f32`
writes it, AutoModelForCausalLM.from_pretrained loads it and scores the same windows. Then r = 0 is written and every tensor held
against the source's, bit for bit, where the source is a Hugging Face folder. PARE names the program (build/pare). Prints a table."""
import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("text")
parser.add_argument("calibration")
parser.add_argument("--windows", type=int, default=1)
parser.add_argument("--methods", default="random,magnitude,wanda-sp")
parser.add_argument("--ratios", default="0.1,0.3,0.5")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
PARE = os.environ.get("PARE", str(Path(__file__).resolve().parents[1] / "build/pare"))
SPEC = """models: [{{path: "{model}", name: model}}]
evaluate: {{text: "{text}", protocol: joined2048, windows: {windows}}}
calibrate: {{text: "{calibration}", windows: 32, length: 512}}
methods: [{methods}]
ratios: [{ratios}]
"""


def pare(*words):
    return subprocess.run([PARE, *words, "--threads", str(args.threads), "--quiet"], check=True, capture_output=True, text=True).stdout


def loss(folder):
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json")
    model, problems = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if any(problems.values()):
        sys.exit(f"{folder}: {problems}")
    rows = Path(args.text).read_bytes().decode("utf-8").splitlines(keepends=True)
    ids = tokenizer("\n\n".join(row if row.strip() else "" for row in rows), return_tensors="pt").input_ids[0]
    losses = []
    for i in range(args.windows):
        window = ids[i * 2048:(i + 1) * 2048]
        with torch.no_grad():
            logits = model(window[None], use_cache=False).logits[0, :-1].double()  # in f32 the softmax itself is off by 1e-5
        losses.append(torch.nn.functional.cross_entropy(logits, window[1:]).item())
    return sum(losses) / len(losses)


with tempfile.TemporaryDirectory() as work:
    spec, ledger = Path(work) / "spec.yaml", str(Path(work) / "spec.ledger")
    spec.write_text(SPEC.format(model=Path(args.model).resolve(), text=Path(args.text).resolve(), calibration=Path(args.calibration).resolve(),
                                windows=args.windows, methods=args.methods, ratios=args.ratios))
    pare("study", "run", str(spec), "--ledger", ledger)
    worst = 0
    print("| method | r | in memory (pare) | from the written checkpoint (transformers) | difference |\n| --- | --- | --- | --- | --- |")
    for row in csv.DictReader(pare("study", "export", ledger).splitlines()):
        if row["method"] == "dense":
            continue
        folder = f"{work}/{row['method']}-{row['r']}"
        calibrate = ["--calibrate", args.calibration] if row["method"] == "wanda-sp" else []
        pare("compress", args.model, "--method", row["method"], "--ratio", row["r"], "--type", "f32", "-o", folder, *calibrate)
        ours, theirs = float(row["l"]), loss(folder)
        worst = max(worst, abs(ours - theirs))
        print(f"| {row['method']} | {float(row['r']):g} | {ours:.7f} | {theirs:.7f} | {abs(ours - theirs):.1e} |", flush=True)
        subprocess.run(["rm", "-r", folder], check=True)
    print(f"\nlargest difference {worst:.1e}: {'within' if worst < 1e-4 else 'NOT WITHIN'} 1e-4")
    if Path(args.model).is_dir():
        pare("compress", args.model, "--method", "random", "--ratio", "0", "-o", f"{work}/same")
        a, b = ({name: tensor for file in Path(folder).glob("*.safetensors") for name, tensor in load_file(file).items()}
                for folder in (args.model, f"{work}/same"))
        same = a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a)
        print(f"r = 0: {len(a)} tensors, {'all identical' if same else 'NOT IDENTICAL'}")
