#!/usr/bin/env python3
"""Policies of the key-value cache in plain NumPy, in float64: which rows each drops or sees, and what is computed then.

    Tools/verify/reference/cache_policies.py check Tests/LlamaRuntimeTests/Fixtures/cache-policies.json
    Tools/verify/reference/cache_policies.py write Tests/LlamaRuntimeTests/Fixtures/cache-policies.json
    Tools/verify/reference/cache_policies.py run FOLDER --policy '{"name":"tova","rows":64}' --tokens FILE --prompt 200

`check` computes the cases again, and exits with 1 if they differ or if policies disagree that should not; `write` makes
the cases below; `run` prints one for a checkpoint in Hugging Face's layout with a `model.safetensors`, for a file of
token ids. Needs NumPy only, and `write` SentencePiece. Nothing is shared with the Swift code: every query of every
head meets a list of rows, each with the angles of its key and of the query.

Sources: arXiv 2306.14048 (H2O), 2404.14469 (SnapKV), 2406.02069 (PyramidKV), 2401.06104 (TOVA), 2310.01801 (FastGen),
2309.17453 (StreamingLLM), 2308.16137 (LM-Infinite), 2402.04617 (InfLLM).
"""
import argparse
import json
import math
import os
import struct
import sys

import numpy as np
from sharedllm import Stack, rotate, softmax

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
PLAIN_LLAMA = f"{ROOT}/Tests/LlamaRuntimeTests/Fixtures/plain-llama.json"
DEMO = "Tools/demo-model"
TOLERANCE = 1e-6
# transformers rotates, normalizes and takes softmax in float32, whatever the type of the weights.
TRANSFORMERS_TOLERANCE = 1e-4
# Swift computes in float32: no choice of a case may be closer than this, relative to what is compared.
CLOSE = 1e-4


class CloseCall(Exception):
    """A choice that rounding could change."""


# Models.

MASK = (1 << 64) - 1


def uniform(name, count):
    """Floats in -1 ..< 1 from SplitMix64, seeded with FNV-1a of the name; the same in TestPack.swift."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def derived_weights(config, scale):
    """Float32 weights from the tensors' names, as in TestPack.swift; `scale` multiplies projections of a kind."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [config["vocab_size"], hidden]
    for layer in range(config["num_hidden_layers"]):
        for name, shape in {
            "input_layernorm": [hidden], "post_attention_layernorm": [hidden],
            "self_attn.q_proj": [query, hidden], "self_attn.k_proj": [key, hidden], "self_attn.v_proj": [key, hidden],
            "self_attn.o_proj": [hidden, query], "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden],
            "mlp.down_proj": [hidden, inner],
        }.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    tensors = {}
    for name, shape in shapes.items():
        values = uniform(name, math.prod(shape)).reshape(shape)
        if "norm" in name:
            values = 1 + np.float32(0.25) * values
        elif "embed_tokens" not in name:
            values = np.float32(0.25) * values
        for kind, factor in scale.items():
            if f".{kind}." in name:
                values = np.float32(factor) * values
        tensors[name] = values
    return tensors


