"""What stages would need: parameters, memory of each GPU, tokens per step, operations, time, and disk space."""
import os

import torch

import model as models
import tasks


def count(parameters):
    return sum(p.numel() for p in parameters)


def operations(model, section, trained):
    """Floating-point operations of one sequence, forward and backward.

    Matrices cost 2 operations per parameter and token forward, 2 more if gradients pass through them and 2 more if they
    are trained; attention costs 2·2·T/2·H·d forward and twice that backward.
    """
    c, shared = model.config, model.shared
    tokens = section["window"]
    layer = count(p for n, p in model.model.layers[-1].named_parameters() if p.dim() > 1)
    head = c.vocab_size * c.hidden_size
    width = c.num_attention_heads * c.head_dim
    upper = c.num_hidden_layers * layer + head
    chunks = section.get("context_chunks", [0]) if shared else [0]
    mean_chunks = mean(chunks)
    cross = shared.injected_layers * 2 * c.hidden_size * width if shared and mean_chunks else 0
    rows = mean_chunks * sum(shared.slot_rows) if shared else 0
    forward_attention = 2 * tokens * tokens * width * c.num_hidden_layers
    if shared:
        forward_attention += 4 * tokens * rows * width * shared.injected_layers
    running = tokens * (4 * (upper + cross) + 2 * min(trained, upper + cross)) + 3 * forward_attention
    if section.get("activation_checkpointing"):
        running += tokens * 2 * (upper + cross) + forward_attention
    context_tokens = mean_chunks * shared.chunk_size if shared else 0
    context = 0
    if shared:
        factor = 3 if model.lower_is_trained else 1
        searches = shared.tree_depth - 1 if section.get("policy") == "cosine" else 0
        context = factor * context_tokens * 2 * layer * (shared.injected_layers + searches)
    return running + context, tokens, context_tokens


def mean(values):
    return sum(values) / len(values)


