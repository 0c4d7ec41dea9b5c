"""A segmenter: the class of every pixel, by a small fully convolutional network (Long et al., CVPR 2015).

The yardstick of pictures made from label maps: trained on real ones, it says whether a painted picture can be told to
show what its label map asked for (the FCN-score of pix2pix, section 4.1). Scores are taken at four sizes and added, the
coarse ones for what a thing is and the fine ones for where it ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Labelled
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adamw, from_uint8, waning


class Segmenter(System):
    """Pictures (B, 3, H, W), sides multiples of 8 -> scores (B, classes, H, W)."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        classes: int = 21
        width: int = 32  # channels at full size; twice as many at each of the three sizes below
        rate: float = 2e-3
        steps: int = 2000  # the learning rate wanes over these

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        widths = [config.width * min(2**level, 4) for level in range(4)]
        before = [3, *widths[:-1]]
        self.levels = nn.ModuleList(
            nn.Sequential(_convolution(a, b, stride=2 if level else 1), _convolution(b, b))
            for level, (a, b) in enumerate(zip(before, widths, strict=True))
        )
        self.scores = nn.ModuleList(nn.Conv2d(width, config.classes, 1) for width in widths)
        self.players = {"segmenter": Player((self,), adamw(config.rate, decay=0.02), waning(config.steps), clip=5.0)}

    def forward(self, pictures: Tensor) -> Tensor:
        found, x = [], pictures
        for level, scores in zip(self.levels, self.scores, strict=True):
            x = level(x)
            found.append(scores(x))
        total: Tensor = found.pop()
        while found:
            finer = found.pop()
            total = finer + F.interpolate(total, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        return total

    def play(self, batch: Labelled, rng: Rng) -> Game:
        if int(batch.classes.max()) >= self.config.classes:
            raise BadInput(f"The labels go up to {int(batch.classes.max())}, the segmenter has {self.config.classes}.")
        yield "segmenter", {"cross_entropy": F.cross_entropy(self(batch.pictures).float(), batch.classes)}

    @torch.inference_mode()
    def segment(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 pictures (N, H, W, 3) -> class numbers (N, H, W), int64."""
        if pictures.ndim != 4 or pictures.shape[1] % 8 or pictures.shape[2] % 8 or pictures.shape[3] != 3:
            raise BadInput(
                f"The segmenter wants (N, H, W, 3) with sides that are multiples of 8, not {pictures.shape}."
            )
        self.eval()
        parts = [self(from_uint8(pictures[i : i + 16])).argmax(1) for i in range(0, len(pictures), 16)]
        return torch.cat(parts).numpy()


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.SiLU())
