"""Small systems and data that the tests of the house train: seconds, not minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from limner.data.kinds import Paired
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen


class Duel(System):
    """A conditional GAN with everything that makes resuming hard: batch norm, dropout, noise, averages, two players."""

    @dataclass(frozen=True)
    class Config:
        width: int = 8
        poison: int = -1  # the step at which the generator's loss is not a number

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        width = config.width
        self.generator = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Conv2d(width, 3, 3, padding=1),
        )
        self.critic = nn.Sequential(nn.Conv2d(6, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, padding=1))
        self.players = {
            "critic": Player((self.critic,), adam(1e-3, betas=(0.5, 0.999)), clip=1.0),
            "generator": Player((self.generator,), adam(1e-3, betas=(0.5, 0.999)), ema=0.9),
        }

    def play(self, batch: Paired, rng: Rng) -> Game:
        source = batch.source + 0.1 * rng.normal("noise", *batch.source.shape[1:])
        fake = self.generator(source)
        real_score = self.critic(torch.cat([source, batch.target], 1))
        fake_score = self.critic(torch.cat([source, fake.detach()], 1))
        yield "critic", {"real": (1 - real_score).relu().mean(), "fake": (1 + fake_score).relu().mean()}
        with frozen(self.critic):
            score = self.critic(torch.cat([source, fake], 1))
        fooled = -score.mean()
        if rng.step == self.config.poison:
            fooled = fooled * float("nan")
        yield "generator", {"adversarial": fooled, "l1": 10 * (fake - batch.target).abs().mean()}

    def preview(self, batch: Paired, rng: Rng) -> torch.Tensor:
        return self.generator(batch.source)


class Solo(System):
    """One player, no batch statistics: what can be trained on several processes to the same weights."""

    @dataclass(frozen=True)
    class Config:
        width: int = 16

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.net = nn.Sequential(nn.Linear(12, config.width), nn.SiLU(), nn.Linear(config.width, 12))
        self.players = {"net": Player((self.net,), adam(1e-2), ema=0.99, clip=1.0)}

    def play(self, batch: Paired, rng: Rng) -> Game:
        x = batch.source.flatten(1)[:, :12]
        noise = rng.normal("noise", 12)
        yield "net", {"denoising": (self.net(x + noise) - noise).square().mean()}


class Noise:
    """Pairs of random pictures, each a function of its number."""

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def take(self, numbers: Sequence[int]) -> Paired:
        pictures = torch.stack(
            [torch.rand(2, 3, self.size, self.size, generator=torch_rng(5, "pair", n)) * 2 - 1 for n in numbers]
        )
        return Paired(pictures[:, 0], pictures[:, 1])


class Enlarged:
    """Random small pictures and large ones to make of them, for an upscaler of factor 2."""

    def take(self, numbers: Sequence[int]) -> Paired:
        return Paired(Noise(8).take(numbers).source, Noise(16).take(numbers).target)
