#!/usr/bin/env python3
"""The peer of `pare finetune`: the same steps in PyTorch and peft. Usage: train_torch.py MODEL_FOLDER TEXT lora|full SEQ STEPS THREADS
Prints tokens a second of the median step (the first left out), the largest resident memory in MiB and the last loss. LoRA of rank 8 on
all seven projections without dropout; AdamW at 1e-4 without decay, warm-up or clipping; one window a step, consecutive in the text."""
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, path, mode, length, steps, threads = sys.argv[1:7]
length, steps = int(length), int(steps)
torch.set_num_threads(int(threads))
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
if mode == "lora":
    from peft import LoraConfig, get_peft_model
    names = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=names))
trained = [p for p in model.train().parameters() if p.requires_grad]
optimiser = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
ids = AutoTokenizer.from_pretrained(folder)(open(path, encoding="utf-8").read(), return_tensors="pt").input_ids[0]
times = []
for step in range(steps):
    window = ids[step * length:(step + 1) * length][None]
    begin = time.perf_counter()
    loss = model(window, labels=window, use_cache=False).loss
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    times.append(time.perf_counter() - begin)
times = sorted(times[1:])
print(f"{length / times[len(times) // 2]:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} {loss.item():.4f}")
