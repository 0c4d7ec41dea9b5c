"""The one safe reader of other people's weights. Reading a file never executes anything that is in it.

A file is known by its first bytes, not by its name:

| format | what writes it |
|---|---|
| zip with `data.pkl`; pickles in a row; tar | torch.save since 1.6, torch.jit.save; since 0.1.10; before |
| plain pickle | StyleGAN and its kin (whole networks with their source), lists of words |
| safetensors | diffusers and transformers |
| msgpack | Flax |
| `.npy`, `.npz` | numpy, Chainer's snapshots |
| HDF5 | Keras |
| `.index` and `.data-...` | TensorFlow's checkpoints, V2 |
| `.t7` | Torch7 |

Everything wrong with a file is one error, BadCheckpoint, and what a file claims is checked before memory is taken.
"""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published import archive, arrays, hdf5, lua, modules, msgpack, pickles, tensorflow, torch_files

LARGEST_HEADER = 16 << 20  # bytes of a safetensors header; the largest models have some
PICKLE_HEAD = re.compile(rb"\x80[\x02-\x05]")
TAR_HEAD = re.compile(rb"(storages|tensors|pickle|attributes|\./)\0", re.DOTALL)


def read(path: Path) -> Any:
    """All that a file holds: dicts, lists, numbers, tensors (on the CPU); objects of foreign classes are inert records
    of what the file says about them. Tensors are mapped from the file where they can be."""
    try:
        return _read(path)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}") from None
    except OSError as error:
        raise BadCheckpoint(f"{path}: can't be read: {error.strerror or error}.") from None
    except (
        ValueError, TypeError, IndexError, KeyError, AttributeError, RuntimeError, OverflowError, MemoryError,
        struct.error,
    ) as error:  # fmt: skip
        raise BadCheckpoint(f"{path}: damaged: {str(error)[:200] or type(error).__name__}.") from None


def tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name; nested names are joined by dots, and a network that was saved as an object counts
    as its state dict. What isn't a tensor is left out, and so is what an optimiser keeps."""
    content = read(path)
    try:
        found = modules.weights(content)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}") from None
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadCheckpoint(f"{path}: damaged: {str(error)[:200]}.") from None
    if not found:
        raise BadCheckpoint(f"{path}: there are no weights in it.")
    return found


def _read(path: Path) -> Any:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, size - 8))
        tail = file.read(8)
        if not size:
            raise BadCheckpoint("an empty file.")
        # Copy on write: tensors are pages of the file until somebody changes them.
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if head.startswith(b"PK\x03\x04"):
        entries = archive.entries(whole)
        numpy = entries and all(name.endswith(".npy") for name in entries)
        return arrays.read_arrays(whole, entries) if numpy else torch_files.read_zip(whole, entries)
    if head.startswith(torch_files.STREAM_HEAD):
        return torch_files.read_stream(whole)
    if head[257:262] == b"ustar" or TAR_HEAD.match(head):
        return torch_files.read_tar(whole)
    if PICKLE_HEAD.match(head):
        content, end = pickles.run(whole)
        if end != size:
            raise BadCheckpoint("a damaged pickle: there is more after its end.")
        return content
    if len(head) > 8 and head[8:9] == b"{":
        return _read_safetensors(path, int.from_bytes(head[:8], "little"), size)
    if head.startswith(arrays.HEAD):
        return arrays.read_array(whole)
    if head.startswith(hdf5.HEAD):
        return hdf5.read(whole)
    if head.startswith(lua.HEADS):
        return lua.read(whole)
    if tail == tensorflow.MAGIC:
        return tensorflow.read(path)
    if _begins_a_map_of_names(head):
        return msgpack.read(path)
    raise BadCheckpoint(
        "not a weights file that limner can read: neither safetensors, nor a file of PyTorch, Flax, numpy, Keras, "
        "TensorFlow or Torch7. If it is packed (.gz, .zip, .tar), unpack it first."
    )


def _begins_a_map_of_names(head: bytes) -> bool:
    """Is it msgpack as Flax writes it: a map that isn't empty, whose first key is a string?"""
    sizes = {0xDE: 2, 0xDF: 4}
    first = head[0] if head else 0
    if not 0x80 < first <= 0x8F and first not in sizes:
        return False
    key = head[1 + sizes.get(first, 0) :][:1]
    return bool(key) and (0xA0 <= key[0] <= 0xBF or 0xD9 <= key[0] <= 0xDB)


def _read_safetensors(path: Path, header: int, size: int) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if header > min(size - 8, LARGEST_HEADER):
        raise BadCheckpoint("a damaged safetensors file: its header is longer than the file, or than any.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadCheckpoint(f"a damaged safetensors file: {str(error)[:200]}.") from None
