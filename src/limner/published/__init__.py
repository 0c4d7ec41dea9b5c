"""Reading the weights that authors have released: for each repository its layout and its key map, as data.

The module here that is called like a system opens that system's published files: `convert` is its entry (see
`open_as`), and `FILES` names them where a release spreads over several.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from limner.errors import BadCheckpoint, CannotDo

if TYPE_CHECKING:
    from torch import Tensor

    from limner.system import System


def converter(system: str) -> ModuleType:
    """The module that opens the published files of `system`, by its name in the table. CannotDo where none does."""
    module = f"{__name__}.{system.replace('-', '_')}"
    found = importlib.import_module(module) if find_spec(module) else None
    if found is None or not hasattr(found, "convert"):
        raise CannotDo(f"limner opens no published files as {system}. Those it opens: {', '.join(convertible())}.")
    return found


def convertible() -> list[str]:
    """The systems whose published files limner opens."""
    from limner.systems import TABLE

    def opens(system: str) -> bool:
        module = f"{__name__}.{system.replace('-', '_')}"
        return find_spec(module) is not None and hasattr(importlib.import_module(module), "convert")

    return [system for system in TABLE if opens(system)]


def open_as(system: str, tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """Published weights -> the system with them in it, in eval mode.

    tensors: by their published names, as `limner.published.read.tensors` gives them; those of several files behind the
        file's name in `FILES` and a dot
    where: the file, for messages
    changes: options of the system that win over what the shapes say
    """
    try:
        model: System = converter(system).convert(tensors, where, changes)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{where}: not a published file of {system}: it lacks or misshapes {error}.") from error
    return model.eval()
