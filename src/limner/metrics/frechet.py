"""Fréchet distance between two sets of features, each taken for a Gaussian (Heusel et al., 2017, eq. 6).

With the published Inception's features it is the FID. With frames weighted by the inverse of their clip's length it is
the video-balanced FID of Brooks et al. (2022, appendix): every clip counts the same, however long.
"""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
import torch
from torch import Tensor

from limner.errors import BadInput
from limner.metrics import Result
from limner.metrics.sets import CAPACITY, Moments, TwoSets
from limner.rng import numpy_rng

ENOUGH = 2048
"""Samples below which the distance is mostly bias."""


class FrechetDistance(TwoSets):
    """|m - m'|^2 + tr(C) + tr(C') - 2 tr((C C')^(1/2)), from 0, less is better; in squared units of the features.

    It is biased upwards, the more the fewer samples: compare equal numbers only. `error` is the bootstrap's: the
    spread of the distance between samples drawn again, with replacement, from those that were kept.
    """

    def __init__(self, network: str, *, population: bool = False, rounds: int = 20, capacity: int = CAPACITY) -> None:
        """population: covariances divided by n (as the video-balanced distance's published program does), not n - 1
        rounds: of the bootstrap; 0 for no error"""
        super().__init__(network, capacity=capacity)
        self.population, self.rounds = population, rounds
        self.moments = {"made": Moments(), "real": Moments()}
        self.weighted = False

    def _take(self, side: str, features: np.ndarray, weights: np.ndarray) -> None:
        super()._take(side, features, weights)
        self.weighted |= bool((weights != 1).any())
        self.moments[side].update(torch.from_numpy(features).double(), torch.from_numpy(weights))

    def merge(self, other: Self) -> None:
        super().merge(other)
        self.weighted |= other.weighted
        for side, moments in self.moments.items():
            moments.merge(other.moments[side])

    def value(self) -> Result:
        self.need(2)
        n = min(self.seen.values())
        if n < ENOUGH:
            warnings.warn(
                f"A Fréchet distance of {n} samples is mostly bias: use {ENOUGH} or more, or the kernel distance "
                "(KID), which has none.",
                stacklevel=2,
            )
        protocol = f"Fréchet distance, {self.network}" + (", weighted" if self.weighted else "")
        protocol += ", covariances over n" if self.population else ""
        return Result(self._distance(self.moments), n, protocol, self._bootstrap() if self.rounds > 1 else None)

    def values(self) -> dict[str, Result]:
        return {"fid": self.value()}

    def _distance(self, moments: dict[str, Moments]) -> float:
        a, b = moments["made"], moments["real"]
        assert a.mean is not None and b.mean is not None
        of = {"population": self.population}
        return frechet(a.mean, a.covariance(**of), b.mean, b.covariance(**of))

    def _bootstrap(self) -> float:
        """The spread of the distance over resamples; one of k rows stands for n by the factor (k / n)^(1/2)."""
        found = []
        kept = {side: [torch.from_numpy(a).double() for a in getattr(self, side).rows()] for side in self.moments}
        for turn in range(self.rounds):
            again = {side: Moments() for side in kept}
            for side, (rows, weights) in kept.items():
                draws = torch.from_numpy(numpy_rng(turn, "bootstrap", side).integers(0, len(rows), len(rows)))
                again[side].update(rows[draws], weights[draws])
            found.append(self._distance(again))
        share = max(len(kept[side][0]) / self.seen[side] for side in kept)
        return float(np.std(found, ddof=1) * share**0.5)


def frechet(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """Between Gaussians of means (D,) and covariances (D, D), float64."""
    shift = mean_a - mean_b
    return max(0.0, float(shift @ shift + cov_a.trace() + cov_b.trace() - 2 * _overlap(cov_a, cov_b)))


def _overlap(a: Tensor, b: Tensor) -> float:
    """tr((A B)^(1/2)) without a square root of a product, so that nothing imaginary can come out.

    With R R' = A, it is the sum of the roots of the eigenvalues of R' B R, which is symmetric; R is a Cholesky factor,
    which is quick. But an eigenvalue is only known to rounding of the largest, and roots of small ones magnify that.
    Where it could be felt, and where A is singular: with S S' = B, it is the sum of the singular values of R' S.
    """
    factor, failed = torch.linalg.cholesky_ex(a)
    if not failed:
        values = torch.linalg.eigvalsh(factor.T @ b @ factor)
        rounding = torch.finfo(values.dtype).eps * values[-1] / 2
        if values[0] > 0 and (rounding / values.sqrt()).sum() < 1e-9 * (a.trace() + b.trace()):
            return float(values.sqrt().sum())
    return float(torch.linalg.svdvals(_root(a).T @ _root(b)).sum())


def _root(covariance: Tensor) -> Tensor:
    """(D, rank), of which the product with its transpose is the covariance. Eigenvalues that are zero but for rounding
    are left out: their roots wouldn't be small."""
    values, vectors = torch.linalg.eigh(covariance)
    noise = len(values) * torch.finfo(values.dtype).eps * values[-1].clamp(min=0)
    root: Tensor = vectors[:, values > noise] * values[values > noise].sqrt()
    return root


def frechet_distance(a: np.ndarray, b: np.ndarray, protocol: str) -> Result:
    """Between features (N, D) and (M, D) that are at hand; `protocol` says of what network. See `FrechetDistance`."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise BadInput(
            f"The Fréchet distance compares features (N, D) and (M, D), N and M from 2, not {a.shape} and {b.shape}."
        )
    distance = FrechetDistance(protocol, rounds=0)
    distance.update(made=a, real=b)
    return distance.value()
