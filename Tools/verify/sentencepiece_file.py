"""Writes SentencePiece models without a package: the fields of the protocol buffer as bytes."""
import struct


def varint(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def sentencepiece_model(pieces, normalizer, byte_fallback):
    """A model of pieces (piece, score, type) and a normalizer (dummy prefix, remove extra whitespace, escape it)."""
    out = b""
    for piece, score, kind in pieces:
        out += field(1, field(1, piece.encode()) + field(2, float(score)) + field(3, kind))
    out += field(2, field(3, 2) + field(35, int(byte_fallback)))
    spec = field(1, b"identity") + field(2, b"")
    for number, flag in zip((3, 4, 5), normalizer, strict=True):
        spec += field(number, int(flag))
    return out + field(3, spec)
