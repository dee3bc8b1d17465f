"""What a stage would need: parameters, memory of each GPU, tokens per step, operations and time."""
import os

import torch

import model as models


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
    mean_chunks = sum(chunks) / len(chunks)
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


def report(run, stages):
    config = run.config
    world = config.get("hardware", {}).get("gpus", 1)
    sharded = config.get("parallel") == "fsdp"
    rate = config.get("hardware", {}).get("tflops_per_gpu", 0.03) * 1e12
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
        run.log(f"  at {rate / 1e12:g} TFLOP/s per rank  {step_seconds:.3g} s per step, "
                f"{step_tokens / step_seconds:,.0f} tokens/s, {steps:,} steps in {steps * step_seconds / 3600:.2f} h")
        run.log(f"  in all                {steps * step_tokens / 1e6:,.0f} M tokens, "
                f"{steps * step_tokens / total:.0f} per parameter, {steps * step_operations:.2e} operations")
