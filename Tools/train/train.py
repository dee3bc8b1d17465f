#!/usr/bin/env python3
"""Trains a SharedLLM: tokenizer, data, base model, SharedLLM stage, retrieval stage, export, evaluation, curves.

    python3 train.py configs/tiny-test.toml all
    python3 train.py configs/demo-gpu.toml retrieval export --minutes 9
    python3 train.py configs/smollm2-gpu.toml all
    torchrun --nproc-per-node 8 train.py configs/llama-2-7b.toml shared
    python3 train.py configs/llama-2-7b.toml shared --dry-run

A finished stage is skipped, and an interrupted one continues from its last checkpoint. Every random draw is a function
of the seed, the stage, the step, the rank and the micro-batch, so that a resumed run computes what an uninterrupted one
does.
"""
import argparse
import concurrent.futures
import csv
import dataclasses
import hashlib
import io
import math
import os
import random
import shutil
import signal
import sys
import time
import tomllib

import torch

import data
import distribution
import files
import model as models
import plan
import tasks

HERE = os.path.dirname(os.path.abspath(__file__))
STAGES = ("tokenizer", "data", "base", "shared", "copying", "retrieval", "export", "evaluate", "plot")
TRAINING = ("base", "shared", "copying", "retrieval")
EXPORT_TYPES = {"float16": torch.float16, "float32": torch.float32}


