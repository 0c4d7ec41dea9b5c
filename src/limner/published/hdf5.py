"""HDF5 as Keras writes weights: groups of plain arrays. No links, no compression, no types of one's own.

The format is the HDF Group's "File Format Specification 1.1": a superblock, object headers made of messages, groups
as B-trees of names. Every address is checked, and none is visited twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from mmap import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.errors import BadCheckpoint

HEAD = b"\x89HDF\r\n\x1a\n"
MOST_OBJECTS = 50_000
DEEPEST = 32
ORDERS = ("layer_names", "weight_names")
"""Attributes in which Keras keeps the order of a group's members, which HDF5 sorts by name."""

SPACE, TYPE, LAYOUT, FILTERS, ATTRIBUTE, CONTINUED, GROUP = 0x01, 0x03, 0x08, 0x0B, 0x0C, 0x10, 0x11
COMPACT, CONTIGUOUS = 0, 1
INTEGER, FLOAT, TEXT, TEXTS = 0, 1, 3, 9  # the last: of different lengths, elsewhere in the file


def read(whole: mmap) -> dict[str, Any]:
    """The tree in a file: groups as dicts in Keras' order where it says one, arrays as tensors."""
    return _Reader(whole).tree()


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    body: bytes


class _Reader:
    def __init__(self, whole: mmap) -> None:
        self.whole = whole
        self.left = 2 * len(whole) + 65536  # bytes to be read: no part of a sound file is needed twice
        self.seen: set[int] = set()
        self.heaps: dict[int, dict[int, bytes]] = {}

    def take(self, at: int, count: int) -> bytes:
        if at < 0 or count < 0 or at + count > len(self.whole):
            raise BadCheckpoint("a damaged HDF5 file: an address outside of it.")
        self.left -= count
        if self.left < 0:
            raise BadCheckpoint("a forged HDF5 file: it uses the same bytes again and again.")
        return self.whole[at : at + count]

    def visit(self, at: int) -> None:
        if at in self.seen or len(self.seen) > MOST_OBJECTS:
            raise BadCheckpoint("an HDF5 file whose parts go in circles, or are too many for weights.")
        self.seen.add(at)

    def tree(self) -> dict[str, Any]:
        version, offsets, lengths = self.whole[8], self.whole[13], self.whole[14]
        if version not in (0, 1) or (offsets, lengths) != (8, 8):
            raise BadCheckpoint("an HDF5 file in a layout that Keras doesn't write (libver='latest'?).")
        entry = 24 + 4 * version + 32  # after the superblock's own addresses
        (base,) = struct.unpack("<Q", self.take(24 + 4 * version, 8))
        if base:
            raise BadCheckpoint("an HDF5 file inside of another file.")
        (root,) = struct.unpack("<8xQ", self.take(entry, 16))
        content = self.object(root, [], 0)
        if not isinstance(content, dict):
            raise BadCheckpoint("a damaged HDF5 file: its root is no group.")
        return content

    def object(self, at: int, order: list[str], depth: int) -> dict[str, Any] | Tensor:
        """A group or an array. `order`: paths from here, as a group above says them."""
        if depth > DEEPEST:
            raise BadCheckpoint(f"an HDF5 file nested more than {DEEPEST} deep.")
        messages = list(self.messages(at))
        found = {message.kind: message.body for message in messages}
        if GROUP not in found:
            return self.array(found)
        tree, heap = struct.unpack("<QQ", found[GROUP][:16])
        for message in messages:
            if message.kind == ATTRIBUTE:
                name, texts = self.texts(message.body)
                order = texts if name in ORDERS else order
        inside: dict[str, list[str]] = {path.partition("/")[0]: [] for path in order}
        for path in order:
            first, _, rest = path.partition("/")
            inside[first].append(rest)
        members = {
            name: self.object(place, inside.get(name, []), depth + 1)
            for name, place in self.members(tree, self.heap(heap))
        }
        return {name: members[name] for name in (*inside, *members) if name in members}

    def messages(self, at: int) -> Iterator[Message]:
        """The messages of an object header, with those of the blocks that continue it."""
        self.visit(at)
        version, count, size = struct.unpack("<BxH4xI", self.take(at, 12))
        if version != 1:
            raise BadCheckpoint("an HDF5 file in a layout that Keras doesn't write (libver='latest'?).")
        blocks = [(at + 16, size)]
        for begin, length in blocks:
            place, end = begin, begin + length
            while place + 8 <= end and count > 0:
                kind, length = struct.unpack("<HH", self.take(place, 4))
                body = self.take(place + 8, length)
                place += 8 + length
                count -= 1
                if kind == CONTINUED:
                    continued = struct.unpack("<QQ", body[:16])
                    self.visit(continued[0])
                    blocks.append(continued)
                yield Message(kind, body)

    def heap(self, at: int) -> bytes:
        signature, size, place = struct.unpack("<4s4xQ8xQ", self.take(at, 32))
        if signature != b"HEAP":
            raise BadCheckpoint("a damaged HDF5 file: a group without names.")
        return self.take(place, size)

    def members(self, at: int, heap: bytes, level: int | None = None) -> Iterator[tuple[str, int]]:
        """Names and addresses, from a group's B-tree."""
        self.visit(at)
        signature, kind, depth, used = struct.unpack("<4sBBH", self.take(at, 8))
        if signature != b"TREE" or kind != 0 or (level is not None and depth != level):
            raise BadCheckpoint("a damaged HDF5 file: a group that is no tree.")
        for (child,) in struct.iter_unpack("<8xQ", self.take(at + 24, 16 * used)):
            if depth:
                yield from self.members(child, heap, depth - 1)
                continue
            self.visit(child)
            signature, count = struct.unpack("<4s2xH", self.take(child, 8))
            if signature != b"SNOD":
                raise BadCheckpoint("a damaged HDF5 file: a group without members.")
            for name, place, cache in struct.iter_unpack("<QQI20x", self.take(child + 8, 40 * count)):
                if cache == 2:
                    raise BadCheckpoint("an HDF5 file with links, which no file of weights needs.")
                yield str(heap[name : heap.index(b"\0", name)], "utf-8"), place

    def texts(self, body: bytes) -> tuple[str, list[str]]:
        """An attribute's name, and its texts where it holds a list of texts."""
        version, name_size, kind_size, space_size = struct.unpack("<BxHHH", body[:8])
        if version not in (1, 2, 3):
            raise BadCheckpoint("a damaged HDF5 file: an attribute that is none.")
        at, parts = 8 + (version == 3), []
        for size in (name_size, kind_size, space_size):
            parts.append(body[at : at + size])
            at += -(-size // 8) * 8 if version == 1 else size
        name, kind, space = parts
        label, which = str(name.rstrip(b"\0"), "utf-8"), kind[0] & 0x0F
        if label not in ORDERS or which not in (TEXT, TEXTS):
            return label, []
        size = int.from_bytes(kind[4:8], "little")
        count = prod(_shape(space))
        if size < 1 or count * size > len(body) - at or (which == TEXTS and size != 16):
            raise BadCheckpoint("a damaged HDF5 file: an attribute isn't as long as it says.")
        items = [body[at + i * size : at + (i + 1) * size] for i in range(count)]
        if which == TEXTS:
            items = [self.elsewhere(*struct.unpack("<IQI", item)) for item in items]
        return label, [str(item.rstrip(b"\0"), "utf-8") for item in items]

    def elsewhere(self, length: int, heap: int, index: int) -> bytes:
        """A text of its own length, from a heap of such."""
        signature, size = struct.unpack("<4s4xQ", self.take(heap, 16))
        if signature != b"GCOL" or size > 1 << 20:
            raise BadCheckpoint("a damaged HDF5 file: a text that isn't there.")
        if heap not in self.heaps:
            content, at = self.take(heap, size), 16
            self.heaps[heap] = found = dict[int, bytes]()
            while at + 16 <= size and (number := int.from_bytes(content[at : at + 2], "little")):
                wide = int.from_bytes(content[at + 8 : at + 16], "little")
                found[number] = content[at + 16 : at + 16 + wide]
                at += 16 + -(-wide // 8) * 8
        return self.heaps[heap][index][:length]

    def array(self, found: dict[int, bytes]) -> Tensor:
        if not {SPACE, TYPE, LAYOUT} <= found.keys():
            raise BadCheckpoint("an HDF5 file with something in it that is neither a group nor an array.")
        kind, shape, layout = _kind(found[TYPE]), _shape(found[SPACE]), found[LAYOUT]
        size = prod(shape) * kind.itemsize
        version, storage = layout[0], layout[1]
        if version != 3 or storage not in (COMPACT, CONTIGUOUS) or FILTERS in found:
            raise BadCheckpoint("an HDF5 file with arrays in pieces or packed, as Keras doesn't write them.")
        if storage == COMPACT:
            content = layout[4 : 4 + int.from_bytes(layout[2:4], "little")]
        else:
            place, length = struct.unpack("<QQ", layout[2:18])
            content = self.take(place, length) if size else b""
        if len(content) != size:
            raise BadCheckpoint("a damaged HDF5 file: an array isn't as long as it says.")
        return torch.from_numpy(np.frombuffer(content, kind).astype(kind.newbyteorder("=")).reshape(shape))


def _kind(body: bytes) -> np.dtype[Any]:
    which, bits = body[0] & 0x0F, body[1]
    (size,) = struct.unpack("<I", body[4:8])
    letter = "f" if which == FLOAT else "i" if bits & 8 else "u"
    if which not in (INTEGER, FLOAT) or size not in (1, 2, 4, 8) or (letter, size) == ("f", 1):
        raise BadCheckpoint("an HDF5 file with arrays of something else than plain numbers.")
    return np.dtype(f"{'>' if bits & 1 else '<'}{letter}{size}")


def _shape(body: bytes) -> tuple[int, ...]:
    version, rank = body[0], body[1]
    start = {1: 8, 2: 4}.get(version)
    if start is None or rank > 16:
        raise BadCheckpoint("a damaged HDF5 file: a shape that is none.")
    return struct.unpack(f"<{rank}Q", body[start : start + 8 * rank])