def read_safetensors(path):
    """The tensors of a LLaMA; others, such as those of a context, are left out."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header, data = json.loads(file.read(length)), file.read()
    tensors = {}
    for name, entry in header.items():
        if not name.startswith(("model.", "lm_head.")) or "cross_attn" in name:
            continue
        start, end = entry["data_offsets"]
        kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}[entry["dtype"]]
        values = np.frombuffer(data[start:end], kind).reshape(entry["shape"])
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        tensors[name] = values
    return tensors


class Model:
    def __init__(self, config, tensors, dtype=np.float64):
        config = dict(config)
        config["head_dim"] = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        config["num_key_value_heads"] = config.get("num_key_value_heads") or config["num_attention_heads"]
        # transformers 5 keeps the rule of the rotation and its base together.
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        config.setdefault("rope_theta", rope.get("rope_theta", 10000.0))
        config["rope_scaling"] = None if rope.get("rope_type", "default") == "default" else rope
        self.config, self.dtype = config, dtype
        self.layer_count, self.kv_head_count = config["num_hidden_layers"], config["num_key_value_heads"]
        self.group = config["num_attention_heads"] // self.kv_head_count
        self.stack = Stack(config, tensors, "model")
        self.stack.tensors = {name: values.astype(dtype) for name, values in tensors.items()}
        self.head = self.stack.tensors[
            "model.embed_tokens.weight" if config.get("tie_word_embeddings") else "lm_head.weight"]


def load_model(case, dtype=np.float64):
    if "checkpoint" in case:
        folder = os.path.join(ROOT, case["checkpoint"])
        with open(f"{folder}/config.json") as file:
            return Model(json.load(file), read_safetensors(f"{folder}/model.safetensors"), dtype)
    return Model(case["config"], derived_weights(case["config"], case.get("scale", {})), dtype)


# Policies: what a token sees, as rows of (position, angle of the query, angle of the key).

class Full:
    """Every token sees every token before it."""

    def __init__(self, model, parameters, is_strict=False):
        self.model, self.parameters, self.is_strict = model, parameters, is_strict
        self.tokens, self.smallest_gap = [], math.inf

    def pieces(self, start, end):
        """How a prompt is cut."""
        return [(start, end)]

    def open(self, layer, start, end, queries, keys):
        """Before a layer attends. queries (tokens, heads, d), keys (positions, kv heads, d), not rotated."""

    def seen(self, layer, head, t):
        return [(p, t, p) for p in range(t + 1)]

    def weigh(self, layer, head, t, positions, weights):
        """What token t gave to each row, summed over the heads of the group."""

    def close(self, layer, start, end, is_prompt):
        """After a layer has attended."""

    def note(self, gap):
        self.smallest_gap = min(self.smallest_gap, gap)
        if self.is_strict and gap < CLOSE:
            raise CloseCall

    def largest(self, scores, count, noted=True, sources=None, reach=1, unit=None):
        """The positions of the `count` largest scores, of equal ones the lower position.

        `scores`: of positions. `sources`: which rows a score may be of; two scores of the same rows are equal with any
        rounding, and there are never more than `reach` of these. `unit`: what gaps are relative to.
        """
        order = sorted(scores, key=lambda p: (-scores[p], p))
        taken, left = order[:count], order[count:]
        for a in taken[-reach:] if noted else []:
            for b in left[:reach]:
                if sources is None or sources[a] != sources[b]:
                    self.note((scores[a] - scores[b]) / (unit or scores[a]))
        return taken


class Streaming(Full):
    def seen(self, layer, head, t):
        sinks, recent = self.parameters["sinks"], self.parameters["recent"]
        if t + 1 <= sinks + recent:
            return super().seen(layer, head, t)
        slot = sinks + recent - 1
        return [(p, slot, p) for p in range(sinks)] + [(p, t, p) for p in range(t - recent + 1, t + 1)]


class LMInfinite(Full):
    def seen(self, layer, head, t):
        start, recent = self.parameters["start"], self.parameters["recent"]
        far = [(p, recent, 0) for p in range(start) if p <= t - recent]
        return far + [(p, t, p) for p in range(max(0, t - recent + 1), t + 1)]


class InfLLM(Full):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.mass = [{} for _ in range(self.model.layer_count)]
        self.representatives = [[] for _ in range(self.model.layer_count)]
        self.chosen = [[] for _ in range(self.model.layer_count)]
        self.choices = []

    def pieces(self, start, end):
        cuts = [p for p in range(start + 1, end) if p % self.parameters["block"] == 0]
        return list(zip([start, *cuts], [*cuts, end], strict=True))

    def block(self, number):
        first = self.parameters["initial"] + number * self.parameters["block"]
        return range(first, first + self.parameters["block"])

    def open(self, layer, start, end, queries, keys):
        gone = max(0, start + 1 - self.parameters["local"])
        formed = self.representatives[layer]
        while self.block(len(formed)).stop <= gone:
            mass = {p: self.mass[layer][p] for p in self.block(len(formed))}
            formed.append(sorted(self.largest(mass, self.parameters["representatives"])))
        if len(formed) <= self.parameters["chosen"]:
            self.chosen[layer] = list(range(len(formed)))
            return
        scores = {}
        for number, positions in enumerate(formed):
            key = np.mean(keys[positions], axis=0)
            scores[number] = sum(
                float(query[h] @ key[h // self.model.group]) for query in queries for h in range(len(query)))
        # Scores have a sign, so that one near zero says nothing of its rounding.
        chosen = self.largest(scores, self.parameters["chosen"], unit=max(map(abs, scores.values())))
        self.chosen[layer] = sorted(chosen)
        if layer == 0:
            self.choices.append(dict(start=start, end=end, formed=len(formed), chosen=[]))
        self.choices[-1]["chosen"].append(self.chosen[layer])

    def seen(self, layer, head, t):
        initial, local = self.parameters["initial"], self.parameters["local"]
        far = [p for p in range(initial) if p <= t - local]
        for number in self.chosen[layer]:
            far += self.block(number)
        far += range(self.block(len(self.representatives[layer])).start, t - local + 1)
        return [(p, local - 1, 0) for p in far] + [(p, t, p) for p in range(max(0, t - local + 1), t + 1)]

    def weigh(self, layer, head, t, positions, weights):
        for p, weight in zip(positions, weights, strict=True):
            if p > t - self.parameters["local"]:
                self.mass[layer][p] = self.mass[layer].get(p, 0) + weight


class Choosing(Full):
    """A policy that drops rows for good, after a prompt and after single tokens."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        heads = range(self.model.kv_head_count)
        self.rows = [[[] for _ in heads] for _ in range(self.model.layer_count)]
        # What rows have been given in all steps, by position, for policies that add it up.
        self.sums = [[np.zeros(0) for _ in heads] for _ in range(self.model.layer_count)]

    def open(self, layer, start, end, queries, keys):
        self.start, self.weights = start, [[] for _ in range(self.model.kv_head_count)]

    def seen(self, layer, head, t):
        return [(p, t, p) for p in self.rows[layer][head]] + [(p, t, p) for p in range(self.start, t + 1)]

    def weigh(self, layer, head, t, positions, weights):
        self.weights[head].append((positions, weights))

    def close(self, layer, start, end, is_prompt):
        for rows in self.rows[layer]:
            rows += range(start, end)
        self.choose(layer, end, end - start, is_prompt)

    def given(self, head, end, query_count):
        """What each position was given by the last queries of this step."""
        total = np.zeros(end)
        for positions, weights in self.weights[head][-query_count:]:
            total[positions] += weights
        return total

    def add(self, layer, head, given):
        given[:len(self.sums[layer][head])] += self.sums[layer][head]
        self.sums[layer][head] = given
        return given


