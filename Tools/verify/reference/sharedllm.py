#!/usr/bin/env python3
"""SharedLLM in plain NumPy, in float64: makes the golden cases that the Swift code and the trainer are checked against.

    Tools/verify/reference/sharedllm.py check Tests/EvaluationTests/Fixtures/golden/*
    Tools/verify/reference/sharedllm.py write Tests/EvaluationTests/Fixtures/golden

`check` recomputes the expectations of case folders and exits with 1 if they differ; `write` makes the cases below,
from fixed seeds. Needs NumPy only. Nothing is shared with the Swift code, and nothing is clever: every node is
encoded in a pass of its own, every key is rotated by its full angle, every step of decoding reads the whole text again.

Source: arXiv 2410.19318, section 3; arXiv 2104.09864 for rotary positions.
"""
import json
import math
import os
import struct
import sys

import numpy as np

NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I32": "<i4"}
TOLERANCE = 1e-6


# Files.

def read_safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[start:end], NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    names = {np.dtype(value): key for key, value in NUMPY_TYPES.items()}
    header, data = {}, b""
    for name in sorted(tensors):
        piece = tensors[name].tobytes()
        header[name] = dict(dtype=names[tensors[name].dtype], shape=list(tensors[name].shape),
                            data_offsets=[len(data), len(data) + len(piece)])
        data += piece
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def write_json(path, value, indent=None):
    with open(path, "w") as file:
        json.dump(value, file, indent=indent)
        file.write("\n")


# The parts of a LLaMA.

def rms_norm(x, weight, epsilon):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    x = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return x / np.sum(x, axis=-1, keepdims=True)


def rotary_frequencies(config):
    """Angle per position of each pair: (head dim / 2)."""
    dimension = config["head_dim"]
    frequencies = config["rope_theta"] ** -(np.arange(0, dimension, 2) / dimension)
    scaling = config.get("rope_scaling")
    if scaling is None:
        return frequencies
    if scaling["rope_type"] != "llama3":
        raise SystemExit(f"rope_type {scaling['rope_type']} is not written here")
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    result = []
    for frequency in frequencies:
        turns = scaling["original_max_position_embeddings"] * frequency / (2 * math.pi)
        if turns > high:
            result.append(frequency)
        elif turns < low:
            result.append(frequency / factor)
        else:
            share = (turns - low) / (high - low)
            result.append(frequency * (share + (1 - share) / factor))
    return np.array(result)


def rotate(x, positions, frequencies):
    """x: (rows, heads, head dim); positions: (rows). Pairs are (i, i + head dim / 2)."""
    angles = np.asarray(positions, dtype=np.float64)[:, None] * frequencies
    cos, sin = np.cos(angles)[:, None, :], np.sin(angles)[:, None, :]
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attend(queries, keys, values, visible):
    """queries (t, heads, d), keys and values (rows, kv heads, d), visible (t, rows) -> (t, heads * d)."""
    group = queries.shape[1] // keys.shape[1]
    keys, values = np.repeat(keys, group, axis=1), np.repeat(values, group, axis=1)
    scores = np.einsum("thd,rhd->htr", queries, keys) / math.sqrt(queries.shape[2])
    scores = np.where(visible[None], scores, -np.inf)
    return np.einsum("htr,rhd->thd", softmax(scores), values).reshape(len(queries), -1)


