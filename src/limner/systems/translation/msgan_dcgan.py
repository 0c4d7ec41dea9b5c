"""MSGAN on DCGAN: small pictures of a class, with the term against mode collapse (Mao et al., CVPR 2019, section 4.1).

The class goes into both networks as a one-hot code. The published experiment is CIFAR-10.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Captioned
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.losses import cross_entropy, mode_seeking
from limner.nn import init
from limner.rng import Rng, torch_rng
from limner.system import Drawing, Game, Player, System, adam, frozen, to_uint8

SIDE = 32  # pixels

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class MSGANDCGAN(System):
    """Noise (B, noise) and class numbers (B,) -> pictures (B, 3, 32, 32) in [-1, 1]."""

    config: Config
    preparation = Preparation(resize=SIDE, crop=None, flip=False)

    @dataclass(frozen=True)
    class Config:
        classes: tuple[str, ...] = CIFAR
        noise: int = 100  # numbers in a latent code
        width: int = 128  # channels of the layers next to the picture
        mode_seeking: float = 1.0  # eq. 5; 0 is the DCGAN that the paper compares with
        learning_rate: float = 2e-4
        decay: float = 1e-4

        def __post_init__(self) -> None:
            if not self.classes or len(set(self.classes)) < len(self.classes):
                raise BadInput(f"classes={self.classes}: at least one, and each once.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = Generator(config.noise + len(config.classes), config.width)
        self.discriminator = Discriminator(3 + len(config.classes), config.width)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999), decay=config.decay)
        self.players = {
            "discriminator": Player((self.discriminator,), optimiser),
            "generator": Player((self.generator,), optimiser),
        }
        init.normal(self)

    def forward(self, noise: Tensor, classes: Tensor) -> Tensor:
        painted: Tensor = self.generator(torch.cat([noise, self.one_hot(classes).to(noise)], 1)[:, :, None, None])
        return painted

    def one_hot(self, classes: Tensor) -> Tensor:
        """(B,) -> (B, classes)"""
        return F.one_hot(classes, len(self.config.classes)).float()

    def judge(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """Raw scores (B, 1, 1, 1)."""
        planes = self.one_hot(classes).to(pictures)[:, :, None, None].expand(-1, -1, SIDE, SIDE)
        scores: Tensor = self.discriminator(torch.cat([pictures, planes], 1))
        return scores

    def play(self, batch: Captioned, rng: Rng) -> Game:
        """Two codes for each class; the generator's step is on the pictures that the discriminator was shown."""
        if batch.pictures.shape[-2:] != (SIDE, SIDE):
            height, width = batch.pictures.shape[-2:]
            raise BadInput(f"msgan-dcgan has pictures of {SIDE}x{SIDE} pixels, not {width}x{height}. Resize them.")
        classes = torch.tensor(self.classes_of(batch.captions), device=batch.pictures.device)
        code, other_code = (rng.normal(name, self.config.noise).to(batch.pictures) for name in ("code", "other code"))
        painted, other = self(torch.cat([code, other_code]), torch.cat([classes, classes])).chunk(2)
        yield (
            "discriminator",
            {
                "real": 2 * cross_entropy(self.judge(batch.pictures, classes), True),  # once for each fake
                "fake": cross_entropy(self.judge(painted.detach(), classes), False),
                "other_fake": cross_entropy(self.judge(other.detach(), classes), False),
            },
        )
        with frozen(self.discriminator):
            fooled = [cross_entropy(self.judge(each, classes), True) for each in (painted, other)]
        term = self.config.mode_seeking * mode_seeking(painted, other, code, other_code)
        yield "generator", {"adversarial": fooled[0] + fooled[1], "mode_seeking": term}

    def classes_of(self, captions: Sequence[str]) -> list[int]:
        """The class that each caption names; one that names none, or several, is `BadInput`."""
        found = []
        for caption in captions:
            named = [n for n, name in enumerate(self.config.classes) if re.search(rf"\b{re.escape(name)}\b", caption)]
            if len(named) != 1:
                several = " and ".join(self.config.classes[n] for n in named) or "none of them"
                raise BadInput(
                    f"msgan-dcgan knows the classes {', '.join(self.config.classes)}; {caption!r} names {several}. "
                    "Name one, or set classes to those of the data."
                )
            found += named
        return found

    def preview(self, batch: Captioned, rng: Rng) -> Tensor:
        """Eight of each of the first eight classes; a column has one code."""
        count = min(8, len(self.config.classes))
        codes = torch.cat([self.code(seed) for seed in range(8)]).to(batch.pictures)
        classes = torch.arange(count, device=codes.device).repeat_interleave(8)
        return self.forward(codes.repeat(count, 1), classes)

    @torch.inference_mode()
    def draw(self, words: str, *, count: int = 1, seed: int = 0) -> Drawing:
        """Pictures of the class that the words name; picture i is that of seed + i."""
        seeds = tuple(range(seed, seed + count))
        codes = torch.cat([self.code(each) for each in seeds]).to(next(self.parameters()).device)
        classes = torch.tensor(self.classes_of([words] * count), device=codes.device)
        return Drawing(to_uint8(self(codes, classes)), None, seeds)

    def code(self, seed: int) -> Tensor:
        """A latent code (1, noise), standard normal."""
        return torch.randn(1, self.config.noise, generator=torch_rng(seed, "code"))


class Generator(nn.Sequential):
    """DCGAN's, from (B, codes, 1, 1) to (B, 3, 32, 32)."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(codes, 4 * width, 4, 1, 0), nn.BatchNorm2d(4 * width), nn.ReLU(),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip


class Discriminator(nn.Sequential):
    """DCGAN's, from (B, channels, 32, 32) to raw scores (B, 1, 1, 1)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 4, 1, 0),
        )  # fmt: skip