class Run:
    """A config file, and where its files are."""

    def __init__(self, path, out=None, corpus=None, started=None, changes=(), steps=None):
        self.path, self.config = path, files.read_toml(path)
        for change in changes:
            self.change(change)
        for stage in TRAINING if steps else ():
            if stage in self.config:
                self.config[stage].pop("minutes", None)
                self.config[stage]["steps"] = steps
        # How a worker in another process makes the same run.
        self.arguments = path, out, corpus, started, changes, steps
        self.out = os.path.abspath(out or os.path.join(HERE, self.config["out"]))
        self.corpus = os.path.abspath(corpus or os.path.join(HERE, self.config["data"].get("corpus", ".")))
        self.seed = self.config.get("seed", 1)
        self.started = started or time.time()
        self.deadline = None
        self.ranks = distribution.Ranks()

    def change(self, text):
        """Changes the value of a line of the config: `shared.steps=10`. A word needs no quotation marks."""
        line, _, value = text.partition("=")
        *sections, key = line.strip().split(".")
        try:
            values = self.config
            for section in sections:
                values = values[section]
            is_word = isinstance(values[key], str) and not value.startswith('"')
        except (KeyError, TypeError):
            raise SystemExit(f"--set {text}: {self.path} has no such line") from None
        try:
            values[key] = value if is_word else tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise SystemExit(f"--set {text}: {error}") from None

    def place(self, *names):
        return os.path.join(self.out, *names)

    def log(self, *words):
        if self.ranks.rank == 0:
            print(*words, flush=True)

    @property
    def tokenizer(self):
        """The one that the config names, else the trained one."""
        path = self.config["tokenizer"].get("path")
        return os.path.join(HERE, path) if path else self.place("tokenizer.model")

    @property
    def tokens(self):
        path = self.config["data"].get("tokens")
        return os.path.join(HERE, path) if path else self.place("tokens")

    def generator(self, *place):
        digest = hashlib.sha256("/".join(map(str, (self.seed, *place))).encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def shared_config(self):
        return models.SharedConfig(**{k: v for k, v in self.config["sharedllm"].items() if k != "lower_model"})

    def corpus_of(self, part, device="cpu", stage=None):
        names = [entry["name"] for entry in self.config["data"][part]]
        only = (stage or {}).get("pieces")
        return data.Corpus([n for n in names if not only or n in only], self.tokens,
                           self.config["data"].get("domain_weights"), device)

    def last_model(self):
        """The directory of the last trained stage."""
        for stage in reversed(TRAINING):
            if stage in self.config and os.path.exists(self.place(stage, "done.json")):
                return self.place(stage, "model")
        raise SystemExit("no stage is finished")

    def plain_directory(self):
        """The plain model that training starts from, if it is there."""
        first = next(stage for stage in TRAINING if stage in self.config)
        directory = self.place("base", "model") if first == "base" else self.initial_directory(first)
        is_plain = (directory and os.path.exists(os.path.join(directory, "config.json"))
                    and models.read_config(directory)[1] is None)
        return directory if is_plain else None

    def initial_directory(self, stage):
        """The model that a stage starts from: `init` of its section, else that of the stage before."""
        given = self.config[stage].get("init")
        if given:
            return os.path.join(HERE, given)
        before = [s for s in TRAINING[:TRAINING.index(stage)] if s in self.config]
        return self.place(before[-1], "model") if before else None


# Batches.

def with_begin(tokens, fraction, generator, bos):
    """Puts begin-of-text before a fraction of the windows, and drops their last token."""
    chosen = (torch.rand(len(tokens), generator=generator) < fraction).to(tokens.device)
    begun = torch.cat((torch.full_like(tokens[:, :1], bos), tokens[:, :-1]), 1)
    return torch.where(chosen[:, None], begun, tokens)


def chunk_count(run, stage, section, part, step):
    """All ranks inject the same number of chunks in a step."""
    return one_of(section.get("context_chunks", [0]), run.generator(stage, part, step, "chunks"))


def one_of(values, generator):
    return values[int(torch.randint(len(values), (1,), generator=generator))]


def text_batch(run, stage, section, corpus, shared, step, rank, micro, part="train", count=None):
    """Windows of [context | running text]; the base model has no context."""
    count = chunk_count(run, stage, section, part, step) if count is None else count
    generator = run.generator(stage, part, step, rank, micro)
    context_length = count * shared.chunk_size if shared else 0
    batch, length = section["batch"], section["window"]
    windows = corpus.windows(batch, context_length + length + 1, generator)
    distractors = distractor_count(section, generator) if count else 0
    running = with_begin(windows[:, context_length:], section.get("bos_fraction", 0.5), generator,
                         run.config.get("bos_token_id", 1))
    inputs = dict(tokens=running[:, :-1], labels=running[:, 1:])
    if count:
        inputs["context"] = windows[:, :context_length].unflatten(1, (count, shared.chunk_size))
        # What is next to the running text stays next to it, as language modelling depends on it.
        inputs |= draws(section, shared, batch, count, generator, corpus, windows.device, distractors, at_end=True)
    return inputs


def distractor_count(section, generator):
    """0 to `distractors`, or between the two numbers of a list, with every order of magnitude equally likely."""
    limit = section.get("distractors", 0)
    low, high = limit if isinstance(limit, list) else (0, limit)
    return between(low + 1, high + 2, generator) - 1 if high else 0


def draws(section, shared, batch, chunk_count, generator, corpus, device, distractors=0, at_end=False):
    """What is drawn for a context: noise on the splits, coins, chunks to add to it, and the numbers of all chunks. With
    `chunk_numbers`, half of the contexts get the numbers of some chunks of a longer context of up to that many: short
    contexts teach long distances. at_end: they are the last chunks of the longer one."""
    count = batch * chunk_count
    result = dict(policy=section.get("policy", "right"))
    if section.get("split_noise", 0):
        result["noise"] = torch.randn(count, shared.tree_depth, generator=generator).to(device)
        result["sigma"] = section["split_noise"]
    if result["policy"] == "random":
        result["coins"] = torch.rand(count, shared.tree_depth, generator=generator).to(device)
    total = chunk_count + distractors
    limit = section.get("chunk_numbers", 0)
    longer = limit > total and torch.rand((), generator=generator) < 0.5
    if longer:
        total = between(total, limit, generator)
    if longer or distractors:
        # Neighbours stay neighbours: what a boundary cuts continues in the next chunk.
        first = total - chunk_count
        if not at_end:
            first = int(torch.randint(first + 1, (1,), generator=generator))
        numbers = torch.arange(first, first + chunk_count)
        result["numbers"] = torch.cat((numbers, torch.tensor([total]))).to(device)
        if distractors:
            others = torch.randperm(total - chunk_count, generator=generator)[:distractors]
            chunks = corpus.windows(distractors, shared.chunk_size, generator)
            result["distractors"] = chunks.to(device), (others + chunk_count * (others >= first)).to(device)
    return result


def between(low, high, generator):
    """A count of at least low and less than high, with every order of magnitude equally likely."""
    return int(low * (high / low) ** torch.rand((), generator=generator, dtype=torch.double))


def make_samples(maker, seed, count, chunk_count, text_weight):
    samples = [maker.sample(f"{seed}/{i}", chunk_count) for i in range(count)]
    return {k: torch.tensor(v)
            for k, v in tasks.collate(samples, maker.running, maker.chunk_size, text_weight).items()}


_maker = None  # Of a worker.


def start_worker(run_arguments, *arguments):
    global _maker
    torch.set_num_threads(1)
    _maker = tasks.maker_of(Run(*run_arguments), *arguments)


def work(*arguments):
    return make_samples(_maker, *arguments)


class TaskBatches:
    """Batches of tasks in order, made in advance by workers."""

    def __init__(self, run, stage, section, shared, rank, first_step, part="train"):
        self.run, self.stage, self.section, self.shared, self.rank, self.part = run, stage, section, shared, rank, part
        workers = section.get("workers", 0) if part == "train" else 0
        self.pending, self.next, self.depth = {}, (first_step, 0), 3 * workers
        self.pool = self.maker = None
        arguments = (section, shared.chunk_size, part)
        self.corpus = run.corpus_of(part, stage=section) if section.get("distractors") else None
        if workers:
            self.pool = concurrent.futures.ProcessPoolExecutor(
                workers, torch.multiprocessing.get_context("spawn"), start_worker,
                (run.arguments, *arguments))
        else:
            self.maker = tasks.maker_of(run, *arguments)

    def arguments(self, step, micro, count=None):
        count = chunk_count(self.run, self.stage, self.section, self.part, step) if count is None else count
        seed = f"{self.run.seed}/{self.stage}/{self.part}/{step}/{self.rank}/{micro}"
        return seed, self.section["batch"], count, self.section.get("text_weight", 0.0)

    def get(self, step, micro):
        if not self.pool:
            return make_samples(self.maker, *self.arguments(step, micro))
        accumulate = self.section.get("accumulate", 1)
        while len(self.pending) < self.depth or (step, micro) not in self.pending:
            ahead = self.next
            self.pending[ahead] = self.pool.submit(work, *self.arguments(*ahead))
            self.next = (ahead[0], ahead[1] + 1) if ahead[1] + 1 < accumulate else (ahead[0] + 1, 0)
        return self.pending.pop((step, micro)).result()

    def inputs(self, step, micro, device, guidance=0.0, samples=None):
        """guidance: the share of samples whose trees are searched for the place of the answer."""
        batch = samples or self.get(step, micro)
        needs_guidance = bool(batch["needs_guidance"].any())
        # Copies from unpinned memory would wait until the device has done everything it was told before.
        batch = {k: (v.pin_memory() if device.type == "cuda" else v).to(device, non_blocking=True)
                 for k, v in batch.items()}
        generator = self.run.generator(self.stage, self.part, step, self.rank, micro)
        count = batch["context"].shape[1] // self.shared.chunk_size
        distractors = distractor_count(self.section, generator)
        result = dict(
            tokens=batch["tokens"], context=batch["context"].unflatten(1, (count, self.shared.chunk_size)),
            labels=batch["labels"], label_weights=batch["weights"], query_last=batch["query_last"],
            **draws(self.section, self.shared, len(batch["tokens"]), count, generator, self.corpus, device,
                    distractors))
        if self.section.get("policy_weight", 0):
            result["target"] = batch["targets"].flatten()
        if guidance or needs_guidance:
            drawn = torch.rand(len(batch["tokens"]), generator=generator).to(device) < guidance
            guided = batch["needs_guidance"] | drawn
            result["guide"] = torch.where(guided[:, None], batch["guides"], -1).flatten()
        return result

    def close(self):
        if self.pool:
            self.pool.shutdown(cancel_futures=True)


# Training.

def progress(section, step, seconds):
    """How much of the stage is done, 0 to 1: by steps, or by time spent training."""
    if "minutes" in section:
        return min(1.0, seconds / (60 * section["minutes"]))
    return min(1.0, step / section["steps"])


def learning_rate(section, done):
    """Linear warm-up, then a cosine down to a fraction of the peak. `done`: progress of the step to be taken."""
    warm, low = section.get("warmup", 0.01), section.get("min_lr_fraction", 0.1)
    if done < warm:
        return section["lr"] * max(done / warm, 1e-3)
    return section["lr"] * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * (done - warm) / max(1 - warm, 1e-9))))


