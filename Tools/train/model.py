"""LLaMA and SharedLLM (arXiv 2410.19318).

Tensor names are Hugging Face's; `cross_attn` and `encoder` are those of the authors' checkpoints. Shapes: B sequences,
T tokens of running text, n chunks of L tokens, D hidden size, H heads, G key-value heads, d head dim, R injected rows.

The preserved nodes of a chunk partition it, so the lower model encodes the nodes of all chunks in one pass under a
block-diagonal causal mask, at positions that start at 0 in every node.
"""
import dataclasses
import math
import os
import shutil

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import files

INJECTION_PLACES = ("bottom", "top", "interleave")
POSITION_MODES = ("replace", "compose", "compose+1", "local", "none")
POLICIES = ("right", "left", "random", "cosine")


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    head_dim: int = 0
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    max_position_embeddings: int = 2048
    tie_word_embeddings: bool = False
    rope_scaling: dict | None = None
    bos_token_id: int = 1
    eos_token_id: int | list = 2

    def __post_init__(self):
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.num_attention_heads % self.num_key_value_heads or self.head_dim % 2:
            raise ValueError("key-value heads must divide heads, and the head dim must be even")

    @staticmethod
    def read(values):
        """From `config.json`, with transformers' defaults. Raises ValueError for what this code does not compute."""
        if values.get("model_type", "llama") != "llama" or values.get("hidden_act", "silu") != "silu":
            raise ValueError("only LLaMA with silu can be trained")
        if values.get("attention_bias") or values.get("mlp_bias") or values.get("quantization_config"):
            raise ValueError("biases and quantized weights cannot be trained")
        values = dict(values)
        rope = dict(values.get("rope_parameters") or values.get("rope_scaling") or {})
        values["rope_theta"] = rope.pop("rope_theta", values.get("rope_theta", 10000.0))
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind not in ("default", "linear", "llama3"):
            raise ValueError(f"rope type {kind} cannot be trained")
        values["rope_scaling"] = None if kind == "default" else rope
        values.setdefault("num_key_value_heads", values["num_attention_heads"])
        values["rms_norm_eps"] = values.get("rms_norm_eps", 1e-6)
        names = {field.name for field in dataclasses.fields(LlamaConfig)}
        return LlamaConfig(**{k: v for k, v in values.items() if k in names and (v is not None or k == "rope_scaling")})

    def json(self):
        values = {k: v for k, v in dataclasses.asdict(self).items() if v is not None}
        return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", **values}


