"""The retoucher: one thing about a picture changes, in one region of it, and everything else stays as it is.

A U-Net is told where (a region), what (a noun, or nothing for the picture as a whole) and how: it is to go, to be red,
to be in the night. It paints what the region then looks like, and says for every pixel how much of it is new. So a
pixel that has no part in the change keeps its value to the bit, and a thing that goes leaves its outline behind: it can
be lifted off and laid down elsewhere. The storybook's editor makes its edits of such changes.

Not a published system. The gate is that of attention-guided translation (Mejjati et al., NeurIPS 2018), the telling by
scales and shifts that of FiLM (Perez et al., AAAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Retouched
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adamw, waning

TOUCHED = 4 / 255
"""Pixels that change by less than this (of a range of 2) are not part of the change."""

REACH = 0.2
"""How far a thing's shadow or ripples reach beyond its square, in sides."""


class Retoucher(System):
    """Pictures (B, 3, H, W) with regions (B, 1, H, W), nouns and changes (B,) -> what is painted, and where."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        changes: tuple[str, ...]
        nouns: tuple[str, ...]
        widths: tuple[int, ...] = (48, 96, 144, 192)  # one per level, from half the picture's resolution down
        told: int = 128  # numbers that say what is to be done
        gate: float = 0.2  # weight of the cover's cross-entropy
        rate: float = 1e-3
        steps: int = 3000  # the learning rate wanes over these

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        widths = config.widths
        self.change = nn.Embedding(len(config.changes), config.told)
        self.noun = nn.Embedding(1 + len(config.nouns), config.told)  # 0: the picture as a whole
        # Colours, the same filled from both sides, region and height, four pixels a cell
        self.stem = convolution(4 * (3 + 3 + 1 + 1), widths[0], 3)
        self.down = nn.ModuleList(Block(width, config.told) for width in widths)
        self.shrink = nn.ModuleList(convolution(a, b, 4, stride=2) for a, b in pairwise(widths))
        self.bottom = Block(widths[-1], config.told)
        self.grow = nn.ModuleList(convolution(b + a, a, 3) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Block(width, config.told) for width in widths[:-1])
        self.norm = nn.GroupNorm(8, widths[0])
        self.head = convolution(widths[0], 4 * (3 + 3 + 1 + 1), 3)
        nn.init.zeros_(self.head.get_parameter("weight"))
        self.players = {
            "retoucher": Player((self,), adamw(config.rate, decay=0.01), waning(config.steps), ema=0.998, clip=1.0)
        }

    @property
    def multiple(self) -> int:
        """The sides of pictures are multiples of this."""
        return 1 << len(self.config.widths)

    def forward(self, pictures: Tensor, regions: Tensor, nouns: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        """What the regions look like afterwards (B, 3, H, W), and logits of how much of it is new (B, 1, H, W)."""
        if pictures.shape[-2] % self.multiple or pictures.shape[-1] % self.multiple:
            raise BadInput(
                f"The retoucher wants pictures whose sides are multiples of {self.multiple}, not {pictures.shape[-1]} "
                f"x {pictures.shape[-2]}."
            )
        told = self.change(changes) + self.noun(nouns)
        behind = filled(pictures, regions)
        height = torch.linspace(-1, 1, pictures.shape[-2], device=pictures.device)[:, None].expand_as(regions)
        x = self.stem(F.pixel_unshuffle(torch.cat([pictures, behind, regions.to(pictures), height], 1), 2))
        passed = []
        for level, block in enumerate(self.down):
            x = block(x, told)
            if level < len(self.shrink):
                passed.append(x)
                x = self.shrink[level](x)
        x = self.bottom(x, told)
        for level in reversed(range(len(self.grow))):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.up[level](self.grow[level](torch.cat([x, passed[level]], 1)), told)
        scale, shift, gone, cover = F.pixel_shuffle(self.head(F.silu(self.norm(x))), 2).split([3, 3, 1, 1], 1)
        # What goes shows what is behind it, about; another light is about a scale and a shift of the colours.
        shown = torch.lerp(pictures, behind, (gone - 2).sigmoid().to(pictures))
        return shown * (1 + scale) + shift, cover

    def play(self, batch: Retouched, rng: Rng) -> Game:
        """What is painted is compared where something changes, the cover with where that is."""
        painted, cover = self(batch.before, batch.regions, batch.nouns, batch.changes)
        inside = batch.regions.to(cover)
        changed = touched(batch.before, batch.after) * inside
        apart = (painted - batch.after).abs().mean(1, keepdim=True)
        share = changed.sum((1, 2, 3)).clamp(min=64)
        gate = F.binary_cross_entropy_with_logits(cover, changed, weight=inside, reduction="none")
        yield (
            "retoucher",
            {
                "likeness": ((apart * changed).sum((1, 2, 3)) / share).mean(),
                "cover": self.config.gate * (gate.sum((1, 2, 3)) / share).mean(),
            },
        )

    @torch.inference_mode()
    def retouch(self, pictures: Tensor, regions: Tensor, nouns: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        """The changed pictures (B, 3, H, W) in [-1, 1], and where they are not the old ones to the bit (B, 1, H, W)."""
        painted, cover = self(pictures, regions, nouns, changes)
        new = (cover > 0) & regions
        return torch.where(new, painted.clamp(-1, 1), pictures), new

    def preview(self, batch: Retouched, rng: Rng) -> Tensor:
        """Pictures, with their regions framed by a lighter shade, as they are retouched, and the truth."""
        before, regions, nouns, changes, after = (
            found[:6] for found in (batch.before, batch.regions, batch.nouns, batch.changes, batch.after)
        )
        shown = torch.where(regions, before, before * 0.6)
        return torch.stack([shown, self.retouch(before, regions, nouns, changes)[0], after], 1).flatten(0, 1)


def convolution(before: int, after: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Beyond its edges a picture goes on as it ends there: with zeros, edges would have a light of their own."""
    return nn.Conv2d(before, after, size, stride, padding=1, padding_mode="replicate")


