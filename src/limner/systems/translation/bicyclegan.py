"""BicycleGAN: one picture in, many plausible ones out, each with a style code that names it (Zhu et al., NIPS 2017).

Two cycles are trained at once. picture -> code -> picture (cVAE-GAN): an encoder reads a code from the target, and the
generator has to repaint the target from source and code. code -> picture -> code (cLR-GAN): the generator paints from a
code drawn at random, and the encoder has to find that code in the painting. The first makes codes mean something, the
second makes every code give a real picture; either half alone is a choice of weights.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.losses import least_squares
from limner.nn import init
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.pictures import mirrored, taken


class BicycleGAN(System):
    """Source (B, 3, H, W) and style code (B, style) -> (B, 3, H, W), all pictures in [-1, 1]."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        """The weights are those of eq. 9. `adversarial_vae`, `l1` and `kl` are cVAE-GAN (eq. 4), `adversarial` and
        `latent` cLR-GAN (eq. 7): set the others to 0 for one of them alone."""

        style: int = 8  # numbers in a style code
        depth: int = 8  # halvings in the generator; sides are multiples of 2 ** depth. 7: the published U-Net 128
        encoder_depth: int = 5  # halvings in the encoder, which leave 8 x 8 of 256. 4: the published one for 128
        width: int = 64  # channels of the generator's first level
        encoder_width: int = 64
        discriminator_width: int = 64
        source_channels: Literal[1, 3] = 3  # 1: of the source only the luminance, as for edges
        style_at: Literal["every level", "input"] = "every level"  # where the generator takes the code
        upsampling: Literal["transposed", "bilinear"] = "transposed"
        encoder: Literal["residual", "plain"] = "residual"
        discriminator_layers: int = 3  # 2: published for 128 pixels
        scales: int = 2  # of each discriminator
        conditional: bool = False  # True: discriminators see the source, too
        one_discriminator: bool = False  # for both cycles; published: one each
        dropout: float = 0.5

        adversarial_vae: float = 1.0
        l1: float = 10.0
        kl: float = 0.01
        adversarial: float = 1.0
        latent: float = 0.5

        learning_rate: float = 2e-4
        hold: int = 40_000  # steps before the learning rate falls, and
        fall: int = 40_000  # steps until it is 0: 200 epochs each of the 400 facades, two a step

        def __post_init__(self) -> None:
            if self.depth < 2 or self.encoder_depth < 1 or self.scales < 1:
                raise BadInput(
                    f"BicycleGAN needs depth 2, encoder_depth 1 and scales 1 or more, not {self.depth}, "
                    f"{self.encoder_depth} and {self.scales}."
                )
            if self.one_discriminator and not (self.adversarial_vae and self.adversarial):
                raise BadInput("BicycleGAN: one_discriminator is for adversarial_vae and adversarial above 0.")
            if not (self.encodes or self.draws):
                raise BadInput("BicycleGAN: all weights are 0. Give adversarial_vae and l1, or adversarial, or all.")

        @property
        def encodes(self) -> bool:
            """Whether picture -> code -> picture is trained."""
            return self.adversarial_vae > 0 or self.l1 > 0

        @property
        def draws(self) -> bool:
            """Whether code -> picture -> code is trained."""
            return self.adversarial > 0 or self.latent > 0

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = Generator(
            config.source_channels, config.style, config.width, config.depth,
            everywhere=config.style_at == "every level", bilinear=config.upsampling == "bilinear",
            dropout=config.dropout,
        )  # fmt: skip
        encoder = ResidualEncoder if config.encoder == "residual" else PlainEncoder
        self.encoder = encoder(config.style, config.encoder_width, config.encoder_depth)
        rate = held_then_falling(config.hold, config.fall)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999))
        self.players = {"generator": Player((self.generator, self.encoder), optimiser, rate)}
        judged = 3 + config.source_channels * config.conditional
        shape = (judged, config.discriminator_width, config.discriminator_layers, config.scales)
        if config.adversarial_vae:
            self.discriminator_vae = Discriminator(*shape)
            self.players["discriminator_vae"] = Player((self.discriminator_vae,), optimiser, rate)
        if config.adversarial and not config.one_discriminator:
            self.discriminator = Discriminator(*shape)
            self.players["discriminator"] = Player((self.discriminator,), optimiser, rate)
        init.xavier(self)

    def forward(self, source: Tensor, style: Tensor) -> Tensor:
        painted: Tensor = self.generator(self.seen(source), style)
        return painted

    def seen(self, source: Tensor) -> Tensor:
        """The source (B, 3, H, W) as the generator sees it: (B, source_channels, H, W)."""
        if self.config.source_channels == 3:
            return source
        return (source * source.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)

    def play(self, batch: Paired, rng: Rng) -> Game:
        """The first half of the batch is translated; the second lends its targets, as real pictures that have nothing
        to do with what they are compared with, to the discriminator of random codes."""
        config, half = self.config, len(batch) // 2
        if len(batch) % 2 or not half:
            raise BadInput(f"BicycleGAN trains on two halves of a batch, not on {len(batch)}. Give --batch 2, 4, ...")
        source, other_source = self.fitting(batch.source).chunk(2)
        target, other_target = batch.target.chunk(2)

        def judged(picture: Tensor, given: Tensor) -> Tensor:
            return torch.cat([given, picture], 1) if config.conditional else picture

        losses: dict[str, Tensor] = {}
        if config.adversarial:
            judge = self.discriminator_vae if config.one_discriminator else self.discriminator
        if config.encodes:
            mean, log_variance = self.encoder(target)
            noise = rng.normal("noise", config.style)[:half].to(mean)
            repainted = self.generator(source, mean + noise * (log_variance / 2).exp())
            if config.adversarial_vae:
                with frozen(self.discriminator_vae):
                    scores = self.discriminator_vae(judged(repainted, source))
                losses["adversarial_vae"] = config.adversarial_vae * said(scores, True)  # eq. 2
            losses["reconstruction"] = config.l1 * F.l1_loss(repainted, target)  # eq. 3
            losses["kl"] = config.kl * divergence(mean, log_variance)
        if config.draws:
            drawn = rng.normal("style", config.style)[:half].to(source)
            painted = self.generator(source, drawn)
            if config.adversarial:
                with frozen(judge):
                    scores = judge(judged(painted, source))
                losses["adversarial"] = config.adversarial * said(scores, True)  # eq. 5
            # The generator could hide the code, and the encoder learn where: as published, the encoder doesn't learn
            # here. On its own (cLR-GAN, eq. 7) this is the only thing that it learns from.
            with frozen(self.encoder) if config.encodes else nullcontext():
                found, _ = self.encoder(painted)
            losses["latent"] = config.latent * F.l1_loss(found, drawn)  # eq. 6
        yield "generator", losses

        if config.encodes and config.adversarial_vae:
            told_vae = {
                "fake": said(self.discriminator_vae(judged(repainted.detach(), source)), False),
                "real": said(self.discriminator_vae(judged(target, source)), True),
            }
            if not config.one_discriminator:
                yield "discriminator_vae", told_vae
        if config.draws and config.adversarial:
            told = {
                "fake": said(judge(judged(painted.detach(), source)), False),
                "real": said(judge(judged(other_target, other_source)), True),
            }
            if config.one_discriminator:
                yield "discriminator_vae", told_vae | {f"{term}_drawn": value for term, value in told.items()}
            else:
                yield "discriminator", told

    def fitting(self, source: Tensor) -> Tensor:
        """The source as the generator sees it; `BadInput` where its sides don't divide."""
        multiple, (height, width) = 2**self.config.depth, source.shape[-2:]
        if height % multiple or width % multiple:
            raise BadInput(
                f"BicycleGAN: {width}x{height} can't be halved {self.config.depth} times. Train on pictures whose "
                f"sides are multiples of {multiple}, or set depth lower."
            )
        return self.seen(source)

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """Source, target, the target from its own code, and two from codes drawn at random."""
        source, target = batch.source[:4], batch.target[:4]
        found, _ = self.encoder(target)
        drawn = [self.random_style(seed).to(found).expand_as(found) for seed in (1, 2)]
        painted = [self(source, code) for code in (found, *drawn)]
        return torch.stack([source, target, *painted], 1).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, seed: int = 0, style: Tensor | None = None) -> np.ndarray:
        """See `Translates`; style: (N or 1, config.style)."""
        source = mirrored(taken(pictures, system="BicycleGAN"), 2**self.config.depth)
        code = fitting_style(self.random_style(seed) if style is None else style, len(source), self.config.style)
        device = next(self.parameters()).device
        height, width = pictures.shape[1:3]
        return to_uint8(self(source.to(device), code.to(device))[..., :height, :width])

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray) -> Tensor:
        """Codes (N, config.style) of target pictures: the means that the encoder gives."""
        target = mirrored(taken(pictures, system="BicycleGAN"), 2**self.config.encoder_depth)
        mean: Tensor = self.encoder(target.to(next(self.parameters()).device))[0]
        return mean.cpu()

    def random_style(self, seed: int) -> Tensor:
        """A code (1, config.style), standard normal."""
        return torch.randn(1, self.config.style, generator=torch_rng(seed, "style"))


