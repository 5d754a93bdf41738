#!/usr/bin/env python3
"""A checkpoint of Qwen2.5-7B's shape with random bf16 weights (15.2 GB in four shards), or of another shape, to measure time and memory of
`pare compress`. Standard library only."""
import argparse
import json
import random
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("out", type=Path, help="folder to make")
for flag, default in (("layers", 28), ("width", 3584), ("ffn", 18944), ("heads", 28), ("kv", 4), ("dim", 128), ("vocabulary", 152064)):
    parser.add_argument("--" + flag, type=int, default=default)
given = parser.parse_args()
out, layers = given.out, given.layers
WIDTH, FFN, HEADS, KV, DIM, VOCABULARY = given.width, given.ffn, given.heads, given.kv, given.dim, given.vocabulary
shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "lm_head.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
for i in range(layers):
    for name, shape in {
            "input_layernorm.weight": (WIDTH,), "post_attention_layernorm.weight": (WIDTH,),
            "self_attn.q_proj.weight": (HEADS * DIM, WIDTH), "self_attn.q_proj.bias": (HEADS * DIM,),
            "self_attn.k_proj.weight": (KV * DIM, WIDTH), "self_attn.k_proj.bias": (KV * DIM,),
            "self_attn.v_proj.weight": (KV * DIM, WIDTH), "self_attn.v_proj.bias": (KV * DIM,),
            "self_attn.o_proj.weight": (WIDTH, HEADS * DIM), "mlp.gate_proj.weight": (FFN, WIDTH),
            "mlp.up_proj.weight": (FFN, WIDTH), "mlp.down_proj.weight": (WIDTH, FFN)}.items():
        shapes[f"model.layers.{i}.{name}"] = shape

# bf16 of +-0.0078 to +-0.031: random mantissas, the high byte one of two
random.seed(1)
block = bytearray(64 << 20)
block[0::2] = random.randbytes(len(block) // 2)
block[1::2] = bytes(b"\x3c\xbc"[b & 1] for b in random.randbytes(len(block) // 2))


def size(shape):
    n = 2
    for d in shape:
        n *= d
    return n


out.mkdir(parents=True)
shards, total = [[]], 0
for name in sorted(shapes):
    if sum(size(shapes[n]) for n in shards[-1]) + size(shapes[name]) > 4e9:
        shards.append([])
    shards[-1].append(name)
weight_map = {}
for number, names in enumerate(shards, 1):
    file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name in names:
        header[name] = {"dtype": "BF16", "shape": list(shapes[name]), "data_offsets": [at, at + size(shapes[name])]}
        at += size(shapes[name])
        weight_map[name] = file
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(out / file, "wb") as shard:
        shard.write(len(text).to_bytes(8, "little") + text)
        while at > 0:
            shard.write(block[:min(at, len(block))])
            at -= len(block)
    total += sum(size(shapes[n]) for n in names)
(out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
(out / "config.json").write_text(json.dumps({
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": layers,
    "num_attention_heads": HEADS, "num_key_value_heads": KV, "vocab_size": VOCABULARY, "max_position_embeddings": 131072, "rms_norm_eps": 1e-6,
    "rope_theta": 1e6, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "hidden_act": "silu"}, indent=2))
print(f"{out}: {total / 1e9:.2f} GB in {len(shards)} shards")
