"""Serves the Sticker World as data: every kind, in memory for training, as a pure function of (seed, index).

The functions give numpy arrays, (H, W, 3) uint8, and need no torch; `StickerData` gives batches of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from limner.errors import BadInput
from limner.rng import derive
from limner.stickers.captions import caption
from limner.stickers.vocabulary import Noun
from limner.stickers.world import SceneTruth, columns_of, combination_is_held_out, compose, render

if TYPE_CHECKING:
    import torch

    from limner.data.kinds import Batch

SPLITS = ("train", "held-out")


def scene(
    seed: int,
    index: int,
    width: int = 256,
    height: int = 144,
    *,
    nouns: Sequence[Noun] | None = None,
    styles: Sequence[str] = ("fluent",),
    split: str = "train",
) -> SceneTruth:
    """The scene of `(seed, index)` on this side of the split.

    About 3 % of the combinations of nouns, place and time are held out: training never sees them.
    """
    if split not in SPLITS:
        raise BadInput(f"There is no split {split!r}; there are: {', '.join(SPLITS)}.")
    attempt = 0
    while True:
        number = derive(seed, "scene number", split, index, attempt)
        truth = compose(seed, number, nouns=nouns, columns=columns_of(width, height), styles=styles)
        if combination_is_held_out(truth) == (split == "held-out"):
            return truth
        attempt += 1


def captioned(
    seed: int,
    index: int,
    width: int = 256,
    height: int = 144,
    *,
    nouns: Sequence[Noun] | None = None,
    styles: Sequence[str] = ("fluent",),
    split: str = "train",
    wording: int | None = None,
) -> tuple[np.ndarray, str, SceneTruth]:
    """Picture (height, width, 3) uint8, caption, truth. `wording` 0 is the canonical caption; `None` draws one."""
    truth = scene(seed, index, width, height, nouns=nouns, styles=styles, split=split)
    number = derive(seed, "wording", index) if wording is None else wording
    return render(truth, width, height), caption(truth, number, styled=len(styles) > 1), truth


@dataclass(frozen=True)
class StickerData:
    """Endless batches of one kind, each a function of (seed, split, step): a resumed run sees the same pictures."""

    kind: str = "captioned"
    width: int = 256
    height: int = 144
    seed: int = 0
    split: str = "train"
    nouns: tuple[Noun, ...] | None = None
    styles: tuple[str, ...] = ("fluent",)

    def indices(self, step: int, size: int) -> list[int]:
        """The scene indices of a batch."""
        return [derive(self.seed, "batch", step, k) for k in range(size)]

    def batch(self, step: int, size: int) -> Batch:
        """Batch number `step`, with `size` samples, as the data class of its kind."""
        from limner.data import kinds

        made = [
            captioned(self.seed, k, self.width, self.height, nouns=self.nouns, styles=self.styles, split=self.split)
            for k in self.indices(step, size)
        ]
        return kinds.Captioned(to_tensor([m[0] for m in made]), tuple(m[1] for m in made))


def to_tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, 3, H, W) float in [-1, 1] of B uint8 pictures (H, W, 3)."""
    import torch

    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()
