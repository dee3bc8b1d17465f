"""The corpus as tokens: files of uint16 with an index beside them, and windows sampled from them.

`NAME.u16`: all documents, each followed by the end-of-text token. `NAME.json`: where documents end, digests of the
source, of the tokenizer and of the tokens. `NAME.u16.xz`: the same, compressed, to be copied to another machine.
"""
import array
import concurrent.futures
import functools
import lzma
import multiprocessing
import os
import shutil
import subprocess

import torch

import files


def read_source(path):
    """The bytes of a text: a file, a `.zst` file, or a folder of text files, joined by NUL bytes."""
    if os.path.isdir(path):
        names = sorted(n for n in os.listdir(path) if n.endswith(".txt"))
        return b"\0".join(read_source(os.path.join(path, n)) for n in names)
    with open(path, "rb") as file:
        data = file.read()
    if not path.endswith(".zst"):
        return data
    try:
        from compression import zstd
        return zstd.decompress(data)
    except ModuleNotFoundError:
        pass
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except ModuleNotFoundError:
        return subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout


def source_digest(path):
    if os.path.isdir(path):
        return {n: files.sha256(os.path.join(path, n)) for n in sorted(os.listdir(path)) if n.endswith(".txt")}
    return files.sha256(path)


def documents(path, byte_limit=None):
    """The documents of a source; `byte_limit` keeps the first bytes only, for tests."""
    text = read_source(path)
    if byte_limit:
        text = text[:byte_limit]
    return [d.decode(errors="ignore") for d in text.split(b"\0") if d.strip()]


def train_tokenizer(sources, output, vocabulary_size, byte_count, byte_limit=None):
    """SentencePiece BPE with LLaMA-2's settings, on about `byte_count` bytes spread evenly over each source."""
    import sentencepiece
    lines = []
    for path in sources:
        blocks = [line for d in documents(path, byte_limit) for line in d.splitlines() if line.strip()]
        share = byte_count / len(sources)
        keep = max(1, round(sum(map(len, blocks)) / share))
        # Runs of 64 lines keep the text's own mix of indentation and formulas.
        lines += [line for i, line in enumerate(blocks) if i // 64 % keep == 0]
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    prefix = f"{output}.{os.getpid()}.tmp"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=prefix, model_type="bpe", vocab_size=vocabulary_size,
        character_coverage=0.99995, num_threads=os.cpu_count(), split_digits=True, byte_fallback=True,
        add_dummy_prefix=True, remove_extra_whitespaces=False, normalization_rule_name="identity",
        allow_whitespace_only_pieces=True, unk_surface=" \u2047 ", max_sentence_length=16384, minloglevel=1)
    os.replace(f"{prefix}.model", output)
    os.remove(f"{prefix}.vocab")


_encoder = None


def _start_encoder(path):
    global _encoder
    if path.endswith(".json"):
        import pretrained
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # There is a process for every core.
        tokenizer = pretrained.Tokenizer(path)
        _encoder = functools.partial(tokenizer.encode, prefix=False), tokenizer.eos
    else:
        import sentencepiece
        processor = sentencepiece.SentencePieceProcessor(model_file=path)
        _encoder = processor.encode, processor.eos_id()


def _encode(text):
    encode, end = _encoder
    return array.array("H", encode(text) + [end]).tobytes()


def tokenise(name, source, domain, tokenizer, directory, workers, byte_limit=None, log=print):
    """Writes `NAME.u16` and `NAME.json`, unless they were already made from this source and tokenizer."""
    path, index_path = (os.path.join(directory, f"{name}.{e}") for e in ("u16", "json"))
    identity = {"source": os.path.basename(source), "source_sha256": source_digest(source), "byte_limit": byte_limit,
                "tokenizer_sha256": files.sha256(tokenizer)}
    if os.path.exists(index_path) and (os.path.exists(path) or os.path.exists(path + ".xz")):
        index = files.read_json(index_path)
        if all(index[k] == v for k, v in identity.items()):
            return index
    os.makedirs(directory, exist_ok=True)
    texts = documents(source, byte_limit)
    ends, total = [], 0
    # The index is published last, so an interrupted run starts this file anew and keeps the finished ones.
    for stale in (index_path, path + ".xz"):
        if os.path.exists(stale):
            os.remove(stale)

    def write(file):
        nonlocal total
        # An executor stops if a worker cannot start; a pool would start others for ever.
        with concurrent.futures.ProcessPoolExecutor(
                workers, multiprocessing.get_context("spawn"), _start_encoder, (tokenizer,)) as pool:
            for block in pool.map(_encode, texts, chunksize=4):
                file.write(block)
                total += len(block) // 2
                ends.append(total)

    files.publish(path, write)
    index = {"domain": domain, **identity, "tokens": total, "sha256": files.sha256(path), "document_ends": ends}
    files.write_json(index_path, index)
    log(f"{name}: {len(ends)} documents, {sum(len(t) for t in texts)} characters, {total} tokens")
    return index