class H2O(Choosing):
    def choose(self, layer, end, count, is_prompt):
        heavy, recent = self.parameters["heavy"], self.parameters["recent"]
        for head, rows in enumerate(self.rows[layer]):
            sums = self.add(layer, head, self.given(head, end, count))
            if len(rows) > heavy + recent:
                others, last = rows[:len(rows) - recent], rows[len(rows) - recent:]
                self.rows[layer][head] = sorted(self.largest({p: sums[p] for p in others}, heavy)) + last


class SnapKV(Choosing):
    def count(self, layer, row_count, window):
        """The rows that are chosen, beside those of the window."""
        return self.parameters["rows"] - window

    def choose(self, layer, end, count, is_prompt):
        kernel, window = self.parameters["kernel"], min(self.parameters["window"], count)
        for head, rows in enumerate(self.rows[layer]):
            if not is_prompt or len(rows) <= self.parameters["rows"]:
                continue
            given = self.given(head, end, window)
            others, last = rows[:len(rows) - window], rows[len(rows) - window:]
            pooled, sources = {}, {}
            for i, p in enumerate(others):
                near = others[max(0, i - kernel // 2):i + kernel // 2 + 1]
                pooled[p] = max(given[q] for q in near)
                sources[p] = {q for q in near if given[q] >= pooled[p] * (1 - CLOSE)}
            chosen = self.largest(
                pooled, self.count(layer, len(rows), window), sources=sources, reach=kernel + 1)
            self.rows[layer][head] = sorted(chosen) + last


class PyramidKV(SnapKV):
    def count(self, layer, row_count, window):
        layers, usual = self.model.layer_count, self.parameters["rows"] - window
        if row_count < 2 * usual or layers == 1:
            return usual
        least = usual // self.parameters["beta"]
        most = 2 * usual - least
        if most >= row_count - window:
            most = row_count - window
            least = 2 * usual - most
        return most - layer * ((most - least) // (layers - 1))


class TOVA(Choosing):
    def choose(self, layer, end, count, is_prompt):
        rows = self.rows[layer][0]
        if len(rows) > self.parameters["rows"]:
            given = sum(self.given(head, end, 1) for head in range(self.model.kv_head_count))
            chosen = self.largest({p: given[p] for p in rows[:-1]}, self.parameters["rows"] - 1)
            self.rows[layer] = [sorted(chosen) + rows[-1:] for _ in self.rows[layer]]


class FastGen(Choosing):
    """Profiles: 0 special tokens, 1 and punctuation, 2 and frequent rows, 3 and local ones, 4 everything."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.profiles = [[None] * self.model.kv_head_count for _ in range(self.model.layer_count)]

    def staying(self, layer, head, profile, length, noted=True):
        rows, parameters = self.rows[layer][head], self.parameters
        if profile == 4:
            return rows
        staying = [p for p in rows if self.tokens[p] in parameters["special"]
                   or (profile >= 1 and self.tokens[p] in parameters["punctuation"])
                   or (profile == 3 and p >= length - math.ceil(parameters["local"] * length))]
        if profile >= 2:
            sums = self.sums[layer][head]
            others = {p: sums[p] for p in rows if p not in staying}
            staying += self.largest(others, math.ceil(parameters["frequent"] * length), noted)
        return sorted(staying)

    def choose(self, layer, end, count, is_prompt):
        for head in range(self.model.kv_head_count):
            window = min(self.parameters["window"], count) if is_prompt else 1
            sums = self.add(layer, head, self.given(head, end, window))
            if self.profiles[layer][head] is None:
                self.profiles[layer][head] = self.profile(layer, head, end, sums)
            self.rows[layer][head] = self.staying(layer, head, self.profiles[layer][head], end)

    def profile(self, layer, head, end, sums):
        for profile in range(4):
            recovery = sum(sums[self.staying(layer, head, profile, end, noted=False)]) / sum(sums)
            self.note(abs(recovery - self.parameters["recovery"]))
            if recovery >= self.parameters["recovery"]:
                return profile
        return 4


POLICIES = {"full": Full, "streaming": Streaming, "lm-infinite": LMInfinite, "infllm": InfLLM, "h2o": H2O,
            "snapkv": SnapKV, "pyramidkv": PyramidKV, "tova": TOVA, "fastgen": FastGen}


# Reading a text.

class Reader:
    def __init__(self, model, policy, is_strict=False):
        self.model = model
        self.policy = POLICIES[policy["name"]](model, policy, is_strict)
        # Of each layer: keys and values of all positions, not rotated, (positions, kv heads, d).
        none = np.zeros((0, model.kv_head_count, model.config["head_dim"]), model.dtype)
        self.keys, self.values = [none] * model.layer_count, [none] * model.layer_count

    def read(self, tokens, is_prompt):
        """What the model expects after the last of the tokens."""
        start = len(self.policy.tokens)
        self.policy.tokens += tokens
        for first, last in self.policy.pieces(start, start + len(tokens)):
            state = self.read_piece(self.policy.tokens[first:last], first, is_prompt)
        return self.model.stack.norm(state, "norm")[-1] @ self.model.head.T

    def read_piece(self, tokens, start, is_prompt):
        stack, end = self.model.stack, start + len(tokens)
        x = stack.embed(tokens)
        for layer in range(self.model.layer_count):
            name = f"layers.{layer}"
            queries = stack.heads(stack.norm(x, f"{name}.input_layernorm"), f"{name}.self_attn.q_proj")
            keys, values = stack.keys_and_values(x, layer)
            self.keys[layer] = np.concatenate([self.keys[layer], keys])
            self.values[layer] = np.concatenate([self.values[layer], values])
            self.policy.open(layer, start, end, queries, self.keys[layer])
            attended = [self.attend(layer, t, query) for t, query in zip(range(start, end), queries, strict=True)]
            x = x + stack.project(np.array(attended), f"{name}.self_attn.o_proj")
            self.policy.close(layer, start, end, is_prompt)
            x = stack.feed_forward(x, layer)
        return x

    def attend(self, layer, t, query):
        """query (heads, d) of token t, not rotated -> (heads * d)."""
        model, result = self.model, []
        for head in range(model.kv_head_count):
            rows = self.policy.seen(layer, head, t)
            positions, query_angles, key_angles = (list(column) for column in zip(*rows, strict=True))
            keys, values = self.keys[layer][positions, head], self.values[layer][positions, head]
            # The heads of the group, once for each row, since rows differ in the angle that the query has for them.
            queries = np.repeat(query[None, head * model.group:(head + 1) * model.group], len(rows), axis=0)
            queries = rotate(queries, query_angles, model.stack.frequencies).astype(model.dtype)
            keys = rotate(keys[:, None], key_angles, model.stack.frequencies)[:, 0].astype(model.dtype)
            scores = np.einsum("rhd,rd->hr", queries, keys) / np.sqrt(model.dtype(keys.shape[1]))
            weights = softmax(scores)
            result += list(weights @ values)
            self.policy.weigh(layer, head, t, positions, np.sum(weights, axis=0))
        return np.concatenate(result)


def seven_digits(logits, stride):
    return [float(f"{x:.7g}") for x in logits[::stride].tolist()]


def expect(model, case, is_strict=False):
    """The case with all that is expected of it."""
    reader = Reader(model, case["policy"], is_strict)
    policy, reads, stride = reader.policy, [], case["logit_stride"]
    chooses = isinstance(policy, Choosing)
    for read in case["reads"]:
        prompt, singles = read["prompt"], read["singles"]
        result = dict(prompt=prompt, singles=singles)
        logits = reader.read(list(prompt), True)
        result["logits"] = [dict(position=len(policy.tokens) - 1, values=seven_digits(logits, stride))]
        if chooses:
            result.update(kept=[[list(rows) for rows in layer] for layer in policy.rows], dropped=[])
        for number, token in enumerate(singles):
            position = len(policy.tokens)
            before = [[set(rows) for rows in layer] for layer in policy.rows] if chooses else []
            logits = reader.read([token], False)
            if chooses:
                result["dropped"].append([
                    [sorted((old | {position}) - set(new)) for old, new in zip(*layer, strict=True)]
                    for layer in zip(before, policy.rows, strict=True)])
            if number in (0, len(singles) // 2, len(singles) - 1):
                result["logits"].append(dict(position=position, values=seven_digits(logits, stride)))
        reads.append(result)
    result = dict(case, reads=reads)
    if math.isfinite(policy.smallest_gap):
        result["smallest_gap"] = float(f"{policy.smallest_gap:.2g}")
    if isinstance(policy, FastGen):
        result["profiles"] = policy.profiles
    if isinstance(policy, InfLLM):
        result.update(pieces=policy.choices, representatives=policy.representatives)
    return result


def difference(ours, theirs):
    """The largest difference of two cases' logits, and whether everything else is equal."""
    largest, equal = 0.0, len(ours["reads"]) == len(theirs["reads"])
    for key in ("profiles", "pieces", "representatives"):
        equal = equal and ours.get(key) == theirs.get(key)
    for a, b in zip(ours["reads"], theirs["reads"], strict=False):
        for key in ("kept", "dropped"):
            equal = equal and a.get(key) == b.get(key)
        equal = equal and [x["position"] for x in a["logits"]] == [x["position"] for x in b["logits"]]
        for x, y in zip(a["logits"], b["logits"], strict=False):
            if len(x["values"]) != len(y["values"]) or not np.all(np.isfinite(x["values"] + y["values"])):
                return math.inf, equal
            errors = np.abs(np.subtract(x["values"], y["values"])) / np.maximum(1, np.abs(y["values"]))
            largest = max(largest, float(np.max(errors)))
    return largest, equal


# check

def logits_of(model, policy, tokens, prompt_count):
    """Of the prompt's last token and of all after it: (tokens, vocabulary)."""
    reader = Reader(model, policy)
    return np.array([reader.read(tokens[:prompt_count], True)]
                    + [reader.read([token], False) for token in tokens[prompt_count:]])


def self_checks():
    """What must hold whatever the fixture says: yields names, differences and tolerances."""
    with open(PLAIN_LLAMA) as file:
        for case in json.load(file)["cases"]:
            if case["name"] in ("llama-2 none 16", "llama-3 none 16", "llama-3 llama3 16", "llama-3 none 256"):
                model, last = load_model(case), case["positions"][-1]
                logits = logits_of(model, dict(name="full"), case["tokens"], last)
                error = np.max(np.abs(logits - case["logits"][-2:]))
                yield f"full, {case['name']}: transformers", error, TRANSFORMERS_TOLERANCE
    length, prompt = 61, 40
    tokens = [int(x) for x in (uniform("self-checks", length) + 1) * (VOCABULARY / 2)]
    model = load_model(dict(config=config_of("llama-3")))
    full = logits_of(model, dict(name="full"), tokens, prompt)
    x = model.stack.embed(tokens)
    for layer in range(model.layer_count):
        x = model.stack.feed_forward(model.stack.self_attention(x, layer, 0), layer)
    at_once = model.stack.norm(x[prompt - 1:], "norm") @ model.head.T
    yield "full: the whole text at once, with a mask", np.max(np.abs(full - at_once)), TOLERANCE
    for name, parameters in {
        "h2o": dict(heavy=length - 5, recent=5), "snapkv": dict(rows=prompt, window=9, kernel=5),
        "pyramidkv": dict(rows=prompt, window=9, kernel=5, beta=20), "tova": dict(rows=length),
        "fastgen": dict(recovery=1, local=0.3, frequent=0.3, window=64, special=[1], punctuation=[5]),
        "streaming": dict(sinks=0, recent=length), "lm-infinite": dict(start=4, recent=length),
        "infllm": dict(initial=4, local=length, block=8, chosen=2, representatives=2),
    }.items():
        logits = logits_of(model, dict(name=name, **parameters), tokens, prompt)
        yield f"{name} with room for everything: full", np.max(np.abs(logits - full)), TOLERANCE
    # Key-value heads that are written out for each head, for policies that choose the same rows for all heads.
    config = dict(config_of("llama-3"), num_key_value_heads=config_of("llama-3")["num_attention_heads"])
    tensors = {}
    for name, values in derived_weights(config_of("llama-3"), {}).items():
        if "k_proj" in name or "v_proj" in name:
            heads = values.reshape(model.kv_head_count, -1, config["hidden_size"])
            values = np.repeat(heads, model.group, axis=0).reshape(-1, config["hidden_size"])
        tensors[name] = values
    for name, parameters in {
        "full": {}, "tova": dict(rows=17), "streaming": dict(sinks=3, recent=11),
        "lm-infinite": dict(start=3, recent=11),
        "infllm": dict(initial=3, local=11, block=4, chosen=2, representatives=2),
    }.items():
        policy = dict(name=name, **parameters)
        apart = logits_of(Model(config, tensors), policy, tokens, prompt)
        error = np.max(np.abs(logits_of(model, policy, tokens, prompt) - apart))
        yield f"{name}, grouped heads: repeated ones", error, TOLERANCE


def check(path):
    agrees = True
    for name, error, tolerance in self_checks():
        agrees = agrees and error <= tolerance
        print(f"{name}\t{error:.2g}{'' if error <= tolerance else '  DIFFERS'}")
    with open(path) as file:
        cases = json.load(file)["cases"]
    for case in cases:
        error, equal = difference(expect(load_model(case), case), case)
        agrees = agrees and equal and error <= TOLERANCE
        print(f"{case['name']}: rows {'agree' if equal else 'DIFFER'}, logits\t{error:.2g}"
              f"{'' if error <= TOLERANCE else '  DIFFER'}")
    return agrees


# write

VOCABULARY = 96
SHAPES = {
    "llama-2": dict(hidden_size=64, intermediate_size=172, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=4, rope_theta=10000.0, tie_word_embeddings=False, rms_norm_eps=1e-5),
    "llama-3": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8,
                    num_key_value_heads=2, head_dim=16, rope_theta=500000.0, tie_word_embeddings=True,
                    rms_norm_eps=1e-5),
}


def config_of(shape):
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", torch_dtype="float32",
                vocab_size=VOCABULARY, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, **SHAPES[shape])


SPECIAL, PUNCTUATION = [1, 2], [5, 11, 23, 40, 77]
MANY_SPECIAL = [1, 2, 3, 4, 6, 7, 8, 9]
# Where attention is peaked, heads differ more, and what single tokens give changes which rows stay.
SHARP, SHARP_CASES = {"q_proj": 4}, ["h2o, short prompt", "fastgen", "fastgen, low recovery"]
# In the middle of what the heads of a shape recover.
RECOVERY = {"llama-2": 0.89, "llama-3": 0.82}
# Lengths of prompts and of the single tokens after each.
ONE_TURN, TWO_TURNS = [(151, 64)], [(83, 9), (7, 11)]
# What differs: name, policy, lengths.
CASES = [
    ("full", dict(name="full"), ONE_TURN),
    ("h2o", dict(name="h2o", heavy=29, recent=19), ONE_TURN),
    ("h2o, short prompt", dict(name="h2o", heavy=29, recent=19), [(31, 97)]),
    ("h2o with room", dict(name="h2o", heavy=200, recent=15), ONE_TURN),
    ("h2o, two turns", dict(name="h2o", heavy=23, recent=10), TWO_TURNS),
    ("snapkv", dict(name="snapkv", rows=48, window=9, kernel=7), ONE_TURN),
    ("snapkv, no pooling", dict(name="snapkv", rows=48, window=16, kernel=1), ONE_TURN),
    ("snapkv with room", dict(name="snapkv", rows=151, window=9, kernel=7), ONE_TURN),
    ("snapkv, two turns", dict(name="snapkv", rows=41, window=9, kernel=5), TWO_TURNS),
    ("pyramidkv", dict(name="pyramidkv", rows=48, window=9, kernel=5, beta=20), ONE_TURN),
    ("pyramidkv, all rows in the first layer", dict(name="pyramidkv", rows=88, window=16, kernel=5, beta=20), ONE_TURN),
    ("pyramidkv, layers alike", dict(name="pyramidkv", rows=100, window=16, kernel=5, beta=20), ONE_TURN),
    ("pyramidkv with room", dict(name="pyramidkv", rows=160, window=16, kernel=5, beta=20), ONE_TURN),
    ("tova", dict(name="tova", rows=48), ONE_TURN),
    ("tova with room", dict(name="tova", rows=215), ONE_TURN),
    ("tova, two turns", dict(name="tova", rows=41), TWO_TURNS),
    ("fastgen", dict(name="fastgen", local=0.1, frequent=0.3, window=64, special=SPECIAL, punctuation=PUNCTUATION),
     ONE_TURN),
    ("fastgen, low recovery", dict(name="fastgen", recovery=0.09, local=0.25, frequent=0.2, window=64,
                                   special=MANY_SPECIAL, punctuation=PUNCTUATION), ONE_TURN),
    ("fastgen with room", dict(name="fastgen", recovery=1.0, local=0.3, frequent=0.3, window=64, special=SPECIAL,
                               punctuation=PUNCTUATION), ONE_TURN),
    ("streaming", dict(name="streaming", sinks=5, recent=43), ONE_TURN),
    ("streaming with room", dict(name="streaming", sinks=5, recent=210), ONE_TURN),
    ("lm-infinite", dict(name="lm-infinite", start=5, recent=43), ONE_TURN),
    ("lm-infinite with room", dict(name="lm-infinite", start=5, recent=215), ONE_TURN),
    ("infllm", dict(name="infllm", initial=5, local=33, block=16, chosen=2, representatives=3), ONE_TURN),
    # Not one representative: the first layer's keys of equal tokens are equal before rotation, and so scores would tie.
    ("infllm, no first rows", dict(name="infllm", initial=0, local=20, block=7, chosen=4, representatives=2), ONE_TURN),
    ("infllm, all blocks", dict(name="infllm", initial=3, local=40, block=16, chosen=11, representatives=4), ONE_TURN),
    ("infllm with room", dict(name="infllm", initial=5, local=215, block=16, chosen=2, representatives=3), ONE_TURN),
]
DEMO_TURN = [(257, 24)]
DEMO_CASES = [
    ("h2o", dict(name="h2o", heavy=29, recent=19), DEMO_TURN),
    ("snapkv", dict(name="snapkv", rows=64, window=16, kernel=7), DEMO_TURN),
    ("tova", dict(name="tova", rows=64), DEMO_TURN),
    ("fastgen", dict(name="fastgen", recovery=0.85, local=0.2, frequent=0.2, window=64, special=SPECIAL), DEMO_TURN),
    ("lm-infinite", dict(name="lm-infinite", start=5, recent=91), DEMO_TURN),
    ("infllm", dict(name="infllm", initial=5, local=64, block=16, chosen=4, representatives=4), DEMO_TURN),
]


def drafts():
    """Pairs of a case and of a function that gives its tokens, for a count and a seed."""
    for shape in SHAPES:
        for name, policy, lengths in CASES:
            if name == "fastgen":
                policy = dict(policy, recovery=RECOVERY[shape])
            case = dict(name=f"{shape} {name}", config=config_of(shape), policy=policy, logit_stride=1)
            if name in SHARP_CASES:
                case["scale"] = SHARP

            def tokens(count, seed, label=case["name"]):
                return [1] + [int(x) for x in (uniform(f"{label} {seed}", count - 1) + 1) * (VOCABULARY / 2)]
            yield case, lengths, tokens
    from sentencepiece import SentencePieceProcessor
    tokenizer = SentencePieceProcessor(model_file=f"{ROOT}/{DEMO}/tokenizer.model")
    with open(f"{ROOT}/{DEMO}/king-solomons-mines.txt") as file:
        book = tokenizer.encode(file.read())
    pieces = [tokenizer.id_to_piece(i).strip("▁") for i in range(tokenizer.get_piece_size())]
    punctuation = [i for i, piece in enumerate(pieces)
                   if piece and all(c.isascii() and c.isprintable() and not c.isalnum() and c != " " for c in piece)]
    for name, policy, lengths in DEMO_CASES:
        if name == "fastgen":
            policy = dict(policy, punctuation=punctuation)

        def passage(count, seed):
            return [1] + book[1000 * (seed + 1):][:count - 1]
        yield dict(name=f"demo-model {name}", checkpoint=DEMO, policy=policy, logit_stride=37), lengths, passage


def write(path, only):
    """Cases of tokens for which no choice is close, and float32 makes the same choices."""
    cases = []
    for case, lengths, tokens in drafts():
        if only and only not in case["name"]:
            continue
        model, rounded = load_model(case), load_model(case, np.float32)
        for seed in range(1000):
            text, reads = tokens(sum(map(sum, lengths)), seed), []
            for prompt, singles in lengths:
                reads.append(dict(prompt=text[:prompt], singles=text[prompt:prompt + singles]))
                text = text[prompt + singles:]
            draft = dict(case, seed=seed, reads=reads)
            try:
                result = expect(model, draft, is_strict=True)
            except CloseCall:
                continue
            kinds = {profile for layer in result.get("profiles", []) for profile in layer}
            if case["policy"]["name"] == "fastgen" and case["policy"]["recovery"] < 1 and len(kinds) < 3:
                continue
            error, equal = difference(expect(rounded, draft), result)
            if equal:
                break
        else:
            raise SystemExit(f"{case['name']}: no tokens found whose choices are clear")
        cases.append(result)
        print(f"{case['name']}: seed {seed}, gap {result.get('smallest_gap', 1)}, float32 moves logits by {error:.2g}"
              f"{f', profiles {sorted(kinds)}' if kinds else ''}", flush=True)
    with open(path, "w") as file:
        json.dump(dict(source="Tools/verify/reference/cache_policies.py", cases=cases), file, separators=(",", ":"))
        file.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("fixture")
    writer = commands.add_parser("write")
    writer.add_argument("fixture")
    writer.add_argument("--only", help="cases whose name has this in it", default="")
    runner = commands.add_parser("run")
    runner.add_argument("checkpoint")
    runner.add_argument("--policy", type=json.loads, required=True)
    runner.add_argument("--tokens", required=True, help="a file of token ids, with spaces, commas or lines between")
    runner.add_argument("--prompt", type=int, required=True, help="how many of them are read at once")
    options = parser.parse_args()
    if options.command == "check":
        sys.exit(0 if check(options.fixture) else 1)
    if options.command == "write":
        write(options.fixture, options.only)
        return
    with open(options.tokens) as file:
        text = [int(word) for word in file.read().translate(str.maketrans("[],", "   ")).split()]
    case = dict(name=f"{options.checkpoint} {options.policy['name']}", checkpoint=os.path.abspath(options.checkpoint),
                policy=options.policy, logit_stride=1,
                reads=[dict(prompt=text[:options.prompt], singles=text[options.prompt:])])
    print(json.dumps(expect(load_model(case), case)))


if __name__ == "__main__":
    main()
