#!/usr/bin/env python3
"""Writes what transformers computes for small LLaMAs under every RoPE scaling and with biases, and for small models of
the kinds that are LLaMAs under another name, as a fixture for the tests.

    python3 Tools/verify/reference/plain_llama.py > Tests/LlamaRuntimeTests/Fixtures/plain-llama.json

Needs torch and transformers 5. The weights are derived from the tensors' names, here and in the tests, so that only
the logits are stored.
"""
import json
import sys

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

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
            if "norm" in name:
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
# Name: what differs from the first shape. A sliding window that is as long as the text changes nothing.
KINDS = {
    "attention biases": dict(attention_bias=True, num_key_value_heads=2),
    "mlp biases": dict(mlp_bias=True),
    "all biases": dict(attention_bias=True, mlp_bias=True, head_dim=8, tie_word_embeddings=True),
    "qwen2": dict(model_type="qwen2", num_key_value_heads=2, tie_word_embeddings=True, rope_theta=1e6),
    "mistral": dict(model_type="mistral", num_key_value_heads=2, head_dim=24, sliding_window=64),
}
CLASSES = dict(llama="LlamaForCausalLM", mistral="MistralForCausalLM", qwen2="Qwen2ForCausalLM")
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


def case(name, length, shape, scaling=None):
    """What a model reads and computes, and the `config.json` of the time before transformers 5."""
    values = dict(dict(model_type="llama"), **shape)
    theta = values.pop("rope_theta")
    common = dict(vocab_size=VOCABULARY, max_position_embeddings=WINDOW, bos_token_id=1, eos_token_id=2)
    config = AutoConfig.for_model(
        **values, **common, rope_parameters=dict(scaling or dict(rope_type="default"), rope_theta=theta),
        attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config).double()
    fill(model)
    model.eval()
    tokens = [int(x) for x in (uniform(f"tokens {length}", length) + 1) * (VOCABULARY / 2)]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0]
    positions = [0, length // 2, length - 2, length - 1]
    print(name, float(logits.abs().max()), file=sys.stderr)
    return dict(
        name=f"{name} {length}",
        config=dict(architectures=[CLASSES[values["model_type"]]], hidden_act="silu", **common, rope_theta=theta,
                    torch_dtype="float32", **({"rope_scaling": scaling} if scaling else {}), **values),
        tokens=tokens, positions=positions,
        logits=[[float(f"{x:.7g}") for x in logits[p].tolist()] for p in positions])


def main():
    cases = []
    for shape_name, shape in SHAPES.items():
        for scaling_name, scaling in SCALINGS.items():
            for length in (16, 4 * WINDOW):
                cases.append(case(f"{shape_name} {scaling_name}", length, shape, scaling))
    for name, changes in KINDS.items():
        cases.append(case(name, WINDOW, dict(SHAPES["llama-2"], **changes)))
    json.dump(dict(source="Tools/verify/reference/plain_llama.py with transformers", cases=cases), sys.stdout,
              separators=(",", ":"))
    print()


main()
