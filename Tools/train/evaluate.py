"""Quick measurements on held-out text: perplexity by the paper's protocol, and how often tasks are answered.

Perplexity: a running text of T tokens, its last 256 predicted tokens scored, and 0, 1, 2, 4 … windows of T tokens of
the same document before it as the context. The same tokens are scored for every length. There is no begin-of-text
token. The truncated baseline, the plain model that training started from, reads the running text only.
"""
import dataclasses
import math
import os

import torch

import data
import files
import model as models
import tasks

SCORED = 256


@torch.no_grad()
def losses(model, running, context, scored, autocast, policy):
    """Mean loss of each sequence over its last scored tokens. running: (B, T + 1)."""
    with autocast():
        memory = None
        if context is not None:
            query = model.embed_query(running[:, :-1]) if policy == "cosine" else None
            memory = model.memorise(context, policy, query)[0]
        logits = model.logits(model.hidden(running[:, :-1], memory)[:, -scored:]).float()
    return torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), running[:, -scored:], reduction="none").mean(1).cpu()


def bootstrap(values, generator):
    """95 % interval of the mean."""
    picks = torch.randint(len(values), (1000, len(values)), generator=generator)
    return torch.quantile(values[picks].mean(1), torch.tensor([0.025, 0.975], dtype=values.dtype)).tolist()


def perplexity(run, section, model, plain, autocast):
    window = section["window"]
    scored = min(SCORED, window)
    device = run.ranks.device
    result = {}
    for entry in run.config["data"]["held_out"]:
        piece = data.Piece(entry["name"], run.tokens)
        longest = max(section["context_windows"])
        ends = data.evaluation_ends(piece, (longest + 1) * window + 1, section.get("windows_per_document", 4),
                                    section.get("window_limit", 40))
        if not ends:
            result[entry["domain"]] = dict(windows=0)
            continue
        sums = {}
        batch = section.get("batch", 4)
        for at in range(0, len(ends), batch):
            part = ends[at:at + batch]
            texts = torch.tensor([piece.read(e - (longest + 1) * window - 1, e) for e in part], device=device)
            running = texts[:, -window - 1:]
            if plain is not None:
                sums.setdefault("truncated", []).append(losses(plain, running, None, scored, autocast, None))
            for count in section["context_windows"]:
                length = count * window // model.shared.chunk_size * model.shared.chunk_size
                # The token before the first target is the running text's own, so the context ends before it.
                context = texts[:, -window - 1 - length:-window - 1].unflatten(
                    1, (-1, model.shared.chunk_size)) if length else None
                sums.setdefault(f"context {count}", []).append(
                    losses(model, running, context, scored, autocast, section.get("policy", "right")))
        domain = dict(windows=len(ends))
        for name, parts in sums.items():
            values = torch.cat(parts).double()
            low, high = bootstrap(values, torch.Generator().manual_seed(0))
            domain[name] = dict(perplexity=math.exp(values.mean()), low=math.exp(low), high=math.exp(high))
            run.log(f"perplexity, {entry['domain']}, {name}: {domain[name]['perplexity']:.3f} "
                    f"({domain[name]['low']:.3f} to {domain[name]['high']:.3f}, {len(ends)} windows)")
        result[entry["domain"]] = domain
    return result


@torch.no_grad()
def answer(model, batch, policy, autocast):
    """Whether greedy decoding gives each sample's last answer.

    The right answer is fed in. If each of its tokens is the most likely one, greedy decoding gives the same tokens.
    """
    with autocast():
        query = model.embed_query(batch["tokens"], batch["query_last"]) if policy == "cosine" else None
        memory = model.memorise(batch["context"], policy, query)[0] if policy != "no context" else None
        logits = model.logits(model.hidden(batch["tokens"], memory))
    right = (logits.argmax(-1) == batch["labels"]) | (batch["scored"] == 0)
    return right.all(1).tolist()


def retrieval(run, section, model, autocast):
    """Share of tasks answered, by kind, number of chunks and policy, on held-out text."""
    count, window, batch_size = section.get("samples", 50), section["task_window"], section.get("batch", 4)
    maker = tasks.maker_of(run, dict(section, window=window, kinds={}), model.shared.chunk_size, "held_out")
    device = run.ranks.device
    result = {}
    for kind in section.get("kinds", tasks.KINDS):
        result[kind] = {}
        for chunks in section["task_chunks"]:
            samples = [maker.sample(f"evaluate/{kind}/{chunks}/{i}", chunks, kind) for i in range(count)]
            right = {}
            for at in range(0, count, batch_size):
                part = samples[at:at + batch_size]
                batch = tasks.collate(part, window, model.shared.chunk_size, 0.0)
                batch = {k: torch.tensor(v, device=device) for k, v in batch.items()}
                batch["context"] = batch["context"].unflatten(1, (chunks, model.shared.chunk_size))
                # Only the last answer is scored, without what follows it.
                scored = torch.zeros_like(batch["labels"])
                for i, s in enumerate(part):
                    start, end = s.answers[-1]
                    first = [maker.tokenizer.pieces[token][0] for token in s.running]
                    end = next((e for e in range(start + 1, end) if first[e] in ".<"), end)
                    scored[i, start - 1:end - 1] = 1
                batch["scored"] = scored
                for policy in section.get("policies", ["cosine", "right", "no context"]):
                    right.setdefault(policy, []).extend(answer(model, batch, policy, autocast))
            result[kind][str(chunks)] = {p: sum(r) / count for p, r in right.items()}
            run.log(f"{kind}, {chunks} chunks: " + ", ".join(
                f"{p} {v:.2f}" for p, v in result[kind][str(chunks)].items()))
    return result


def run_stage(run):
    section = run.config["evaluate"]
    device = run.ranks.device
    source = run.last_model()
    model = models.load(source).to(device).eval()
    if model.shared and "sharedllm" in section:
        model.shared = dataclasses.replace(model.shared, **section["sharedllm"])
    # The truncated baseline.
    plain = run.plain_directory()
    if plain:
        plain = models.load(plain).to(device).eval()

    def autocast():
        return torch.autocast(device.type, torch.bfloat16, enabled=run.config.get("precision") == "bfloat16"
                              and device.type == "cuda")

    result = dict(model=os.path.relpath(source, run.out), device=run.ranks.device_name)
    if model.shared:
        result["sharedllm"] = dataclasses.asdict(model.shared)
        result["perplexity"] = dict(
            protocol=dict(window=section["window"], scored=min(SCORED, section["window"]),
                          begin_of_text=False, policy=section.get("policy", "right")),
            domains=perplexity(run, section, model, plain, autocast))
        result["tasks"] = retrieval(run, section, model, autocast)
    files.write_json(run.place("evaluation.json"), result)
