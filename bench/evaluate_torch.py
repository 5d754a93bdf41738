#!/usr/bin/env python3
"""The peer of `pare eval`: the same windows in PyTorch. Usage: evaluate_torch.py MODEL_FOLDER TEXT WINDOWS LENGTH DTYPE THREADS
Prints tokens a second of the fastest window (after one that warms up) and the mean cross-entropy."""
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, path, windows, length, dtype, threads = sys.argv[1:7]
windows, length = int(windows), int(length)
torch.set_num_threads(int(threads))
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
text = "\n\n".join(row if row.strip() else "" for row in open(path, encoding="utf-8").read().splitlines(keepends=True))
ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids[0]
times, losses = [], []
with torch.no_grad():
    for i in range(-1, windows):  # -1: warm-up
        window = ids[max(i, 0) * length:(max(i, 0) + 1) * length]
        begin = time.perf_counter()
        logits = model(window[None], use_cache=False).logits[0, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits, window[1:]).item()
        if i >= 0:
            times.append(time.perf_counter() - begin)
            losses.append(loss)
print(f"{length * windows / sum(times):.1f} {sum(losses) / windows:.6f}")
