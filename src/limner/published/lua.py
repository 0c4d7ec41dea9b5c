"""Torch7's files (.t7), in which the first adversarial networks were released: binary, little-endian.

Lua's objects become `LuaObject` records; functions, which such a file may hold as bytecode, are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.pickles import Storage, view

HEADS = (b"\x04\0\0\0\x01\0\0\0", b"\x03\0\0\0\x01\0\0\0")
"""An object or a table, the first in the file."""

ELEMENTS = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Cuda": torch.float32,
    "Half": torch.float16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
}
WEIGHTS = ("weight", "bias", "running_mean", "running_var", "running_std")

NUMBER, STRING, TABLE, OBJECT, BOOLEAN, FUNCTIONS = 1, 2, 3, 4, 5, (6, 7, 8)
MOST = 1_000_000
DEEPEST = 200


@dataclass(eq=False)
class LuaObject:
    """An object of Torch7's: its class, and what it holds by name."""

    kind: str
    fields: dict[Any, Any] = field(default_factory=dict)

    def parts(self) -> Mapping[Any, Any]:
        """The weights of a layer, and the layers of a container by their numbers from 0. Gradients and what else was
        left over from training aren't in it."""
        own = {name: self.fields[name] for name in WEIGHTS if isinstance(self.fields.get(name), Tensor)}
        modules = self.fields.get("modules")
        if modules is None:  # nngraph before it kept a list of modules
            nodes = self.fields.get("forwardnodes")
            modules = {number: _module(node) for number, node in nodes.items()} if isinstance(nodes, dict) else {}
        layers = modules.items() if isinstance(modules, dict) else ()
        return own | {number - 1: layer for number, layer in layers if type(number) is int}


def _module(node: Any) -> Any:
    data = node.fields.get("data") if isinstance(node, LuaObject) else None
    return data.get("module") if isinstance(data, dict) else None


def read(whole: mmap) -> Any:
    """The one value that a file holds: tables as dicts, tensors as views into the file."""
    return _Reader(whole).value()


class _Reader:
    def __init__(self, whole: mmap) -> None:
        self.whole = whole
        self.at = 0
        self.known: dict[int, Any] = {}
        self.left = MOST

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.whole):
            raise BadCheckpoint("a damaged Torch7 file: it is cut off.")
        self.at += count
        return self.whole[self.at - count : self.at]

    def integer(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def longs(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}q", self.take(8 * count))

    def text(self) -> str:
        return str(self.take(self.integer()), "latin-1")

    def value(self, depth: int = 0) -> Any:
        self.left -= 1
        if depth > DEEPEST or self.left < 0:
            raise BadCheckpoint("a Torch7 file with more in it, or deeper, than a network has.")
        kind = self.integer()
        if kind == 0:
            return None
        if kind == NUMBER:
            number = struct.unpack("<d", self.take(8))[0]
            return int(number) if number.is_integer() and abs(number) < 1 << 53 else number
        if kind == STRING:
            return self.text()
        if kind == BOOLEAN:
            return bool(self.integer())
        if kind not in (TABLE, OBJECT, *FUNCTIONS):
            raise BadCheckpoint(f"a damaged Torch7 file: there is no type {kind}.")
        index = self.integer()
        if index in self.known:
            return self.known[index]
        if kind == TABLE:
            table: dict[Any, Any] = {}
            self.known[index] = table
            self.fill(table, depth)
            return table
        if kind == OBJECT:
            return self.object(index, depth)
        self.known[index] = None
        self.take(self.integer())  # bytecode
        self.value(depth + 1)  # what the function closes over
        return None

    def fill(self, table: dict[Any, Any], depth: int) -> None:
        for _ in range(self.integer()):
            key = self.value(depth + 1)
            value = self.value(depth + 1)
            if isinstance(key, str | int | float):
                table[key] = value

    def object(self, index: int, depth: int) -> Any:
        kind = self.text()
        if kind.startswith("V "):
            kind = self.text()
        library, _, name = kind.partition(".")
        if library == "torch" and name.endswith("Storage"):
            made: Any = self.storage(name.removesuffix("Storage"))
            self.known[index] = made
        elif library == "torch" and name.endswith("Tensor"):
            made = self.tensor(name.removesuffix("Tensor"), depth)
            self.known[index] = made
        else:
            made = self.known[index] = LuaObject(kind)
            content = self.value(depth + 1)
            if isinstance(content, dict):
                made.fields = content
        return made

    def storage(self, element: str) -> Storage:
        dtype = _dtype(element)
        (count,) = self.longs(1)
        begin = self.at
        if not 0 <= count <= len(self.whole) or begin + count * dtype.itemsize > len(self.whole):
            raise BadCheckpoint("a damaged Torch7 file: it is cut off.")
        self.at += count * dtype.itemsize
        if count == 0:
            return Storage(torch.empty(0, dtype=dtype))
        if begin % dtype.itemsize:
            return Storage(torch.frombuffer(bytearray(self.whole[begin : self.at]), dtype=dtype))
        return Storage(torch.frombuffer(self.whole, dtype=dtype, count=count, offset=begin))

    def tensor(self, element: str, depth: int) -> Tensor:
        dimensions = self.integer()
        if not 0 <= dimensions <= 16:
            raise BadCheckpoint("a damaged Torch7 file: a tensor is described wrongly.")
        size, stride, (offset,) = self.longs(dimensions), self.longs(dimensions), self.longs(1)
        storage = self.value(depth + 1)
        dtype = _dtype(element)
        if storage is None or not dimensions:
            return torch.empty(0, dtype=dtype)
        return view(storage, offset - 1, size, stride)


def _dtype(element: str) -> torch.dtype:
    if element not in ELEMENTS:
        raise BadCheckpoint("a Torch7 file with tensors of a kind that limner doesn't read.")
    return ELEMENTS[element]
