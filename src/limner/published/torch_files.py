"""The files of torch.save in its three layouts, from 2016 to now. The pickles in them are run by `pickles`.

Since version 1.6 it is a zip with one entry for each storage (`read_zip`); before, a few pickles one after the other
and then the storages' numbers (`read_stream`); before 0.1.10, a tar (`read_tar`).
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.archive import STORED, Entry
from limner.published.pickles import DTYPES, Content, Name, Storage, run, stored, view

STREAM_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How the second layout begins: a pickle of one magic number."""

LARGEST_PROGRAM = 16 << 20  # bytes of pickle, which holds names and shapes; the numbers are elsewhere


def read_zip(whole: mmap.mmap, entries: dict[str, Entry]) -> Any:
    """A zip with a pickle and one uncompressed entry for each storage. Tensors are pages of the file.

    What torch.jit.save writes is such a zip, too, with code beside, which isn't looked at.
    """
    programs = [name for name in entries if name.endswith("/data.pkl")]
    if len(programs) != 1:
        raise BadCheckpoint("a zip file, but not one that PyTorch wrote: it holds no data.pkl, or several.")
    root = programs[0].removesuffix("data.pkl")
    program = entries[programs[0]]
    if any(entry.method != STORED for name, entry in entries.items() if not name.startswith(f"{root}code/")):
        raise BadCheckpoint("its entries are compressed, which PyTorch's never are.")
    if program.size > LARGEST_PROGRAM:
        raise BadCheckpoint("its data.pkl is too large to be a list of tensors.")
    order = entries.get(f"{root}byteorder")
    if order and whole[order.start : order.start + order.size] != b"little":
        raise BadCheckpoint("written on a big-endian machine, which limner can't read.")
    opened: dict[str, Tensor] = {}

    def open_storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in opened:
            entry = entries.get(f"{root}data/{key}")
            if entry is None:
                raise BadCheckpoint(f"the numbers of tensor storage {key[:50]!a} are missing.")
            if entry.size < count * dtype.itemsize:
                raise BadCheckpoint(f"tensor storage {key[:50]!a} is damaged: it is too short.")
            opened[key] = _numbers(whole, entry.start, dtype, count)
        return _same(opened[key], key, dtype, count)

    content, _ = run(whole[program.start : program.start + program.size], partial(stored, open_storage=open_storage))
    return content


def read_stream(content: Content, *, inner: bool = False) -> Any:
    """Pickles (a magic number, a version, the system, the object, the storages' keys), then each storage's numbers.

    inner: the file lies in a pickle, as a tensor does that was pickled without torch.save
    """
    claimed = 0
    opened: dict[str, Tensor] = {}

    def open_storage(key: str, dtype: torch.dtype, count: int) -> Tensor:
        nonlocal claimed
        if key not in opened:
            claimed += count * dtype.itemsize
            if claimed > len(content):
                raise BadCheckpoint("it claims more numbers than the file can hold.")
            opened[key] = torch.zeros(count, dtype=dtype)
        return _same(opened[key], key, dtype, count)

    at = 0
    parts = []
    for _ in ("magic number", "version", "system", "object", "keys"):
        part, at = run(content, partial(stored, open_storage=open_storage), at, inner=inner)
        parts.append(part)
    *_, made, keys = parts
    if not isinstance(keys, list) or len(keys) != len(opened):
        raise BadCheckpoint("the list of its tensor storages is damaged.")
    for key in keys:
        numbers = opened.pop(str(key), None) if isinstance(key, str | int) else None
        if numbers is None or content[at : at + 8] != struct.pack("<q", len(numbers)):
            raise BadCheckpoint("a tensor storage is damaged.")
        at += 8
        if at + numbers.nbytes > len(content):
            raise BadCheckpoint("the file is cut off.")
        numbers.copy_(_numbers(content, at, numbers.dtype, len(numbers)))
        at += numbers.nbytes
    return made