@dataclasses.dataclass(frozen=True)
class SharedConfig:
    """M, L, h, the ratio at the deepest level, and how queries and rows are rotated."""
    injected_layers: int
    chunk_size: int
    tree_depth: int = 3
    leaf_ratio: int = 4
    position_mode: str = "replace"
    injection_place: str = "bottom"

    def __post_init__(self):
        if self.injection_place not in INJECTION_PLACES:
            raise ValueError(f"injection place {self.injection_place} is not one of {', '.join(INJECTION_PLACES)}")
        if self.position_mode not in POSITION_MODES:
            raise ValueError(f"position mode {self.position_mode} is not one of {', '.join(POSITION_MODES)}")

    def readers(self, layers):
        """Which of the upper model's layers read the rows of the lower model's layers, in their order."""
        m = self.injected_layers
        return {"bottom": range(m), "top": range(layers - m, layers),
                "interleave": [i * layers // m for i in range(m)]}[self.injection_place]

    def ratio(self, level):
        return self.leaf_ratio << (self.tree_depth - level)

    def rows(self, length, level):
        return max(1, -(-length // self.ratio(level)))

    @property
    def slot_rows(self):
        """Rows of each preserved node of a whole chunk, coarse ones first."""
        levels = [*range(1, self.tree_depth + 1), self.tree_depth]
        return [self.rows(self.chunk_size >> level, level) for level in levels]

    def angles(self, chunk, position, chunk_count):
        """The angles of keys, and the angle of queries."""
        match self.position_mode:
            case "replace":
                return chunk, chunk_count
            case "compose":
                return chunk + position, chunk_count
            case "compose+1":
                return chunk + position, chunk_count + 1
            case "local":
                return position, chunk_count + 1
            case _:
                return position, torch.zeros_like(chunk_count)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        y = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


def inverse_frequencies(config, device):
    d = config.head_dim
    frequencies = 1.0 / config.rope_theta ** (torch.arange(0, d, 2, device=device, dtype=torch.float32) / d)
    scaling = config.rope_scaling
    if not scaling:
        return frequencies
    if scaling.get("rope_type", scaling.get("type")) == "linear":
        return frequencies / scaling["factor"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * frequencies / scaling["factor"] + smooth * frequencies


def rotary(config, positions):
    """cos and sin for every position and channel: (..., d)."""
    angles = positions[..., None].float() * inverse_frequencies(config, positions.device)
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotate(x, table):
    """x: (B, heads, T, d); table: cos and sin, (B or none, T, d)."""
    cos, sin = (t if t.dim() == 2 else t.unsqueeze(1) for t in table)
    half = x.shape[-1] // 2
    quarter_turn = torch.cat((-x[..., half:], x[..., :half]), -1)
    return (x * cos + quarter_turn * sin).to(x.dtype)


def attend(query, key, value, mask=None, causal=False):
    """Query head q reads key-value head q·G/H."""
    group = query.shape[1] // key.shape[1]
    if group > 1:
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    out = F.scaled_dot_product_attention(query, key, value.to(query.dtype), attn_mask=mask, is_causal=causal)
    return out.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.q_proj = nn.Linear(c.hidden_size, c.num_attention_heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)


class CrossAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.q_proj = nn.Linear(c.hidden_size, c.num_attention_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c, has_cross=False):
        super().__init__()
        self.head_dim = c.head_dim
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = SelfAttention(c)
        if has_cross:
            self.cross_attn = CrossAttention(c)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.mlp = MLP(c)

    def heads(self, x):
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x, table, mask=None, memory=None, cache=None, keys_only=False):
        """One layer.

        - mask: (B, 1, T, T), true where a token may look; causal if not given.
        - memory: rotated keys, values, (B, G, R, d), and the queries' cos and sin.
        - cache: a list to which rotated keys and values are appended.
        Returns the hidden states, and unrotated keys and values. With keys_only there are no hidden states.
        """
        u = self.input_layernorm(x)
        key, value = self.heads(self.self_attn.k_proj(u)), self.heads(self.self_attn.v_proj(u))
        if keys_only:
            return None, key, value
        query = rotate(self.heads(self.self_attn.q_proj(u)), table)
        rotated, values = rotate(key, table), value
        if cache is not None:
            if cache:
                rotated, values = torch.cat((cache[0], rotated), 2), torch.cat((cache[1], value), 2)
                past, new = rotated.shape[2] - x.shape[1], x.shape[1]
                mask = torch.ones(new, past + new, dtype=torch.bool, device=x.device).tril(past)
            cache[:] = rotated, values
        x = x + self.self_attn.o_proj(attend(query, rotated, values, mask, causal=mask is None))
        if memory is not None:
            keys, values, query_table = memory
            query = rotate(self.heads(self.cross_attn.q_proj(self.cross_attn.layernorm(x))), query_table)
            x = x + self.cross_attn.o_proj(attend(query, keys, values))
        return x + self.mlp(self.post_attention_layernorm(x)), key, value


class Llama(nn.Module):
    """What Hugging Face calls `model`. A lower model of its own has the bottom layers only."""

    def __init__(self, c, layer_count, readers=()):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c, i in readers) for i in range(layer_count))
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)


@dataclasses.dataclass
class Memory:
    """Injected rows: unrotated keys and values of every injected layer, (B, G, R, d); chunk numbers and in-node
    positions, (B, R); the count of chunks, (1)."""
    keys: list
    values: list
    chunk: torch.Tensor
    position: torch.Tensor
    chunk_count: torch.Tensor

    def beside(self, other):
        """These rows and those of further chunks; the count of chunks stays."""
        return Memory([torch.cat(pair, 2) for pair in zip(self.keys, other.keys, strict=True)],
                      [torch.cat(pair, 2) for pair in zip(self.values, other.values, strict=True)],
                      torch.cat((self.chunk, other.chunk), 1), torch.cat((self.position, other.position), 1),
                      self.chunk_count)


class SharedLlama(nn.Module):
    def __init__(self, config, shared=None, own_lower=False):
        super().__init__()
        self.config, self.shared = config, shared
        self.readers = list(shared.readers(config.num_hidden_layers)) if shared else []
        self.model = Llama(config, config.num_hidden_layers, self.readers)
        if shared and own_lower:
            self.encoder = Llama(config, shared.injected_layers)
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.activation_checkpointing = False
        # Whether gradients must flow through the lower model; `trainable_parameters` finds out.
        self.lower_is_trained = True

    @property
    def lower(self):
        return self.encoder if self.has_own_lower else self.model

    @property
    def has_own_lower(self):
        return "encoder" in self._modules

    def initialise(self, generator=None):
        """From scratch: N(0, 0.02), projections into the residual stream scaled by 1/√(2N)."""
        scale = 1 / math.sqrt(2 * self.config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                nn.init.ones_(parameter)
            else:
                into_stream = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 * (scale if into_stream else 1), generator=generator)
        return self

    @torch.no_grad()
    def initialise_cross_attention(self):
        """Copies self-attention and zeroes the output projection, so that training starts from the plain model. Copies
        the bottom layers into an own lower model."""
        for layer in (self.model.layers[i] for i in self.readers):
            layer.cross_attn.layernorm.weight.copy_(layer.input_layernorm.weight)
            layer.cross_attn.q_proj.weight.copy_(layer.self_attn.q_proj.weight)
            layer.cross_attn.o_proj.weight.zero_()
        if self.has_own_lower:
            source = self.model.state_dict()
            self.encoder.load_state_dict({name: source[name] for name in self.encoder.state_dict()})
        return self

    # The tree.

    def select(self, tokens, policy, query=None, noise=None, sigma=0.0, coins=None, target=None, guide=None):
        """Searches the trees of whole chunks.

        - tokens: (B·n, L). query: (B·n, D), for cosine. noise: (B·n, h), standard normal. sigma: of the split, as a
          fraction of the node's length. coins: (B·n, h), for the random policy. target: (B·n), the token that the
          query asks for, -1 for none; if given, the policy's loss is computed. guide: (B·n), a token whose nodes are
          expanded whatever the policy says, -1 for none: what an untrained search misses cannot be learnt.
        Returns starts and ends of the preserved nodes, (B·n, h+1), coarse ones first, and the policy's loss.
        """
        count, length = tokens.shape
        start = torch.zeros(count, dtype=torch.long, device=tokens.device)
        end = start + length
        starts, ends = [], []
        loss = torch.zeros((), device=tokens.device)
        for level in range(1, self.shared.tree_depth + 1):
            size = end - start
            middle = size // 2
            if noise is not None:
                shift = (noise[:, level - 1] * sigma * size).clamp(-size / 4, size / 4)
                middle = (size / 2 - shift).floor().long().clamp_min(1).minimum(size - 1)
            middle = start + middle
            if level == self.shared.tree_depth:
                starts += [start, middle]
                ends += [middle, end]
                break
            if policy == "cosine":
                left_score, right_score = self.score(tokens, start, middle, end, query)
                expands_right = right_score > left_score
                if target is not None:
                    inside = (target >= start) & (target < end)
                    margin = torch.where(target >= middle, right_score - left_score, left_score - right_score)
                    # A margin of 0.1 between cosines is already a clear choice.
                    each = F.softplus(-10 * margin) * inside
                    loss = loss + each.sum() / inside.sum().clamp_min(1) / (self.shared.tree_depth - 1)
            elif policy == "random":
                expands_right = coins[:, level - 1] > 0.5
            else:
                expands_right = torch.full_like(start, policy == "right", dtype=torch.bool)
            if guide is not None:
                guided = (guide >= start) & (guide < end)
                expands_right = torch.where(guided, guide >= middle, expands_right)
            starts.append(torch.where(expands_right, start, middle))
            ends.append(torch.where(expands_right, middle, end))
            start, end = torch.where(expands_right, middle, start), torch.where(expands_right, end, middle)
        return torch.stack(starts, 1), torch.stack(ends, 1), loss

    def score(self, tokens, start, middle, end, query):
        """Cosines between the query and the embeddings of both children. An embedding is the hidden state of the last
        token after one whole layer and the final norm."""
        starts, ends = torch.stack((start, middle), 1), torch.stack((middle, end), 1)
        mask, position, _ = self.segments(tokens, starts, ends)
        x = self.lower.embed_tokens(tokens)
        x = self.lower.layers[0](x, rotary(self.config, position), mask)[0]
        last = (ends - 1).unsqueeze(-1).expand(-1, -1, x.shape[-1])
        nodes = self.lower.norm(x.gather(1, last)).float()
        query = query.float().unsqueeze(1)
        norms = nodes.norm(dim=-1).clamp_min(1e-6) * query.norm(dim=-1).clamp_min(1e-6)
        return ((nodes * query).sum(-1) / norms).unbind(1)

    @staticmethod
    def segments(tokens, starts, ends):
        """The mask under which each node sees only itself, the in-node positions, and the node of every token."""
        index = torch.arange(tokens.shape[1], device=tokens.device)
        inside = (index[None, :, None] >= starts[:, None]) & (index[None, :, None] < ends[:, None])
        node = inside.int().argmax(-1)
        # A token outside all nodes is a node of its own.
        node = torch.where(inside.any(-1), node, starts.shape[1] + index)
        offset = torch.cat((starts, index.expand(tokens.shape[0], -1)), 1)
        mask = (node[:, :, None] == node[:, None, :]) & (index[:, None] >= index[None, :])
        return mask.unsqueeze(1), index - offset.gather(1, node), node

    def encode(self, tokens, starts, ends, rows):
        """Encodes nodes and keeps rows of each.

        - tokens: (chunks, L); starts, ends: (chunks, nodes); rows: how many rows are kept of each node.
        Returns unrotated keys and values of every injected layer, (chunks, G, rows, d), and in-node positions,
        (chunks, rows).
        """
        mask, position, _ = self.segments(tokens, starts, ends)
        table = rotary(self.config, position)
        steps = [(ends[:, i:i + 1] - starts[:, i:i + 1])
                 * torch.arange(count, device=tokens.device) // count for i, count in enumerate(rows)]
        kept_position = torch.cat(steps, 1)
        kept = torch.cat([starts[:, i:i + 1] + step for i, step in enumerate(steps)], 1)
        keys, values = [], []
        x = self.lower.embed_tokens(tokens)
        for i in range(self.shared.injected_layers):
            deepest = i == self.shared.injected_layers - 1
            x, key, value = self.run(self.lower.layers[i], x, table, mask, None, None, deepest)
            index = kept[:, None, :, None].expand(-1, key.shape[1], -1, key.shape[3])
            keys.append(key.gather(2, index))
            values.append(value.gather(2, index))
        return keys, values, kept_position

    def memorise(self, context, policy="right", query=None, noise=None, sigma=0.0, coins=None, target=None, guide=None,
                 numbers=None):
        """Rows of a context of whole chunks: (B, n, L). Returns the memory and the policy's loss.

        numbers: (n + 1), rising, the numbers that the chunks have in a longer context, and the count of its chunks; by
        default 0, 1, … n.
        """
        batch, count, length = context.shape
        if numbers is None:
            numbers = torch.arange(count + 1, device=context.device)
        tokens = context.flatten(0, 1)
        if query is not None:
            query = query.repeat_interleave(count, 0)
        starts, ends, loss = self.select(tokens, policy, query, noise, sigma, coins, target, guide)
        keys, values, position = self.encode(tokens, starts, ends, self.shared.slot_rows)

        def join(x):
            return x.unflatten(0, (batch, count)).transpose(1, 2).flatten(2, 3)

        rows = position.shape[1]
        chunk = numbers[:-1].repeat_interleave(rows).expand(batch, -1)
        return Memory([join(k) for k in keys], [join(v) for v in values], chunk,
                      position.unflatten(0, (batch, count)).flatten(1), numbers[-1:]), loss

    @torch.no_grad()
    def memorise_distractors(self, tokens, numbers, batch):
        """Rows of chunks that nothing is asked about, (n, L), the same for the whole batch and without gradients. A
        search that goes right keeps as many rows as any other. numbers: (n), of the chunks."""
        starts, ends, _ = self.select(tokens, "right")
        keys, values, position = self.encode(tokens, starts, ends, self.shared.slot_rows)

        def join(x):
            return x.transpose(0, 1).flatten(1, 2).expand(batch, -1, -1, -1)

        return Memory([join(k) for k in keys], [join(v) for v in values],
                      numbers.repeat_interleave(position.shape[1]).expand(batch, -1),
                      position.flatten().expand(batch, -1), None)

    def nodes(self, tokens, policy, query=None):
        """The preserved nodes of one chunk of any length: (path, start, end, level). tokens: (l)."""
        start, end, path, kept = 0, len(tokens), "", []
        depth = self.shared.tree_depth
        for level in range(1, depth + 1):
            middle = start + (end - start) // 2
            left, right = ("L", start, middle), ("R", middle, end)
            children = [(path + name, s, e, level) for name, s, e in (left, right) if e > s]
            if level == depth:
                return kept + children
            if len(children) == 1:  # Too short to split: go down to the only child.
                path, start, end, _ = children[0]
                continue
            if policy == "cosine":
                bounds = [torch.tensor([b], device=tokens.device) for b in (start, middle, end)]
                left_score, right_score = self.score(tokens[None], *bounds, query)
                expanded = int(right_score > left_score)
            else:
                expanded = int(policy == "right")
            kept.append(children[1 - expanded])
            path, start, end, _ = children[expanded]
        return kept

    def memorise_any(self, context, policy="right", query=None):
        """Rows of one context of any length, (l): the last chunk may be shorter. Returns the memory and the nodes of
        every chunk."""
        size = self.shared.chunk_size
        parts, trees = [], []
        for start in range(0, len(context), size):
            tokens = context[start:start + size]
            nodes = self.nodes(tokens, policy, query)
            starts = torch.tensor([[s for _, s, _, _ in nodes]], device=context.device)
            ends = torch.tensor([[e for _, _, e, _ in nodes]], device=context.device)
            rows = [self.shared.rows(e - s, level) for _, s, e, level in nodes]
            parts.append(self.encode(tokens[None], starts, ends, rows))
            trees.append([(path, s, e, self.shared.ratio(level)) for path, s, e, level in nodes])
        layers = range(self.shared.injected_layers)
        chunk = [torch.full_like(position, c) for c, (_, _, position) in enumerate(parts)]
        return Memory([torch.cat([keys[i] for keys, _, _ in parts], 2) for i in layers],
                      [torch.cat([values[i] for _, values, _ in parts], 2) for i in layers],
                      torch.cat(chunk, 1), torch.cat([p for _, _, p in parts], 1),
                      torch.tensor([len(parts)], device=context.device)), trees

    def embed_query(self, tokens, last=None):
        """The query's embedding, after one whole layer of the upper model and the final norm: that of the token at
        index `last` (B), or of the last token."""
        x = self.model.embed_tokens(tokens)
        table = rotary(self.config, torch.arange(tokens.shape[1], device=tokens.device))
        x = self.model.layers[0](x, table)[0]
        if last is None:
            last = torch.full((len(x),), x.shape[1] - 1, device=x.device)
        return self.model.norm(x.gather(1, last[:, None, None].expand(-1, 1, x.shape[-1]))).squeeze(1)

    # The upper model.

    def run(self, layer, x, table, mask, memory, cache, keys_only=False):
        if self.activation_checkpointing and torch.is_grad_enabled() and self.training and cache is None:
            return checkpoint(layer, x, table, mask, memory, None, keys_only, use_reentrant=False)
        return layer(x, table, mask, memory, cache, keys_only)

    def hidden(self, tokens, memory=None, caches=None):
        """Normed hidden states of the running text, (B, T, D)."""
        start = caches[0][0].shape[2] if caches and caches[0] else 0
        table = rotary(self.config, torch.arange(start, start + tokens.shape[1], device=tokens.device))
        if memory is not None:
            angle, query_angle = self.shared.angles(memory.chunk, memory.position, memory.chunk_count)
            key_table = rotary(self.config, angle)
            query_table = rotary(self.config, query_angle.expand(tokens.shape[1]))
        x = self.model.embed_tokens(tokens)
        for i, layer in enumerate(self.model.layers):
            injected = None
            if memory is not None and i in self.readers:
                source = self.readers.index(i)
                injected = rotate(memory.keys[source], key_table), memory.values[source], query_table
            x = self.run(layer, x, table, None, injected, caches[i] if caches else None)[0]
        return self.model.norm(x)

    def logits(self, hidden):
        if self.config.tie_word_embeddings:
            return F.linear(hidden, self.model.embed_tokens.weight)
        return self.lm_head(hidden)

    def forward(self, tokens, context=None, policy="right", query_last=None, noise=None, sigma=0.0, coins=None,
                target=None, guide=None, numbers=None, distractors=None, labels=None, label_weights=None,
                teacher=None):
        """Logits (B, T, V). If labels (B, T) are given, -100 for none, instead the sum of weighted losses, the sum of
        weights and the policy's loss.

        tokens: (B, T). context: (B, n, L). query_last: (B), where the query ends in the running text. distractors:
        chunks that are added to every context, (n, L), and their numbers, (n). teacher: logits of a model whose
        distribution counts as much as the labels, (B, T, V).
        """
        memory, policy_loss = None, None
        if context is not None and context.shape[1]:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.lower_is_trained):
                query = self.embed_query(tokens, query_last) if policy == "cosine" else None
                memory, policy_loss = self.memorise(context, policy, query, noise, sigma, coins, target, guide, numbers)
            if distractors is not None:
                memory = memory.beside(self.memorise_distractors(*distractors, len(tokens)))
        hidden = self.hidden(tokens, memory)
        logits = self.logits(hidden)
        if labels is None:
            return logits
        losses = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none", ignore_index=-100)
        if teacher is not None:
            distribution = teacher.flatten(0, 1).float().softmax(-1)
            taught = F.cross_entropy(logits.flatten(0, 1).float(), distribution, reduction="none")
            losses = (losses + taught) / 2
        weights = (labels != -100).float() if label_weights is None else label_weights
        weights = weights.flatten()
        if policy_loss is None:
            policy_loss = torch.zeros((), device=tokens.device)
        return (losses * weights).sum(), weights.sum(), policy_loss

    @torch.no_grad()
    def generate(self, tokens, count, memory=None, forced=None):
        """Greedy tokens (B, count) after a running text (B, T), and the logits after each of them. `forced` tokens are
        read in place of the greedy ones."""
        caches = [[] for _ in self.model.layers]
        logits = self.logits(self.hidden(tokens, memory, caches)[:, -1:])
        chosen, after = [], []
        for i in range(count):
            chosen.append(logits.argmax(-1))
            token = chosen[-1] if forced is None else forced[:, i:i + 1]
            logits = self.logits(self.hidden(token, memory, caches))
            after.append(logits)
        return torch.cat(chosen, 1), torch.cat(after, 1)


def trainable_parameters(model, what):
    """Marks the parameters to train and returns them by name.

    - what: any of `all`, `cross_attn`, `upper_self_attn` (self-attention of the layers above the injected ones; the
      paper's choice, together with `cross_attn`), `upper_layers` (the whole of those layers), `lower` (a lower model of
      its own).
    """
    injected = model.shared.injected_layers if model.shared else 0
    chosen = {}
    for name, parameter in model.named_parameters():
        part = name.split(".")
        above = part[:2] == ["model", "layers"] and int(part[2]) >= injected
        parameter.requires_grad_(
            "all" in what
            or "cross_attn" in what and "cross_attn" in part
            or "upper_self_attn" in what and above and "self_attn" in part
            or "upper_layers" in what and above
            or "lower" in what and part[0] == "encoder")
        if parameter.requires_grad:
            chosen[name] = parameter
    if not chosen:
        raise ValueError(f"{what} trains nothing")
    lower = "encoder." if model.has_own_lower else "model."
    model.lower_is_trained = model.shared is not None and any(
        n.startswith(lower) and "cross_attn" not in n and n != "model.norm.weight"
        and not (n.startswith("model.layers.") and int(n.split(".")[2]) >= injected) for n in chosen)
    return chosen


# Hugging Face directories.

TOKENIZER_FILES = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                   "chat_template.jinja", "generation_config.json")