class Block(nn.Module):
    """(B, width, h, w) -> the same, as it is told to: two convolutions beside the way through."""

    def __init__(self, width: int, told: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = convolution(width, width, 3)
        self.told = nn.GroupNorm(8, width, affine=False)
        self.telling = nn.Linear(told, 2 * width)
        self.second = convolution(width, width, 3)
        nn.init.zeros_(self.second.get_parameter("weight"))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        scale, shift = self.telling(told)[..., None, None].chunk(2, 1)
        y = self.told(self.first(F.silu(self.norm(x)))) * (1 + scale) + shift
        out: Tensor = x + self.second(F.silu(y))
        return out


def filled(pictures: Tensor, regions: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) whose regions (B, 1, H, W) are filled from their left and right ends, row by row.

    A row that is all region stays as it is.
    """
    width = pictures.shape[-1]
    at = torch.arange(width, device=pictures.device).expand_as(regions)
    left = torch.where(regions, -1, at).cummax(-1).values  # the next pixel outside, to the left; -1: there is none
    right = torch.where(regions, width, at).flip(-1).cummin(-1).values.flip(-1)
    left, right = torch.where(left < 0, right, left), torch.where(right >= width, left, right)
    one, other = (pictures.gather(-1, end.clamp(0, width - 1).expand_as(pictures)) for end in (left, right))
    share = (at - left) / (right - left).clamp(min=1)
    return torch.where((left >= width) | ~regions, pictures, torch.lerp(one, other, share.to(pictures)))


def touched(before: Tensor, after: Tensor) -> Tensor:
    """1.0 where pictures (B, 3, H, W) differ, else 0.0: (B, 1, H, W)."""
    return ((after - before).abs().amax(1, keepdim=True) > TOUCHED).to(before)


def around(left: float, bottom: float, side: float, size: tuple[int, int]) -> Tensor:
    """Where a thing is, with its shadow or its ripples: (1, H, W) bool, in a picture of this height and width.

    The square that it stands in has sides of `side` pixels, begins at `left` and stands on `bottom`.
    """
    y, x = (torch.arange(length) for length in size)
    margin = REACH * side
    across = (x >= left - margin) & (x < left + side + margin)
    down = (y >= bottom - side - margin) & (y < bottom + margin)
    return (down[:, None] & across)[None]
