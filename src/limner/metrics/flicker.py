"""How much an edited film flickers: how much moves in it that stands still in the film it was made from."""

from __future__ import annotations

from typing import Self

import numpy as np

from limner.errors import BadInput
from limner.metrics import Average, Metric, Result

STILL = 2  # levels of 255 that a pixel may change by, in every colour, and stand still


class Flicker(Metric):
    """The mean change from frame to frame of pixels that don't change in the source, in levels of 255; 0 is none.

    n is the number of pairs of frames, all of one film or of several.
    """

    protocol = f"flicker: mean change between neighbouring frames where the source stands still (within {STILL} of 255)"

    def __init__(self) -> None:
        self.average = Average()

    def update(self, source: np.ndarray, edited: np.ndarray) -> None:
        """Two or more frames in a row, uint8 (T, H, W, 3), as they were and as they were edited."""
        if source.shape != edited.shape or source.ndim != 4 or source.shape[-1] != 3 or len(source) < 2:
            raise BadInput(f"Flicker is of frames (T, H, W, 3) and their edits, not {source.shape} and {edited.shape}.")
        if source.dtype != np.uint8 or edited.dtype != np.uint8:
            raise BadInput(f"Flicker is of uint8 frames, not {source.dtype} and {edited.dtype}.")
        moved = np.abs(np.diff(source.astype(np.int16), axis=0)).max(-1)  # (T - 1, H, W)
        changed = np.abs(np.diff(edited.astype(np.int16), axis=0)).mean(-1)
        pairs = [change[still].mean() for change, still in zip(changed, moved <= STILL, strict=True) if still.any()]
        if pairs:
            self.average.update(np.asarray(pairs, np.float64))

    def merge(self, other: Self) -> None:
        self.average.merge(other.average)

    def values(self) -> dict[str, Result]:
        return {"flicker": self.average.result(self.protocol)}
