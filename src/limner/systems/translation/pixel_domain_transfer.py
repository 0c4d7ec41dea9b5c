"""Pixel-level domain transfer: the garment on a photo becomes its picture in a shop (Yoo et al., ECCV 2016).

What is painted has the same meaning as the source, not its outlines, so no pixel is compared with another. Two
discriminators teach the converter: one knows real pictures of the target domain, the other, the domain discriminator,
knows which targets belong to a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Paired
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.losses import cross_entropy
from limner.nn import init
from limner.rng import Rng
from limner.system import Game, OptimiserMaker, Player, System, adam, frozen, to_uint8
from limner.systems.translation.pictures import taken


class PixelDomainTransfer(System):
    """Source (B, 3, size, size) -> (B, 3, size, size), in [-1, 1]."""

    config: Config
    preparation = Preparation(resize=64, crop=None, flip=False)

    @dataclass(frozen=True)
    class Config:
        """No code or weights of the authors are known: the sizes are those of the re-implementations."""

        size: int = 64  # pixels a side
        width: int = 96  # channels of the converter's first layer; 128 in the paper
        discriminator_width: int = 96
        code: int = 0  # numbers between the two halves of the converter: 64 in the paper; 0: the 4 x 4 map as it is
        optimiser: Literal["adam", "sgd"] = "adam"  # sgd: with momentum 0.9, at 2e-4, in the paper
        converter_rate: float = 1e-4
        discriminator_rate: float = 2e-4 / 3

        def __post_init__(self) -> None:
            if self.size % 16 or self.size < 64:
                raise BadInput(f"size={self.size}: pictures have 64 pixels a side, or a larger multiple of 16.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.converter = Converter(config.width, config.code)
        self.discriminator = Discriminator(3, config.discriminator_width)
        self.domain_discriminator = Discriminator(6, config.discriminator_width)
        make = adam if config.optimiser == "adam" else sgd
        self.players = {
            "discriminator": Player((self.discriminator,), make(config.discriminator_rate)),
            "domain_discriminator": Player((self.domain_discriminator,), make(config.discriminator_rate)),
            "converter": Player((self.converter,), make(config.converter_rate)),
        }
        init.normal(self)

    def forward(self, source: Tensor) -> Tensor:
        converted: Tensor = self.converter(source)
        return converted

    def belong(self, source: Tensor, target: Tensor) -> Tensor:
        """Raw scores (B, 1, h, w): do the two belong together?"""
        scores: Tensor = self.domain_discriminator(torch.cat([source, target], 1))
        return scores

    def play(self, batch: Paired, rng: Rng) -> Game:
        """Eq. 2, 4 and 5 of the paper, in which a target that belongs to another source is real, but no pair."""
        source, target = batch.source, batch.target
        size = self.config.size
        if source.shape[-2:] != (size, size) or target.shape[-2:] != (size, size):
            height, width = source.shape[-2:]
            raise BadInput(f"The pictures are {width}x{height} and should be {size}x{size}. Resize them, or set size.")
        unrelated = self.unrelated(target)
        converted = self(source)
        yield (
            "discriminator",
            {
                "associated": cross_entropy(self.discriminator(target), True) / 3,
                "unrelated": cross_entropy(self.discriminator(unrelated), True) / 3,
                "fake": cross_entropy(self.discriminator(converted.detach()), False) / 3,
            },
        )
        yield (
            "domain_discriminator",
            {
                "associated": cross_entropy(self.belong(source, target), True) / 3,
                "unrelated": cross_entropy(self.belong(source, unrelated), False) / 3,
                "fake": cross_entropy(self.belong(source, converted.detach()), False) / 3,
            },
        )
        with frozen(self.discriminator, self.domain_discriminator):
            real, pair = self.discriminator(converted), self.belong(source, converted)
        yield "converter", {"real": cross_entropy(real, True) / 2, "pair": cross_entropy(pair, True) / 2}

    def unrelated(self, targets: Tensor) -> Tensor:
        """For each row of (B, 3, H, W) another one: the next row's, which may by chance show the same thing."""
        if len(targets) < 2:
            raise BadInput("Unrelated targets are taken from the batch, which needs two or more pairs: --batch 2.")
        return targets.roll(-1, 0)

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """Source, what it is converted to, and the target."""
        source, target = batch.source[:6], batch.target[:6]
        return torch.stack([source, self(source), target], 1).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray) -> np.ndarray:
        """See `Translates`. Pictures of another size are resized to the system's own, and the results back."""
        source = taken(pictures, system="Pixel-level domain transfer")
        size = (self.config.size, self.config.size)
        converted = self(resized(source.to(next(self.parameters()).device), size))
        return to_uint8(resized(converted, pictures.shape[1:3]))


def resized(pictures: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return F.interpolate(pictures, list(size), mode="bicubic", antialias=True)


def sgd(rate: float) -> OptimiserMaker:
    return lambda parameters: torch.optim.SGD(parameters, lr=rate, momentum=0.9)


class Converter(nn.Sequential):
    """(B, 3, H, W) -> the same, in [-1, 1]; H and W multiples of 16, of at least 64 where there is a code."""

    def __init__(self, width: int, code: int) -> None:
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers = halvings(3, widths)
        if code:
            layers += [nn.Conv2d(widths[-1], code, 4, bias=False), nn.BatchNorm2d(code), nn.LeakyReLU(0.2)]
            layers += [nn.ConvTranspose2d(code, widths[-1], 4, bias=False), nn.BatchNorm2d(widths[-1]), nn.ReLU()]
        for before, after in pairwise(reversed(widths)):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())


class Discriminator(nn.Sequential):
    """(B, channels, 64, 64) -> raw scores (B, 1, 1, 1); larger pictures get a map of scores."""

    def __init__(self, channels: int, width: int) -> None:
        widths = [width, 2 * width, 4 * width, 8 * width]
        super().__init__(*halvings(channels, widths), nn.Conv2d(widths[-1], 1, 4, bias=False))


def halvings(channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Convolutions without biases that each halve the sides; the first has no norm."""
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return layers
