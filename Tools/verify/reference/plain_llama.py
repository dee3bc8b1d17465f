#!/usr/bin/env python3
"""Writes what transformers computes for small LLaMAs under every RoPE scaling, as a fixture for the tests.

    python3 Tools/verify/reference/plain_llama.py > Tests/LlamaRuntimeTests/Fixtures/plain-llama.json

Needs torch and transformers 5. The weights are derived from the tensors' names, here and in the tests, so that only
the logits are stored.
"""
import json
import sys

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

MASK = (1 << 64) - 1


def uniform(name, count):
    """Floats in -1 ..< 1 from SplitMix64, seeded with FNV-1a of the name; the same in TestPack.swift."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    state = (seed + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def fill(model):
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            values = uniform(name, tensor.numel()).reshape(tuple(tensor.shape))
            if tensor.dim() == 1:
                values = 1 + np.float32(0.25) * values
            elif "embed_tokens" not in name:
                values = values * np.float32(0.25)
            tensor.copy_(torch.from_numpy(values))


SHAPES = {
    "llama-2": dict(hidden_size=64, intermediate_size=172, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=4, rope_theta=10000.0, tie_word_embeddings=False, rms_norm_eps=1e-5),
    "llama-3": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8,
                    num_key_value_heads=2, head_dim=16, rope_theta=500000.0, tie_word_embeddings=True,
                    rms_norm_eps=1e-5),
}
WINDOW = 64
SCALINGS = {
    "none": None,
    "linear": dict(rope_type="linear", factor=4.0),
    "dynamic": dict(rope_type="dynamic", factor=2.0),
    "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=WINDOW),
    "llama3": dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=WINDOW),
}
VOCABULARY = 96


def main():
    cases = []
    for shape_name, shape in SHAPES.items():
        for scaling_name, scaling in SCALINGS.items():
            shape_values = dict(shape)
            theta = shape_values.pop("rope_theta")
            parameters = dict(scaling or dict(rope_type="default"), rope_theta=theta)
            config = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=WINDOW, rope_parameters=parameters,
                                 attn_implementation="eager", bos_token_id=1, eos_token_id=2, **shape_values)
            model = LlamaForCausalLM(config).double()
            fill(model)
            model.eval()
            for length in (16, 4 * WINDOW):
                tokens = [int(x) for x in (uniform(f"tokens {length}", length) + 1) * (VOCABULARY / 2)]
                with torch.no_grad():
                    logits = model(torch.tensor([tokens])).logits[0]
                positions = [0, length // 2, length - 2, length - 1]
                cases.append(dict(
                    name=f"{shape_name} {scaling_name} {length}",
                    config=dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu",
                                vocab_size=VOCABULARY, max_position_embeddings=WINDOW, bos_token_id=1, eos_token_id=2,
                                rope_theta=theta, torch_dtype="float32",
                                **({"rope_scaling": scaling} if scaling else {}), **shape_values),
                    tokens=tokens, positions=positions,
                    logits=[[float(f"{x:.7g}") for x in logits[p].tolist()] for p in positions]))
                print(cases[-1]["name"], float(logits.abs().max()), file=sys.stderr)
    json.dump(dict(source="Tools/verify/reference/plain_llama.py with transformers", cases=cases), sys.stdout,
              separators=(",", ":"))
    print()


main()
