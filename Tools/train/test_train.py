#!/usr/bin/env python3
"""Tests of the trainer. Run with pytest, or alone: python3 Tools/train/test_train.py [--sharedpack PATH]

What needs SentencePiece, transformers, `sharedpack` or ../shared/golden is skipped with a message if that is missing.
"""
import argparse
import contextlib
import csv
import io
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
import zlib

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

import bpe  # noqa: E402
import data  # noqa: E402
import files  # noqa: E402
import model as models  # noqa: E402
import pretrained  # noqa: E402
import tasks  # noqa: E402
import train  # noqa: E402

GOLDEN = os.path.join(REPOSITORY, "Tests", "EvaluationTests", "Fixtures", "golden")
SHARED_GOLDEN = os.path.join(REPOSITORY, "..", "shared", "golden")
SHAREDPACK = os.environ.get("SHAREDPACK", os.path.join(REPOSITORY, ".build", "release", "sharedpack"))


class Skip(Exception):
    pass


def skip(reason):
    if "PYTEST_CURRENT_TEST" in os.environ:
        import pytest
        pytest.skip(reason)
    raise Skip(reason)


def tiny(position_mode="replace", own_lower=False, seed=0, tie=False, kv_heads=2, place="bottom"):
    """A model whose every tensor matters."""
    config = models.LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
                                num_key_value_heads=kv_heads, vocab_size=96, max_position_embeddings=128,
                                tie_word_embeddings=tie)
    shared = models.SharedConfig(2, 32, 3, 4, position_mode, place)
    model = models.SharedLlama(config, shared, own_lower)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.2 * noise if parameter.dim() == 1 else 0.25 * noise)
    return model.eval()


@torch.no_grad()
def run_case(model, context, running, policy, greedy=None, count=8):
    """What a golden case holds: trees, greedy tokens and tensors."""
    running = running[None]
    memory, trees = model.memorise_any(context, policy, model.embed_query(running))
    forced = None if greedy is None else torch.tensor([greedy])
    chosen, after = model.generate(running, count, memory, forced)

    def rows(x):
        return x[0].transpose(0, 1).contiguous()

    tensors = {
        "plain_logits": model.logits(model.hidden(running))[0],
        "logits": model.logits(model.hidden(running, memory))[0],
        "decode_logits": after[0], "memory_rows_chunk": memory.chunk[0].int(),
        "memory_rows_position": memory.position[0].int(),
        "memory_key_layer0_unrotated": rows(memory.keys[0]), "memory_value_layer0": rows(memory.values[0]),
        "memory_key_last_injected_unrotated": rows(memory.keys[-1]),
        "memory_value_last_injected": rows(memory.values[-1])}
    trees = [[dict(path=p, start=s, end=e, ratio=r) for p, s, e, r in chunk] for chunk in trees]
    return trees, chosen[0].tolist(), tensors


@torch.no_grad()
def compare_golden_cases(folder):
    names = [n for n in sorted(os.listdir(folder)) if os.path.exists(os.path.join(folder, n, "case.json"))]
    assert names
    for name in names:
        directory = os.path.join(folder, name)
        if any("bias" in tensor for tensor in files.read_safetensors(os.path.join(directory, "model.safetensors"))):
            continue  # Biases are run by `sharedpack`, and not trained.
        case = files.read_json(os.path.join(directory, "case.json"))
        expected = files.read_safetensors(os.path.join(directory, "expected.safetensors"))
        model = models.load(directory).eval()
        running = torch.tensor(case["running_text"])
        if model.shared:
            trees, greedy, tensors = run_case(
                model, torch.tensor(case["context"]), running, case["policy"], case["greedy"], len(case["greedy"]))
            assert trees == case["trees"] and greedy == case["greedy"], name
            assert tensors.keys() == expected.keys(), name
        else:
            # A plain checkpoint, whose injected rows only `sharedpack` reads.
            tensors = {"plain_logits": model.logits(model.hidden(running[None]))[0]}
        for key, value in tensors.items():
            assert value.shape == expected[key].shape, (name, key)
            difference = (value.double() - expected[key].double()).abs().max()
            assert difference < 1e-4, (name, key, difference)


def test_golden_cases():
    """The model computes what Tools/verify/reference/sharedllm.py computed."""
    compare_golden_cases(GOLDEN)


def test_shared_golden_cases():
    """The same for the cases of another implementation."""
    if not os.path.isdir(SHARED_GOLDEN):
        skip("../shared/golden is not there")
    compare_golden_cases(SHARED_GOLDEN)


def test_batches_equal_single_chunks():
    """Many chunks at once give what one chunk after the other gives, with every policy and position mode."""
    for mode in models.POSITION_MODES:
        for own in (False, True):
            model = tiny(mode, own)
            context = torch.randint(96, (3, 4, 32), generator=torch.Generator().manual_seed(1))
            running = torch.randint(96, (3, 10), generator=torch.Generator().manual_seed(2))
            for policy in ("right", "left", "cosine"):
                with torch.no_grad():
                    together = model(running, context, policy)
                    for i in range(3):
                        alone = run_case(model, context[i].flatten(), running[i], policy)[2]["logits"]
                        assert (together[i] - alone).abs().max() < 1e-4, (mode, own, policy)


