#!/usr/bin/env python3
"""Rounds the matrices of a checkpoint as llama.cpp's Q4_0 does, and writes the result in float32.

To compare what 4-bit weights cost: convert the result with --quantize f32, the checkpoint itself with
--quantize int4, and compare their perplexity. Each 32 columns of a row share a scale, the value of the largest
magnitude / -8 in float16, and have 16 even steps. Output projections, and embeddings that serve as one, stay as they
are: llama.cpp gives them more bits. The checkpoint is one model.safetensors of F32, F16 or BF16.

  Tools/measure/q4_0.py checkpoint checkpoint-q4_0
"""
import json
import os
import shutil
import struct
import sys

import numpy

GROUP = 32


def widen(data, kind):
    if kind == "BF16":
        return (numpy.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return numpy.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[kind]).astype("<f4")


def rounded(matrix):
    rows, columns = matrix.shape
    groups = numpy.pad(matrix, ((0, 0), (0, -columns % GROUP))).reshape(-1, GROUP)
    extreme = groups[numpy.arange(len(groups)), numpy.abs(groups).argmax(1)]
    exact = extreme / numpy.float32(-8)
    inverse = numpy.divide(1, exact, out=numpy.zeros_like(exact), where=exact != 0)
    levels = numpy.minimum(15, numpy.trunc(groups * inverse[:, None] + numpy.float32(8.5))) - 8
    scales = exact.astype("<f2").astype("<f4")
    return (levels * scales[:, None]).reshape(rows, -1)[:, :columns]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = sys.argv[1:]
    with open(f"{source}/config.json") as file:
        tied = json.load(file).get("tie_word_embeddings", False)
    os.makedirs(target, exist_ok=True)
    for name in os.listdir(source):
        if name.endswith((".json", ".model")):
            shutil.copyfile(f"{source}/{name}", f"{target}/{name}")
    with open(f"{source}/model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    names, parts, offset = {}, [], 0
    for name, tensor in header.items():
        first, last = tensor["data_offsets"]
        values = widen(data[first:last], tensor["dtype"]).reshape(tensor["shape"])
        if values.ndim == 2 and "lm_head" not in name and not (tied and "embed_tokens" in name):
            values = rounded(values)
        parts.append(values.astype("<f4").tobytes())
        names[name] = {"dtype": "F32", "shape": tensor["shape"], "data_offsets": [offset, offset + len(parts[-1])]}
        offset += len(parts[-1])
    text = json.dumps(names).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{target}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


if __name__ == "__main__":
    main()
