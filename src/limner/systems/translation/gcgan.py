"""GcGAN: one-sided unpaired translation that must commute with turning the picture (Fu et al., CVPR 2019).

A picture translated and then turned must be the same as turned and then translated. That constraint stands in for
CycleGAN's way back, so that one direction can be learned alone. Turned pictures have a discriminator of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.data.kinds import Unpaired
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.losses import least_squares
from limner.nn import init
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.rng import Rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling
from limner.systems.translation.cyclegan import History, ResNetGenerator, check_size, repainted


class GcGAN(System):
    """Pictures (B, 3, H, W) in [-1, 1] of domain A -> domain B; H and W multiples of 4."""

    config: Config
    preparation = Preparation(resize=288)

    @dataclass(frozen=True)
    class Config:
        size: tuple[int, int] = (256, 256)  # height and width of the pictures that it trains on; alike for rotation
        geometry: Literal["rotation", "flip"] = "rotation"  # a quarter turn clockwise, or upside down
        shared: bool = True  # False ("cross"): turned pictures have a generator of their own while it trains
        width: int = 64  # channels of the finest level
        blocks: int = 9  # 6 for pictures of 128 pixels
        discriminator_width: int = 64
        adversarial: float = 1.0
        consistency: float = 20.0  # published as lambda_AB 10 times lambda_gc 2
        identity: float = 5.0  # lambda_AB 10 times 0.5; 3 for label maps -> street scenes
        history: int = 50  # fakes of the past that each discriminator may be shown again; 0: only new ones
        learning_rate: float = 2e-4
        hold: int = 40_000  # steps at the full rate: about 100 epochs of Cityscapes' 2975 pictures, eight a step
        fall: int = 40_000  # steps in which it then falls to 0

        def __post_init__(self) -> None:
            if any(side % 4 for side in self.size):
                raise BadInput(f"GcGAN: the sides of size={self.size} must be multiples of 4.")
            if self.geometry == "rotation" and self.size[0] != self.size[1]:
                raise BadInput(f"GcGAN: size={self.size} can't be rotated onto itself. Make it square, or flip.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = ResNetGenerator(width=config.width, blocks=config.blocks)
        self.judge = PatchDiscriminator(3, config.discriminator_width, norm="instance")
        self.judge_turned = PatchDiscriminator(3, config.discriminator_width, norm="instance")
        generators = [self.generator]
        if not config.shared:
            self.generator_turned = ResNetGenerator(width=config.width, blocks=config.blocks)
            generators.append(self.generator_turned)
        init.xavier(self)
        self.past = History(config.history, config.size)
        self.past_turned = History(config.history, config.size)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999))
        rate = held_then_falling(config.hold, config.fall)
        self.players = {
            "generator": Player(tuple(generators), optimiser, rate),
            "discriminators": Player((self.judge, self.judge_turned), optimiser, rate),
        }

    def turn(self, pictures: Tensor) -> Tensor:
        """The paper's f: (B, 3, H, W) -> the same shape, for rotation of a square."""
        return pictures.transpose(2, 3).flip(3) if self.config.geometry == "rotation" else pictures.flip(2)

    def turn_back(self, pictures: Tensor) -> Tensor:
        return pictures.transpose(2, 3).flip(2) if self.config.geometry == "rotation" else pictures.flip(2)

    def paint_turned(self, turned: Tensor) -> Tensor:
        painted: Tensor = (self.generator if self.config.shared else self.generator_turned)(turned)
        return painted

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        config, a, b = self.config, batch.a, batch.b
        check_size(a, config.size, "GcGAN")
        check_size(b, config.size, "GcGAN")
        turned_a, turned_b = self.turn(a), self.turn(b)
        fake, fake_turned = self.generator(a), self.paint_turned(turned_a)
        with frozen(self.judge, self.judge_turned):
            losses = {
                "adversarial": config.adversarial * least_squares(self.judge(fake), real=True),
                "adversarial_turned": config.adversarial * least_squares(self.judge_turned(fake_turned), real=True),
            }
        # As published, each way of painting follows the other as it stands: no gradient flows into what is followed.
        straight = F.l1_loss(fake, self.turn_back(fake_turned.detach()))
        around = F.l1_loss(fake_turned, self.turn(fake.detach()))
        losses["consistency"] = config.consistency * (straight + around)
        if config.identity:
            losses["identity"] = config.identity * F.l1_loss(self.generator(b), b)
            losses["identity_turned"] = config.identity * F.l1_loss(self.paint_turned(turned_b), turned_b)
        yield "generator", losses

        old = self.past(fake.detach(), rng, "fakes")
        old_turned = self.past_turned(fake_turned.detach(), rng, "turned")
        yield (
            "discriminators",
            {
                "real": least_squares(self.judge(b), real=True) / 2,
                "fake": least_squares(self.judge(old), real=False) / 2,
                "real_turned": least_squares(self.judge_turned(turned_b), real=True) / 2,
                "fake_turned": least_squares(self.judge_turned(old_turned), real=False) / 2,
            },
        )

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """Pictures of A, translated, and translated while turned: the last two should be the same."""
        a = batch.a[:6]
        around = self.turn_back(self.paint_turned(self.turn(a)))
        return torch.stack([a, self.generator(a), around], 1).flatten(0, 1)

    def translate(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) of any size, of domain A -> the same of domain B.

        Sides that 4 doesn't divide are mirrored to the next multiple, and the result is cropped back.
        """
        return repainted(pictures, self.generator, system="GcGAN")