def test_injection_places():
    """Only the layers of the place have cross-attention, and the untrained one changes nothing."""
    for place, readers in (("bottom", [0, 1]), ("top", [2, 3]), ("interleave", [0, 2])):
        model = tiny(place=place)
        assert [i for i, layer in enumerate(model.model.layers) if "cross_attn" in layer._modules] == readers
        model.initialise_cross_attention()
        context = torch.randint(96, (1, 2, 32), generator=torch.Generator().manual_seed(1))
        running = torch.randint(96, (1, 10), generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            assert torch.equal(model(running, context), model(running))


def test_noise_keeps_the_partition():
    model = tiny()
    tokens = torch.zeros(200, 32, dtype=torch.long)
    noise = torch.randn(200, 3, generator=torch.Generator().manual_seed(3))
    coins = torch.rand(200, 3, generator=torch.Generator().manual_seed(4))
    starts, ends, _ = model.select(tokens, "random", None, noise, 0.5, coins)
    assert len(set(map(tuple, starts.tolist()))) > 50
    for s, e in zip(starts.tolist(), ends.tolist(), strict=True):
        pieces = sorted(zip(s, e, strict=True))
        assert pieces[0][0] == 0 and pieces[-1][1] == 32
        assert all(a < b for a, b in pieces) and all(x[1] == y[0] for x, y in itertools.pairwise(pieces))
    still = model.select(tokens, "right")[0]
    assert torch.equal(model.select(tokens, "right", None, torch.zeros(200, 3), 0.2)[0], still)


def test_fresh_cross_attention_changes_nothing():
    """Training starts from the plain model: the output projection is zero, the rest is copied."""
    model = tiny().initialise_cross_attention()
    context = torch.randint(96, (1, 2, 32))
    running = torch.randint(96, (1, 12))
    with torch.no_grad():
        assert torch.equal(model(running, context), model(running))
    layer = model.model.layers[0]
    assert torch.equal(layer.cross_attn.q_proj.weight, layer.self_attn.q_proj.weight)


def test_a_shared_model_is_trained_afresh():
    """`afresh` keeps only the LLaMA of a SharedLLM checkpoint, even one with its own lower model, in another layout."""
    with tempfile.TemporaryDirectory() as directory:
        before = tiny(own_lower=True)
        models.save(directory, before.config, before.shared, before.state_dict(), torch.float32)
        shared = models.SharedConfig(**vars(before.shared) | {"injection_place": "top", "injected_layers": 1})
        after = models.load(directory, shared, False, afresh=True)
        names = [n for n in before.state_dict() if "cross_attn" not in n and not n.startswith("encoder.")]
        assert sorted(n for n in after.state_dict() if "cross_attn" not in n) == sorted(names)
        assert all(torch.equal(before.state_dict()[n], after.state_dict()[n]) for n in names)
        assert [i for i, layer in enumerate(after.model.layers) if "cross_attn" in layer._modules] == [3]
        context, running = torch.randint(96, (1, 2, 32)), torch.randint(96, (1, 12))
        with torch.no_grad():
            assert torch.equal(after(running, context), after(running))


def test_lines_of_a_config_are_changed():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "c.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('out = "runs"\n[sharedllm]\nplace = "bottom"\nleaf_ratio = 1\n[shared]\nchunks = [4]\n')
        run = train.Run(path, corpus=directory, changes=["sharedllm.place=top", "sharedllm.leaf_ratio=4",
                                                         "shared.chunks=[1, 2]", 'out="more"'])
        assert run.config == {
            "out": "more", "sharedllm": {"place": "top", "leaf_ratio": 4}, "shared": {"chunks": [1, 2]}}
        for wrong in ("shared.chunk=1", "shard.chunks=1", "out.name=1", "shared.chunks=1, 2"):
            try:
                train.Run(path, corpus=directory, changes=[wrong])
                raise AssertionError(wrong)
            except SystemExit as refusal:
                assert wrong in str(refusal)


def test_gradients_flow_where_they_should():
    for what, own, expected in (
            (["cross_attn"], False, lambda n: "cross_attn" in n),
            (["cross_attn", "upper_self_attn"], False,
             lambda n: "cross_attn" in n or "self_attn" in n and int(n.split(".")[2]) >= 2),
            (["cross_attn", "upper_layers"], False,
             lambda n: "cross_attn" in n or n.startswith("model.layers.") and int(n.split(".")[2]) >= 2),
            # What only feeds the deepest layer's attention output and MLP, and the final norm, is dead code.
            (["cross_attn", "lower"], True, lambda n: "cross_attn" in n or n.startswith("encoder.") and not (
                "layers.1" in n and ("q_proj" in n or "o_proj" in n or "post" in n or "mlp" in n)
                or n == "encoder.norm.weight")),
            (["all"], False, lambda n: True)):
        model = tiny(own_lower=own).train()
        models.trainable_parameters(model, what)
        assert model.lower_is_trained == ("all" in what or "lower" in what)
        tokens = torch.randint(96, (2, 17))
        sums, weights, _ = model(tokens[:, :-1], torch.randint(96, (2, 2, 32)), labels=tokens[:, 1:])
        (sums / weights).backward()
        moved = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        wanted = {n for n, _ in model.named_parameters() if expected(n)}
        assert moved == wanted, (what, moved ^ wanted)


def test_policy_loss_trains_the_search():
    model = tiny().train()
    models.trainable_parameters(model, ["all"])
    tokens, target = torch.randint(96, (2, 8)), torch.tensor([3, -1, -1, 30])
    loss = model(tokens, torch.randint(96, (2, 2, 32)), "cosine", target=target,
                 labels=torch.full((2, 8), -100))[2]
    loss.backward()
    assert loss > 0 and model.model.layers[0].mlp.down_proj.weight.grad.abs().max() > 0
    assert model.model.layers[1].mlp.down_proj.weight.grad is None or \
        model.model.layers[1].mlp.down_proj.weight.grad.abs().max() == 0


def test_guided_search_keeps_what_is_asked_for():
    """The guide's token lies in a leaf; chunks without a guide are searched as the policy says."""
    model = tiny()
    tokens = torch.randint(0, model.config.vocab_size, (6, model.shared.chunk_size))
    guide = torch.tensor([0, 5, model.shared.chunk_size // 2, model.shared.chunk_size - 1, -1, -1])
    starts, ends, _ = model.select(tokens, "right", guide=guide)
    leaves = starts[:, -2], ends[:, -1]
    assert bool(((guide >= leaves[0]) & (guide < leaves[1]))[:4].all())
    plain = model.select(tokens, "right")
    assert bool((starts[4:] == plain[0][4:]).all()) and bool((ends[4:] == plain[1][4:]).all())


def test_leaf_ratios_are_drawn():
    """Every step draws one of them, the same one if the step is repeated; the rest of the tree stays."""
    stage = argparse.Namespace(
        section=dict(mixed_leaf_ratios=[1, 2, 4]), name="retrieval", step=0, model=tiny(),
        run=argparse.Namespace(
            generator=lambda *place: torch.Generator().manual_seed(zlib.crc32(repr(place).encode()))))

    def ratio(step):
        stage.step = step
        train.Stage.choose_ratio(stage)
        assert stage.model.shared.chunk_size == tiny().shared.chunk_size
        return stage.model.shared.leaf_ratio

    ratios = [ratio(step) for step in range(40)]
    assert set(ratios) == {1, 2, 4} and ratios == [ratio(step) for step in range(40)]


def test_a_text_stays_next_to_its_context():
    """Whatever is added to a context of text, its own chunks have the highest numbers, in order."""
    class Corpus:
        def windows(self, batch, length, generator):
            return torch.zeros(batch, length, dtype=torch.long)

    shared = models.SharedConfig(injected_layers=1, chunk_size=8)
    section = dict(batch=2, window=4, context_chunks=[3], distractors=[2, 5], chunk_numbers=20)
    run = argparse.Namespace(
        config={}, generator=lambda *place: torch.Generator().manual_seed(zlib.crc32(repr(place).encode())))
    counts = set()
    for step in range(40):
        inputs = train.text_batch(run, "retrieval", section, Corpus(), shared, step, 0, 0)
        numbers, (chunks, beside) = inputs["numbers"].tolist(), inputs["distractors"]
        assert numbers[:3] == [numbers[3] - 3, numbers[3] - 2, numbers[3] - 1]
        assert chunks.shape == (len(beside), 8) and 2 <= len(beside) <= 5
        assert len(set(beside.tolist())) == len(beside) and max(beside.tolist()) < numbers[0]
        counts.add(len(beside))
    assert counts == {2, 3, 4, 5}
    plain = train.text_batch(run, "retrieval", section | dict(context_chunks=[0]), Corpus(), shared, 0, 0, 0)
    assert "distractors" not in plain


def test_distractors_are_further_chunks():
    """Distractors count as chunks of one longer context."""
    model, generator = tiny(), torch.Generator().manual_seed(4)
    size = model.shared.chunk_size
    tokens = torch.randint(3, 60, (2, 12), generator=generator)
    context = torch.randint(3, 60, (2, 1, size), generator=generator)
    others = torch.randint(3, 60, (3, size), generator=generator)
    numbers = torch.tensor([2, 0, 3])
    with torch.no_grad():
        beside = model(tokens, context, numbers=torch.tensor([1, 4]), distractors=(others, numbers))
        longer = torch.stack((others[1], others[0], others[2])).expand(2, -1, -1)
        longer = torch.cat((longer[:, :1], context, longer[:, 1:]), 1)
        torch.testing.assert_close(beside, model(tokens, longer), rtol=0, atol=1e-5)


def test_activation_checkpointing_changes_nothing():
    gradients = []
    for on in (False, True):
        model = tiny().train()
        model.activation_checkpointing = on
        tokens = torch.randint(96, (1, 9), generator=torch.Generator().manual_seed(5))
        context = torch.randint(96, (1, 2, 32), generator=torch.Generator().manual_seed(6))
        model(tokens[:, :-1], context, labels=tokens[:, 1:])[0].backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-5) for n in gradients[0])


def test_transformers_agree():
    """A saved plain model is an ordinary checkpoint, with and without the scaling of LLaMA-3."""
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ModuleNotFoundError:
        skip("transformers is not installed")
    logging.disable_progress_bar()
    scaling = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32)
    for rope_scaling in (None, scaling):
        config = models.LlamaConfig(32, 64, 3, 4, 2, 96, tie_word_embeddings=True, rope_scaling=rope_scaling)
        model = models.SharedLlama(config).initialise(torch.Generator().manual_seed(0)).eval()
        tokens = torch.randint(96, (1, 50))
        with tempfile.TemporaryDirectory() as directory, torch.no_grad():
            models.save(directory, config, None, model.state_dict(), torch.float32)
            other = AutoModelForCausalLM.from_pretrained(directory)
            assert (model(tokens) - other(tokens).logits).abs().max() < 1e-4
            again = models.load(directory)
            assert torch.equal(again(tokens), model(tokens))


