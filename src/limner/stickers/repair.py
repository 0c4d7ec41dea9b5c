"""Pairs for the upscaler: what a codec leaves of a storybook scene, and the scene itself five times as large."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from limner.data.kinds import Paired
from limner.rng import numpy_rng
from limner.stickers.codes import Codec, empty
from limner.stickers.kinds import to_tensor
from limner.stickers.source import Collages
from limner.stickers.world import SceneTruth, render
from limner.systems.text.patch_codes import PatchCodes


class Repairs:
    """Crops of 64 x 64 painted from codes, and of 64 factor x 64 factor rendered."""

    def __init__(self, codec: Codec, factor: int = 5, seed: int = 0, crops: int = 8) -> None:
        self.codec, self.factor, self.seed, self.crops = codec, factor, seed, crops
        self.collages = Collages(seed)

    def take(self, numbers: Sequence[int]) -> Paired:
        source, target = [], []
        for scene in sorted({number // self.crops for number in numbers}):
            truth = self.collages.truth(scene)
            small = self._painted(truth)
            large = to_tensor([render(truth, 256 * self.factor, 144 * self.factor)])[0]
            for number in numbers:
                if number // self.crops != scene:
                    continue
                draw = numpy_rng(self.seed, "crop", number)
                y, x = int(draw.integers(144 - 64 + 1)), int(draw.integers(256 - 64 + 1))
                f = self.factor
                source.append(small[:, y : y + 64, x : x + 64])
                target.append(large[:, y * f : (y + 64) * f, x * f : (x + 64) * f])
        return Paired(torch.stack(source).clone(), torch.stack(target).clone())

    def _painted(self, truth: SceneTruth) -> torch.Tensor:
        codes = self.codec.encode(to_tensor([render(truth, 256, 144)]))
        if isinstance(self.codec, PatchCodes):
            return self.codec.decode(codes, self.codec.encode(to_tensor([render(empty(truth), 256, 144)])))[0]
        return self.codec.decode(codes)[0]
