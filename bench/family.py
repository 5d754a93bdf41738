#!/usr/bin/env python3
"""What the family under models/ is: a table, the exponent of loss against parameters, and a sample of text.

Usage: bench/family.py TEST_TEXT [--sample]     the held-out text that tools/family.py made (demo/family/text/test.txt)
Losses are `pare eval --protocol gguf256` of the whole text. ln L = c - alpha ln N by least squares, per line and with one alpha for both.
--sample needs torch and transformers: the largest model goes on from "It was", temperature 0.8, seed 0.
"""
import json
import math
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def slope(groups):
    """alpha and its standard error, of points (ln N, ln L) in groups with a constant of their own."""
    sxx = sxy = n = 0
    centred = []
    for points in groups:
        mx, my = (sum(p[i] for p in points) / len(points) for i in (0, 1))
        centred += [(x - mx, y - my) for x, y in points]
    for x, y in centred:
        sxx, sxy, n = sxx + x * x, sxy + x * y, n + 1
    b = sxy / sxx
    rss = sum((y - b * x) ** 2 for x, y in centred)
    return -b, math.sqrt(rss / (n - 1 - len(groups)) / sxx)


def sample(folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    torch.manual_seed(0)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("It was", return_tensors="pt").input_ids
    out = model.generate(ids, do_sample=True, temperature=0.8, top_k=0, top_p=1.0, max_new_tokens=160, pad_token_id=0)
    print(tokenizer.decode(out[0]))


def main():
    models = []
    for folder in sorted((ROOT / "models").iterdir()):
        command = [ROOT / "build/pare", "eval", folder, "--text", sys.argv[1], "--protocol", "gguf256", "--json"]
        loss = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        info = json.loads(subprocess.run([ROOT / "build/pare", "info", folder, "--json"], check=True, capture_output=True, text=True).stdout)
        record = json.loads((folder / "pare.json").read_text(encoding="utf-8"))
        size = info["parameters"]
        models.append((folder.name.split("-")[1], size["non_embedding"], size["total"], record["tokens"], loss["cross_entropy"], folder))
    models.sort(key=lambda m: (m[0], m[1]))
    print("| model | parameters, non-embedding | with embedding | tokens | a parameter | test cross-entropy |\n| --- | --- | --- | --- | --- | --- |")
    for line, n, total, tokens, loss, folder in models:
        print(f"| {folder.name} | {n:,} | {total:,} | {tokens:,} | {tokens / total:.1f} | {loss:.4f} |")
    lines = [[(math.log(m[1]), math.log(m[4])) for m in models if m[0] == line] for line in sorted({m[0] for m in models})]
    for name, groups in [*zip(sorted({m[0] for m in models}), [[g] for g in lines]), ("both", lines)]:
        alpha, error = slope(groups)
        print(f"{name}: L ~ N^-{alpha:.4f} +/- {error:.4f}")
    if "--sample" in sys.argv:
        sample(max(models, key=lambda m: (m[1], m[0]))[5])


main()