def build_model(run, stage):
    """The model that a stage starts from."""
    config, section = run.config, run.config[stage]
    directory = run.initial_directory(stage)
    own = config.get("sharedllm", {}).get("lower_model", "shared") == "own"
    if stage == "base" and not directory:
        model = models.SharedLlama(models.LlamaConfig(**config["model"]))
        return model.initialise(run.generator("base", "weights"))
    shared = None if stage == "base" else run.shared_config()
    if not os.path.exists(os.path.join(directory, "config.json")):
        raise SystemExit(f"{stage} starts from {directory}, which does not exist: run the stage before, or set init")
    before, afresh = models.read_config(directory)[1], section.get("afresh", False)
    if shared and before and not afresh:
        for key in ("injected_layers", "injection_place", "position_mode"):
            if getattr(before, key) != getattr(shared, key):
                raise SystemExit(f"{directory} was trained with {key} = {getattr(before, key)}")
    # With FSDP only rank 0 holds weights; the others take their shards from it.
    meta = run.ranks.is_fsdp(config) and run.ranks.rank > 0
    return models.load(directory, shared, own if shared else None, meta=meta, afresh=afresh)


def orthogonal(matrices, type):
    """Approximately the nearest matrices with orthonormal rows or columns, by five Newton-Schulz steps."""
    x = matrices.to(type)
    if x.shape[-2] > x.shape[-1]:
        return orthogonal(x.mT, type).mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        products = x @ x.mT
        x = 3.4445 * x + (-4.775 * products + 2.0315 * products @ products) @ x
    return x


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum (Jordan et al. 2024), in steps of the size that AdamW would make, so that one learning
    rate serves both. torch has one that multiplies in bfloat16 only, which takes thirty times as long on a processor
    without bfloat16 products."""

    def __init__(self, parameters, lr, weight_decay, momentum=0.95):
        super().__init__(parameters, dict(lr=lr, weight_decay=weight_decay, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            # Matrices of equal shape are computed together, as one small matrix leaves a GPU idle.
            alike = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                alike.setdefault(parameter.shape, []).append(
                    (parameter, parameter.grad.lerp(momentum, group["momentum"])))
            for shape, pairs in alike.items():
                parameters, directions = zip(*pairs, strict=True)
                updates = orthogonal(torch.stack(directions),
                                     torch.bfloat16 if parameters[0].is_cuda else torch.float32)
                for parameter, update in zip(parameters, updates.to(parameters[0].dtype), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(update, alpha=group["lr"] * 0.2 * math.sqrt(max(shape)))


class Optimizers:
    """Several optimizers as one."""

    def __init__(self, *parts):
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]

    def step(self):
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none=True):
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self):
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states):
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
        # Loading replaces the groups.
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def make_optimizer(section, trained, sharded):
    """AdamW; or with `optimizer = "muon"` Muon for the matrices of the layers and AdamW for the rest."""
    kind = section.get("optimizer", "adamw")
    if kind not in ("adamw", "muon") or kind == "muon" and sharded:
        raise SystemExit(f"optimizer {kind} is neither adamw nor, with weights that are not sharded, muon")
    decay = section.get("weight_decay", 0.1)
    matrices = {n: p for n, p in trained.items() if kind == "muon" and p.dim() > 1 and ".layers." in n}
    rest = {n: p for n, p in trained.items() if n not in matrices}
    decayed = [p for n, p in rest.items() if p.dim() > 1 and "embed_tokens" not in n]
    kept = [p for n, p in rest.items() if p.dim() == 1 or "embed_tokens" in n]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": kept, "weight_decay": 0.0}]
    parts = []
    if matrices:
        parts.append(Muon(matrices.values(), section["lr"], decay))
    if rest:
        parts.append(torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=section["lr"], betas=tuple(section.get("betas", (0.9, 0.95))),
            eps=section.get("eps", 1e-8), fused=not sharded))
    return parts[0] if len(parts) == 1 else Optimizers(*parts)


class Stage:
    """One training stage: the loop, its checkpoints and its curve."""

    def __init__(self, run, name):
        self.run, self.name, self.section = run, name, run.config[name]
        self.ranks, self.out = run.ranks, run.place(name)
        os.makedirs(self.out, exist_ok=True)
        self.device = self.ranks.device
        self.model = build_model(run, name)
        self.model.activation_checkpointing = self.section.get("activation_checkpointing", False)
        self.trained = models.trainable_parameters(self.model, self.section.get("trainable", ["all"]))
        self.model, self.trained = self.ranks.place(self.model, run.config)
        if "tree" in self.section:
            # Weights do not depend on the shape of the trees that they are trained with.
            self.model.shared = dataclasses.replace(self.model.shared, **self.section["tree"])
        self.shared = self.model.shared
        self.optimizer = make_optimizer(self.section, self.trained, self.ranks.fsdp)
        taught_by = self.section.get("text", {}).get("teacher")
        self.teacher = models.load(os.path.join(HERE, taught_by)).to(self.device).eval() if taught_by else None
        self.step, self.seconds, self.tokens, self.rows, self.evaluations = 0, 0.0, 0, [], []
        self.stopping = False
        from torch import _dynamo
        _dynamo.config.cache_size_limit = 64
        self.compiles = self.section.get("compile", run.config.get("compile", False))
        if self.compiles == "model":
            # Worth the minutes on a CPU, where every pass over memory that is saved counts.
            self.model.compile(dynamic=False)
        elif self.compiles:
            # Layer by layer: all layers share a graph, which takes seconds where the whole model takes minutes. If the
            # number of rows is drawn, graphs must accept any number.
            dynamic = True if {"distractors", "mixed_leaf_ratios"} & set(self.section) else None
            for module in self.model.modules():
                if isinstance(module, models.Layer):
                    module.compile(dynamic=dynamic)

    # Checkpoints.

    def digest(self):
        """Of what must not change between a checkpoint and its resumption."""
        kept = {k: self.run.config.get(k) for k in ("seed", "model", "sharedllm", "precision")}
        section = {k: v for k, v in self.section.items()
                   if k not in ("log_every", "evaluate_every", "checkpoint_minutes", "workers", "steps", "minutes")}
        text = repr(sorted(kept.items(), key=str)) + repr(sorted(section.items())) + str(self.ranks.size)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self):
        meta = dict(step=self.step, seconds=self.seconds, tokens=self.tokens, rows=self.rows, digest=self.digest(),
                    evaluations=self.evaluations)
        begun = time.time()
        self.ranks.save(os.path.join(self.out, "checkpoint"), self.model, self.optimizer, meta)
        self.saved_at = time.time()
        self.save_seconds = self.saved_at - begun
        if self.ranks.rank == 0:
            self.write_curves()

    def resume(self):
        meta = self.ranks.load(os.path.join(self.out, "checkpoint"), self.model, self.optimizer)
        if not meta:
            return
        if meta["digest"] != self.digest():
            raise SystemExit(f"{self.out}/checkpoint is of another configuration; remove it to start anew")
        self.step, self.seconds, self.tokens = meta["step"], meta["seconds"], meta["tokens"]
        self.rows, self.evaluations = meta["rows"], meta["evaluations"]
        self.run.log(f"{self.name}: resumes at step {self.step}")

    def write_curves(self):
        for name, rows in (("curve", self.rows), ("evaluations", self.evaluations)):
            if not rows:
                continue

            def write(file, rows=rows):
                text = io.StringIO()
                writer = csv.DictWriter(text, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
                file.write(text.getvalue().encode())

            files.publish(os.path.join(self.out, f"{name}.csv"), write)

    # The loop.

    def autocast(self):
        # The cache would hand weights that were cast without gradients to a pass that needs gradients.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False,
                              enabled=self.run.config.get("precision") == "bfloat16" and not self.ranks.fsdp)

    def micro_batches(self):
        """How many batches of tasks and how many of plain text a step adds up; a stage without tasks has only text."""
        count = self.section.get("accumulate", 1)
        return (count, self.section.get("text", {}).get("accumulate", 1) if "text" in self.section else 0) \
            if "kinds" in self.section else (0, count)

    def inputs(self, step, micro, part="train", count=None):
        """A micro-batch; those of tasks come first."""
        if micro < self.micro_batches()[0]:
            batches = self.batches if part == "train" else self.held_batches
            samples = None
            if count is not None:
                maker = tasks.maker_of(self.run, self.section, self.shared.chunk_size, part)
                samples = make_samples(maker, *batches.arguments(step, micro, count))
            first, last = self.section.get("guidance", (0.0, 0.0)) if part == "train" else (0.0, 0.0)
            done = progress(self.section, self.step, self.seconds)
            return batches.inputs(step, micro, self.device, first + (last - first) * done, samples)
        section = self.section | self.section.get("text", {})
        corpus = self.corpus if part == "train" else self.held_out
        rank = self.ranks.rank if part == "train" else 0
        inputs = text_batch(self.run, self.name, section, corpus, self.shared, step, rank, micro, part, count)
        if self.teacher and part == "train":
            with torch.no_grad(), self.autocast():
                # The teacher sees no distractors.
                inputs["teacher"] = self.teacher(
                    **{k: v for k, v in inputs.items() if k not in ("labels", "distractors", "numbers")})
        return inputs

    def open_data(self):
        where = self.device if self.device.type == "cuda" and self.run.config["data"].get("on_device", True) else "cpu"
        if "kinds" in self.section:
            self.batches = TaskBatches(self.run, self.name, self.section, self.shared, self.ranks.rank, self.step)
            if self.run.config["data"].get("held_out"):
                self.held_batches = TaskBatches(self.run, self.name, self.section, self.shared, 0, 0, "held_out")
        if self.micro_batches()[1]:
            self.corpus = self.run.corpus_of("train", where, self.section)
            if self.run.config["data"].get("held_out"):
                self.held_out = self.run.corpus_of("held_out", where)

    def compile_all(self):
        """Compiles for every number of chunks before the clock starts, and throws the gradients away."""
        tasks_count, text_count = self.micro_batches()
        firsts = [(0, self.section)] if tasks_count else []
        firsts += [(tasks_count, self.section | self.section.get("text", {}))] if text_count else []
        for micro, section in firsts:
            for count in dict.fromkeys(section.get("context_chunks", [0]) if self.shared else [0]):
                with self.autocast():
                    losses, weights, policy_loss = self.model(**self.inputs(0, micro, count=count))
                (losses + weights + policy_loss).backward()
        self.optimizer.zero_grad(set_to_none=True)

    def choose_ratio(self):
        """With `leaf_ratios`, the stage has them one after the other, in equal parts: copying is learnt while every row
        is kept, and compression after it. With `mixed_leaf_ratios`, every step draws one."""
        ratios, mixed = self.section.get("leaf_ratios"), self.section.get("mixed_leaf_ratios")
        if ratios:
            done = progress(self.section, self.step, self.seconds)
            ratio = ratios[min(int(done * len(ratios)), len(ratios) - 1)]
        elif mixed:
            ratio = one_of(mixed, self.run.generator(self.name, self.step, "ratio"))
        else:
            return
        self.model.shared = dataclasses.replace(self.model.shared, leaf_ratio=ratio)

    def train_step(self):
        """One optimizer step. Returns the loss, the policy's loss and the norm of the gradients."""
        self.choose_ratio()
        accumulate = sum(self.micro_batches())
        rate = learning_rate(self.section, max(progress(self.section, self.step + 1, self.seconds), 0))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        total = torch.zeros(2, device=self.device)
        for micro in range(accumulate):
            inputs = self.inputs(self.step, micro)
            with self.autocast():
                losses, weights, policy_loss = self.model(**inputs)
                mean = losses / weights.clamp_min(1)
                loss = mean + self.section.get("policy_weight", 0.0) * policy_loss
            (loss / accumulate).backward()
            total += torch.stack((mean.detach(), policy_loss.detach().float())) / accumulate
            self.tokens += self.ranks.size * (inputs["tokens"].numel()
                                              + (inputs["context"].numel() if "context" in inputs else 0))
        self.ranks.average_gradients(self.trained.values())
        norm = self.ranks.clip(self.trained.values(), self.section.get("clip", 1.0))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return self.ranks.average(total), norm, rate

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        if "mixed_leaf_ratios" in self.section:
            self.model.shared = self.shared
        total = torch.zeros(2, device=self.device)
        for i in range(self.section.get("evaluate_batches", 4)):
            inputs = self.inputs(i, 0, "held_out")
            for key in ("noise", "sigma", "target"):
                inputs.pop(key, None)
            # Compiling a graph for a few batches costs more than it saves.
            with self.autocast(), torch.compiler.set_stance("force_eager"):
                losses, weights, _ = self.model(**inputs)
            total += torch.stack((losses.float(), weights))
        self.model.train()
        loss = float(total[0] / total[1])
        self.evaluations.append(dict(step=self.step, seconds=round(self.seconds, 1), tokens=self.tokens, loss=loss))
        self.run.log(f"{self.name}: step {self.step}, held-out loss {loss:.4f}")

    def train(self):
        """Returns whether the stage is finished; false if time ran out."""
        self.resume()
        self.open_data()
        self.model.train()
        self.saved_at, self.save_seconds, longest = time.time(), 2.0, 0.0
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        every, evaluate_every = self.section.get("log_every", 10), self.section.get("evaluate_every", 0)
        if self.compiles:
            self.compile_all()
        last_time = mark = time.time()
        first, last_tokens = self.step, self.tokens
        if self.step == 0:
            self.run.log(f"{self.name}: {sum(p.numel() for p in self.model.parameters()):,} parameters, "
                         f"{sum(p.numel() for p in self.trained.values()):,} trained, {self.ranks.device_name}")
        sums, count = torch.zeros(2, device=self.device), 0
        while progress(self.section, self.step, self.seconds) < 1:
            begun = time.time()
            losses, norm, rate = self.train_step()
            sums, count = sums + losses, count + 1
            self.step += 1
            logs = self.step % every == 0 or progress(self.section, self.step, self.seconds) >= 1
            # Waiting for the device at every step would leave it idle between steps.
            if self.device.type == "cuda" and (logs or self.step == first + 1):
                torch.cuda.synchronize()
            now = time.time()
            # The first step after a start or a resumption compiles; the schedule does not count it.
            if self.step > first + 1:
                self.seconds += now - mark
            else:
                last_time, last_tokens = now, self.tokens
            mark = now
            longest = max(longest, now - begun)
            if logs:
                rate_of_tokens = (self.tokens - last_tokens) / max(now - last_time, 1e-9)
                loss, policy_loss = (sums / count).tolist()
                if loss != loss:
                    raise SystemExit(f"{self.name}: the loss is not a number at step {self.step}")
                self.rows.append(dict(
                    step=self.step, seconds=round(self.seconds, 2), tokens=self.tokens, loss=loss,
                    policy_loss=policy_loss, lr=rate, gradient_norm=float(norm),
                    tokens_per_second=round(rate_of_tokens)))
                percent = 100 * progress(self.section, self.step, self.seconds)
                self.run.log(f"{self.name}: step {self.step}, {percent:.1f} %, loss {loss:.4f}"
                             + (f", policy {policy_loss:.4f}" if policy_loss else "")
                             + f", norm {float(norm):.2f}, lr {rate:.2e}, {rate_of_tokens:,.0f} tokens/s")
                sums, count = torch.zeros(2, device=self.device), 0
                last_time, last_tokens = now, self.tokens
            if evaluate_every and self.step % evaluate_every == 0:
                self.evaluate()
            limit = self.run.deadline and now + 2 * self.save_seconds + longest + 5 > self.run.deadline
            self.seconds, stop, due = self.ranks.agree(
                self.seconds, bool(limit or self.stopping),
                now - self.saved_at > 60 * self.section.get("checkpoint_minutes", 5))
            if stop and progress(self.section, self.step, self.seconds) < 1:
                self.save()
                self.close()
                self.run.log(f"{self.name}: stopped at step {self.step}; run again to continue")
                return False
            if due:
                self.save()
        if evaluate_every and (not self.evaluations or self.evaluations[-1]["step"] != self.step):
            self.evaluate()
        self.finish()
        return True

    def close(self):
        if "kinds" in self.section:
            self.batches.close()

    def finish(self):
        self.save()
        state = self.ranks.full_state(self.model)
        if self.ranks.rank == 0:
            source = self.run.initial_directory(self.name)
            shared = None if self.shared is None else self.run.shared_config()
            models.save(os.path.join(self.out, "model"), self.model.config, shared, state,
                        EXPORT_TYPES[self.section.get("save_as", "float32")], source)
            tail = [r["loss"] for r in self.rows[-10:]]
            counted = sum(p.numel() for p in self.model.parameters())
            files.write_json(os.path.join(self.out, "done.json"), dict(
                stage=self.name, steps=self.step, tokens=self.tokens, seconds=round(self.seconds, 1),
                loss=sum(tail) / max(len(tail), 1),
                held_out_loss=self.evaluations[-1]["loss"] if self.evaluations else None,
                parameters=counted, trained_parameters=sum(p.numel() for p in self.trained.values()),
                tokens_per_second=round(self.tokens / max(self.seconds, 1e-9)), device=self.ranks.device_name,
                ranks=self.ranks.size, torch=torch.__version__))
        self.ranks.wait()
        self.close()


