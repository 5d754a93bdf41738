#!/usr/bin/env python3
"""Two models with random weights and a real tokenizer, to hold pare against transformers and llama.cpp on architectures whose real
checkpoints are not at hand. Usage: random_models.py TOKENIZER_FOLDER OUT_FOLDER
Writes OUT_FOLDER/qwen2 (QKV bias, tied head) and OUT_FOLDER/llama3 (Llama-3 rotary scaling, a head of its own), f32, with the
tokenizer of TOKENIZER_FOLDER. Weights are wide enough that attention, gates and positions matter for every logit."""
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

source, out = Path(sys.argv[1]), Path(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(source)
shape = {
    "vocab_size": len(tokenizer), "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 2, "max_position_embeddings": 8192, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
models = {
    "qwen2": Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6})),
    "llama3": LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=False, rope_parameters={
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 1024}))}
for seed, (name, model) in enumerate(models.items()):
    generator = torch.Generator().manual_seed(seed)
    for parameter_name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 1 + 0.1 * noise if "norm" in parameter_name else noise * (0.3 if parameter_name.endswith("bias") else 0.09)
    model.save_pretrained(out / name)
    for file in "tokenizer.json", "tokenizer_config.json":
        shutil.copy(source / file, out / name / file)
    print(out / name)
