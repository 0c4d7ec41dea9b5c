"""MSGAN: a term against mode collapse, on pix2pix with a latent code (Mao et al., CVPR 2019).

A conditional generator that is also told what the true target looks like soon ignores its latent code. The term pulls
the pictures of two codes apart, in proportion to how far apart the codes are. It has no network of its own: here it
makes the pix2pix of BicycleGAN's networks give many answers, with one discriminator and without an encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.losses import mode_seeking
from limner.nn import init
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.bicyclegan import Discriminator, Generator, fitting_style, said
from limner.systems.translation.pictures import mirrored, taken


class MSGAN(System):
    """Source (B, 3, H, W) and style code (B, style) -> (B, 3, H, W), all pictures in [-1, 1]."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        style: int = 8  # numbers in a latent code
        depth: int = 8  # halvings in the generator; sides are multiples of 2 ** depth
        width: int = 64  # channels of the generator's first level
        style_at: Literal["every level", "input"] = "every level"  # where the generator takes the code
        upsampling: Literal["transposed", "bilinear"] = "transposed"
        dropout: float = 0.0
        discriminator_width: int = 64
        discriminator_layers: int = 3
        scales: int = 2  # of the discriminator

        adversarial: float = 1.0
        l1: float = 10.0
        mode_seeking: float = 1.0  # eq. 5; 0 is the pix2pix that the paper compares with

        learning_rate: float = 2e-4
        hold: int = 80_000  # steps before the learning rate falls, and
        fall: int = 80_000  # steps until it is 0: 200 epochs each of the 400 facades

        def __post_init__(self) -> None:
            if self.depth < 2 or self.scales < 1:
                raise BadInput(f"MSGAN needs depth 2 and scales 1 or more, not {self.depth} and {self.scales}.")
            if self.adversarial <= 0 and self.l1 <= 0:
                raise BadInput("MSGAN: adversarial and l1 are both 0; there is nothing to learn a target from.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = Generator(
            3, config.style, config.width, config.depth, everywhere=config.style_at == "every level",
            bilinear=config.upsampling == "bilinear", dropout=config.dropout,
        )  # fmt: skip
        rate = held_then_falling(config.hold, config.fall)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999))
        self.players = {"generator": Player((self.generator,), optimiser, rate)}
        if config.adversarial:
            self.discriminator = Discriminator(
                6, config.discriminator_width, config.discriminator_layers, config.scales
            )
            self.players["discriminator"] = Player((self.discriminator,), optimiser, rate)
        init.xavier(self)

    def forward(self, source: Tensor, style: Tensor) -> Tensor:
        painted: Tensor = self.generator(source, style)
        return painted

    def play(self, batch: Paired, rng: Rng) -> Game:
        """Two codes for each source; both pictures have to look real, one of them to be like the target."""
        config, source, target = self.config, batch.source, batch.target
        multiple, (height, width) = 2**config.depth, source.shape[-2:]
        if height % multiple or width % multiple:
            raise BadInput(
                f"MSGAN: {width}x{height} can't be halved {config.depth} times. Train on pictures whose sides are "
                f"multiples of {multiple}, or set depth lower."
            )
        code, other_code = (rng.normal(name, config.style).to(source) for name in ("style", "other style"))
        both = torch.cat([source, source]), torch.cat([code, other_code])
        painted, other = self(*both).chunk(2)

        def judged(picture: Tensor) -> list[Tensor]:
            scores: list[Tensor] = self.discriminator(torch.cat([source, picture], 1))
            return scores

        losses = {}
        if config.adversarial:
            with frozen(self.discriminator):
                losses["adversarial"] = config.adversarial * (said(judged(painted), True) + said(judged(other), True))
        losses["reconstruction"] = config.l1 * F.l1_loss(painted, target)
        losses["mode_seeking"] = config.mode_seeking * mode_seeking(painted, other, code, other_code)
        yield "generator", losses

        if config.adversarial:
            painted, other = painted.detach(), other.detach()
            yield (
                "discriminator",
                {
                    "fake": said(judged(painted), False) + said(judged(other), False),
                    "real": 2 * said(judged(target), True),  # once for each fake
                },
            )

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """Source, target, and the source in three styles."""
        source, target = batch.source[:4], batch.target[:4]
        styles = [self.random_style(seed).to(source).expand(len(source), -1) for seed in (1, 2, 3)]
        return torch.stack([source, target, *(self(source, style) for style in styles)], 1).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, seed: int = 0, style: Tensor | None = None) -> np.ndarray:
        """See `Translates`; style: (N or 1, config.style). There is no encoder: `random_style` gives styles."""
        source = mirrored(taken(pictures, system="MSGAN"), 2**self.config.depth)
        code = fitting_style(self.random_style(seed) if style is None else style, len(source), self.config.style)
        device = next(self.parameters()).device
        height, width = pictures.shape[1:3]
        return to_uint8(self(source.to(device), code.to(device))[..., :height, :width])

    def random_style(self, seed: int) -> Tensor:
        """A code (1, config.style), standard normal."""
        return torch.randn(1, self.config.style, generator=torch_rng(seed, "style"))