def compress(name, directory):
    """Writes `NAME.u16.xz`. Tokens below 4096 take about 9 of their 16 bits."""
    path = os.path.join(directory, f"{name}.u16")
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 1, "pb": 1}]
    with open(path, "rb") as source:
        def write(file):
            with lzma.LZMAFile(file, "w", filters=filters) as target:
                shutil.copyfileobj(source, target, 1 << 20)
        files.publish(path + ".xz", write)
    return os.path.getsize(path + ".xz")


def expand(path):
    """Makes `NAME.u16` from `NAME.u16.xz` if it is missing."""
    if os.path.exists(path):
        return

    def write(file):
        with lzma.open(path + ".xz") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    files.publish(path, write)


class Piece:
    """One file of tokens."""

    def __init__(self, name, directory, check=False):
        path = os.path.join(directory, f"{name}.u16")
        index = files.read_json(os.path.join(directory, f"{name}.json"))
        expand(path)
        if os.path.getsize(path) != 2 * index["tokens"] or check and files.sha256(path) != index["sha256"]:
            raise ValueError(f"{path} does not match its index; remove it and make it again")
        self.name, self.domain, self.count = name, index["domain"], index["tokens"]
        # int16 with the bits of uint16: torch gathers from it on every device.
        self.tokens = torch.from_file(path, shared=False, size=self.count, dtype=torch.int16)
        self.ends = torch.tensor(index["document_ends"])
        self.starts = torch.cat((torch.zeros(1, dtype=torch.long), self.ends[:-1]))
        self._places = {}

    def to(self, device):
        self.tokens = self.tokens.to(device)
        return self

    def places(self, length):
        """How many windows start in each document, as running sums."""
        if length not in self._places:
            self._places[length] = (self.ends - self.starts - length + 1).clamp_min(0).cumsum(0)
        return self._places[length]

    def window_starts(self, random, length):
        """random: doubles in [0, 1). Every start in every document that is long enough is equally likely."""
        cumulated = self.places(length)
        place = (random * cumulated[-1]).long()
        document = torch.searchsorted(cumulated, place, right=True)
        before = torch.cat((torch.zeros(1, dtype=torch.long), cumulated))[document]
        return self.starts[document] + place - before

    def gather(self, starts, length):
        index = starts.to(self.tokens.device)[:, None] + torch.arange(length, device=self.tokens.device)
        return self.tokens[index].long() & 0xFFFF

    def read(self, start, end):
        return [t & 0xFFFF for t in self.tokens[start:end].tolist()]


class Corpus:
    """Files of tokens of several domains.

    - names: of the files in the directory.
    - domain_weights: the share of windows of each domain; if not given, in proportion to tokens.
    """

    def __init__(self, names, directory, domain_weights=None, device="cpu", check=False):
        self.pieces = [Piece(name, directory, check).to(device) for name in names]
        self.domain_weights = domain_weights
        self.count = sum(p.count for p in self.pieces)

    def weights(self, length):
        sizes = torch.tensor([float(p.places(length)[-1]) for p in self.pieces], dtype=torch.double)
        if self.domain_weights:
            of_domain = {d: sum(s for p, s in zip(self.pieces, sizes.tolist(), strict=True) if p.domain == d)
                         for d in {p.domain for p in self.pieces}}
            sizes = torch.tensor([self.domain_weights.get(p.domain, 0) * s / max(of_domain[p.domain], 1)
                                  for p, s in zip(self.pieces, sizes.tolist(), strict=True)], dtype=torch.double)
        if not sizes.sum() > 0:
            raise ValueError(f"no document has {length} tokens")
        return sizes

    def windows(self, count, length, generator):
        """(count, length) tokens; no window crosses documents."""
        chosen = torch.multinomial(self.weights(length), count, replacement=True, generator=generator)
        random = torch.rand(count, generator=generator, dtype=torch.double)
        device = self.pieces[0].tokens.device
        result = torch.empty(count, length, dtype=torch.long, device=device)
        for i, piece in enumerate(self.pieces):
            of_piece = (chosen == i).nonzero().squeeze(1)
            if len(of_piece):
                result[of_piece.to(device)] = piece.gather(piece.window_starts(random[of_piece], length), length)
        return result

    def window(self, length, rng):
        """One window as a list, drawn with `random.Random`."""
        weights = self.weights(length).tolist()
        piece = rng.choices(self.pieces, weights)[0]
        start = int(piece.window_starts(torch.tensor([rng.random()], dtype=torch.double), length))
        return piece.read(start, start + length)


def evaluation_ends(piece, length, per_document, limit):
    """Where the windows of held-out documents end: evenly spread over each document of at least `length` tokens."""
    ends = []
    for start, end in zip(piece.starts.tolist(), piece.ends.tolist(), strict=True):
        spare = end - 1 - start - length  # The end-of-text token is not scored.
        if spare < 0:
            continue
        count = min(per_document, 1 + spare // 1024)
        ends += [start + length + (spare * i // max(count - 1, 1) if count > 1 else spare) for i in range(count)]
    if limit and len(ends) > limit:
        ends = [ends[i * len(ends) // limit] for i in range(limit)]
    return ends