def test_safetensors():
    tensors = {"a": torch.randn(3, 5), "b": torch.arange(7).int(), "c": torch.randn(4).half()}
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "x.safetensors")
        files.write_safetensors(path, tensors)
        back = files.read_safetensors(path)
        assert all(torch.equal(tensors[n], back[n]) for n in tensors)
        try:
            from safetensors.torch import load_file
        except ModuleNotFoundError:
            skip("safetensors is not installed; only our own reader was compared")
        back = load_file(path)
        assert all(torch.equal(tensors[n], back[n]) for n in tensors)


# What follows needs a tokenizer and text.

WORDS = "the old house by the river had a door of red oak and nobody knew who kept its iron key in those days".split()


def small_corpus(directory):
    """A folder with made-up texts."""
    rng = random.Random(0)
    os.makedirs(os.path.join(directory, "text"), exist_ok=True)
    for name, count in (("train", 6), ("held", 2)):
        path = os.path.join(directory, "text", f"{name}.txt")
        documents = []
        for _ in range(count):
            lines = [" ".join(rng.choices(WORDS, k=12)) + rng.choice(".?!") + f" {rng.randrange(9999)}"
                     for _ in range(200)]
            documents.append("\n".join(lines))
        with open(path, "w", encoding="utf-8") as file:
            file.write("\0".join(documents))
    return os.path.join(directory, "text")


