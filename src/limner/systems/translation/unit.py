"""UNIT: unpaired translation through a latent space that two autoencoders share (Liu, Breuel and Kautz, NIPS 2017).

This is the authors' later program (2018): each domain has a variational autoencoder of its own, and what holds the two
latent spaces together is that a translation, translated back, must be the picture again. The paper's networks, whose
deepest layers are literally the same, are `unit-shared`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.data.prepare import Preparation
from limner.nn import init, vgg
from limner.rng import Rng
from limner.system import Game, Player, System, adam, frozen, halving, to_uint8
from limner.systems.translation.munit import (
    ContentEncoder,
    MultiScaleDiscriminator,
    ResidualBlock,
    Upsampling,
    domain_invariant,
    fits,
    fooled,
    judged,
)
from limner.systems.translation.pictures import mirrored, taken


class UNIT(System):
    """Pictures of two domains, (B, 3, H, W) in [-1, 1]; H and W are multiples of 2 ** downs."""

    config: Config
    preparation = Preparation(256, "shorter", 256)

    @dataclass(frozen=True)
    class Config:
        width: int = 64  # channels at full size; they double with each halving
        downs: int = 2  # halvings
        blocks: int = 4  # residual blocks, in the encoder and in the decoder
        discriminator_width: int = 64
        discriminator_depth: int = 4  # halvings
        scales: int = 3  # sizes at which the discriminator looks

        adversarial: float = 1.0
        picture: float = 10.0
        kl: float = 0.01
        cycle: float = 10.0
        cycle_kl: float = 0.01
        perceptual: float = 0.0  # published: 1 for streets
        learning_rate: float = 1e-4  # halved after every `halve` steps
        halve: int = 100_000

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        if config.perceptual:
            self.vgg = vgg.waiting(16, "relu5_3")  # for Caffe's weights
        self.generator_a, self.generator_b = Autoencoder(config), Autoencoder(config)
        sizes = config.discriminator_width, config.discriminator_depth, config.scales
        self.discriminator_a, self.discriminator_b = MultiScaleDiscriminator(*sizes), MultiScaleDiscriminator(*sizes)
        generators = self.generator_a, self.generator_b
        discriminators = self.discriminator_a, self.discriminator_b
        for generator in generators:
            init.kaiming(generator)
        for discriminator in discriminators:
            init.normal(discriminator)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999), decay=1e-4)
        self.players = {
            "discriminators": Player(discriminators, optimiser, halving(config.halve)),
            "generators": Player(generators, optimiser, halving(config.halve)),
        }

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        """Eq. 2, where each posterior is normal around its code with variance 1. Each player's move draws its own
        noise."""
        config, a, b = self.config, batch.a, batch.b
        fits(a, config.downs, "UNIT", self.discriminator_a.least)
        fits(b, config.downs, "UNIT", self.discriminator_a.least)
        with torch.no_grad():
            latent_a = noisy(self.generator_a.encode(a), rng, "to judge a")
            latent_b = noisy(self.generator_b.encode(b), rng, "to judge b")
            fake_a, fake_b = self.generator_a.decode(latent_b), self.generator_b.decode(latent_a)
        yield (
            "discriminators",
            {
                "domain_a": config.adversarial * judged(self.discriminator_a, a, fake_a),
                "domain_b": config.adversarial * judged(self.discriminator_b, b, fake_b),
            },
        )

        code_a, code_b = self.generator_a.encode(a), self.generator_b.encode(b)
        latent_a, latent_b = noisy(code_a, rng, "a"), noisy(code_b, rng, "b")
        fake_a, fake_b = self.generator_a.decode(latent_b), self.generator_b.decode(latent_a)
        back_b, back_a = self.generator_a.encode(fake_a), self.generator_b.encode(fake_b)
        cycle_b = self.generator_b.decode(noisy(back_b, rng, "b again"))
        cycle_a = self.generator_a.decode(noisy(back_a, rng, "a again"))
        losses = {
            "reconstruction_a": config.picture * F.l1_loss(self.generator_a.decode(latent_a), a),  # eq. 3
            "reconstruction_b": config.picture * F.l1_loss(self.generator_b.decode(latent_b), b),
            "kl_a": config.kl * divergence(code_a),
            "kl_b": config.kl * divergence(code_b),
            "cycle_a": config.cycle * F.l1_loss(cycle_a, a),  # eq. 5
            "cycle_b": config.cycle * F.l1_loss(cycle_b, b),
            "cycle_kl_a": config.cycle_kl * divergence(back_a),
            "cycle_kl_b": config.cycle_kl * divergence(back_b),
        }
        with frozen(self.discriminator_a, self.discriminator_b):
            losses["adversarial_a"] = config.adversarial * fooled(self.discriminator_a, fake_a)  # eq. 4
            losses["adversarial_b"] = config.adversarial * fooled(self.discriminator_b, fake_b)
        if config.perceptual:
            vgg.require_weights(self.vgg, "UNIT")
            losses["perceptual_a"] = config.perceptual * domain_invariant(self.vgg, fake_a, b)
            losses["perceptual_b"] = config.perceptual * domain_invariant(self.vgg, fake_b, a)
        yield "generators", losses

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """By rows: a picture, itself decoded again, its translation, and that translated back; from a, then from b."""
        rows = []
        for here, there, pictures in (
            (self.generator_a, self.generator_b, batch.a[:4]),
            (self.generator_b, self.generator_a, batch.b[:4]),
        ):
            code = here.encode(pictures)
            translated = there.decode(code)
            back = here.decode(there.encode(translated))
            rows.append(torch.stack([pictures, here.decode(code), translated, back], 1))
        return torch.cat(rows).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, backwards: bool = False) -> np.ndarray:
        """Pictures of the first domain in the second (or `backwards`). There is one answer: the latent has no noise."""
        here, there = self.generator_a, self.generator_b
        if backwards:
            here, there = there, here
        given = mirrored(taken(pictures, system="UNIT"), 2**self.config.downs).to(next(self.parameters()).device)
        fits(given, self.config.downs, "UNIT")
        made = torch.cat([there.decode(here.encode(one)) for one in given.split(1)])
        height, width = pictures.shape[1:3]
        return to_uint8(made[..., :height, :width])


def noisy(code: Tensor, rng: Rng, name: str) -> Tensor:
    """A draw from the posterior around a code (B, C, h, w)."""
    return code + rng.normal(name, *code.shape[1:]).to(code.device)


def divergence(code: Tensor) -> Tensor:
    """KL divergence of the posterior from the standard normal, but for a factor of a half: a mean over all entries."""
    return code.square().mean()


class Autoencoder(nn.Module):
    """One domain's encoder and decoder: MUNIT's content encoder, and its decoder with plain instance norms."""

    def __init__(self, config: UNIT.Config) -> None:
        super().__init__()
        deep = config.width * 2**config.downs
        self.encoder = ContentEncoder(config.width, config.downs, config.blocks)
        self.blocks = nn.Sequential(*(ResidualBlock(deep) for _ in range(config.blocks)))
        self.up = Upsampling(deep, config.downs)

    def encode(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> the posterior's mean (B, C, h, w)."""
        code: Tensor = self.encoder(pictures)
        return code

    def decode(self, latent: Tensor) -> Tensor:
        """(B, C, h, w) -> pictures (B, 3, H, W) in [-1, 1]."""
        pictures: Tensor = self.up(self.blocks(latent))
        return pictures
