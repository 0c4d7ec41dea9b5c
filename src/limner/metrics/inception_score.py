"""Inception score (Salimans et al., 2016): pictures that are each clearly something, and together many things."""

from __future__ import annotations

from typing import Self

import numpy as np

from limner.errors import BadInput
from limner.metrics import Metric, Result


class InceptionScore(Metric):
    """exp of the mean KL divergence of p(class | picture) from p(class): 1 to the number of classes, more is better.

    The published protocol: pictures in their order, ten contiguous splits, the mean over the splits and, for `error`,
    their spread. It says nothing about real pictures, and scores of two networks can't be compared.
    """

    def __init__(self, network: str, pictures: int, *, splits: int = 10) -> None:
        """network: whose classes they are, for the protocol
        pictures: how many there will be, at most: the splits follow from it"""
        if not 1 <= splits <= pictures:
            raise BadInput(f"{pictures} pictures can't be put into {splits} splits.")
        self.network, self.pictures, self.splits = network, pictures, splits
        self.next = 0
        self.counts = np.zeros(splits, np.int64)
        self.chances: np.ndarray | None = None  # (splits, classes): p(class | picture), summed
        self.certainty = np.zeros(splits)  # sum of p log p over classes and pictures

    def update(self, chances: np.ndarray, first: int | None = None) -> None:
        """chances: (N, classes), p(class | picture); rows sum to 1
        first: number of the first picture, from 0; by default they go on where the last ones ended"""
        if chances.ndim != 2 or not (chances > -1e-9).all() or not np.allclose(chances.sum(1), 1, atol=1e-3):
            raise BadInput(f"Chances are (N, classes), each row positive and of sum 1; these {chances.shape} are not.")
        first = self.next if first is None else first
        if first + len(chances) > self.pictures:
            raise BadInput(f"An Inception score over {self.pictures} pictures was given more than those.")
        p = chances.astype(np.float64)
        if self.chances is None:
            self.chances = np.zeros((self.splits, p.shape[1]))
        for split in range(self.splits):
            begin, end = (k * self.pictures // self.splits - first for k in (split, split + 1))
            part = p[max(begin, 0) : max(end, 0)]
            if len(part):
                self.counts[split] += len(part)
                self.chances[split] += part.sum(0)
                self.certainty[split] += _plogp(part)
        self.next = first + len(p)

    def merge(self, other: Self) -> None:
        if (self.pictures, self.splits) != (other.pictures, other.splits):
            raise BadInput("Inception scores over other numbers of pictures or splits can't be merged.")
        if other.chances is not None:
            self.chances = other.chances.copy() if self.chances is None else self.chances + other.chances
        self.counts += other.counts
        self.certainty += other.certainty
        self.next = max(self.next, other.next)

    def value(self) -> Result:
        if self.chances is None or not self.counts.all():
            raise BadInput(f"The Inception score was to be of {self.pictures} pictures; it has {self.counts.sum()}.")
        mean = self.chances / self.counts[:, None]
        scores = np.exp([c / n - _plogp(q) for c, n, q in zip(self.certainty, self.counts, mean, strict=True)])
        protocol = f"Inception score, {self.splits} splits in order, {self.network}"
        error = float(scores.std()) if self.splits > 1 else None
        return Result(float(scores.mean()), int(self.counts.sum()), protocol, error)

    def values(self) -> dict[str, Result]:
        return {"inception-score": self.value()}


def _plogp(p: np.ndarray) -> float:
    return float((p * np.log(np.where(p > 0, p, 1))).sum())
