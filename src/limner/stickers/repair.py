"""Pairs for the upscaler: a storybook scene painted with a book of layers, and the scene itself five times as large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import torch

from limner.data.kinds import Paired
from limner.rng import numpy_rng
from limner.stickers.codes import as_layers, layer
from limner.stickers.kinds import to_tensor
from limner.stickers.source import Collages
from limner.stickers.world import SceneTruth, render
from limner.systems.text.patch_codes import PatchCodes, over

SIDE = 32  # of a crop, before it is enlarged


class Repairs:
    """Crops of 32 x 32 painted from codes, and of 32 factor x 32 factor rendered: the busiest of a few, since most of
    a picture book is sky."""

    def __init__(self, book: PatchCodes, factor: int = 5, seed: int = 0, crops: int = 16) -> None:
        self.book, self.factor, self.seed, self.crops = book, factor, seed, crops
        self.collages = Collages(seed)

    def take(self, numbers: Sequence[int]) -> Paired:
        f, source, target = self.factor, [], []
        for scene, wanted in groupby(numbers, lambda number: number // self.crops):
            truth = replace(self.collages.truth(scene), arranged=())  # nothing has a front that is drawn twice
            small = self._painted(truth)
            large = to_tensor([render(truth, 256 * f, 144 * f)])[0]
            for number in wanted:
                draw = numpy_rng(self.seed, "crop", number)
                corners = [(int(draw.integers(144 - SIDE + 1)), int(draw.integers(256 - SIDE + 1))) for _ in range(4)]
                crops = [small[:, y : y + SIDE, x : x + SIDE] for y, x in corners]
                busiest = max(range(4), key=[float(crop.std()) for crop in crops].__getitem__)
                y, x = corners[busiest]
                source.append(crops[busiest])
                target.append(large[:, y * f : (y + SIDE) * f, x * f : (x + SIDE) * f])
        return Paired(torch.stack(source).clone(), torch.stack(target).clone())

    def _painted(self, truth: SceneTruth) -> torch.Tensor:
        """(3, 144, 256) in [-1, 1]."""
        layers = as_layers([layer(truth, k) for k in range(-1, len(truth.things))])
        painted = self.book.decode(self.book.encode(layers))
        picture = painted[:1, :3]
        for k in range(1, len(painted)):
            picture = over(painted[k : k + 1], picture)
        return picture[0]