# The other stages.

def make_tokenizer(run):
    if run.config["tokenizer"].get("path") or os.path.exists(run.tokenizer):
        return
    section = run.config["tokenizer"]
    sources = [os.path.join(run.corpus, e["source"]) for e in run.config["data"]["train"]]
    data.train_tokenizer(sources, run.tokenizer, section["vocabulary_size"], section.get("byte_count", 20e6),
                         run.config["data"].get("byte_limit"))
    run.log(f"tokenizer: {section['vocabulary_size']} pieces")


def make_data(run):
    section = run.config["data"]
    for part in ("train", "held_out"):
        for entry in section.get(part, []):
            data.tokenise(entry["name"], os.path.join(run.corpus, entry["source"]), entry["domain"], run.tokenizer,
                          run.tokens, section.get("workers", os.cpu_count()),
                          entry.get("byte_limit", section.get("byte_limit")), run.log)
            if section.get("compress") and not os.path.exists(os.path.join(run.tokens, f"{entry['name']}.u16.xz")):
                run.log(f"{entry['name']}: {data.compress(entry['name'], run.tokens):,} bytes compressed")


def export(run):
    """The last stage's model with its tokenizer, for `sharedpack convert` and transformers."""
    section, source = run.config.get("export", {}), run.last_model()
    config, shared = models.read_config(source)
    if shared and "sharedllm" in section:
        # Weights do not depend on the size of chunks, which may differ from that in training.
        shared = dataclasses.replace(shared, **section["sharedllm"])
    directory = run.place("export")
    dtype = EXPORT_TYPES[section.get("type", "float16")]
    models.save(directory, config, shared, models.read_weights(source), dtype, source)
    if os.path.exists(run.tokenizer) and run.tokenizer.endswith(".model"):
        shutil.copyfile(run.tokenizer, os.path.join(directory, "tokenizer.model"))
        files.write_json(os.path.join(directory, "tokenizer_config.json"), dict(
            tokenizer_class="LlamaTokenizer", add_bos_token=True, add_eos_token=False, bos_token="<s>",
            eos_token="</s>", unk_token="<unk>", legacy=True, clean_up_tokenization_spaces=False))
    size = os.path.getsize(os.path.join(directory, "model.safetensors"))
    run.log(f"export: {size:,} bytes of weights in {directory}")


