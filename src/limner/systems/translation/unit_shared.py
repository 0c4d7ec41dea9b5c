"""UNIT as its paper has it: two autoencoders whose deepest layers are the same (Liu, Breuel and Kautz, NIPS 2017).

Corresponding pictures of two domains are assumed to have one common latent code. Each domain has its own first layers
of the encoder and last layers of the decoder; what lies between is shared. `unit` is the authors' later program, which
shares nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.data.prepare import Preparation
from limner.losses import cross_entropy
from limner.rng import Rng
from limner.system import Game, Player, System, adam, frozen, to_uint8
from limner.systems.translation.munit import fits
from limner.systems.translation.pictures import mirrored, taken


class SharedUNIT(System):
    """Pictures of two domains, (B, 3, H, W) in [-1, 1]; H and W are multiples of 2 ** downs."""

    config: Config
    preparation = Preparation(256, "shorter", 256)

    @dataclass(frozen=True)
    class Config:
        width: int = 64  # channels at full size; they double with each halving
        downs: int = 2
        encoder_blocks: int = 3  # residual blocks of each domain's encoder
        shared_encoder_blocks: int = 1
        shared_decoder_blocks: int = 1
        decoder_blocks: int = 3
        norms: bool = True  # instance norms outside the residual blocks; published for faces: none
        discriminator: Literal["shared", "separate", "multi-scale"] = "shared"
        discriminator_width: int = 64
        own_layers: int = 2  # halvings in each domain's part of the discriminator; published: 6 separate, 4 multi-scale
        shared_layers: int = 4  # halvings in the part that a shared discriminator shares

        adversarial: float = 10.0  # lambda 0 of section 4
        kl: float = 0.1  # lambda 1
        picture: float = 100.0  # lambda 2
        cycle_kl: float = 0.1  # lambda 3
        cycle: float = 100.0  # lambda 4
        learning_rate: float = 1e-4

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = Generator(config)
        self.discriminator = discriminator(config)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):  # biases begin as PyTorch has them
                nn.init.normal_(module.weight, 0, 0.02)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999), decay=1e-4)
        self.players = {
            "discriminator": Player((self.discriminator,), optimiser),
            "generator": Player((self.generator,), optimiser),
        }

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        """Eq. 2. The latent is the code plus standard normal noise; each player's move draws its own."""
        config, a, b = self.config, batch.a, batch.b
        fits(a, config.downs, "UNIT")
        fits(b, config.downs, "UNIT")
        with torch.no_grad():
            latent = self.noisy(self.generator.encode_both(a, b), rng, "to judge a", "to judge b")
            (_, fake_a), (fake_b, _) = self.generator.decode_both(latent)
        told = zip("ab", self.discriminator(a, b), self.discriminator(fake_a, fake_b), strict=True)
        yield (
            "discriminator",
            {
                f"domain_{side}": config.adversarial * (averaged(real, True) + averaged(fake, False))
                for side, real, fake in told
            },
        )

        latent = self.noisy(self.generator.encode_both(a, b), rng, "a", "b")
        (own_a, fake_a), (fake_b, own_b) = self.generator.decode_both(latent)
        back_b = self.noisy(self.generator.encode_a(fake_a), rng, "b again")
        back_a = self.noisy(self.generator.encode_b(fake_b), rng, "a again")
        with frozen(self.discriminator):
            scores_a, scores_b = self.discriminator(fake_a, fake_b)
        yield (
            "generator",
            {
                "adversarial_a": config.adversarial * averaged(scores_a, True),  # eq. 4
                "adversarial_b": config.adversarial * averaged(scores_b, True),
                "reconstruction_a": config.picture * F.l1_loss(own_a, a),  # eq. 3
                "reconstruction_b": config.picture * F.l1_loss(own_b, b),
                "kl": config.kl * 2 * divergence(latent),  # once for each domain: both are in this mean
                "cycle_a": config.cycle * F.l1_loss(self.generator.decode_a(back_a), a),  # eq. 5
                "cycle_b": config.cycle * F.l1_loss(self.generator.decode_b(back_b), b),
                "cycle_kl_a": config.cycle_kl * divergence(back_a),
                "cycle_kl_b": config.cycle_kl * divergence(back_b),
            },
        )

    def noisy(self, code: Tensor, rng: Rng, *names: str) -> Tensor:
        """A draw from the posterior around codes (B * domains, C, h, w), a name for each domain."""
        noise = torch.cat([rng.normal(name, *code.shape[1:]) for name in names])
        return code + noise.to(code.device)

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """By rows: a picture, itself decoded again, and its translation; from a, then from b."""
        a, b = batch.a[:4], batch.b[:4]
        (own_a, fake_a), (fake_b, own_b) = self.generator.decode_both(self.generator.encode_both(a, b))
        rows = [torch.stack([a, own_a, fake_b], 1), torch.stack([b, own_b, fake_a], 1)]
        return torch.cat(rows).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, backwards: bool = False) -> np.ndarray:
        """Pictures of the first domain in the second (or `backwards`). There is one answer: the latent has no noise."""
        encode, decode = self.generator.encode_a, self.generator.decode_b
        if backwards:
            encode, decode = self.generator.encode_b, self.generator.decode_a
        given = mirrored(taken(pictures, system="UNIT"), 2**self.config.downs).to(next(self.parameters()).device)
        fits(given, self.config.downs, "UNIT")
        made = torch.cat([decode(encode(one)) for one in given.split(1)])
        height, width = pictures.shape[1:3]
        return to_uint8(made[..., :height, :width])