TINY = """
name = "test"
out = "run"
seed = 3
threads = 1
precision = "float32"
parallel = "{parallel}"
[tokenizer]
vocabulary_size = 330
byte_count = 100000
[data]
workers = 1
train = [{{ name = "train", source = "train.txt", domain = "books" }}]
held_out = [{{ name = "held", source = "held.txt", domain = "books" }}]
[model]
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 3
num_attention_heads = 2
num_key_value_heads = 1
vocab_size = 330
tie_word_embeddings = true
[sharedllm]
injected_layers = 2
chunk_size = 32
[base]
window = 32
batch = 4
accumulate = 2
steps = 8
lr = 1e-3
log_every = 1
[shared]
window = 32
batch = 4
context_chunks = [1, 2]
steps = 8
lr = 1e-3
split_noise = 0.2
trainable = ["cross_attn", "upper_self_attn"]
log_every = 1
[copying]
tree = {{ chunk_size = 16, tree_depth = 1 }}
leaf_ratios = [1, 2, 4]
optimizer = "muon"
window = 24
batch = 4
context_chunks = [2]
steps = 6
lr = 1e-3
kinds = {{ copy = 1 }}
log_every = 1
[retrieval]
window = 160
batch = 2
context_chunks = [8]
steps = 6
lr = 1e-3
split_noise = 0.1
policy = "cosine"
policy_weight = 0.1
distractors = 6
chunk_numbers = 20
kinds = {{ passkey = 1, needle = 1, repeat-after = 1, text = 1 }}
log_every = 1
[export]
type = "float32"
sharedllm = {{ chunk_size = 64 }}
"""


