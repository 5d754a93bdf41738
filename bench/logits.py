#!/usr/bin/env python3
"""Are the logits of cut models the same in pare, in stock transformers (Hugging Face folder) and in llama.cpp (GGUF, f32)?

Usage: logits.py MODEL TEXT CALIBRATION LLAMA_PERPLEXITY [--cuts METHOD:RATIO,…] [--context 128]
For each cut `pare compress --type f32` writes a folder and `pare export --type f32` a GGUF of it. transformers' logits of the first `context`
tokens of TEXT are held against `pare logits`; so are llama.cpp's log-probabilities, as llama-perplexity --kl-divergence-base saves them of the
second half of that window: in steps of at most 16 / 65535 = 0.00024, those below the largest logit - 16 left out. PARE names the program
(build/pare). Prints a table."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
for name in "model", "text", "calibration", "llama_perplexity":
    parser.add_argument(name)
parser.add_argument("--cuts", default="wanda-sp:0.3,flap:0.3,wanda-sp-groups:0.5,wanda-sp-heads:0.34,activation-channels:0.34,shortgpt:0.26,"
                    "slice-global:0.34,surgeon-all:0.4")
parser.add_argument("--context", type=int, default=128)
args = parser.parse_args()
PARE = os.environ.get("PARE", str(Path(__file__).resolve().parents[1] / "build/pare"))


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stderr[-2000:]}")
    return done.stdout


def read_saved(path, vocabulary):
    """Ids and log-probabilities (positions, vocabulary) of the first chunk; NaN where they were clipped."""
    data = Path(path).read_bytes()
    n_context, n_vocabulary, n_chunks = numpy.frombuffer(data, numpy.int32, 3, 8)
    assert data[:8] == b"_logits_" and n_vocabulary == vocabulary and n_context == args.context, "llama-perplexity's file"
    ids = numpy.frombuffer(data, numpy.int32, n_context, 20)
    row = 2 * ((vocabulary + 1) // 2) + 4
    n = n_context - 1 - n_context // 2
    rows = numpy.frombuffer(data, numpy.uint16, n * row, 20 + 4 * n_context * n_chunks).reshape(n, row)
    scale, least = rows[:, :4].copy().view(numpy.float32).T
    values = rows[:, 4:4 + vocabulary].astype(float)
    return ids, numpy.where(values > 0, least[:, None] + scale[:, None] * values, numpy.nan)


def compare(folder, work):
    model, problems = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if any(problems.values()):
        sys.exit(f"{folder}: {problems}")
    run(PARE, "export", folder, "--type", "f32", "-o", f"{work}/model.gguf", "--quiet")
    run(args.llama_perplexity, "-m", f"{work}/model.gguf", "-f", args.text, "-c", str(args.context), "-b", str(args.context), "-t", "2", "--chunks", "2",
        "-fa", "off", "-ctk", "f32", "-ctv", "f32", "--kl-divergence-base", f"{work}/saved")
    run(PARE, "logits", folder, "--text", f"{work}/text", "-o", f"{work}/logits", "--quiet")
    vocabulary = model.config.vocab_size
    own = numpy.fromfile(f"{work}/logits", numpy.float32).reshape(-1, vocabulary)[:args.context].astype(float)
    ids, saved = read_saved(f"{work}/saved", vocabulary)
    with torch.no_grad():
        theirs = model(torch.tensor(ids.astype(numpy.int64))[None], use_cache=False).logits[0].double().numpy()
    first = args.context // 2
    probabilities = (own - numpy.log(numpy.exp(own - own.max(1, keepdims=True)).sum(1, keepdims=True)) - own.max(1, keepdims=True))
    return numpy.abs(own - theirs), numpy.abs(probabilities[first:args.context - 1] - saved)


def first_tokens(path):
    """The beginning of TEXT, of `context` tokens or little more."""
    text = Path(args.text).read_bytes()
    for n in range(args.context, len(text), args.context // 8):
        Path(path).write_bytes(text[:n])
        if len(json.loads(run(PARE, "tokenize", args.model, "--text", path, "--json"))["ids"]) >= args.context:
            return
    sys.exit(f"{args.text}: fewer than {args.context} tokens")


print("| cut | transformers: largest difference of a logit | mean | llama.cpp: largest difference of a log-probability | mean |\n| --- | --- | --- | --- | --- |")
for cut in ["none", *args.cuts.split(",")]:
    with tempfile.TemporaryDirectory() as work:
        first_tokens(f"{work}/text")
        method, _, ratio = cut.partition(":")
        words = ("random", "0") if cut == "none" else (method, ratio)
        run(PARE, "compress", args.model, "--method", words[0], "--ratio", words[1], "--multiple", "8", "--type", "f32", "--calibrate", args.calibration,
            "--length", str(args.context), "-o",
            f"{work}/cut", "--quiet")
        a, b = compare(f"{work}/cut", work)
        print(f"| {method} {ratio} | {a.max():.2g} | {a.mean():.2g} | {numpy.nanmax(b):.2g} | {numpy.nanmean(b):.2g} |", flush=True)
