"""The one safe reader of other people's weights. Reading a file never executes anything that is in it.

Known by their first bytes, not by their names: safetensors, PyTorch's zip files and its older plain pickles (Lightning
checkpoints are either), and Flax's msgpack. Everything wrong with a file is one error, BadCheckpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published import msgpack, pickles

WRAPPERS = ("state_dict", "model_state_dict", "params")
"""Where checkpoints keep their weights, if not at the top."""


def read(path: Path) -> Any:
    """All that a file holds: dicts, lists, numbers, tensors (on the CPU); objects of foreign classes are inert records
    of what the file says about them. Tensors are mapped from the file where they can be."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise BadCheckpoint(f"{path}: can't be read: {error.strerror}.") from None
    try:
        if head.startswith(b"PK\x03\x04"):
            return pickles.read_zip(path)
        if head.startswith(pickles.LEGACY_HEAD):
            return pickles.read_legacy(path)
        if len(head) > 8 and head[8:9] == b"{":
            return _read_safetensors(path)
        if _begins_a_map_of_names(head):
            return msgpack.read(path)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}") from None
    except (OSError, MemoryError, OverflowError) as error:
        raise BadCheckpoint(f"{path}: can't be read: {error or type(error).__name__}.") from None
    raise BadCheckpoint(
        f"{path}: not a weights file that limner can read: neither safetensors, nor a PyTorch file, nor Flax msgpack."
    )


def tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a file, by name; nested names are joined by dots. What isn't a tensor is left out."""
    content = read(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    found = dict(_flat(content)) if isinstance(content, Mapping) else {}
    if not found:
        raise BadCheckpoint(f"{path}: there are no weights in it.")
    return found


def _begins_a_map_of_names(head: bytes) -> bool:
    """Is it msgpack as Flax writes it: a map that isn't empty, whose first key is a string?"""
    sizes = {0xDE: 2, 0xDF: 4}
    first = head[0] if head else 0
    if not 0x80 < first <= 0x8F and first not in sizes:
        return False
    key = head[1 + sizes.get(first, 0) :][:1]
    return bool(key) and (0xA0 <= key[0] <= 0xBF or 0xD9 <= key[0] <= 0xDB)


def _flat(content: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, Tensor]]:
    if depth > 32:
        raise BadCheckpoint("weights nested more than 32 deep.")
    found: list[tuple[str, Tensor]] = []
    for name, value in content.items():
        if isinstance(value, Tensor):
            found.append((f"{prefix}{name}", value))
        elif isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.", depth + 1)
    return found


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise BadCheckpoint(f"a damaged safetensors file: {error}.") from None
