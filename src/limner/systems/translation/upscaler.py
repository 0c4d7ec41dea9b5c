"""A sub-pixel upscaler: small pictures to large crisp ones (after Shi et al., "ESPCN", CVPR 2016).

All the work is done at half the small size, where it is cheap, and the large picture is unfolded from the channels of
the last layer. Trained on pictures that a generator's decoder has painted, it learns to mend what the decoder blurs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Paired
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adam, falling


class Upscaler(System):
    """(B, 3, h, w) -> (B, 3, factor h, factor w), both in [-1, 1]; h and w even."""

    preparation = Preparation(None, crop=64, factor=5)

    @dataclass(frozen=True)
    class Config:
        factor: int = 5
        width: int = 48
        blocks: int = 4
        rate: float = 1e-3
        steps: int = 3000  # the learning rate falls linearly to a twentieth over these

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        width = config.width
        self.stem = nn.Conv2d(12, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(config.blocks)
        )
        self.head = nn.Conv2d(width, 3 * (2 * config.factor) ** 2, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.players = {"upscaler": Player((self,), adam(config.rate), falling(config.steps), clip=1.0)}

    def forward(self, pictures: Tensor) -> Tensor:
        if pictures.shape[-1] % 2 or pictures.shape[-2] % 2:
            raise BadInput(f"The upscaler wants even sides, not {pictures.shape[-1]}x{pictures.shape[-2]}.")
        x = self.stem(F.pixel_unshuffle(pictures, 2))  # (B, width, h/2, w/2)
        for block in self.blocks:
            x = x + block(x)
        detail = F.pixel_shuffle(self.head(x), 2 * self.config.factor)  # (B, 3, factor h, factor w)
        smooth = F.interpolate(pictures, scale_factor=float(self.config.factor), mode="bilinear", align_corners=False)
        return smooth + detail

    def play(self, batch: Paired, rng: Rng) -> Game:
        large = self(batch.source)
        yield (
            "upscaler",
            {
                "likeness": F.l1_loss(large, batch.target),
                "edges": F.l1_loss(_slopes(large), _slopes(batch.target)),
            },
        )

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """Enlarged as it was, upscaled, and the truth."""
        source, target = batch.source[:6], batch.target[:6]
        plain = F.interpolate(source, scale_factor=float(self.config.factor), mode="nearest")
        return torch.stack([plain, self(source), target], 1).flatten(0, 1)


def _slopes(x: Tensor) -> Tensor:
    """Differences of neighbours, across and down: (B, 6, H - 1, W - 1)."""
    here = x[..., :-1, :-1]
    return torch.cat([x[..., :-1, 1:] - here, x[..., 1:, :-1] - here], 1)
