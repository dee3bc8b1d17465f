"""Reads SentencePiece BPE models and encodes short texts, so that training needs no tokenizer library; `read` also
takes the `tokenizer.json` of a pretrained checkpoint.

Only for models trained with LLaMA-2's settings (identity normalization, byte fallback, dummy prefix, no piece with a
space after another character); `test_train.py` compares it with the library.
"""
import functools
import struct

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def fields(data):
    """Field numbers and values of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            value = data[at:at + size]
            at += size
        yield key >> 3, value


def read(path):
    """The tokenizer in a file: a SentencePiece model, or a `tokenizer.json`."""
    if path.endswith(".json"):
        import pretrained
        return pretrained.Tokenizer(path)
    return Tokenizer(path)


class Tokenizer:
    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        self.pieces, self.kinds, self.scores = [], [], []
        for number, value in fields(data):
            if number == 1:
                piece = dict(fields(value))
                self.pieces.append(piece[1].decode())
                self.scores.append(struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0)
                self.kinds.append(piece.get(3, NORMAL))
        self.ids = {p: i for i, p in enumerate(self.pieces) if self.kinds[i] == NORMAL}
        self.byte_ids = {int(p[3:5], 16): i for i, p in enumerate(self.pieces) if self.kinds[i] == BYTE}
        self.bos, self.eos = self.pieces.index("<s>"), self.pieces.index("</s>")
        self.word = functools.lru_cache(1 << 16)(self._word)

    def __len__(self):
        return len(self.pieces)

    def encode(self, text, prefix=True):
        """Tokens of a text; without `prefix`, no space is put before it."""
        text = ((" " if prefix and text else "") + text).replace(" ", SPACE)
        tokens, start = [], 0
        for i in range(1, len(text) + 1):
            if i == len(text) or text[i] == SPACE and text[i - 1] != SPACE:
                tokens += self.word(text[start:i])
                start = i
        return tokens

    def _word(self, word):
        symbols = list(word)
        while len(symbols) > 1:
            best = max(range(len(symbols) - 1), key=lambda i: (self._score(symbols[i] + symbols[i + 1]), -i))
            if self._score(symbols[best] + symbols[best + 1]) == float("-inf"):
                break
            symbols[best:best + 2] = [symbols[best] + symbols[best + 1]]
        tokens = []
        for symbol in symbols:
            if symbol in self.ids:
                tokens.append(self.ids[symbol])
            else:
                tokens += [self.byte_ids[b] for b in symbol.encode()]
        return tuple(tokens)

    def _score(self, piece):
        token = self.ids.get(piece)
        return float("-inf") if token is None else self.scores[token]

    def decode(self, tokens):
        data = b"".join(
            bytes([int(self.pieces[t][3:5], 16)]) if self.kinds[t] == BYTE
            else b"" if self.kinds[t] != NORMAL else self.pieces[t].encode() for t in tokens)
        return data.decode(errors="replace").replace(SPACE, " ")

    @functools.cached_property
    def digits(self):
        return [self.ids[digit] if digit in self.ids else self.byte_ids[ord(digit)] for digit in "0123456789"]

    @functools.cached_property
    def ends_sentence(self):
        """Tokens after which a sentence can end: line feed, full stop, question and exclamation mark."""
        return frozenset([self.byte_ids[10]] + [
            i for i, p in enumerate(self.pieces) if self.kinds[i] == NORMAL and p[-1] in ".?!"])
