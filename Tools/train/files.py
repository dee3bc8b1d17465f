"""Files that the trainer reads and writes, with nothing but torch and the standard library."""
import hashlib
import json
import os
import struct

import torch

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10 has a copy inside pip.
    from pip._vendor import tomli as tomllib

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read_toml(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def publish(path, write):
    """Writes a file so that a crash leaves either the old or the new one: temporary file, fsync, rename."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(os.path.dirname(os.path.abspath(path)))


def sync_directory(path):
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path, value):
    publish(path, lambda file: file.write((json.dumps(value, indent=2) + "\n").encode()))


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_safetensors(path):
    """Tensors by name. They share one private mapping of the file."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        header_size = struct.unpack("<Q", file.read(8))[0]
        if header_size > size - 8:
            raise ValueError(f"{path}: the header is longer than the file")
        header = json.loads(file.read(header_size))
    storage = torch.from_file(path, shared=False, size=size, dtype=torch.uint8)
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + header_size + offset for offset in entry["data_offsets"])
        if end > size:
            raise ValueError(f"{path}: {name} ends after the end of the file")
        dtype = DTYPES[entry["dtype"]]
        data = storage[start:end]
        if start % dtype.itemsize:
            data = data.clone()
        tensors[name] = data.view(dtype).reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write(file):
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors.values():
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            for start in range(0, data.numel(), 1 << 20):
                file.write(bytes(data[start:start + (1 << 20)].tolist()) if not HAS_NUMPY
                           else data[start:start + (1 << 20)].numpy().tobytes())

    publish(path, write)


try:
    import numpy  # noqa: F401  Only to turn tensors into bytes faster.
    HAS_NUMPY = True
except ModuleNotFoundError:
    HAS_NUMPY = False