def prepare(directory, parallel="replicate"):
    try:
        import sentencepiece  # noqa: F401
    except ModuleNotFoundError:
        skip("sentencepiece is not installed")
    config = os.path.join(directory, "tiny.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(TINY.format(parallel=parallel))
    arguments = ["--corpus", small_corpus(directory)]
    train.main([config, "tokenizer", "data", *arguments, "--out", os.path.join(directory, "a")])
    return config, arguments


def curve(out, stage):
    with open(os.path.join(out, stage, "curve.csv"), newline="") as file:
        return [(int(r["step"]), r["loss"], r["gradient_norm"]) for r in csv.DictReader(file)]


def test_steps_of_muon_are_nearly_orthogonal():
    for shape in ((24, 64), (64, 24), (32, 32)):
        values = torch.linalg.svdvals(train.orthogonal(torch.randn(shape), torch.float32))
        assert values[: 3 * len(values) // 4].min() > 0.5 and values.max() < 1.3, values


def test_resumption_is_exact():
    """Every stage, interrupted and resumed, has the losses and the weights of an uninterrupted run."""
    with tempfile.TemporaryDirectory() as directory:
        config, arguments = prepare(directory)
        whole, parts = os.path.join(directory, "a"), os.path.join(directory, "b")
        for name in ("tokenizer.model", "tokens"):
            os.makedirs(parts, exist_ok=True)
            os.symlink(os.path.join(whole, name), os.path.join(parts, name))
        train.main([config, *train.TRAINING, *arguments, "--out", whole])
        original = train.Stage.train_step
        for stage in train.TRAINING:
            def stops(self):
                if self.step == 3 and not os.path.exists(os.path.join(self.out, "checkpoint.pt")):
                    self.stopping = True
                return original(self)

            train.Stage.train_step = stops
            try:
                train.main([config, stage, *arguments, "--out", parts])
                assert not os.path.exists(os.path.join(parts, stage, "done.json"))
                train.main([config, stage, *arguments, "--out", parts])
            finally:
                train.Stage.train_step = original
            assert curve(whole, stage) == curve(parts, stage), stage
            first = files.read_safetensors(os.path.join(whole, stage, "model", "model.safetensors"))
            second = files.read_safetensors(os.path.join(parts, stage, "model", "model.safetensors"))
            assert all(torch.equal(first[n], second[n]) for n in first), stage
        # The last weights are exported, with the layout that the config asks for.
        train.main([config, "export", *arguments, "--out", whole])
        exported = files.read_safetensors(os.path.join(whole, "export", "model.safetensors"))
        assert all(torch.equal(first[n], exported[n]) for n in first)
        assert models.read_config(os.path.join(whole, "export"))[1].chunk_size == 64
        assert models.read_config(os.path.join(whole, "retrieval", "model"))[1].chunk_size == 32


def torchrun(count, config, stages, arguments, out):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count),
         os.path.join(HERE, "train.py"), config, *stages, *arguments, "--out", out],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert result.returncode == 0, result.stdout[-3000:]


def test_several_processes():
    """Two ranks with copies and two ranks with shards make the same steps."""
    with tempfile.TemporaryDirectory() as directory:
        config, arguments = prepare(directory)
        sharded = os.path.join(directory, "fsdp.toml")
        with open(sharded, "w", encoding="utf-8") as file:
            file.write(TINY.format(parallel="fsdp"))
        curves = []
        for path, out in ((config, "a"), (sharded, "c")):
            out = os.path.join(directory, out)
            if not os.path.exists(out):
                os.makedirs(out)
                for name in ("tokenizer.model", "tokens"):
                    os.symlink(os.path.join(directory, "a", name), os.path.join(out, name))
            torchrun(2, path, ["base", "shared"], arguments, out)
            curves.append([(s, float(loss)) for stage in ("base", "shared") for s, loss, _ in curve(out, stage)])
        # Shards, saved and loaded again, are the same weights.
        weights = os.path.join(out, "shared", "model", "model.safetensors")
        first = {n: t.clone() for n, t in files.read_safetensors(weights).items()}
        os.remove(os.path.join(out, "shared", "done.json"))
        torchrun(2, sharded, ["shared"], arguments, out)
        second = files.read_safetensors(weights)
        assert all(torch.equal(first[n], second[n]) for n in first)
        assert len(curves[0]) == len(curves[1]) == 16
        for (step, one), (_, other) in zip(*curves, strict=True):
            assert abs(one - other) < 1e-3, (step, one, other)


def test_pieces_match_sentencepiece():
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory)
        import sentencepiece
        path = os.path.join(directory, "a", "tokenizer.model")
        theirs, ours = sentencepiece.SentencePieceProcessor(model_file=path), bpe.Tokenizer(path)
        for text in ("the old house", " two  spaces", "", " ", "line\n\nfeed\t7", "na\u00efve \u2603 12345", "a\u2581b",
                     *data.documents(os.path.join(directory, "text", "held.txt"))):
            assert ours.encode(text) == theirs.encode(text), text[:40]
            assert ours.decode(theirs.encode(text)) == " " * bool(text) + text.replace("\u2581", " ")