def said(scores: list[Tensor], real: bool) -> Tensor:
    """Least squares, summed over a discriminator's scales."""
    return torch.stack([least_squares(score, real) for score in scores]).sum()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal. As published it is summed over the batch, too, so that it
    weighs more in a larger one."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


def fitting_style(style: Tensor, pictures: int, numbers: int) -> Tensor:
    """Style codes as (pictures, numbers); `BadInput` if they are not that many, or one for all."""
    if style.ndim != 2 or style.shape[1] != numbers or len(style) not in (1, pictures):
        wanted = f"(1, {numbers})" if pictures == 1 else f"(1, {numbers}) or ({pictures}, {numbers})"
        raise BadInput(f"A style for {pictures} pictures is {wanted} here, not {tuple(style.shape)}.")
    return style.expand(pictures, -1)


# The networks. None of their instance norms has parameters, and every convolution has a bias.


class Generator(nn.Module):
    """A U-Net that takes the style code at every level, or with the source alone.

    Source (B, channels, H, W) and style (B, style) -> (B, 3, H, W) in [-1, 1]; sides multiples of 2 ** depth.
    """

    def __init__(
        self, channels: int, style: int, width: int, depth: int, *, everywhere: bool, bilinear: bool, dropout: float
    ) -> None:
        super().__init__()
        self.everywhere, self.bilinear = everywhere, bilinear
        widths = [channels, *(width * min(2**level, 8) for level in range(depth))]
        out = [3, *widths[1:]]
        self.downs, self.ups, self.dropouts = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(depth):
            below = widths[level + 1]  # channels after this level's halving
            code = style if everywhere or level == 0 else 0
            self.downs.append(nn.Conv2d(widths[level] + code, below, 4, 2, 1))
            rising = below if level == depth - 1 else 2 * below
            self.ups.append(
                nn.Conv2d(rising, out[level], 3) if bilinear else nn.ConvTranspose2d(rising, out[level], 4, 2, 1)
            )
            self.dropouts.append(nn.Dropout(dropout if 4 <= level < depth - 1 else 0.0))

    def forward(self, source: Tensor, style: Tensor) -> Tensor:
        innermost = len(self.downs) - 1
        skips = []
        x = source
        for level, down in enumerate(self.downs):
            skips.append(x)
            if self.everywhere or level == 0:
                x = torch.cat([x, style[:, :, None, None].expand(-1, -1, *x.shape[-2:])], 1)
            x = down(F.leaky_relu(x, 0.2) if level else x)
            if 0 < level < innermost:
                x = F.instance_norm(x)
        for level in range(innermost, 0, -1):
            x = F.instance_norm(self.doubled(level, F.relu(x)))
            x = torch.cat([self.dropouts[level](x), skips[level]], 1)
        return self.doubled(0, F.relu(x)).tanh()

    def doubled(self, level: int, x: Tensor) -> Tensor:
        if self.bilinear:
            x = F.pad(F.interpolate(x, scale_factor=2.0, mode="bilinear"), (1, 1, 1, 1), "reflect")
        y: Tensor = self.ups[level](x)
        return y


