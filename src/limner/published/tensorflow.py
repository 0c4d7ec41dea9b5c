"""TensorFlow's checkpoints (V2): `model.ckpt-N.index`, a sorted table of names, and the data files beside it.

The table is LevelDB's format, its values are protocol buffers of a handful of fields (tensor_bundle.proto).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from limner.errors import BadCheckpoint

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
"""How the index ends."""

DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    19: torch.float16,
}
LARGEST_INDEX = 16 << 20  # bytes; it holds names and places
FOOTER = 48


def read(path: Path) -> dict[str, Tensor]:
    """The variables by name. `path` is the index; numbers are read from the data files as they are named."""
    index = path.read_bytes() if path.stat().st_size <= LARGEST_INDEX else b""
    if len(index) < FOOTER:
        raise BadCheckpoint("a TensorFlow index that is too small or too large to be one.")
    footer = _Fields(index[-FOOTER:])
    footer.number(), footer.number()  # a table about the table
    place, size = footer.number(), footer.number()
    found: dict[str, Tensor] = {}
    shards: dict[int, mmap.mmap] = {}
    count = 0
    for _, handle in _block(index, place, size):
        fields = _Fields(handle)
        for key, value in _block(index, fields.number(), fields.number()):
            entry = _message(value)
            if not key:
                count = _one(entry, 1)
                if _one(entry, 2):
                    raise BadCheckpoint("written on a big-endian machine, which limner can't read.")
                continue
            name = str(key, "utf-8")
            if name in found or 7 in entry:
                raise BadCheckpoint("a TensorFlow checkpoint with a variable in pieces, or twice.")
            shard = _one(entry, 3)
            if shard not in shards:
                shards[shard] = _shard(path, shard, count)
            if (dtype := DTYPES.get(_one(entry, 1))) is not None:
                found[name] = _tensor(shards[shard], entry, dtype)
    return found


def _shard(path: Path, number: int, count: int) -> mmap.mmap:
    beside = path.with_name(f"{path.name.removesuffix('.index')}.data-{number:05}-of-{count:05}")
    if not 0 <= number < count <= 1000 or not beside.is_file():
        raise BadCheckpoint(f"its numbers are missing: {beside.name} should lie beside it.")
    with beside.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _tensor(data: mmap.mmap, entry: dict[int, list[int | bytes]], dtype: torch.dtype) -> Tensor:
    described = entry.get(2, [b""])[0]
    sizes = _message(described).get(2, []) if isinstance(described, bytes) else []
    shape = [_one(_message(size), 1) for size in sizes if isinstance(size, bytes)]
    offset, length = _one(entry, 4), _one(entry, 5)
    if len(shape) > 16 or any(size >= 1 << 62 for size in shape):
        raise BadCheckpoint("a damaged TensorFlow checkpoint: a shape that is none.")
    if prod(shape) * dtype.itemsize != length or offset + length > len(data):
        raise BadCheckpoint("a damaged TensorFlow checkpoint: a variable isn't as long as it says.")
    if length == 0:
        return torch.empty(shape, dtype=dtype)
    if offset % dtype.itemsize:
        return torch.frombuffer(bytearray(data[offset : offset + length]), dtype=dtype).reshape(shape)
    return torch.frombuffer(data, dtype=dtype, count=prod(shape), offset=offset).reshape(shape)


def _block(index: bytes, place: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block, each key told by what it shares with the one before."""
    if place + size + 5 > len(index) or size < 4 or index[place + size]:
        raise BadCheckpoint("a damaged TensorFlow index: a block outside of it, or packed.")
    (restarts,) = struct.unpack_from("<I", index, place + size - 4)
    fields = _Fields(index[place : place + max(0, size - 4 - 4 * restarts)])
    key = b""
    while fields.left():
        shared, rest, length = fields.number(), fields.number(), fields.number()
        key = key[:shared] + fields.take(rest)
        if len(key) > 1000:
            raise BadCheckpoint("a damaged TensorFlow index: a name that is too long.")
        yield key, fields.take(length)


def _message(content: bytes) -> dict[int, list[int | bytes]]:
    """A protocol buffer's fields by number: integers, or the bytes of whatever they are."""
    fields, found = _Fields(content), dict[int, list[int | bytes]]()
    while fields.left():
        tag = fields.number()
        match tag & 7:
            case 0:
                value: int | bytes = fields.number()
            case 1:
                value = fields.take(8)
            case 2:
                value = fields.take(fields.number())
            case 5:
                value = fields.take(4)
            case _:
                raise BadCheckpoint("a damaged TensorFlow index.")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _one(fields: dict[int, list[int | bytes]], number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise BadCheckpoint("a damaged TensorFlow index.")
    return value


class _Fields:
    """Bytes, read from the front."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def left(self) -> bool:
        return self.at < len(self.content)

    def take(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.content):
            raise BadCheckpoint("a damaged TensorFlow index: it is cut off.")
        return self.content[self.at - count : self.at]

    def number(self) -> int:
        """A varint: seven bits a byte, the lowest first."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise BadCheckpoint("a damaged TensorFlow index.")
