"""An upscaler of flat art: small pictures to large crisp ones.

For every pixel of the large picture a small network weighs the nine small pixels around it (dynamic upsampling filters:
Jo et al., CVPR 2018). The weights add up to nothing and come on top of a bilinear enlargement, so a flat colour stays
exactly what it is and all that is learnt is where edges run. All the work is done at the small size; the large picture
is unfolded from channels (Shi et al., "ESPCN", CVPR 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Paired
from limner.data.prepare import Preparation
from limner.rng import Rng
from limner.system import Game, Player, System, adam, falling


class Upscaler(System):
    """(B, 3, h, w) -> (B, 3, factor h, factor w), both in [-1, 1]."""

    preparation = Preparation(None, crop=32, factor=5)

    @dataclass(frozen=True)
    class Config:
        factor: int = 5
        width: int = 48
        blocks: int = 4
        rate: float = 4e-3
        steps: int = 3000  # the learning rate falls linearly to a twentieth over these

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        width = config.width
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 1))
            for _ in range(config.blocks)
        )
        self.head = nn.Conv2d(width, 9 * config.factor**2, 1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.players = {"upscaler": Player((self,), adam(config.rate), falling(config.steps), clip=1.0)}

    def forward(self, pictures: Tensor) -> Tensor:
        batch, colours, height, width = pictures.shape
        x = self.stem(pictures)
        for block in self.blocks:
            x = x + block(x)
        weights = self.head(F.silu(x)).view(batch, 1, 9, -1, height, width)
        around = F.unfold(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3).view(batch, colours, 9, 1, height, width)
        detail = ((weights - weights.mean(2, keepdim=True)) * around).sum(2)  # (B, 3, factor factor, h, w)
        smooth = F.interpolate(pictures, scale_factor=float(self.config.factor), mode="bilinear", align_corners=False)
        return smooth + F.pixel_shuffle(detail.flatten(1, 2), self.config.factor)

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
