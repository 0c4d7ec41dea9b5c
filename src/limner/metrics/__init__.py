"""Measurements. Every number comes as a `Result` that says how many samples it rests on and how it was taken."""

from __future__ import annotations

from dataclasses import dataclass


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