def divergence(latent: Tensor) -> Tensor:
    """KL divergence of a posterior of variance 1 from the standard normal, but for a factor of a half. As published, it
    is taken of the noisy code."""
    return latent.square().mean()


def averaged(scores: list[Tensor], real: bool) -> Tensor:
    """Cross-entropy, summed over a discriminator's scales."""
    return torch.stack([cross_entropy(each, real) for each in scores]).sum()


# The networks (table 1 of the supplement; the leaky slope is 0.01, padding is with zeros)


class Generator(nn.Module):
    """Both domains' encoders and decoders, and between them the layers that they share."""

    def __init__(self, config: SharedUNIT.Config) -> None:
        super().__init__()
        deep = config.width * 2**config.downs
        self.encoder_a, self.encoder_b = encoder(config), encoder(config)
        self.shared_encoder = residual_blocks(deep, config.shared_encoder_blocks)
        self.shared_decoder = residual_blocks(deep, config.shared_decoder_blocks)
        self.decoder_a, self.decoder_b = decoder(config), decoder(config)

    def encode_a(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> codes (B, C, h, w)."""
        code: Tensor = self.shared_encoder(self.encoder_a(pictures))
        return code

    def encode_b(self, pictures: Tensor) -> Tensor:
        code: Tensor = self.shared_encoder(self.encoder_b(pictures))
        return code

    def encode_both(self, a: Tensor, b: Tensor) -> Tensor:
        """Codes (2 B, C, h, w): those of `a` come first."""
        codes: Tensor = self.shared_encoder(torch.cat([self.encoder_a(a), self.encoder_b(b)]))
        return codes

    def decode_a(self, latent: Tensor) -> Tensor:
        """Latents (B, C, h, w) -> pictures (B, 3, H, W) in [-1, 1]."""
        pictures: Tensor = self.decoder_a(self.shared_decoder(latent))
        return pictures

    def decode_b(self, latent: Tensor) -> Tensor:
        pictures: Tensor = self.decoder_b(self.shared_decoder(latent))
        return pictures

    def decode_both(self, latent: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Latents of both domains in one batch -> (a as a, b as a), (a as b, b as b)."""
        features = self.shared_decoder(latent)
        return self.decoder_a(features).chunk(2), self.decoder_b(features).chunk(2)


def encoder(config: SharedUNIT.Config) -> nn.Sequential:
    widths = [config.width * 2**i for i in range(config.downs + 1)]
    return nn.Sequential(
        Convolution(nn.Conv2d(3, config.width, 7, 1, 3)),
        *(Convolution(nn.Conv2d(i, o, 3, 2, 1), config.norms) for i, o in pairwise(widths)),
        *residual_blocks(widths[-1], config.encoder_blocks),
    )


def decoder(config: SharedUNIT.Config) -> nn.Sequential:
    widths = [config.width * 2**i for i in reversed(range(config.downs + 1))]
    return nn.Sequential(
        *residual_blocks(widths[0], config.decoder_blocks),
        *(Convolution(nn.ConvTranspose2d(i, o, 3, 2, 1, 1), config.norms) for i, o in pairwise(widths)),
        nn.ConvTranspose2d(config.width, 3, 1),
        nn.Tanh(),
    )


def residual_blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


class Convolution(nn.Module):
    """A convolution; instance norm and ReLU, or a leaky ReLU alone."""

    def __init__(self, conv: nn.Module, norm: bool = False) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return F.instance_norm(y).relu() if self.norm else F.leaky_relu(y, 0.01)


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.instance_norm(self.conv2(F.instance_norm(self.conv1(x)).relu()))


def halvings(widths: list[int], first: int = 3) -> list[nn.Module]:
    """Convolutions of stride 2 and kernels of 3, but for the first one's."""
    kernels = [first] + [3] * len(widths)
    return [
        Convolution(nn.Conv2d(i, o, kernel, 2, kernel // 2))
        for (i, o), kernel in zip(pairwise(widths), kernels, strict=False)
    ]


class SharedDiscriminator(nn.Module):
    """(B, 3, H, W) of each domain -> a list of one map of scores (B, 1, h, w), for each."""

    def __init__(self, width: int, own_layers: int, shared_layers: int) -> None:
        super().__init__()
        widths = [3] + [width * 2**i for i in range(own_layers + shared_layers)]
        self.a = nn.Sequential(*halvings(widths[: own_layers + 1], first=7))
        self.b = nn.Sequential(*halvings(widths[: own_layers + 1], first=7))
        self.shared = nn.Sequential(*halvings(widths[own_layers:]), nn.Conv2d(widths[-1], 1, 1))

    def forward(self, a: Tensor, b: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        scores_a, scores_b = self.shared(torch.cat([self.a(a), self.b(b)])).chunk(2)
        return [scores_a], [scores_b]


class SeparateDiscriminator(nn.Module):
    """The same without a shared part."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.a, self.b = judge(width, layers), judge(width, layers)

    def forward(self, a: Tensor, b: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [self.a(a)], [self.b(b)]


class MultiScaleDiscriminator(nn.Module):
    """Separate ones for full size, half and a quarter: lists of three maps of scores.

    square: crop the smaller sizes to their height, as the published program does by mistake
    """

    def __init__(self, width: int, layers: int, square: bool = False) -> None:
        super().__init__()
        self.a, self.b = (nn.ModuleList(judge(width, layers) for _ in range(3)) for _ in range(2))
        self.square = square

    def forward(self, a: Tensor, b: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return self.score(self.a, a), self.score(self.b, b)

    def score(self, judges: nn.ModuleList, pictures: Tensor) -> list[Tensor]:
        scores = []
        for judge in judges:
            scores.append(judge(pictures))
            pictures = smaller(pictures)
            if self.square:
                pictures = pictures[..., : pictures.shape[-2]]
        return scores


def discriminator(config: SharedUNIT.Config) -> SharedDiscriminator | SeparateDiscriminator | MultiScaleDiscriminator:
    """The three that were published."""
    width, layers = config.discriminator_width, config.own_layers
    match config.discriminator:
        case "shared":
            return SharedDiscriminator(width, layers, config.shared_layers)
        case "separate":
            return SeparateDiscriminator(width, layers)
        case "multi-scale":
            return MultiScaleDiscriminator(width, layers)


def judge(width: int, layers: int) -> nn.Sequential:
    widths = [3] + [width * 2**i for i in range(layers)]
    return nn.Sequential(*halvings(widths), nn.Conv2d(widths[-1], 1, 1))


def smaller(pictures: Tensor) -> Tensor:
    """Half the size: smoothed by [1, 2, 1] / 4 in both directions, then every second pixel."""
    line = pictures.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(pictures.shape[1], 1, 3, 3)
    padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel, groups=pictures.shape[1])[..., ::2, ::2]
