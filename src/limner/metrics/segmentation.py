"""Segmentation scores: per-pixel accuracy, per-class accuracy and class IoU (Long et al., 2015).

The FCN score of pix2pix (Isola et al., 2017, table 1) is these three for what a segmentation network sees in translated
pictures, against the label maps they were made from.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np

from limner.errors import BadInput
from limner.metrics import Metric, Result
from limner.rng import numpy_rng

NAMES = ("per-pixel", "per-class", "iou")
ROUNDS = 100


class SegmentationScores(Metric):
    """Three shares in [0, 1], more is better, from one confusion matrix over all pixels of all pictures.

    per-pixel: pixels whose class is right
    per-class: the share of a class' pixels that are right, averaged over classes
    iou: pixels of a class in both maps by those in either, averaged over classes

    `error` is a bootstrap over pictures: each counts Poisson(1) times in every round (Hanley and MacGibbon, 2006),
    which needs no picture twice.
    """

    def __init__(self, classes: int, *, absent: Literal["zero", "skip"] = "zero", ignore: int = 255) -> None:
        """classes: how many; truth outside 0..classes-1 is not looked at
        absent: a class that is nowhere counts as 0, as in pix2pix's published program, or not at all
        ignore: the truth's number for pixels that have no class"""
        if not 2 <= classes <= 256:
            raise BadInput(f"Segmentation scores are for 2 to 256 classes, not {classes}.")
        self.classes, self.absent, self.ignore = classes, absent, ignore
        self.n = 0
        self.confusion = np.zeros((classes, classes), np.int64)  # rows: truth, columns: made
        self.rounds = np.zeros((ROUNDS, classes, classes), np.int64)

    def update(self, made: np.ndarray, truth: np.ndarray, first: int | None = None) -> None:
        """Class numbers (N, H, W), integers, of both.

        first: number of the first picture, from 0; by default they go on where the last ones ended
        """
        if made.shape != truth.shape or made.ndim != 3 or made.dtype.kind not in "iu" or truth.dtype.kind not in "iu":
            raise BadInput(
                f"Segmentation compares two integer maps (N, H, W), not {made.dtype} {made.shape} with "
                f"{truth.dtype} {truth.shape}."
            )
        for number, (ours, theirs) in enumerate(zip(made, truth, strict=True), self.n if first is None else first):
            looked = (theirs >= 0) & (theirs < self.classes) & (theirs != self.ignore)
            row, column = theirs[looked].astype(np.int64), ours[looked].astype(np.int64)
            if len(column) and not (column.min() >= 0 and column.max() < self.classes):
                raise BadInput(f"Picture {number} has class {column.max()}; there are classes 0 to {self.classes - 1}.")
            counts = np.bincount(row * self.classes + column, minlength=self.classes**2)
            found = counts.reshape(self.classes, self.classes)
            self.confusion += found
            self.rounds += numpy_rng(number, "bootstrap").poisson(1.0, ROUNDS)[:, None, None] * found
        self.n += len(made)

    def merge(self, other: Self) -> None:
        if (self.classes, self.absent, self.ignore) != (other.classes, other.absent, other.ignore):
            raise BadInput("Segmentation scores of other classes or settings can't be merged.")
        self.n += other.n
        self.confusion += other.confusion
        self.rounds += other.rounds

    def values(self) -> dict[str, Result]:
        if not self.confusion.sum():
            raise BadInput("There is nothing to score: no pixel has a class in the truth.")
        scores, again = self._scores(self.confusion), self._scores(self.rounds[self.rounds.any((1, 2))])
        absent = "absent classes 0" if self.absent == "zero" else "absent classes left out"
        told = {}
        for k, name in enumerate(NAMES):
            error = float(again[:, k].std(ddof=1)) if self.n > 1 else None
            told[name] = Result(float(scores[k]), self.n, f"{name}, {self.classes} classes, {absent}", error)
        return told

    def _scores(self, confusion: np.ndarray) -> np.ndarray:
        """Confusion matrices (..., classes, classes) -> the three scores (..., 3)."""
        right, truth, made = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)
        pixels = right.sum(-1) / truth.sum(-1)
        return np.stack([pixels, self._mean(right, truth), self._mean(right, truth + made - right)], -1)

    def _mean(self, right: np.ndarray, of: np.ndarray) -> np.ndarray:
        counted = self.classes if self.absent == "zero" else (of > 0).sum(-1)
        return np.asarray((right / np.maximum(of, 1)).sum(-1) / counted)