def read_config(directory):
    values = files.read_json(os.path.join(directory, "config.json"))
    shared = values.get("sharedllm")
    return LlamaConfig.read(values), SharedConfig(**shared) if shared else None


def read_weights(directory):
    index = os.path.join(directory, "model.safetensors.index.json")
    if os.path.exists(index):
        names = sorted(set(files.read_json(index)["weight_map"].values()))
    elif os.path.exists(os.path.join(directory, "model.safetensors")):
        names = ["model.safetensors"]
    else:
        names = sorted(n for n in os.listdir(directory) if n.startswith("pytorch_model") and n.endswith(".bin"))
    if not names:
        raise FileNotFoundError(f"{directory} has no weights")
    weights = {}
    for name in names:
        path = os.path.join(directory, name)
        weights.update(files.read_safetensors(path) if name.endswith(".safetensors")
                       else torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    return {n: t for n, t in weights.items() if not n.endswith("rotary_emb.inv_freq")}


def is_added(name):
    """Whether SharedLLM added a weight that LLaMA does not have."""
    return "cross_attn" in name or name.startswith("encoder.")


def load(directory, shared=None, own_lower=None, dtype=torch.float32, meta=False, afresh=False):
    """A model from a Hugging Face directory.

    - shared: how a plain checkpoint becomes SharedLLM; cross-attention and an own lower model are then initialised from
      the checkpoint's layers.
    - afresh: takes only the LLaMA of a checkpoint that is already SharedLLM.
    """
    config, present = read_config(directory)
    if afresh:
        present = None
    if meta:
        with torch.device("meta"):
            return SharedLlama(config, shared or present, bool(own_lower)).to(dtype)
    weights = read_weights(directory)
    if afresh:
        weights = {n: t for n, t in weights.items() if not is_added(n)}
    has_encoder = any(name.startswith("encoder.") for name in weights)
    with torch.device("meta"):
        model = SharedLlama(config, shared or present, has_encoder if own_lower is None else own_lower)
    model = model.to(dtype).to_empty(device="cpu")
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    expected = model.state_dict()
    missing = set(expected) - set(weights)
    fresh = {n for n in missing if is_added(n)}
    if missing - fresh or set(weights) - set(expected):
        raise ValueError(f"{directory}: missing {sorted(missing - fresh)[:4]}, unexpected "
                         f"{sorted(set(weights) - set(expected))[:4]}")
    if fresh and present:
        raise ValueError(f"{directory} has only a part of SharedLLM: {sorted(fresh)[:4]} are missing")
    with torch.no_grad():
        for name, tensor in weights.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(f"{directory}: {name} is {tuple(tensor.shape)}, not {tuple(expected[name].shape)}")
            expected[name].copy_(tensor)
    if fresh:
        model.initialise_cross_attention()
    return model


def save(directory, config, shared, state, dtype=torch.float16, tokenizer_from=None):
    """Writes a Hugging Face directory, with the tensors in the order of use."""
    os.makedirs(directory, exist_ok=True)
    tensors = {n: t.to(dtype) for n, t in state.items()}
    if any(not torch.isfinite(t).all() for t in tensors.values()):
        raise ValueError(f"a weight overflows {dtype}")
    files.write_safetensors(os.path.join(directory, "model.safetensors"), tensors)
    values = config.json()
    values["torch_dtype"] = str(dtype).removeprefix("torch.")
    if shared:
        values["sharedllm"] = dataclasses.asdict(shared)
    files.write_json(os.path.join(directory, "config.json"), values)
    for name in TOKENIZER_FILES if tokenizer_from else ():
        source = os.path.join(tokenizer_from, name)
        if os.path.exists(source) and os.path.abspath(source) != os.path.abspath(os.path.join(directory, name)):
            shutil.copyfile(source, os.path.join(directory, name))
