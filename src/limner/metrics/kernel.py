"""Kernel distance, the KID of Binkowski et al. (2018): squared maximum mean discrepancy with a polynomial kernel.

Unlike the Fréchet distance it is unbiased: its mean doesn't depend on the number of samples, only its error does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limner.metrics import Result
from limner.metrics.sets import BLOCK, TwoSets


class KernelDistance(TwoSets):
    """The KID, 0 for sets from one distribution (below 0 by chance), less is better.

    All pairs of the kept rows are used. The published programs average over a hundred random subsets of a thousand,
    which has the same mean and more noise.
    """

    def value(self) -> Result:
        made, real = self.rows(3)
        value, error = kernel_distance(made, real)
        protocol = f"kernel distance (x.y/D + 1)^3, unbiased, {self.network}{self.limits()}"
        return Result(value, min(len(made), len(real)), protocol, error)

    def values(self) -> dict[str, Result]:
        return {"kid": self.value()}


def kernel_distance(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Unbiased squared MMD between rows (N, D) and (M, D), float64, and its jackknife standard error."""
    within_a, within_b, across = _sums(a, a), _sums(b, b), _sums(a, b)  # (N,), (M,), (N,): of each row with all
    across_b = _sums(b, a)
    within_a, within_b = within_a - _kernel_with_itself(a), within_b - _kernel_with_itself(b)
    n, m = len(a), len(b)
    total_a, total_b, total = within_a.sum(), within_b.sum(), across.sum()
    mean_a, mean_b = total_a / (n * (n - 1)), total_b / (m * (m - 1))
    value = mean_a + mean_b - 2 * total / (n * m)
    # the distance without each row in turn: every sum loses what the row has part in
    without_a = (total_a - 2 * within_a) / ((n - 1) * (n - 2)) + mean_b - 2 * (total - across) / ((n - 1) * m)
    without_b = (total_b - 2 * within_b) / ((m - 1) * (m - 2)) + mean_a - 2 * (total - across_b) / ((m - 1) * n)
    variance = sum((len(w) - 1) * w.var(correction=0) for w in (without_a, without_b))
    return float(value), float(variance) ** 0.5


def _sums(a: Tensor, b: Tensor) -> Tensor:
    """(N,): each row of a with all rows of b, kernel values summed."""
    parts = (a[start : start + BLOCK] for start in range(0, len(a), BLOCK))
    return torch.cat([((part @ b.T) / a.shape[1] + 1).pow_(3).sum(1) for part in parts])


def _kernel_with_itself(a: Tensor) -> Tensor:
    return ((a * a).sum(1) / a.shape[1] + 1) ** 3
