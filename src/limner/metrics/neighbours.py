"""Precision, recall (Kynkäänniemi et al., 2019), density and coverage (Naeem et al., 2020) of made pictures.

Each picture's neighbourhood is the ball that reaches to its k-th nearest picture of the same set, in features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from limner.metrics import Result
from limner.metrics.sets import BLOCK, CAPACITY, TwoSets


class Neighbours(TwoSets):
    """Four numbers, more is better.

    precision: share of made pictures inside some real picture's neighbourhood; [0, 1]
    recall: share of real pictures inside some made picture's neighbourhood; [0, 1]
    density: real neighbourhoods around a made picture, by k; from 0, about 1 where the sets are alike
    coverage: share of real pictures with a made one in their neighbourhood; [0, 1]

    "Inside" is strict, as in the program of density and coverage. `error` takes the neighbourhoods as given.
    """

    def __init__(self, network: str, *, nearest: int = 5, capacity: int = CAPACITY) -> None:
        """nearest: k; 5 in Naeem et al., 3 in Kynkäänniemi et al."""
        super().__init__(network, capacity=capacity)
        self.nearest = nearest

    def values(self) -> dict[str, Result]:
        made, real = self.rows(self.nearest + 1)
        around_real, around_made = _reach(real, self.nearest), _reach(made, self.nearest)
        around = torch.zeros(len(made), dtype=torch.float64)  # real neighbourhoods that each made picture is in
        reached, covered = [], []
        for start in range(0, len(real), BLOCK):
            gap = _squared(real[start : start + BLOCK], made)  # (block, made)
            inside = gap < around_real[start : start + BLOCK, None]
            around += inside.sum(0)
            covered.append(inside.any(1))
            reached.append((gap < around_made).any(1))
        each = {
            "precision": around > 0,
            "recall": torch.cat(reached),
            "density": around / self.nearest,
            "coverage": torch.cat(covered),
        }
        return {name: self._told(name, numbers.double()) for name, numbers in each.items()}

    def _told(self, name: str, each: Tensor) -> Result:
        protocol = f"{name}, k={self.nearest}, {self.network}{self.limits()}"
        return Result(float(each.mean()), len(each), protocol, float(each.std()) / len(each) ** 0.5)


NAMES: Sequence[str] = ("precision", "recall", "density", "coverage")


def _reach(rows: Tensor, nearest: int) -> Tensor:
    """(N,): squared distance of each row to its k-th nearest other row."""
    found = []
    for start in range(0, len(rows), BLOCK):
        gap = _squared(rows[start : start + BLOCK], rows)
        gap[torch.arange(len(gap)), torch.arange(start, start + len(gap))] = 0.0  # itself, exactly
        found.append(gap.kthvalue(nearest + 1, dim=1).values)
    return torch.cat(found)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """(N, M): squared Euclidean distances of rows; those of equal rows are zero, not rounding's remains."""
    sizes = (a * a).sum(1)[:, None] + (b * b).sum(1)
    gap = sizes - 2 * (a @ b.T)
    return torch.where(gap > 1e-13 * sizes, gap, 0.0)