def test_tasks():
    """Samples fit, say where the answer is, and are the same for the same seed."""
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory)
        out = os.path.join(directory, "a")
        tokenizer = bpe.Tokenizer(os.path.join(out, "tokenizer.model"))
        corpus = data.Corpus(["train"], os.path.join(out, "tokens"), check=True)
        maker = tasks.Maker(tokenizer, corpus, 64, 400, {})
        for kind in (*tasks.KINDS, "text"):
            for i in range(20):
                sample = maker.sample(f"{kind}/{i}", 8, kind)
                assert sample == maker.sample(f"{kind}/{i}", 8, kind)
                assert len(sample.context) == 512 and len(sample.running) <= 400
                batch = tasks.collate([sample], 400, 64, 0.0)
                assert len(batch["labels"][0]) == 400 and len(batch["targets"][0]) == 8
                if kind == "text":
                    continue
                assert sum(t >= 0 for t in batch["targets"][0]) == len(sample.targets)
                assert all(target % 64 == 0 for target in sample.targets[1:])
                for start, end in sample.answers:
                    assert batch["labels"][0][start - 1:end - 1] == sample.running[start:end]
                assert sample.query_last < sample.answers[-1][0]
                answers = [tokenizer.decode(sample.running[a:b]).strip() for a, b in sample.answers]
                found = tokenizer.decode(sample.context[sample.targets[0]:sample.targets[0] + 48])
                if kind in tasks.ASKED_MORE_THAN_ONCE:
                    guides = batch["guides"][0]
                    places = [c * 64 + g for c, g in enumerate(guides) if g >= 0]
                    assert len(sample.guides) == len(sample.answers) > 1 and sample.targets[0] in sample.guides
                    assert places and set(places) <= set(sample.guides)
                if kind != "second-query":
                    assert found.strip().startswith(answers[-1].rstrip(".\n")[:12]), (kind, found, answers)


def test_windows_stay_in_documents():
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory)
        tokens = os.path.join(directory, "a", "tokens")
        piece = data.Piece("train", tokens)
        corpus = data.Corpus(["train"], tokens)
        length = int((piece.ends - piece.starts).min())
        windows = corpus.windows(200, length, torch.Generator().manual_seed(1))
        assert not (windows[:, :-1] == 2).any()
        data.compress("train", tokens)
        os.remove(os.path.join(tokens, "train.u16"))
        again = data.Corpus(["train"], tokens, check=True).windows(200, length, torch.Generator().manual_seed(1))
        assert torch.equal(windows, again)


# A pretrained checkpoint: tokenizer.json, chat template, tied embeddings, grouped heads.

CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
          "{{ '<|start|>system\nBe short<|end|>\n' }}{% endif %}"
          "{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>' + '\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}")


