#!/usr/bin/env python3
"""CEPE in plain PyTorch, in float64: an encoder whose states the layers of a LLaMA read by cross-attention.

    Tools/verify/reference/cepe.py check Tests/LlamaRuntimeTests/Fixtures/cepe.json
    Tools/verify/reference/cepe.py write Tests/LlamaRuntimeTests/Fixtures/cepe.json

`check` computes the cases again, and exits with 1 if they differ; `write` makes the cases below. Weights have the names
of the authors' checkpoints, and are derived from these names, here and in the tests. Nothing is shared with the Swift
code: there are no caches, and every chunk is read anew.

Source: arXiv 2402.16617, section 2.
"""
import json
import math
import sys

import torch
from cache_policies import uniform

TOLERANCE = 1e-6
torch.set_default_dtype(torch.float64)


class Weights:
    """Tensors of random numbers, each made of its name: of matrices small ones, of norms such as are near 1."""

    def matrix(self, name, rows, columns):
        values = torch.from_numpy(uniform(f"{name}.weight", rows * columns)).double().reshape(rows, columns)
        return values if "embed_tokens" in name else values * 0.25

    def norm(self, name, size):
        return 1 + 0.25 * torch.from_numpy(uniform(f"{name}.weight", size)).double()


class Model:
    """The layers of a LLaMA: under `model.` those that write, under `encoder.` those that only read."""

    def __init__(self, config, prefix):
        self.config, self.prefix, self.weights = config, prefix, Weights()
        self.head = config["hidden_size"] // config["num_attention_heads"]

    def project(self, x, name, rows):
        return x @ self.weights.matrix(f"{self.prefix}.{name}", rows, x.shape[-1]).T

    def norm(self, x, name):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return x * scale * self.weights.norm(f"{self.prefix}.{name}", x.shape[-1])

    def heads(self, x, name, count):
        """(count, tokens, head)"""
        return self.project(x, name, count * self.head).reshape(len(x), count, self.head).transpose(0, 1)

    def rotate(self, x):
        """Turns the pairs (i, i + head / 2) of each token by its position."""
        half = self.head // 2
        angles = torch.arange(x.shape[1])[:, None] * self.config["rope_theta"] ** (-torch.arange(half) / half)
        first, second = x[..., :half], x[..., half:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

    def attend(self, queries, keys, values, mask=None):
        shared = queries.shape[0] // keys.shape[0]
        keys, values = keys.repeat_interleave(shared, 0), values.repeat_interleave(shared, 0)
        scores = queries @ keys.transpose(1, 2) / math.sqrt(self.head)
        if mask is not None:
            scores = scores.masked_fill(mask, -math.inf)
        return (scores.softmax(-1) @ values).transpose(0, 1).flatten(1)

    def states(self, tokens, read=None, first_reader=0, is_causal=True):
        """(tokens, hidden): the outputs of the final norm. `read`: (rows, hidden of the encoder)."""
        config = self.config
        count, kv = config["num_attention_heads"], config["num_key_value_heads"]
        embedding = self.weights.matrix(f"{self.prefix}.embed_tokens", config["vocab_size"], config["hidden_size"])
        x = embedding[torch.tensor(tokens)]
        mask = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(1) if is_causal else None
        for layer in range(config["num_hidden_layers"]):
            name = f"layers.{layer}"
            y = self.norm(x, f"{name}.input_layernorm")
            queries = self.rotate(self.heads(y, f"{name}.self_attn.q_proj", count))
            keys = self.rotate(self.heads(y, f"{name}.self_attn.k_proj", kv))
            values = self.heads(y, f"{name}.self_attn.v_proj", kv)
            y = self.attend(queries, keys, values, mask)
            x = x + self.project(y, f"{name}.self_attn.o_proj", x.shape[-1])
            if read is not None and layer >= first_reader:
                y = self.norm(x, f"{name}.cross_attn.layernorm")
                queries = self.heads(y, f"{name}.cross_attn.q_proj", count)
                keys = self.heads(read, f"{name}.cross_attn.k_proj", kv)
                values = self.heads(read, f"{name}.cross_attn.v_proj", kv)
                y = self.attend(queries, keys, values)
                x = x + self.project(y, f"{name}.cross_attn.o_proj", x.shape[-1])
            y = self.norm(x, f"{name}.post_attention_layernorm")
            inner = config["intermediate_size"]
            gate, up = (self.project(y, f"{name}.mlp.{part}_proj", inner) for part in ("gate", "up"))
            y = torch.nn.functional.silu(gate) * up
            x = x + self.project(y, f"{name}.mlp.down_proj", x.shape[-1])
        return self.norm(x, "norm")


def logits(config, chunks, tokens):
    """(tokens, vocabulary): chunks are encoded alone, and their states stand one behind the other."""
    encoder = Model(config["encoder_config"], "encoder")
    read = torch.cat([encoder.states(chunk, is_causal=False) for chunk in chunks]) if chunks else None
    first = config["num_hidden_layers"] - config["num_cross_attn_layers"]
    states = Model(config, "model").states(tokens, read, first)
    return states @ Weights().matrix("lm_head", config["vocab_size"], config["hidden_size"]).T


def sizes(hidden, inner, layers, heads, kv, positions):
    return dict(hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv, vocab_size=96, max_position_embeddings=positions, rms_norm_eps=1e-5,
                rope_theta=10000.0)


# Name: the model, its layers that read, the encoder, tokens of a chunk, of all chunks, and of the running text.
CASES = {
    "all layers": (sizes(32, 48, 3, 4, 4, 64), 3, sizes(48, 64, 2, 3, 3, 32), 16, 16, 9),
    "grouped heads, some layers": (sizes(48, 76, 3, 6, 2, 64), 2, sizes(32, 40, 3, 4, 2, 24), 24, 61, 20),
    "short last chunk": (sizes(32, 48, 2, 2, 1, 64), 1, sizes(64, 96, 1, 4, 4, 16), 16, 33, 5),
    "a wide encoder": (sizes(16, 24, 2, 2, 2, 64), 2, sizes(80, 60, 2, 5, 5, 300), 256, 300, 40),
    "nothing to read": (sizes(32, 48, 3, 4, 4, 64), 3, sizes(48, 64, 2, 3, 3, 32), 16, 0, 9),
}


def case(name):
    model, readers, encoder, chunk, length, running = CASES[name]
    config = dict(model, num_cross_attn_layers=readers, encoder_config=encoder)
    context = [int(x) for x in (uniform(f"context {name}", length) + 1) * (model["vocab_size"] / 2)]
    tokens = [int(x) for x in (uniform(f"tokens {name}", running) + 1) * (model["vocab_size"] / 2)]
    result = logits(config, [context[i:i + chunk] for i in range(0, length, chunk)], tokens)
    positions = [0, running // 2, running - 1]
    return dict(name=name, config=config, chunk_size=chunk, context=context, tokens=tokens, positions=positions,
                logits=[[float(f"{x:.7g}") for x in result[p].tolist()] for p in positions])


def main():
    mode, path = sys.argv[1:]
    cases = [case(name) for name in CASES]
    if mode == "write":
        with open(path, "w") as file:
            json.dump(dict(source="Tools/verify/reference/cepe.py", cases=cases), file, separators=(",", ":"))
            file.write("\n")
        return 0
    with open(path) as file:
        stored = json.load(file)["cases"]
    wrong = len(stored) != len(cases)
    for new, old in zip(cases, stored, strict=False):
        difference = (torch.tensor(new.pop("logits")) - torch.tensor(old.pop("logits"))).abs().max().item()
        wrong = wrong or new != old or difference > TOLERANCE
        print(f"{new['name']}: {difference:.1e}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
