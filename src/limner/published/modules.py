"""From what a file holds to weights by name: state dicts, and whole networks that were pickled as objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.arrays import array_of
from limner.published.lua import LuaObject
from limner.published.pickles import SCRIPTED, Inert, Name

WRAPPERS = ("state_dict", "model_state_dict", "params")
"""Where checkpoints keep their weights, if not at the top."""

OPTIMISER = {"state", "param_groups"}
DEEPEST = 64
MOST = 200_000
LONGEST_NAME = 500


def weights(content: Any) -> dict[str, Tensor]:
    """The tensors in it by name; nested names are joined by dots. A network that was saved as an object (torch.save of
    the model, torch.jit.save, StyleGAN's pickles) counts as its state dict. What an optimiser keeps is left out, and so
    is what isn't a tensor."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    found: dict[str, Tensor] = {}
    for number, (path, tensor) in enumerate(_walk(content, (), 0, Visits())):
        name = ".".join(map(str, path))
        if number > MOST or len(name) > LONGEST_NAME or not name.isprintable():
            raise BadCheckpoint("names that no file of weights has: too many, too long, or not to be printed.")
        if name in found:
            raise BadCheckpoint(f"it has {name} twice.")
        found[name] = tensor
    return found


class Visits:
    """How much has been looked at: a file can say the same thing many times with few bytes."""

    left = 400_000

    def count(self, items: int) -> None:
        self.left -= 1 + items
        if self.left < 0:
            raise BadCheckpoint("it describes more than a file of weights ever holds.")


def _walk(content: Any, path: tuple[Any, ...], depth: int, visits: Visits) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    if depth > DEEPEST:
        raise BadCheckpoint(f"weights nested more than {DEEPEST} deep.")
    if isinstance(content, Tensor):
        yield path, content
        return
    if isinstance(content, LuaObject):
        parts: Mapping[Any, Any] = content.parts()
    elif isinstance(content, Inert):
        array = array_of(content)
        if array is not None:
            yield path, array
            return
        parts = _module(content)
    elif isinstance(content, list):
        parts = dict(enumerate(content))
    elif isinstance(content, Mapping) and content.keys() != OPTIMISER:
        parts = content
    else:
        return
    visits.count(len(parts))
    for name, part in parts.items():
        if isinstance(name, str | int) and isinstance(part, Tensor | LuaObject | Inert | Mapping | list):
            if len(str(name)) > LONGEST_NAME:
                raise BadCheckpoint("a name that is too long for a weight's.")
            yield from _walk(part, (*path, name), depth + 1, visits)


def _module(record: Inert) -> dict[Any, Any]:
    """The parameters, buffers and modules of a network that was pickled as an object; nothing for other objects."""
    state = record.state if isinstance(record.state, dict) else {}
    if isinstance(record.name, Name) and record.name.module.startswith(SCRIPTED):
        return {name: value for name, value in state.items() if isinstance(value, Tensor | Inert)}
    parameters, networks = state.get("_parameters"), state.get("_modules")
    if not isinstance(parameters, dict) or not isinstance(networks, dict):
        return {}
    passing, buffers = state.get("_non_persistent_buffers_set"), state.get("_buffers")
    kept = dict(buffers) if isinstance(buffers, dict) else {}
    for name in passing if isinstance(passing, set | frozenset) else ():
        kept.pop(name, None)
    return {**parameters, **kept, **networks}