class Stack:
    """A stack of decoder layers: the upper model (`model.`) or a lower one of its own (`encoder.`)."""

    def __init__(self, config, tensors, prefix):
        self.config, self.prefix = config, prefix
        self.tensors = {name: value.astype(np.float64) for name, value in tensors.items()}
        self.epsilon = config["rms_norm_eps"]
        self.frequencies = rotary_frequencies(config)

    def weight(self, name):
        return self.tensors[f"{self.prefix}.{name}"]

    def embed(self, tokens):
        return self.weight("embed_tokens.weight")[tokens]

    def norm(self, x, name):
        return rms_norm(x, self.weight(f"{name}.weight"), self.epsilon)

    def project(self, x, name):
        y = x @ self.weight(f"{name}.weight").T
        return y + self.tensors.get(f"{self.prefix}.{name}.bias", 0)

    def heads(self, x, name):
        y = self.project(x, name)
        return y.reshape(len(x), -1, self.config["head_dim"])

    def keys_and_values(self, x, layer):
        """Before any rotation: (tokens, kv heads, d) each."""
        normed = self.norm(x, f"layers.{layer}.input_layernorm")
        return (self.heads(normed, f"layers.{layer}.self_attn.k_proj"),
                self.heads(normed, f"layers.{layer}.self_attn.v_proj"))

    def self_attention(self, x, layer, first_position, memory=None):
        """x + causal self-attention; `memory`, rotated keys and values, shares the softmax and is seen by all."""
        positions = first_position + np.arange(len(x))
        queries = self.heads(self.norm(x, f"layers.{layer}.input_layernorm"), f"layers.{layer}.self_attn.q_proj")
        queries = rotate(queries, positions, self.frequencies)
        keys, values = self.keys_and_values(x, layer)
        keys = rotate(keys, positions, self.frequencies)
        visible = np.tril(np.ones((len(x), len(x)), dtype=bool))
        if memory is not None:
            keys = np.concatenate([memory[0], keys])
            values = np.concatenate([memory[1], values])
            visible = np.concatenate([np.ones((len(x), len(memory[0])), dtype=bool), visible], axis=1)
        attended = attend(queries, keys, values, visible)
        return x + self.project(attended, f"layers.{layer}.self_attn.o_proj")

    def cross_attention(self, x, layer, keys, values, query_angle):
        """x + attention to all rows of the memory. keys: rotated by their full angles."""
        normed = self.norm(x, f"layers.{layer}.cross_attn.layernorm")
        queries = self.heads(normed, f"layers.{layer}.cross_attn.q_proj")
        queries = rotate(queries, np.full(len(x), query_angle), self.frequencies)
        attended = attend(queries, keys, values, np.ones((len(x), len(keys)), dtype=bool))
        return x + self.project(attended, f"layers.{layer}.cross_attn.o_proj")

    def feed_forward(self, x, layer):
        normed = self.norm(x, f"layers.{layer}.post_attention_layernorm")
        gate = silu(self.project(normed, f"layers.{layer}.mlp.gate_proj"))
        up = self.project(normed, f"layers.{layer}.mlp.up_proj")
        return x + self.project(gate * up, f"layers.{layer}.mlp.down_proj")

    def embedding(self, tokens):
        """The embedding that is searched with: the last token's state after one whole layer and the final norm."""
        x = self.feed_forward(self.self_attention(self.embed(tokens), 0, 0), 0)
        return self.norm(x, "norm")[-1]


# Context trees.

def split(node):
    """A node is (path, start, end); a half that is empty is None."""
    path, start, end = node
    middle = start + (end - start) // 2
    left = (path + "L", start, middle) if middle > start else None
    right = (path + "R", middle, end) if end > middle else None
    return left, right


def preserved_nodes(length, depth, leaf_ratio, expands_right):
    """The siblings of the expanded nodes, coarse ones first, and at the deepest level both children.

    Where one child is empty there is nothing to choose: the other one is walked down.
    """
    kept, current = [], ("", 0, length)
    for level in range(1, depth + 1):
        left, right = split(current)
        if level == depth:
            kept += [child for child in (left, right) if child]
        elif left is None or right is None:
            current = left or right
        elif expands_right(left, right):
            kept.append(left)
            current = right
        else:
            kept.append(right)
            current = left
    return [dict(path=path, start=start, end=end, ratio=leaf_ratio << (depth - len(path)))
            for path, start, end in kept]


