"""Measurements. Every number comes as a `Result` that says how many samples it rests on and how it was taken.

A metric takes its samples a batch at a time, whatever their number, in bounded memory:

    distance = FrechetDistance("sticker reader")
    for pictures in drawn:
        distance.update(made=network.see(pictures).features)
    for pictures in photographs:
        distance.update(real=network.see(pictures).features)
    print(distance.value())

Two of the same kind and settings are merged in any order and grouping, so that every process may measure its share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np

from limner.errors import BadInput


@dataclass(frozen=True)
class Result:
    """A measured number.

    value: in the metric's own unit
    n: samples that it rests on
    protocol: how it was measured, in words that let somebody do it again
    error: standard error of `value`, or None where it isn't known
    """

    value: float
    n: int
    protocol: str
    error: float | None = None

    def __str__(self) -> str:
        spread = "" if self.error is None else f" +- {self.error:.3g}"
        return f"{self.value:.4g}{spread} (n={self.n}; {self.protocol})"


class Metric(ABC):
    """What all metrics can do besides `update`, whose arguments are each metric's own."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what `other`, of the same kind and settings, has seen."""

    @abstractmethod
    def values(self) -> dict[str, Result]:
        """Every number that the metric gives, by name."""

    def value(self) -> Result:
        """The metric's number; of several, the first."""
        return next(iter(self.values().values()))


class Average:
    """The mean of numbers that come in batches, and its standard error (Chan, Golub and LeVeque, 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = 0.0
        self.scatter = 0.0  # sum of squared distances from the mean
        self.infinite = False

    def update(self, numbers: np.ndarray) -> None:
        """numbers: (N,), float; not a number nowhere, infinite where it has to be"""
        self.infinite |= not np.isfinite(numbers).all()
        finite = numbers if not self.infinite else numbers[np.isfinite(numbers)]
        if len(finite):
            mean = float(finite.mean())
            self._take(len(finite), mean, float(((finite - mean) ** 2).sum()))
        self.n += len(numbers) - len(finite)

    def merge(self, other: Average) -> None:
        self.infinite |= other.infinite
        self._take(other.n, other.mean, other.scatter)

    def _take(self, n: int, mean: float, scatter: float) -> None:
        if n:
            total = self.n + n
            gap = mean - self.mean
            self.mean += gap * n / total
            self.scatter += scatter + gap * gap * self.n * n / total
            self.n = total

    def result(self, protocol: str) -> Result:
        if not self.n:
            raise BadInput("There is nothing to average yet: no sample was given.")
        if self.infinite:
            return Result(float("inf"), self.n, protocol)
        error = (self.scatter / (self.n - 1) / self.n) ** 0.5 if self.n > 1 else None
        return Result(self.mean, self.n, protocol, error)
