#!/usr/bin/env python3
"""Ten steps of recovery on a real model, by pare and by PyTorch + peft, side by side: LoRA, full, and a cut taught by the dense model.
Windows of 512 tokens as they follow each other in the text, one a step; LoRA of rank 8, alpha 16, from A = sin(1 + i) / 8, B = 0; AdamW
at 1e-4, betas 0.9 0.999, without decay, warm-up or clipping; distillation: half cross-entropy, half T^2 KL at T = 2, by LoRA.
Usage: steps.py PARE MODEL_FOLDER_F32 TEXT CALIBRATION [--steps 10] [--modes lora,full,distillation]    Needs torch, transformers, peft."""
import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

LENGTH, RATE, WEIGHT, TEMPERATURE = 512, 1e-4, 0.5, 2.0
parser = argparse.ArgumentParser()
for name in ("pare", "model", "text", "calibration"):
    parser.add_argument(name)
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--modes", default="lora,full,distillation")
args = parser.parse_args()
torch.set_num_threads(2)
work = pathlib.Path(tempfile.mkdtemp())


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()


def adapted(model):
    names = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=names))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_A" in name:
                p.copy_(torch.sin(1 + torch.arange(p.numel(), dtype=torch.float64)).reshape(p.shape) / 8)
    model.save_pretrained(work / "init")
    return model


def loss_of(model, teacher, window):
    logits, targets = model(window, use_cache=False).logits[0, :-1], window[0, 1:]
    loss = torch.nn.functional.cross_entropy(logits, targets)
    if teacher is None:
        return loss, loss
    with torch.no_grad():
        wanted = teacher(window, use_cache=False).logits[0, :-1]
    divergence = torch.nn.functional.kl_div(torch.log_softmax(logits / TEMPERATURE, -1), torch.log_softmax(wanted / TEMPERATURE, -1),
                                            reduction="batchmean", log_target=True)
    return loss, (1 - WEIGHT) * loss + WEIGHT * TEMPERATURE**2 * divergence


def by_torch(mode, student, windows):
    teacher = load(args.model).eval() if mode == "distillation" else None
    model = load(student) if mode == "full" else adapted(load(student))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, betas=(0.9, 0.999), weight_decay=0.0)
    losses = []
    for window in windows:
        _, total = loss_of(model, teacher, window[None])
        total.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(total.item())
    return losses


def by_pare(mode, student):
    more = {"lora": ["--adapter", work / "init"], "full": ["--full"], "distillation": [
        "--adapter", work / "init", "--teacher", args.model, "--distil-weight", str(WEIGHT), "--temperature", str(TEMPERATURE)]}[mode]
    out = subprocess.run([args.pare, "finetune", student, "--data", args.text, "--steps", str(args.steps), "--seq", str(LENGTH), "--batch", "1",
                          "--lr", str(RATE), "--schedule", "constant", "--warmup", "0", "--weight-decay", "0", "--clip", "0", "--order",
                          "given", "--beta2", "0.999", *more, "-o", work / mode, "--json", "--quiet"], check=True, capture_output=True)
    return json.loads(out.stdout)["losses"]


ids = AutoTokenizer.from_pretrained(args.model)(open(args.text, encoding="utf-8", newline="").read(), return_tensors="pt").input_ids[0]
windows = ids[:args.steps * LENGTH].reshape(args.steps, LENGTH)
cut = work / "cut"
subprocess.run([args.pare, "compress", args.model, "--method", "wanda-sp", "--ratio", "0.2", "--calibrate", args.calibration, "-o", cut,
                "--quiet"], check=True)
for mode in args.modes.split(","):
    student = cut if mode == "distillation" else args.model
    theirs, ours = by_torch(mode, student, windows), by_pare(mode, student)
    for i, (a, b) in enumerate(zip(ours, theirs)):
        print(f"{mode} step {i + 1}: pare {a:.7f}, PyTorch {b:.7f}, relative {abs(a - b) / b:.1e}", flush=True)
    print(f"{mode}: worst of {len(theirs)} relative {max(abs(a - b) / b for a, b in zip(ours, theirs)):.1e}", flush=True)
