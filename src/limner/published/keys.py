"""Putting somebody's tensors into our modules: every one of theirs used, every one of ours filled, or an error."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from limner.errors import BadCheckpoint
from limner.system import System, config_from
from limner.systems import find, make


class Incomplete(UserWarning):
    """A release lacks networks of the system, which therefore know nothing yet."""


MOST_FRESH = 200_000_000
"""Parameters that a system may have beside those of a release."""

Rules = tuple[tuple[str, str], ...]
"""Regular expression -> replacement."""


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """`tensors` under our names. `names` maps every published name to ours; a name it lacks, or two names that become
    one, is a BadCheckpoint that starts with `where` (the file)."""
    unknown = tensors.keys() - names.keys()
    if unknown:
        raise BadCheckpoint(f"{where}: entries that this kind of checkpoint doesn't have: {_some(unknown)}")
    ours = {names[name]: value for name, value in tensors.items()}
    if len(ours) != len(tensors):
        raise BadCheckpoint(f"{where}: some entries appear twice under different names")
    return ours


def by_rules(published: Iterable[str], rules: Rules) -> dict[str, str]:
    """Every published name -> ours, for `renamed`: the rules are applied to it one after the other."""
    names = {}
    for name in published:
        names[name] = name
        for pattern, replacement in rules:
            names[name] = re.sub(pattern, replacement, names[name])
    return names


def count(names: Iterable[str], pattern: str) -> int:
    """How many different texts the pattern's group takes in names that begin with it: a number of layers, mostly."""
    return len({found[1] for name in names if (found := re.match(pattern, name))})


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load `tensors` into `module` strictly: the same names and shapes on both sides, or a BadCheckpoint.

    A module on the meta device takes the tensors as they are, without a copy, in its own types.
    """
    state = module.state_dict()
    check(state, tensors, where)
    bare = any(value.is_meta for value in state.values())
    module.load_state_dict({name: value.to(state[name].dtype) for name, value in tensors.items()}, assign=bare)


def check(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    """BadCheckpoint unless both have the same names and shapes."""
    missing, unknown = state.keys() - tensors.keys(), tensors.keys() - state.keys()
    if missing:
        raise BadCheckpoint(f"{where}: incomplete, it lacks {_some(missing)}")
    if unknown:
        raise BadCheckpoint(f"{where}: entries that have no place in the model: {_some(unknown)}")
    for name, value in tensors.items():
        if value.shape != state[name].shape:
            shapes = f"{list(value.shape)}, but the model's is {list(state[name].shape)}"
            raise BadCheckpoint(f"{where}: {name} has shape {shapes}")


def opened(system: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> System:
    """The system, built by `options`, with `tensors` (under our names) in it: every one used, or a BadCheckpoint.

    A network of the system (a module that is its direct child) that a release lacks altogether, as the discriminator
    mostly is, keeps its first weights, and a warning says so; one that is there must be complete.
    """
    config = config_from(find(system).Config, options, where)
    left = MOST_FRESH + 10 * sum(value.numel() for value in tensors.values())

    def count_parameters(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        """Before a number is drawn: shapes of a file may claim anything."""
        nonlocal left
        left -= 0 if parameter is None else parameter.numel()
        if left < 0:
            raise BadCheckpoint(f"{where}: its shapes claim a network far larger than what is in it.")

    hook = register_module_parameter_registration_hook(count_parameters)
    try:
        model = make(system, config, where)
    finally:
        hook.remove()
    rest = _rest(model, tensors, where)
    fill(model, {**rest, **tensors}, where)
    if lacking := dict.fromkeys(name.partition(".")[0] for name, _ in model.named_parameters() if name in rest):
        warnings.warn(f"{where}: not in it, and so with first weights: {', '.join(lacking)}", Incomplete, stacklevel=3)
    return model


def _rest(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The entries of the networks that `tensors` don't touch; the others must be as `tensors` are."""
    there = {name.partition(".")[0] for name in tensors}
    state = model.state_dict()
    rest = {name: value for name, value in state.items() if name.partition(".")[0] not in there}
    check({name: value for name, value in state.items() if name not in rest}, tensors, where)
    return rest


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")