class ResidualEncoder(nn.Module):
    """Target (B, 3, H, W) -> mean and log variance of its style code, (B, style) each.

    The published one pools 8 x 8 at its end and takes pictures of one size; the mean over all there is takes any.
    """

    def __init__(self, style: int, width: int, depth: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 4, 2, 1)
        widths = [width * min(block, 4) for block in range(1, depth + 1)]
        self.blocks = nn.ModuleList(Halving(*pair) for pair in pairwise(widths))
        self.mean, self.log_variance = nn.Linear(widths[-1], style), nn.Linear(widths[-1], style)

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(target)
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(x, 0.2).mean((2, 3))
        return self.mean(x), self.log_variance(x)


class Halving(nn.Module):
    """A residual block that halves the sides."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, before, 3, padding=1)
        self.second = nn.Conv2d(before, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(F.leaky_relu(F.instance_norm(x), 0.2))
        y = self.second(F.leaky_relu(F.instance_norm(y), 0.2))
        out: Tensor = F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))
        return out


class PlainEncoder(nn.Module):
    """The same as `ResidualEncoder`, of convolutions in a row."""

    def __init__(self, style: int, width: int, depth: int) -> None:
        super().__init__()
        widths = [width * min(2**layer, 4) for layer in range(depth)]
        self.layers = nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2))
        for before, after in pairwise(widths):
            self.layers.extend([nn.Conv2d(before, after, 4, 2, 1), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)])
        self.mean, self.log_variance = nn.Linear(widths[-1], style), nn.Linear(widths[-1], style)

    def forward(self, target: Tensor) -> tuple[Tensor, Tensor]:
        x = self.layers(target).mean((2, 3))
        return self.mean(x), self.log_variance(x)


class Discriminator(nn.Module):
    """PatchGANs on the picture and on smaller copies of it: (B, channels, H, W) -> a map of scores for each scale.

    The one on the copy of half the size is half as wide, and so on.
    """

    def __init__(self, channels: int, width: int, layers: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(channels, round(width / 2**scale), layers, "instance") for scale in range(scales)
        )

    def forward(self, pictures: Tensor) -> list[Tensor]:
        scores = []
        for scale, patch in enumerate(self.scales):
            if scale:
                pictures = F.avg_pool2d(pictures, 3, 2, 1, count_include_pad=False)
            scores.append(patch(pictures))
        return scores
