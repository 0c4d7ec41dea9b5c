"""numpy's files (.npy, .npz) and the arrays that pickles hold, as tensors. Arrays of objects are refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from mmap import mmap
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published import archive
from limner.published.archive import Entry
from limner.published.pickles import Inert, Name

HEAD = b"\x93NUMPY"
NUMBERS = re.compile(r"([<>|=]?)([fiub])([1248])")
HEADER = re.compile(
    r"\{\s*'descr':\s*'([^']*)',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(([\d,\sL]*)\),?\s*\}\s*"
)
LONGEST_HEADER = 1 << 12
RECONSTRUCT = tuple(Name(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core"))
FROM_BUFFER = tuple(Name(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core"))


def read_array(content: bytes | mmap) -> Tensor:
    """What a .npy file holds."""
    wide = content[6:7] != b"\x01"  # the header's length takes four bytes since version 2
    length = int.from_bytes(content[8 : 12 if wide else 10], "little")
    start = (12 if wide else 10) + length
    if length > LONGEST_HEADER or start > len(content):
        raise BadCheckpoint("a damaged numpy file: its header is cut off, or far too long.")
    header = HEADER.fullmatch(str(content[12 if wide else 10 : start], "latin-1"))
    if header is None:
        raise BadCheckpoint("a numpy file that holds something else than plain numbers, or is damaged.")
    shape = tuple(int(each.rstrip("L")) for each in header[3].replace(" ", "").split(",") if each)
    return _tensor(header[1], shape, header[2] == "True", content[start:])


def read_arrays(whole: mmap, entries: Mapping[str, Entry]) -> dict[str, Tensor]:
    """What a .npz file holds, by name."""
    found = {}
    for name, entry in entries.items():
        packed = archive.content(whole, entry)
        if not name.endswith(".npy") or not packed.startswith(HEAD):
            raise BadCheckpoint(f"a zip file, but neither PyTorch's nor numpy's: it holds {name[:100]!a}.")
        found[name.removesuffix(".npy")] = read_array(packed)
    return found


def array_of(record: Inert) -> Tensor | None:
    """The array that a pickle describes; None for any other object.

    It is `_reconstruct(ndarray, (0,), b"b")`, filled with (version, shape, dtype, is it in Fortran's order, bytes), or
    since protocol 5 `_frombuffer(bytes, dtype, shape, order)`.
    """
    name, state = record.name, record.state
    if name in FROM_BUFFER and len(record.arguments) == 4:
        content, kind, shape, order = record.arguments
        fortran = order == "F"
    elif name in RECONSTRUCT and isinstance(state, tuple) and len(state) == 5:
        _, shape, kind, fortran, content = state
    else:
        return None
    if isinstance(content, str):  # as Python 2 wrote it
        content = content.encode("latin-1")
    if (
        not isinstance(content, bytes)
        or not isinstance(shape, tuple)
        or not isinstance(kind, Inert)
        or not kind.arguments
    ):
        raise BadCheckpoint("a numpy array of objects, which is none of numbers.")
    byte_order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "|"
    if not isinstance(byte_order, str) or not isinstance(kind.arguments[0], str):
        raise BadCheckpoint("a numpy array is described wrongly.")
    return _tensor(f"{byte_order}{kind.arguments[0]}", shape, bool(fortran), content)


def _tensor(kind: str, shape: tuple[Any, ...], fortran: bool, content: bytes) -> Tensor:
    if not (known := NUMBERS.fullmatch(kind)) or (known[2] + known[3]) in ("f1", "b2", "b4", "b8"):
        raise BadCheckpoint(f"a numpy array of {kind[:50]!a}, which are no plain numbers.")
    count = 1
    for length in shape:
        if type(length) is not int or not 0 <= length < 1 << 62:
            raise BadCheckpoint("a numpy array is described wrongly.")
        count *= length
    dtype = np.dtype(kind)
    if len(shape) > 16 or count * dtype.itemsize != len(content):
        raise BadCheckpoint("a numpy array that isn't as long as it says.")
    flat = np.frombuffer(content, dtype).astype(dtype.newbyteorder("="))
    return torch.from_numpy(flat.reshape(shape, order="F" if fortran else "C"))
