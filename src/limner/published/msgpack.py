"""Flax's checkpoints: MessagePack maps of maps, with arrays as extension type 1, (shape, dtype, bytes)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import torch

from limner.errors import BadCheckpoint

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}

DEEPEST = 64
MOST = 1_000_000  # values in a file: names and sizes, mostly
ARRAY, SCALAR = 1, 3  # Flax's extension types that hold numbers


def read(path: Path) -> Any:
    """The tree in a file: dicts with arrays as tensors; an array that Flax cut into chunks is whole again."""
    content = path.read_bytes()
    try:
        reader = _Reader(memoryview(content))
        tree = reader.value()
    except (struct.error, ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
        raise BadCheckpoint(f"a damaged msgpack file: {error}.") from None
    if reader.at != len(content):
        raise BadCheckpoint("a damaged msgpack file: there is more after its end.")
    return tree


class _Reader:
    def __init__(self, content: memoryview) -> None:
        self.content = content
        self.at = 0
        self.left = MOST

    def take(self, count: int) -> memoryview:
        taken = self.content[self.at : self.at + count]
        if len(taken) < count:
            raise BadCheckpoint("a damaged msgpack file: it is cut off.")
        self.at += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(f">{form}", self.take(struct.calcsize(form)))[0]

    def value(self, depth: int = 0) -> Any:
        self.left -= 1
        if depth > DEEPEST or self.left < 0:
            raise BadCheckpoint(f"a msgpack file nested more than {DEEPEST} deep, or with more in it than weights.")
        kind = self.number("B")
        if kind <= 0x7F:
            return kind
        if kind <= 0x8F:
            return self.mapping(kind & 0x0F, depth)
        if kind <= 0x9F:
            return self.array(kind & 0x0F, depth)
        if kind <= 0xBF:
            return self.text(kind & 0x1F)
        if kind >= 0xE0:
            return kind - 0x100
        match kind:
            case 0xC0:
                return None
            case 0xC2 | 0xC3:
                return kind == 0xC3
            case 0xC4 | 0xC5 | 0xC6:
                return bytes(self.take(self.number("BHI"[kind - 0xC4])))
            case 0xC7 | 0xC8 | 0xC9:
                return self.extension(self.number("BHI"[kind - 0xC7]))
            case 0xCA | 0xCB:
                return self.number("fd"[kind - 0xCA])
            case 0xCC | 0xCD | 0xCE | 0xCF:
                return self.number("BHIQ"[kind - 0xCC])
            case 0xD0 | 0xD1 | 0xD2 | 0xD3:
                return self.number("bhiq"[kind - 0xD0])
            case 0xD4 | 0xD5 | 0xD6 | 0xD7 | 0xD8:
                return self.extension(1 << (kind - 0xD4))
            case 0xD9 | 0xDA | 0xDB:
                return self.text(self.number("BHI"[kind - 0xD9]))
            case 0xDC | 0xDD:
                return self.array(self.number("HI"[kind - 0xDC]), depth)
            case 0xDE | 0xDF:
                return self.mapping(self.number("HI"[kind - 0xDE]), depth)
        raise BadCheckpoint(f"a damaged msgpack file: there is no type {kind:#x}.")

    def flat(self) -> list[Any]:
        """A shape, a name and bytes, as an array's extension holds them."""
        found = self.value(DEEPEST - 2)
        if not (isinstance(found, list) and len(found) == 3 and isinstance(found[2], bytes)):
            raise BadCheckpoint("a damaged msgpack file: an array that is none.")
        return found

    def text(self, length: int) -> str:
        return str(self.take(length), "utf-8")

    def array(self, length: int, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(length)]

    def mapping(self, length: int, depth: int) -> Any:
        entries = {}
        for _ in range(length):
            key = self.value(depth + 1)
            entries[key] = self.value(depth + 1)
        if entries.get("__msgpack_chunked_array__"):
            shape, chunks = (list(_in_order(entries[name])) for name in ("shape", "chunks"))
            return torch.cat([chunk.flatten() for chunk in chunks]).reshape(shape)
        return entries

    def extension(self, length: int) -> Any:
        kind = self.number("b")
        packed = self.take(length)
        if kind not in (ARRAY, SCALAR):
            raise BadCheckpoint(f"a msgpack file with objects of a kind ({kind}) that limner doesn't read.")
        shape, name, content = _Reader(packed).flat()
        if not isinstance(name, str) or name not in DTYPES:
            raise BadCheckpoint(f"arrays of a kind that limner doesn't read: {name}.")
        dtype = DTYPES[name]
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise BadCheckpoint("a damaged msgpack file: an array of no size.")
        numbers = torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return numbers.reshape(shape)


def _in_order(numbered: dict[str, Any]) -> list[Any]:
    return [numbered[str(i)] for i in range(len(numbered))]