def plot(run):
    """Learning curves as PNG; skipped with a message if matplotlib is missing."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        run.log("skipped: plot: matplotlib is not installed")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot
    for stage in TRAINING:
        path = run.place(stage, "curve.csv")
        if not os.path.exists(path):
            continue
        figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(9, 7), sharex=True, height_ratios=(3, 1))
        for name, label in (("curve", "training"), ("evaluations", "held out")):
            path = run.place(stage, f"{name}.csv")
            if not os.path.exists(path):
                continue
            with open(path, newline="") as file:
                rows = list(csv.DictReader(file))
            tokens = [int(r["tokens"]) / 1e6 for r in rows]
            top.plot(tokens, [float(r["loss"]) for r in rows], label=label, linewidth=1,
                     marker=None if name == "curve" else "o", markersize=4)
            if name == "curve":
                if any(float(r["policy_loss"]) for r in rows):
                    top.plot(tokens, [float(r["policy_loss"]) for r in rows], label="policy", linewidth=1)
                bottom.plot(tokens, [float(r["lr"]) for r in rows], color="grey")
        top.set_title(f"{run.config['name']}: {stage}")
        top.set_ylabel("loss, nats per token")
        top.grid(alpha=0.3)
        top.legend()
        bottom.set_ylabel("learning rate")
        bottom.set_xlabel("tokens, millions")
        figure.tight_layout()
        figure.savefig(run.place(stage, "curve.png"), dpi=110)
        pyplot.close(figure)
        run.log(f"plot: {run.place(stage, 'curve.png')}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("stages", nargs="+", choices=(*STAGES, "all"))
    parser.add_argument("--minutes", type=float, help="save a checkpoint and stop before this much time has passed")
    parser.add_argument("--steps", type=int, help="train every stage for this many steps, for a trial")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="changes",
                        help="change a line of the config; repeatable")
    parser.add_argument("--out", help="folder of the run, instead of the config's")
    parser.add_argument("--corpus", help="folder of the corpus, instead of the config's")
    parser.add_argument("--dry-run", action="store_true", help="print what a stage would need, and do nothing")
    options = parser.parse_args(arguments)
    run = Run(options.config, options.out, options.corpus, time.time(), options.changes, options.steps)
    stages = STAGES if "all" in options.stages else [s for s in STAGES if s in options.stages]
    if options.dry_run:
        plan.report(run, [s for s in stages if s in TRAINING and s in run.config])
        return 0
    torch.set_num_threads(run.config.get("threads", max(1, (os.cpu_count() or 2) // 2)))
    torch.manual_seed(run.seed)
    random.seed(run.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    run.deadline = options.minutes and run.started + 60 * options.minutes
    run.ranks.start(run.config)
    try:
        for stage in stages:
            if run.deadline and time.time() + 10 > run.deadline:
                run.log(f"{stage}: no time left; run again to continue")
                break
            if stage in TRAINING:
                if stage not in run.config or os.path.exists(run.place(stage, "done.json")):
                    continue
                if not Stage(run, stage).train():
                    break
            elif run.ranks.rank == 0:
                if stage == "evaluate":
                    import evaluate
                    evaluate.run_stage(run)
                else:
                    {"tokenizer": make_tokenizer, "data": make_data, "export": export, "plot": plot}[stage](run)
            run.ranks.wait()
    finally:
        run.ranks.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