def kept_positions(length, ratio):
    rows = max(1, -(-length // ratio))
    return [j * length // rows for j in range(rows)]


def cosine(a, b):
    return float(a @ b) / (max(np.linalg.norm(a), 1e-6) * max(np.linalg.norm(b), 1e-6))


# SharedLLM.

KEY_ANGLES = {
    "replace": lambda c, p: c + 0 * p, "compose": lambda c, p: p + c, "compose+1": lambda c, p: p + c,
    "local": lambda c, p: p, "none": lambda c, p: p,
}
QUERY_ANGLES = {
    "replace": lambda n: n, "compose": lambda n: n, "compose+1": lambda n: n + 1, "local": lambda n: n + 1,
    "none": lambda n: 0,
}


def reading_layers(config, shared):
    """The layers of the upper model that read the rows of the lower model's layers, in their order."""
    layers, injected = config["num_hidden_layers"], shared["injected_layers"]
    return {"bottom": list(range(injected)), "top": list(range(layers - injected, layers)),
            "interleave": [i * layers // injected for i in range(injected)]}[shared.get("injection_place", "bottom")]


class SharedLLM:
    def __init__(self, config, tensors, case):
        self.config = dict(config)
        self.config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
        shared = config.get("sharedllm") or case
        self.injected_layers, self.chunk_size = shared["injected_layers"], shared["chunk_size"]
        self.depth, self.leaf_ratio = shared["tree_depth"], shared["leaf_ratio"]
        self.mode = shared.get("position_mode")
        self.readers = reading_layers(config, shared)
        self.is_merged = not any("cross_attn" in name for name in tensors)
        self.upper = Stack(self.config, tensors, "model")
        self.lower = Stack(self.config, tensors, "encoder" if "encoder.norm.weight" in tensors else "model")
        head = "model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"
        self.head = tensors[head].astype(np.float64)
        # The smallest margin by which a child or a token was chosen.
        self.smallest_margin = math.inf

    def encode(self, tokens, ratio):
        """One node, alone: in-node positions and, for each layer, unrotated keys and values of its kept rows."""
        positions = kept_positions(len(tokens), ratio)
        rows, x = [], self.lower.embed(tokens)
        for layer in range(self.injected_layers):
            keys, values = self.lower.keys_and_values(x, layer)
            rows.append((keys[positions], values[positions]))
            x = self.lower.feed_forward(self.lower.self_attention(x, layer, 0), layer)
        return np.array(positions), rows

    def read_context(self, context, policy, query):
        chunks = [context[i:i + self.chunk_size] for i in range(0, len(context), self.chunk_size)]
        target = self.upper.embedding(query)
        trees, places, positions, rows = [], [], [], [[] for _ in range(self.injected_layers)]
        for number, chunk in enumerate(chunks):
            def expands_right(left, right, chunk=chunk):
                if policy != "cosine":
                    return policy == "right"
                scores = [cosine(target, self.lower.embedding(chunk[start:end])) for _, start, end in (left, right)]
                self.smallest_margin = min(self.smallest_margin, abs(scores[1] - scores[0]))
                return scores[1] > scores[0]
            nodes = preserved_nodes(len(chunk), self.depth, self.leaf_ratio, expands_right)
            trees.append(nodes)
            for node in nodes:
                in_node, encoded = self.encode(chunk[node["start"]:node["end"]], node["ratio"])
                places += [number] * len(in_node)
                positions += list(in_node)
                for layer, pair in enumerate(encoded):
                    rows[layer].append(pair)
        self.chunk_count, self.trees = len(chunks), trees
        self.places, self.positions = np.array(places), np.array(positions)
        self.rows = [tuple(np.concatenate(parts) for parts in zip(*layer, strict=True)) for layer in rows]

    def logits(self, tokens, injects):
        """What the model expects after each token: (tokens, vocabulary)."""
        upper, x = self.upper, self.upper.embed(tokens)
        merges = injects and self.is_merged
        # Merged rows stand before the running text, which starts after the longest node.
        first = (self.chunk_size + 1) // 2 if merges else 0
        for layer in range(self.config["num_hidden_layers"]):
            reads = injects and layer in self.readers
            memory = None
            if reads:
                keys, values = self.rows[self.readers.index(layer)]
                if merges:
                    memory = rotate(keys, self.positions, upper.frequencies), values
            x = upper.self_attention(x, layer, first, memory)
            if reads and not merges:
                angles = KEY_ANGLES[self.mode](self.places, self.positions)
                x = upper.cross_attention(x, layer, rotate(keys, angles, upper.frequencies), values,
                                          QUERY_ANGLES[self.mode](self.chunk_count))
            x = upper.feed_forward(x, layer)
        return upper.norm(x, "norm") @ self.head.T

    def run(self, case, steps):
        """Everything that a case expects, in float64; `smallest_margin` tells how clear the choices were."""
        text = list(case["running_text"])
        self.read_context(case["context"], case["policy"], text)
        plain, logits = self.logits(text, False), self.logits(text, True)
        greedy, decoded, last = [], [], logits[-1]
        for _ in range(steps):
            second, first = np.sort(last)[-2:]
            self.smallest_margin = min(self.smallest_margin, first - second)
            greedy.append(int(np.argmax(last)))
            text.append(greedy[-1])
            last = self.logits(text, True)[-1]
            decoded.append(last)
        tensors = dict(plain_logits=plain, logits=logits, decode_logits=np.array(decoded),
                       memory_rows_chunk=self.places, memory_rows_position=self.positions)
        for name, layer in (("layer0", 0), ("last_injected", -1)):
            tensors[f"memory_key_{name}_unrotated"], tensors[f"memory_value_{name}"] = self.rows[layer]
        return tensors, self.trees, greedy


# check

def check(directory):
    with open(f"{directory}/config.json") as file:
        config = json.load(file)
    with open(f"{directory}/case.json") as file:
        case = json.load(file)
    model = SharedLLM(config, read_safetensors(f"{directory}/model.safetensors"), case)
    tensors, trees, greedy = model.run(case, len(case["greedy"]))
    expected = read_safetensors(f"{directory}/expected.safetensors")
    agrees = trees == case["trees"] and greedy == case["greedy"] and tensors.keys() == expected.keys()
    print(f"{directory}: trees {'agree' if trees == case['trees'] else 'DIFFER'},"
          f" greedy tokens {'agree' if greedy == case['greedy'] else 'DIFFER'}, margin {model.smallest_margin:.2g}")
    for name in sorted(expected):
        ours = tensors.get(name)
        if ours is None or ours.shape != expected[name].shape:
            difference = math.inf
        else:
            # The files hold float32, whose rounding is a part of the difference.
            error = np.abs(ours - expected[name].astype(np.float64)) / np.maximum(1, np.abs(ours))
            difference = float(np.max(error, initial=0))
        agrees = agrees and difference <= TOLERANCE
        print(f"  {name}\t{difference:.2g}{'' if difference <= TOLERANCE else '  DIFFERS'}")
    return agrees


# write

def base(**changes):
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", torch_dtype="float16",
                  bos_token_id=1, eos_token_id=2, tie_word_embeddings=False, hidden_size=32, intermediate_size=40,
                  num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, vocab_size=48,
                  rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=256)
    config.update(changes)
    return config


def shared(m, chunk, depth, ratio, mode, **more):
    return dict(injected_layers=m, chunk_size=chunk, tree_depth=depth, leaf_ratio=ratio, position_mode=mode, **more)


LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=48)

# Name: configuration, policy, tokens of the context, tokens of the running text, whether the lower model is its own,
# and keys of the case. Together they cover what is easy to get wrong: see README.md beside the cases.
CASES = {
    "compose-plus-one-left": (
        base(num_key_value_heads=4, intermediate_size=32, sharedllm=shared(2, 16, 3, 2, "compose+1")), "left", 56, 9,
        False, {}),
    "none-gqa": (
        base(num_key_value_heads=1, sharedllm=shared(2, 16, 2, 4, "none")), "cosine", 64, 7, False, {}),
    "own-lower-one-layer": (
        base(num_hidden_layers=2, sharedllm=shared(1, 20, 3, 2, "replace")), "cosine", 70, 8, True, {}),
    "own-lower-two-layers": (
        base(num_hidden_layers=2, tie_word_embeddings=True, intermediate_size=24, num_key_value_heads=1,
             sharedllm=shared(2, 16, 2, 2, "compose")), "cosine", 45, 8, True, {}),
    "all-layers-odd-chunk": (
        base(sharedllm=shared(3, 27, 4, 1, "compose")), "cosine", 55, 10, False, {}),
    "odd-chunk": (
        base(sharedllm=shared(2, 27, 2, 3, "local")), "right", 82, 6, False, {}),
    "leaf-ratio-one": (
        base(num_hidden_layers=2, tie_word_embeddings=True, num_key_value_heads=4,
             sharedllm=shared(2, 12, 1, 1, "replace")), "right", 30, 5, False, {}),
    "llama3-scaling": (
        base(num_hidden_layers=2, intermediate_size=32, num_key_value_heads=1, head_dim=16, rope_theta=500000.0,
             rope_scaling=LLAMA3, tie_word_embeddings=True, sharedllm=shared(2, 32, 3, 2, "compose")),
        "cosine", 96, 36, False, {}),
    "merged": (
        base(), "right", 64, 11, False, dict(injected_layers=2, chunk_size=21, tree_depth=3, leaf_ratio=2)),
    "merged-all-layers": (
        base(num_key_value_heads=1, rope_theta=500000.0, rope_scaling=LLAMA3, tie_word_embeddings=True),
        "cosine", 49, 12, False, dict(injected_layers=3, chunk_size=16, tree_depth=2, leaf_ratio=1)),
    "top": (
        base(num_hidden_layers=3, intermediate_size=32, num_key_value_heads=1,
             sharedllm=shared(2, 16, 2, 2, "replace", injection_place="top")), "cosine", 48, 8, False, {}),
    "interleave": (
        base(num_hidden_layers=5, intermediate_size=16, num_key_value_heads=1, tie_word_embeddings=True,
             sharedllm=shared(2, 16, 2, 2, "compose", injection_place="interleave")), "cosine", 40, 8, False, {}),
    "biases": (
        base(num_hidden_layers=2, intermediate_size=24, num_key_value_heads=1, attention_bias=True, mlp_bias=True,
             tie_word_embeddings=True, sharedllm=shared(2, 16, 2, 2, "compose")), "cosine", 45, 8, True, {}),
    "merged-qwen2": (
        base(architectures=["Qwen2ForCausalLM"], model_type="qwen2", num_hidden_layers=2, intermediate_size=24,
             num_key_value_heads=1, tie_word_embeddings=True),
        "cosine", 40, 8, False, dict(injected_layers=1, chunk_size=16, tree_depth=2, leaf_ratio=2)),
}


def layer_shapes(config, prefix, crossed):
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes = {"input_layernorm": [hidden], "post_attention_layernorm": [hidden], "self_attn.q_proj": [query, hidden],
              "self_attn.k_proj": [key, hidden], "self_attn.v_proj": [key, hidden], "self_attn.o_proj": [hidden, query],
              "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden], "mlp.down_proj": [hidden, inner]}
    attention = ["q_proj", "k_proj", "v_proj"]
    biased = [f"self_attn.{name}" for name in attention] if config["model_type"] == "qwen2" else []
    if config.get("attention_bias"):
        biased = [f"self_attn.{name}" for name in attention + ["o_proj"]]
    if config.get("mlp_bias"):
        biased += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    biases = {f"{prefix}.{name}.bias": shapes[name][:1] for name in biased}
    if crossed:
        shapes.update({"cross_attn.layernorm": [hidden], "cross_attn.q_proj": [query, hidden],
                       "cross_attn.o_proj": [hidden, query]})
    return {**{f"{prefix}.{name}.weight": shape for name, shape in shapes.items()}, **biases}


def random_weights(config, has_own_lower, generator):
    embedding = [config["vocab_size"], config["hidden_size"]]
    injected = config.get("sharedllm", {}).get("injected_layers", 0)
    readers = reading_layers(config, config["sharedllm"]) if injected else []
    shapes = {"model.embed_tokens.weight": embedding, "model.norm.weight": [config["hidden_size"]]}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = embedding
    for i in range(config["num_hidden_layers"]):
        shapes.update(layer_shapes(config, f"model.layers.{i}", i in readers))
    if has_own_lower:
        shapes.update({"encoder.embed_tokens.weight": embedding, "encoder.norm.weight": [config["hidden_size"]]})
        for i in range(injected):
            shapes.update(layer_shapes(config, f"encoder.layers.{i}", False))
    tensors = {}
    for name in sorted(shapes):
        values = generator.standard_normal(shapes[name])
        if "norm" in name:
            values = 1 + 0.2 * values
        elif "embed_tokens" in name:
            # Tied embeddings are also the output projection, and logits should not be larger than a real model's.
            values *= 0.25 if config["tie_word_embeddings"] else 1
        elif name.endswith(".bias"):
            values *= 0.5
        else:
            # Large enough that attention prefers some rows.
            values *= 1.5 / math.sqrt(shapes[name][-1])
        tensors[name] = values.astype(np.float16)
    return tensors


def write(output):
    for number, (name, (config, policy, context, running, has_own_lower, keys)) in enumerate(CASES.items()):
        for attempt in range(100):
            generator = np.random.Generator(np.random.PCG64([number, attempt]))
            tensors = random_weights(config, has_own_lower, generator)
            case = dict(policy=policy, **keys,
                        context=generator.integers(0, config["vocab_size"], context).tolist(),
                        running_text=generator.integers(0, config["vocab_size"], running).tolist())
            model = SharedLLM(config, tensors, case)
            expected, trees, greedy = model.run(case, 8)
            # No choice may depend on rounding, and greedy decoding should not repeat one token.
            if model.smallest_margin > 0.01 and len(set(greedy)) > 3:
                break
        else:
            raise SystemExit(f"{name}: no weights found whose choices are clear")
        case.update(greedy=greedy, trees=trees)
        directory = f"{output}/{name}"
        os.makedirs(directory, exist_ok=True)
        write_json(f"{directory}/config.json", config, indent=2)
        write_json(f"{directory}/case.json", case)
        write_safetensors(f"{directory}/model.safetensors", tensors)
        write_safetensors(f"{directory}/expected.safetensors", {
            name: values.astype("<i4" if "rows" in name else "<f4") for name, values in expected.items()})
        effect = float(np.abs(expected["logits"] - expected["plain_logits"]).mean())
        size = sum(os.path.getsize(f"{directory}/{file}") for file in os.listdir(directory))
        print(f"{name}: {size} bytes, margin {model.smallest_margin:.2g}, the context moves logits by {effect:.2g}")


def main():
    if len(sys.argv) >= 3 and sys.argv[1] == "check":
        results = [check(directory.rstrip("/")) for directory in sys.argv[2:] if os.path.isdir(directory)]
        sys.exit(0 if all(results) else 1)
    if len(sys.argv) == 3 and sys.argv[1] == "write":
        write(sys.argv[2])
        return
    sys.exit(__doc__)


if __name__ == "__main__":
    main()