def read_tar(whole: mmap.mmap) -> Any:
    """A tar of `storages`, `tensors` (both pickles and raw numbers by turns) and the `pickle` that refers to them."""
    files = _tar(whole)
    if not {"storages", "tensors", "pickle"} <= files.keys():
        raise BadCheckpoint("a tar file, but not one that PyTorch wrote. If it was packed, unpack it first.")
    known = _Known()
    at, end = files["storages"]
    count, at = run(whole, None, at, end)
    for _ in range(_number(count, end - at)):
        (key, _, kind), at = run(whole, None, at, end)
        if not isinstance(kind, Name) or kind.module != "torch" or kind.name not in DTYPES:
            raise BadCheckpoint("tensors of a kind that limner doesn't read.")
        dtype = DTYPES[kind.name]
        (length,) = struct.unpack("<q", whole[at : at + 8])
        if length < 0 or at + 8 + length * dtype.itemsize > end:
            raise BadCheckpoint("a tensor storage is damaged.")
        known.add(key, Storage(_numbers(whole, at + 8, dtype, length)))
        at += 8 + length * dtype.itemsize
    parts, at = run(whole, None, at, end)
    for key, root, offset, length in parts:
        of = known.get(root)
        known.add(key, Storage(view(of, offset, (length,), (1,))))
    at, end = files["tensors"]
    count, at = run(whole, None, at, end)
    for _ in range(_number(count, end - at)):
        (key, storage, _), at = run(whole, None, at, end)
        (dimensions,) = struct.unpack("<i4x", whole[at : at + 8])
        if not 0 <= dimensions <= 16:
            raise BadCheckpoint("a tensor is described wrongly.")
        *described, offset = struct.unpack(f"<{2 * dimensions + 1}q", whole[at + 8 : at + 16 + 16 * dimensions])
        known.add(key, view(known.get(storage), offset, tuple(described[:dimensions]), tuple(described[dimensions:])))
        at += 16 + 16 * dimensions
    content, _ = run(whole, known.resolve, *files["pickle"])
    return content


@dataclass
class _Known:
    """Storages and tensors by the numbers that the pickle knows them by."""

    things: dict[int, Any] = field(default_factory=dict)

    def add(self, key: Any, thing: Any) -> None:
        if type(key) is not int or abs(key) >= 1 << 60 or key in self.things:
            raise BadCheckpoint("a tensor is described twice, or wrongly.")
        self.things[key] = thing

    def get(self, key: Any) -> Any:
        if not isinstance(key, int | str) or int(key) not in self.things:
            raise BadCheckpoint("a tensor is missing.")
        return self.things[int(key)]

    def resolve(self, identity: Any) -> Any:
        if isinstance(identity, tuple) and identity and isinstance(identity[0], Name):
            return identity[0]  # the class of a network; its source stays text
        return self.get(identity)


def _tar(whole: mmap.mmap) -> dict[str, tuple[int, int]]:
    """Where the plain files of a tar begin and end."""
    files: dict[str, tuple[int, int]] = {}
    at = 0
    while at + 512 <= len(whole) and len(files) < 16:
        head = whole[at : at + 512]
        name, kind = head[:100].rstrip(b"\0"), head[156:157]
        if not name:
            break
        digits = head[124:136].strip(b"\0 ")
        size = int(digits or b"0", 8) if digits.isdigit() else -1
        if size < 0 or at + 512 + size > len(whole):
            raise BadCheckpoint("a damaged tar file.")
        if kind in (b"0", b"\0"):
            files.setdefault(str(name, "latin-1"), (at + 512, at + 512 + size))
        at += 512 + -(-size // 512) * 512
    return files


def _number(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise BadCheckpoint("a damaged file: it holds fewer tensors than it says.")
    return value


def _same(numbers: Tensor, key: str, dtype: torch.dtype, count: int) -> Tensor:
    if numbers.dtype != dtype or len(numbers) != count:
        raise BadCheckpoint(f"it describes tensor storage {key[:50]!a} in two ways.")
    return numbers


def _numbers(whole: Content, start: int, dtype: torch.dtype, count: int) -> Tensor:
    """Numbers from the file: its own pages where they are aligned, a copy otherwise."""
    if count == 0:
        return torch.empty(0, dtype=dtype)
    if isinstance(whole, bytes) or start % dtype.itemsize:
        return torch.frombuffer(bytearray(whole[start : start + count * dtype.itemsize]), dtype=dtype)
    return torch.frombuffer(whole, dtype=dtype, count=count, offset=start)