def pretrained_checkpoint(directory):
    """A folder as transformers and the hub have it, with few weights."""
    try:
        import tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM
        from transformers.utils import logging
    except ModuleNotFoundError:
        skip("transformers is not installed")
    logging.disable_progress_bar()
    text = small_corpus(directory)
    folder = os.path.join(directory, "checkpoint")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train([os.path.join(text, "train.txt")], tokenizers.trainers.BpeTrainer(
        vocab_size=360, special_tokens=["<|start|>", "<|end|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer.get_vocab()), hidden_size=48, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=512, rope_theta=100000.0,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=1)).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    files.write_json(os.path.join(folder, "tokenizer_config.json"), dict(
        tokenizer_class="GPT2Tokenizer", add_prefix_space=False, bos_token="<|start|>", eos_token="<|end|>",
        chat_template=CHATML, clean_up_tokenization_spaces=False))
    return folder, text


PRETRAINED = """
name = "test"
out = "run"
threads = 1
precision = "bfloat16"
[hardware]
minutes = 40
[tokenizer]
path = "{folder}/tokenizer.json"
[data]
workers = 1
train = [{{ name = "train", source = "train.txt", domain = "books" }}]
held_out = [{{ name = "held", source = "held.txt", domain = "books" }}]
[sharedllm]
injected_layers = 2
chunk_size = 32
[shared]
init = "{folder}"
window = 32
batch = 4
context_chunks = [1, 2]
minutes = 100
lr = 1e-3
split_noise = 0.2
trainable = ["cross_attn", "upper_self_attn"]
bos_fraction = 0.0
log_every = 1
[retrieval]
window = 200
batch = 4
context_chunks = [8]
minutes = 100
lr = 3e-3
policy = "cosine"
policy_weight = 0.1
distractors = [1, 3]
mixed_leaf_ratios = [1, 2]
chat = 0.7
workers = 1
log_every = 1
kinds = {{ passkey = 1, needle = 1, second-query = 1, copy = 1 }}
[retrieval.text]
window = 32
batch = 2
context_chunks = [0, 2]
policy = "right"
[export]
sharedllm = {{ leaf_ratio = 2 }}
[evaluate]
sharedllm = {{ leaf_ratio = 2 }}
window = 32
context_windows = [0, 1]
task_window = 200
task_chunks = [8]
kinds = ["passkey", "second-query"]
samples = 4
chat = 1.0
"""


def test_a_pretrained_checkpoint_is_trained():
    """From a folder of the hub to an export that `sharedpack convert` reads, with questions in the chat template."""
    with tempfile.TemporaryDirectory() as directory:
        folder, text = pretrained_checkpoint(directory)
        config, out = os.path.join(directory, "c.toml"), os.path.join(directory, "a")
        with open(config, "w", encoding="utf-8") as file:
            file.write(PRETRAINED.format(folder=folder))
        # The worker of a stage must see what the command line changes, here the tokenizer.
        wrong = os.path.join(directory, "wrong.toml")
        with open(wrong, "w", encoding="utf-8") as file:
            file.write(PRETRAINED.format(folder=folder).replace("/tokenizer.json", "/none.json"))
        arguments = ["all", "--corpus", text, "--out", out, "--steps", "12"]
        train.main([wrong, *arguments, "--set", f"tokenizer.path={folder}/tokenizer.json"])
        before = models.load(folder).state_dict()
        after = models.load(os.path.join(out, "shared", "model")).state_dict()
        for name, tensor in before.items():
            part = name.split(".")
            trained = "self_attn" in part and int(part[2]) >= 2
            assert torch.equal(tensor, after[name]) != trained, name
        assert all(after[f"model.layers.{i}.cross_attn.o_proj.weight"].abs().max() > 0 for i in (0, 1))
        export = os.path.join(out, "export")
        llama, shared = models.read_config(export)
        assert (llama.rope_theta, llama.num_key_value_heads, llama.tie_word_embeddings) == (100000.0, 2, True)
        assert shared.leaf_ratio == 2 and "lm_head.weight" not in models.read_weights(export)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            assert files.sha256(os.path.join(export, name)) == files.sha256(os.path.join(folder, name))
        curves = {stage: [float(loss) for _, loss, _ in curve(out, stage)] for stage in ("shared", "retrieval")}
        assert all(len(c) == 12 and sum(c[-4:]) < sum(c[:4]) for c in curves.values()), curves
        result = files.read_json(os.path.join(out, "evaluation.json"))
        assert result["sharedllm"]["leaf_ratio"] == 2 and set(result["tasks"]) == {"passkey", "second-query"}
        assert {"truncated", "context 0", "context 1"} <= set(result["perplexity"]["domains"]["books"])
        if not os.path.exists(SHAREDPACK):
            skip(f"{os.path.basename(SHAREDPACK)} is not built; the export was not converted")
        pack, document = (os.path.join(directory, name) for name in ("a.spk", "a.txt"))
        with open(document, "w", encoding="utf-8") as file:
            file.write(data.documents(os.path.join(text, "held.txt"))[0])
        for command in (["convert", export, pack],
                        ["ask", pack, "--document", document, "What is the pass key?", "--max-tokens", "4", "--json"]):
            done = subprocess.run([SHAREDPACK, *command], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]


def test_tokens_of_a_pretrained_tokenizer():
    """Those of transformers; special tokens that a text spells out stay text."""
    with tempfile.TemporaryDirectory() as directory:
        folder, text = pretrained_checkpoint(directory)
        from transformers import AutoTokenizer
        theirs = AutoTokenizer.from_pretrained(folder)
        ours = bpe.read(os.path.join(folder, "tokenizer.json"))
        assert (ours.bos, ours.eos) == (None, theirs.eos_token_id)
        for line in ("the old house 1234.", " two  spaces\n\n7\t", "", "na\u00efve \u2603"):
            assert ours.encode(line, prefix=False) == theirs.encode(line, add_special_tokens=False)
            assert ours.decode(ours.encode(line, prefix=False)) == line
        assert ours.encode("red") == ours.encode(" red", prefix=False) != ours.encode("red", prefix=False)
        assert ours.encode("<|end|>", prefix=False, special=True) == [1] != ours.encode("<|end|>", prefix=False)
        assert [ours.pieces[d] for d in ours.digits] == list("0123456789")
        ending = ours.encode("red oak.\n", prefix=False)
        assert set(ending[-2:]) <= ours.ends_sentence and ending[0] not in ours.ends_sentence
        # A tokenizer that works on characters has no piece for a line feed.
        other = os.path.join(directory, "other.json")
        vocabulary = {"<unk>": 0, "a": 1}
        files.write_json(other, dict(
            version="1.0", added_tokens=[], normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None,
            truncation=None, padding=None,
            model=dict(type="BPE", vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=False)))
        try:
            bpe.read(other)
            raise AssertionError("a tokenizer without bytes was taken")
        except SystemExit as refusal:
            assert "tokenizer.model" in str(refusal)


def test_questions_in_a_chat():
    """A conversation has the tokens that transformers gives it, trees are searched with what the product searches with,
    and the weights are on the answers and on the token that ends them."""
    with tempfile.TemporaryDirectory() as directory:
        folder, text = pretrained_checkpoint(directory)
        from transformers import AutoTokenizer
        theirs = AutoTokenizer.from_pretrained(folder)
        path, tokens = os.path.join(folder, "tokenizer.json"), os.path.join(directory, "tokens")
        data.tokenise("train", os.path.join(text, "train.txt"), "books", path, tokens, 1, log=lambda *_: None)
        tokenizer, chat = bpe.read(path), pretrained.Chat(folder)
        maker = tasks.Maker(tokenizer, data.Corpus(["train"], tokens, check=True), 64, 600, {}, 0.5, chat, 1.0)
        for kind in ("passkey", "needle", "key-value", "multi-key", "second-query", "fact-a-chunk"):
            for i in range(8):
                sample = maker.sample(f"{kind}/{i}", 8, kind)
                assert sample == maker.sample(f"{kind}/{i}", 8, kind)
                # Read the conversation back, and let transformers write it.
                turns = tokenizer.inner.decode(sample.running, skip_special_tokens=False).split("<|start|>")[2:]
                messages = [dict(zip(("role", "content"), turn.split("<|end|>")[0].split("\n", 1), strict=True))
                            for turn in turns]
                assert len(messages) == 2 * len(sample.answers) and messages[-1]["role"] == "assistant"
                whole = theirs.apply_chat_template(messages, tokenize=True, return_dict=False)
                assert whole[:-1] == sample.running, kind  # Without the line feed behind the end.
                prompts = [theirs.apply_chat_template(messages[:n], tokenize=True, add_generation_prompt=True,
                                                      return_dict=False)
                           for n in range(1, len(messages), 2)]
                assert sample.query_last + 1 in map(len, prompts)
                batch = tasks.collate([sample], 600, 64, 0.0)
                weights = batch["weights"][0]
                for prompt, lead, (start, end), message in zip(
                        prompts, sample.leads, sample.answers, messages[1::2], strict=True):
                    assert lead == (len(prompt), start) and sample.running[end - 1] == tokenizer.eos
                    value = tokenizer.decode(sample.running[start:end]).strip(' ".')
                    assert message["content"].rstrip(".").endswith(value) and value
                    assert weights[start - 1:end - 1] == [1.0] * (end - start)
                    assert weights[lead[0] - 1:start - 1] == [tasks.LEAD_WEIGHT] * (start - lead[0])
                    assert weights[lead[0] - 2] == 0
                asked = tokenizer.decode(sample.context[sample.targets[0]:sample.targets[0] + 30]).strip()
                assert any(asked.startswith(tokenizer.decode(sample.running[a:b]).strip().rstrip("."))
                           for a, b in sample.answers), (kind, asked)


def test_chat_templates_that_write_no_answers_are_refused():
    with tempfile.TemporaryDirectory() as directory:
        # The third writes a space before an answer, as LLaMA-2's does: the space belongs to the answer.
        for template, fits in (("{{ messages[0]['content'] }}", False), ("{{ raise_exception('no') }}", False),
                               ("{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% else %}"
                                "{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}", True)):
            files.write_json(os.path.join(directory, "tokenizer_config.json"), dict(
                chat_template=template, eos_token=dict(content="</s>")))
            chat = pretrained.Chat(directory)
            try:
                assert chat.parts([("q", "a"), ("r", "b")]) == (
                    [("[q]", " a"), ("</s>[r]", " b")], "</s>") and fits, template
            except ValueError:
                assert not fits, template
        files.write_json(os.path.join(directory, "tokenizer_config.json"), {})
        try:
            pretrained.Chat(directory)
            raise AssertionError("a folder without a template was taken")
        except SystemExit as refusal:
            assert "no chat template" in str(refusal)


def test_sharedpack_agrees():
    """The product computes the trainer's numbers from an exported checkpoint."""
    if not os.path.exists(SHAREDPACK):
        skip(f"{os.path.basename(SHAREDPACK)} is not built; name it with --sharedpack or SHAREDPACK")
    with tempfile.TemporaryDirectory() as directory:
        folders = []
        cases = [(mode, "bottom", own, policy) for mode in models.POSITION_MODES
                 for own, policy in ((False, "right"), (True, "cosine"))]
        cases += [("replace", place, own, "cosine") for place in ("top", "interleave") for own in (False, True)]
        for number, (mode, place, own, policy) in enumerate(cases):
            model = tiny(mode, own, seed=number, tie=number % 2 == 0, kv_heads=4 if number % 3 else 2, place=place)
            folder = os.path.join(directory, f"{mode}-{place}-{own}-{policy}")
            models.save(folder, model.config, model.shared, model.state_dict(), torch.float32)
            generator = torch.Generator().manual_seed(number)
            context = torch.randint(96, (32 * 3 + 11,), generator=generator)
            running = torch.randint(96, (14,), generator=generator)
            trees, greedy, tensors = run_case(model, context, running, policy)
            files.write_json(os.path.join(folder, "case.json"), dict(
                policy=policy, context=context.tolist(), running_text=running.tolist(), trees=trees, greedy=greedy))
            files.write_safetensors(os.path.join(folder, "expected.safetensors"), tensors)
            folders.append(folder)
        result = subprocess.run([SHAREDPACK, "golden", *folders, "--json"], stdout=subprocess.PIPE, text=True,
                                check=False)
        assert result.returncode == 0, result.stdout[-2000:]


def test_dry_run_of_every_config():
    for name in sorted(os.listdir(os.path.join(HERE, "configs"))):
        if name.endswith(".toml"):
            assert train.main([os.path.join(HERE, "configs", name), "all", "--dry-run"]) == 0


def main():
    global SHAREDPACK
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sharedpack", default=SHAREDPACK)
    parser.add_argument("names", nargs="*", help="tests to run, by default all")
    options = parser.parse_args()
    SHAREDPACK = options.sharedpack
    torch.set_num_threads(1)
    failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or options.names and name not in options.names:
            continue
        started, output = time.monotonic(), io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                test()
            print(f"passed: {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Skip as reason:
            print(f"skipped: {name}: {reason}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED: {name}\n{output.getvalue()}{traceback.format_exc()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
