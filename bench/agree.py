#!/usr/bin/env python3
"""How far pare agrees with transformers in f32, and with llama.cpp where it is there: perplexity by both protocols, and logits.

Usage: agree.py MODEL PEER_FOLDER TEXT [--joined N] [--gguf N] [--peer-gguf FILE] [--threads N]
  MODEL        what pare reads: a GGUF file or a folder     PEER_FOLDER  the same weights as a Hugging Face folder
  --joined N, --gguf N   windows scored of joined2048 (6) and gguf512 (24); both programs score the same ones
  --peer-gguf  the same weights as an f32 GGUF, for llama.cpp; LLAMA_PERPLEXITY names llama.cpp's llama-perplexity
PARE names the program (build/pare). Prints a table in Markdown."""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("folder")
parser.add_argument("text")
parser.add_argument("--joined", type=int, default=6)
parser.add_argument("--gguf", type=int, default=24)
parser.add_argument("--peer-gguf")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
torch.set_num_threads(args.threads)
PARE = os.environ.get("PARE", str(Path(__file__).resolve().parents[1] / "build/pare"))

# tokenizer.json itself: by AutoTokenizer a Qwen2 model gets the published Qwen2's pre-tokenizer, whatever the file says
tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{args.folder}/tokenizer.json")
model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
text = Path(args.text).read_bytes().decode("utf-8")
bos = tokenizer("x").input_ids[0]
bos = bos if bos in tokenizer.all_special_ids else None


def by_pare(*words):
    return json.loads(subprocess.run([PARE, *words, "--threads", str(args.threads), "--json"], check=True, capture_output=True).stdout)


def by_transformers(protocol, windows):
    kind, length = re.fullmatch(r"(joined|gguf)(\d+)", protocol).groups()
    length = int(length)
    scored = text
    if kind == "joined":
        scored = "\n\n".join(row if row.strip() else "" for row in text.splitlines(keepends=True))
    ids = tokenizer(scored, return_tensors="pt").input_ids[0]
    first = length // 2 if kind == "gguf" else 0
    sums, n = 0.0, 0
    for i in range(min(windows, len(ids) // length)):
        window = ids[i * length:(i + 1) * length].clone()
        if kind == "gguf" and bos is not None:
            window[0] = bos
        with torch.no_grad():
            logits = model(window[None], use_cache=False).logits[0, first:-1].double()  # a softmax over so many words is off by 1e-5 in f32
        sums += torch.nn.functional.cross_entropy(logits, window[first + 1:], reduction="none").sum().item()
        n += length - 1 - first
    return sums / n, n, len(ids)


def by_llama(windows):
    program = os.environ["LLAMA_PERPLEXITY"]
    words = [program, "-m", args.peer_gguf, "-f", args.text, "-c", "512", "-b", "512", "-t", str(args.threads), "-fa", "off", "-ctk", "f32",
             "-ctv", "f32", "--chunks", str(windows)]
    out = subprocess.run(words, check=True, capture_output=True, text=True)
    return re.search(r"PPL = ([0-9.]+) \+/- ([0-9.]+)", out.stdout + out.stderr).groups()


print("| what | pare | transformers f32 | llama.cpp f32 | relative difference |\n| --- | --- | --- | --- | --- |")
for protocol, windows in ("gguf512", args.gguf), ("joined2048", args.joined):
    ours = by_pare("eval", args.model, "--text", args.text, "--protocol", protocol, "--windows", str(windows))
    theirs, scored, tokens = by_transformers(protocol, windows)
    assert scored == ours["tokens_scored"], "not the same windows"
    if tokens != ours["tokens_in_text"]:  # transformers' own reading of a GGUF forgets the digits of the pre-tokenizer "smollm"
        print(f"{protocol}: {ours['tokens_in_text']} tokens in the text by pare, {tokens} by {args.folder}/tokenizer.json", file=sys.stderr)
    llama = " +/- ".join(by_llama(windows)) if args.peer_gguf and protocol == "gguf512" else "-"
    print(f"| {protocol}, {ours['windows']} windows, {scored:,} tokens: cross-entropy | {ours['cross_entropy']:.7f} | {theirs:.7f} | - | "
          f"{abs(ours['cross_entropy'] / theirs - 1):.1e} |")
    print(f"| perplexity | {ours['perplexity']:.4f} +/- {ours['perplexity_error']:.4f} | {math.exp(theirs):.4f} | {llama} | "
          f"{abs(ours['perplexity'] / math.exp(theirs) - 1):.1e} |", flush=True)

with tempfile.TemporaryDirectory() as work:
    prompt, out = Path(work) / "prompt.txt", Path(work) / "logits.f32"
    prompt.write_bytes(text[:2000].encode())
    told = by_pare("logits", args.model, "--text", str(prompt), "-o", str(out))
    ours = numpy.fromfile(out, "<f4").reshape(told["tokens"], told["vocabulary"])
with torch.no_grad():
    theirs = model(tokenizer(text[:2000], return_tensors="pt").input_ids).logits[0].numpy()
gap = numpy.abs(ours - theirs)
print(f"| logits of {ours.shape[0]} tokens, range {theirs.min():.1f} to {theirs.max():.1f}: largest and mean difference | {gap.max():.2e}, {gap.mean():.2e} "
      f"| | | the same best token at {(ours.argmax(1) == theirs.argmax(1)).sum()} of {len(ours)} |")
