"""Comparing an output with what a record says of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """The largest difference found in one output; `relative` is in units of the output's standard deviation."""

    output: str
    absolute: float
    relative: float
    problem: str = ""

    def within(self, tolerance: float) -> bool:
        return not self.problem and self.relative <= tolerance


def differences(expected: Mapping[str, Any], given: Mapping[str, Any]) -> list[Difference]:
    """One entry for each recorded output; what ours gives beyond them has nothing to be compared with."""
    return [
        compare(name, value, given[name]) if name in given else _wrong(name, "our side has no such output")
        for name, value in expected.items()
    ]


def compare(name: str, expected: Any, given: Any) -> Difference:
    """Compare a summary, a table, a list, a number, or any nesting of them."""
    if _is_summary(expected):
        return _compare_summary(name, expected, given)
    if isinstance(expected, Mapping):
        if _all_numbers(expected.values()) and not isinstance(given, Mapping):
            positions = [int(position) for position in expected]
            flat = torch.as_tensor(given).flatten()
            if positions and max(positions) >= len(flat):
                return _wrong(name, f"the record looks at entry {max(positions)}, ours has {len(flat)}")
            return _compare_numbers(name, list(expected.values()), flat[positions])
        if not isinstance(given, Mapping) or expected.keys() - given.keys():
            return _wrong(name, f"ours should have the entries {', '.join(map(str, expected))}")
        return _worst(name, (compare(f"{name}.{key}", value, given[key]) for key, value in expected.items()))
    if isinstance(expected, str | bool) or expected is None:
        return Difference(name, 0, 0) if given == expected else _wrong(name, f"{given!r} instead of {expected!r}")
    if isinstance(expected, list) and (not _all_numbers(_flat(expected)) or _ragged(expected)):
        if not isinstance(given, list | tuple) or len(given) != len(expected):
            return _wrong(name, f"ours should be a list of {len(expected)}")
        return _worst(
            name, (compare(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(expected, given, strict=True)))
        )
    numbers = torch.tensor(expected, dtype=torch.float64)
    ours = torch.as_tensor(given)
    if ours.shape != numbers.shape:
        return _wrong(name, f"shape {list(ours.shape)} instead of {list(numbers.shape)}")
    return _compare_numbers(name, numbers.flatten(), ours.flatten())


def _compare_summary(name: str, expected: Mapping[str, Any], given: Any) -> Difference:
    ours = torch.as_tensor(given).detach().double()
    if list(ours.shape) != expected["shape"]:
        return _wrong(name, f"shape {list(ours.shape)} instead of {expected['shape']}")
    flat, spread = ours.flatten(), expected["std"]
    return _worst(
        name,
        [
            _compare_numbers(name, [expected["mean"]], flat.mean()[None], spread),
            _compare_numbers(name, [expected["std"]], flat.std(unbiased=False)[None], spread),
            _compare_numbers(name, expected["values"], flat[torch.tensor(expected["index"])], spread),
        ],
    )


def _compare_numbers(name: str, expected: Any, given: Any, spread: float = 0.0) -> Difference:
    """Largest difference; relative to `spread`, or the recorded numbers' own, or their size if they are all alike."""
    theirs = torch.as_tensor(expected, dtype=torch.float64)
    ours = torch.as_tensor(given).detach().double()
    if theirs.numel() == 0:
        return Difference(name, 0, 0)
    gap = torch.where(theirs == ours, 0.0, (theirs - ours).abs())  # equal infinities differ by nothing
    finite = theirs[theirs.isfinite()]
    size = finite.abs().max().item() if len(finite) else 0.0
    own_spread = finite.std(unbiased=False).item() if len(finite) > 1 else 0.0
    scale = next((s for s in (spread, own_spread) if s > 1e-6 * size), size) or 1.0
    worst = gap.nan_to_num(nan=math.inf, posinf=math.inf).max().item()
    return Difference(name, worst, worst / scale)


def _worst(name: str, found: Iterable[Difference]) -> Difference:
    found = list(found)
    wrong = next((each for each in found if each.problem), None)
    if wrong is not None:
        return Difference(
            name, math.inf, math.inf, f"{wrong.output}: {wrong.problem}" if wrong.output != name else wrong.problem
        )
    return Difference(
        name, max((each.absolute for each in found), default=0), max((each.relative for each in found), default=0)
    )


def _wrong(name: str, problem: str) -> Difference:
    return Difference(name, math.inf, math.inf, problem)


def _is_summary(value: Any) -> bool:
    return isinstance(value, Mapping) and {"shape", "mean", "std", "index", "values"} <= value.keys()


def _all_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _ragged(values: list[Any]) -> bool:
    return len({len(value) for value in values if isinstance(value, list)}) > 1


def _flat(values: list[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def count(tensors: Iterable[Tensor]) -> int:
    """How many numbers there are in these tensors: a network's parameter count."""
    return sum(tensor.numel() for tensor in tensors)
