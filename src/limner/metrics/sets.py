"""What is remembered of a set of pictures' features: exact moments, and a bounded sample of the rows themselves."""

from __future__ import annotations

import hashlib
from typing import Self

import numpy as np
import torch
from torch import Tensor

from limner.errors import BadInput
from limner.metrics import Metric

CAPACITY = 10_000
"""Rows of features that a metric keeps of each set."""

BLOCK = 1024
"""Rows that are worked on at once."""


class Moments:
    """Mean and covariance of weighted rows, float64, exact whatever the batches (Chan, Golub and LeVeque, 1983)."""

    def __init__(self) -> None:
        self.n = 0
        self.weight = 0.0
        self.squares = 0.0  # of the weights, summed
        self.mean: Tensor | None = None  # (D,)
        self.scatter: Tensor | None = None  # (D, D), weighted, about the mean

    def update(self, rows: Tensor, weights: Tensor) -> None:
        """rows: (N, D) float64; weights: (N,) float64, positive"""
        for start in range(0, len(rows), BLOCK):
            part, share = rows[start : start + BLOCK], weights[start : start + BLOCK]
            total = share.sum()
            mean = (share @ part) / total
            centred = (part - mean) * share.sqrt()[:, None]
            self._take(len(part), float(total), float(share @ share), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        if other.mean is not None and other.scatter is not None:
            self._take(other.n, other.weight, other.squares, other.mean, other.scatter)

    def _take(self, n: int, weight: float, squares: float, mean: Tensor, scatter: Tensor) -> None:
        if self.mean is None or self.scatter is None:
            self.mean, self.scatter = mean.clone(), scatter.clone()
        else:
            total = self.weight + weight
            gap = mean - self.mean
            self.mean = self.mean + gap * (weight / total)
            self.scatter += scatter
            self.scatter.addr_(gap, gap, alpha=self.weight * weight / total)
        self.n += n
        self.weight += weight
        self.squares += squares

    def covariance(self, *, population: bool = False) -> Tensor:
        """(D, D); over the sum of weights (`population`), or over what makes it unbiased: n - 1 for equal weights."""
        assert self.scatter is not None
        return self.scatter / (self.weight if population else self.weight - self.squares / self.weight)


class Kept:
    """Of any number of rows, at most `capacity`: a uniform sample that doesn't depend on order or batches.

    The rows kept are those whose content has the smallest hash. No random numbers are drawn, and two samples merged
    are the sample of both together.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.limit = 2**64  # rows whose hash is not below it are no longer among the smallest
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # hashes, rows, weights

    def update(self, rows: np.ndarray, weights: np.ndarray) -> None:
        """rows: (N, D); weights: (N,)"""
        rows = np.ascontiguousarray(rows)
        hashes = np.array([int.from_bytes(hashlib.blake2b(r.tobytes(), digest_size=8).digest()) for r in rows], "u8")
        small = np.flatnonzero(hashes < np.uint64(self.limit)) if self.limit < 2**64 else np.arange(len(rows))
        if len(small):
            self.parts.append((hashes[small], rows[small], weights[small]))
        if sum(len(part[0]) for part in self.parts) > self.capacity * 5 // 4:
            self._tidy()

    def merge(self, other: Kept) -> None:
        self.parts += other.parts
        self._tidy()

    def _tidy(self) -> None:
        hashes, rows, weights = (np.concatenate(arrays) for arrays in zip(*self.parts, strict=True))
        order = np.argsort(hashes, kind="stable")[: self.capacity]
        self.parts = [(hashes[order], rows[order], weights[order])]
        if len(order) == self.capacity:
            self.limit = int(hashes[order[-1]])

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows (K, D) and their weights (K,), in the order of their hashes."""
        self._tidy()
        return self.parts[0][1], self.parts[0][2]


class TwoSets(Metric):
    """A metric that compares the features of two sets of pictures, made and real, by samples of their rows."""

    def __init__(self, network: str, *, capacity: int = CAPACITY) -> None:
        """network: what the features are, for the protocol
        capacity: rows that are kept of each set"""
        self.network = network
        self.made, self.real = Kept(capacity), Kept(capacity)
        self.width: int | None = None
        self.seen = {"made": 0, "real": 0}

    def update(
        self,
        made: np.ndarray | None = None,
        real: np.ndarray | None = None,
        *,
        made_weights: np.ndarray | None = None,
        real_weights: np.ndarray | None = None,
    ) -> None:
        """Features (N, D) of made pictures, real ones, or both. Weights (N,) are positive, one where not given."""
        for side, features, weights in (("made", made, made_weights), ("real", real, real_weights)):
            if features is not None and len(features):
                self._check(features, weights)
                shares = np.ones(len(features)) if weights is None else np.asarray(weights, np.float64)
                self.seen[side] += len(features)
                self._take(side, features, shares)

    def _take(self, side: str, features: np.ndarray, weights: np.ndarray) -> None:
        getattr(self, side).update(features, weights)

    def _check(self, features: np.ndarray, weights: np.ndarray | None) -> None:
        if features.ndim != 2 or features.dtype.kind != "f":
            raise BadInput(f"Features are floats (N, D), a row a picture, not {features.dtype} {features.shape}.")
        if self.width is not None and features.shape[1] != self.width:
            raise BadInput(f"These features are {features.shape[1]} wide, those before {self.width}: of one network?")
        if not np.isfinite(features).all():
            raise BadInput("There are features that are NaN or infinite: look at the network and its weights.")
        if weights is not None and (np.shape(weights) != (len(features),) or not (np.asarray(weights) > 0).all()):
            raise BadInput(f"Weights are positive, one for each of the {len(features)} rows.")
        self.width = features.shape[1]

    def merge(self, other: Self) -> None:
        if other.width is not None and self.width not in (None, other.width):
            raise BadInput(f"Features of {self.width} and {other.width} numbers can't be merged: of one network?")
        self.width = self.width or other.width
        for side in ("made", "real"):
            if other.seen[side]:
                getattr(self, side).merge(getattr(other, side))
                self.seen[side] += other.seen[side]

    def rows(self, least: int) -> tuple[Tensor, Tensor]:
        """The kept rows of both sets, made and real, float64."""
        self.need(least)
        made, real = (torch.from_numpy(side.rows()[0]).double() for side in (self.made, self.real))
        return made, real

    def need(self, least: int) -> None:
        for side, n in self.seen.items():
            if n < least:
                raise BadInput(f"At least {least} {side} pictures are needed; there are {n}.")

    def limits(self) -> str:
        """What the protocol says about rows that were not kept."""
        most = max(self.seen.values())
        return f", by {self.made.capacity} of up to {most}" if most > self.made.capacity else ""