def evaluation(run, model):
    """At most so many operations has the stage `evaluate`: perplexity at every length, and tasks with every policy."""
    section, shared = run.config.get("evaluate"), model.shared
    if not section or not shared:
        return 0
    model.lower_is_trained = True
    sequences = len(run.config["data"].get("held_out", ())) * section.get("window_limit", 40)
    windows = section["context_windows"]
    text = dict(window=section["window"], context_chunks=[w * section["window"] // shared.chunk_size for w in windows])
    asked = dict(window=section["task_window"], context_chunks=section["task_chunks"], policy="cosine")
    in_all, samples = 0, len(section.get("kinds", tasks.KINDS)) * section.get("samples", 50)
    for part, count in ((text, sequences * len(windows)),
                        (asked, samples * len(asked["context_chunks"]) * len(section.get("policies", "cra")))):
        # Forward is less than half of forward and backward.
        in_all += count * operations(model, part, 0)[0] / 2
    return in_all


def report_whole(run, stages, minutes, model, checkpoints, rate):
    """The time and the disk space of the whole run. checkpoints: bytes of each stage's."""
    config = run.config
    measured = evaluation(run, model) / rate / 60
    others = config.get("hardware", {}).get("other_minutes", 0)
    limit = config.get("hardware", {}).get("minutes")
    run.log("in all:")
    run.log(f"  time                  {minutes:.1f} min of training, {measured:.1f} of evaluation, "
            f"{others:g} of start, data and checkpoints: {minutes + measured + others:.1f} min"
            + (f" of {limit:g}" if limit else ""))
    total = count(model.parameters())
    # While a checkpoint is written, the one before it is still there.
    disk = {"checkpoints": sum(checkpoints) + max(checkpoints),
            "models": len(stages) * 4 * total + 2 * total, "tokens": tokens_on_disk(run)}
    run.log("  disk                  " + ", ".join(f"{k} {v / 1e9:.2f}" for k, v in disk.items())
            + f": {sum(disk.values()) / 1e9:.2f} GB")


def tokens_on_disk(run):
    """Two bytes a token; before texts are tokenised, a byte for every two bytes of text, which zstd makes a third."""
    size = 0
    for entry in run.config["data"].get("train", []) + run.config["data"].get("held_out", []):
        tokens, source = (os.path.join(place, entry[key] + end) for place, key, end in (
            (run.tokens, "name", ".u16"), (run.corpus, "source", "")))
        if os.path.exists(tokens):
            size += os.path.getsize(tokens)
        elif os.path.isfile(source):
            limit = entry.get("byte_limit") or run.config["data"].get("byte_limit") or float("inf")
            size += min(3 * os.path.getsize(source), limit) / 2
    return size


def report(run, stages):
    config = run.config
    world = config.get("hardware", {}).get("gpus", 1)
    sharded = config.get("parallel") == "fsdp"
    rate = config.get("hardware", {}).get("tflops_per_gpu", 0.03) * 1e12
    peak = config.get("hardware", {}).get("peak_tflops_per_gpu")
    minutes, checkpoints = 0, []
    for stage in stages:
        section = config[stage]
        shared = None if stage == "base" else run.shared_config()
        own = config.get("sharedllm", {}).get("lower_model") == "own"
        directory = run.initial_directory(stage)
        if directory and os.path.exists(os.path.join(directory, "config.json")):
            llama = models.read_config(directory)[0]
        else:
            llama = models.LlamaConfig(**config["model"])
        with torch.device("meta"):
            model = models.SharedLlama(llama, shared, own)
        trained = count(models.trainable_parameters(model, section.get("trainable", ["all"])).values())
        total = count(model.parameters())
        # A stage of tasks may also have batches of plain text.
        text = section.get("text")
        parts = [section] + ([section | {"accumulate": 1} | text] if text else [])
        batches, step_operations, running, context = [], 0, 0, 0
        for part in parts:
            accumulate = part.get("accumulate", 1)
            each, tokens, context_tokens = operations(model, part, trained)
            sequences = part["batch"] * accumulate * world
            batches.append(f"{part['batch']} x {accumulate} accumulated x {world} ranks = {sequences}")
            step_operations += each * sequences
            running += sequences * tokens
            context += sequences * context_tokens
        shards = world if sharded else 1
        low_precision = 2 if config.get("precision") == "bfloat16" else 4
        c = model.config
        layer = count(model.model.layers[0].parameters())
        # Tensors kept for the backward pass: norms, projections, the product of the MLP, and their inputs.
        of_layer = low_precision * (12 * c.hidden_size + 4 * c.intermediate_size
                                    + 2 * (c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim)
        kept = c.num_hidden_layers * of_layer
        if section.get("activation_checkpointing"):
            kept = c.num_hidden_layers * low_precision * c.hidden_size + of_layer
        most = max(part["batch"] * part["window"] for part in parts)
        context_layers = (shared.injected_layers if model.lower_is_trained else 1) if shared else 0
        memory = {
            "weights": 4 * total / shards + (2 * low_precision * layer if sharded else 0),
            "gradients": 4 * trained / shards,
            "optimizer": 8 * trained / shards,
            "activations": most * kept,
            "context": max(part["batch"] * max(part.get("context_chunks", [0])) for part in parts)
            * shared.chunk_size * of_layer * context_layers if shared else 0,
            "logits": most * c.vocab_size * (low_precision + 8),
        }
        step_seconds = step_operations / (rate * world)
        steps = section.get("steps") or int(60 * section["minutes"] / step_seconds)
        step_tokens = running + context
        run.log(f"{stage}:")
        run.log(f"  parameters            {total:,} ({trained:,} trained), float16 {2 * total / 1e6:,.1f} MB")
        run.log(f"  sequences per step    {', and of text '.join(batches)}")
        run.log(f"  tokens per step       {running:,} running text, {context:,.0f} context")
        run.log(f"  operations            {step_operations / 1e12:,.2f} T per step, "
                f"{step_operations / step_tokens / 1e6:,.0f} M per token; rows of distractors are not counted")
        run.log("  memory of each rank   " + ", ".join(f"{k} {v / 2**30:.2f}" for k, v in memory.items() if v)
                + f": {sum(memory.values()) / 2**30:.2f} GiB")
        share = f" ({100 * rate / 1e12 / peak:.1f} % of the peak)" if peak else ""
        run.log(f"  at {rate / 1e12:g} TFLOP/s per rank{share}  {step_seconds:.3g} s per step, "
                f"{step_tokens / step_seconds:,.0f} tokens/s, {steps:,} steps in {steps * step_seconds / 3600:.2f} h")
        run.log(f"  in all                {steps * step_tokens / 1e6:,.0f} M tokens, "
                f"{steps * step_tokens / total:.0f} per parameter, {steps * step_operations:.2e} operations")
        minutes += section.get("minutes", steps * step_seconds / 60)
        checkpoints.append(4 * (total + 2 * trained))
    if stages:
        report_whole(run, stages, minutes, model, checkpoints, rate)
