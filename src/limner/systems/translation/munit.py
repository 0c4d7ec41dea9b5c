"""MUNIT: unpaired translation with many answers, by content and style codes (Huang et al., ECCV 2018).

A picture is a content code, which two domains share, and a style code of its own domain. To translate, the content of
one domain is decoded in the other, in a style that was drawn from a normal distribution or taken from an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.losses import least_squares
from limner.nn import init, vgg
from limner.nn.instance_norm import instance_norm
from limner.nn.mirrored import MirroredConv2d
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, halving, to_uint8
from limner.systems.translation.pictures import mirrored, taken


class MUNIT(System):
    """Pictures of two domains, (B, 3, H, W) in [-1, 1]; H and W are multiples of 2 ** downs."""

    config: Config
    preparation = Preparation(256, "shorter", 256)

    @dataclass(frozen=True)
    class Config:
        width: int = 64  # channels at full size; they double with each halving
        downs: int = 2  # halvings of the content
        blocks: int = 4  # residual blocks, in the encoder and in the decoder
        style_width: int = 8
        mlp_width: int = 256
        discriminator_width: int = 64
        discriminator_depth: int = 4  # halvings
        scales: int = 3  # sizes at which the discriminator looks

        adversarial: float = 1.0  # the weights of eq. 5
        picture: float = 10.0
        style: float = 1.0
        content: float = 1.0
        cycle: float = 0.0  # section 5.1; published: 10 for summer and winter, and for streets
        perceptual: float = 0.0  # section 5.1; published: 1 for streets
        learning_rate: float = 1e-4  # halved after every `halve` steps
        halve: int = 100_000

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        if config.perceptual:
            self.vgg = vgg.waiting(16, "relu5_3")  # for Caffe's weights
        self.generator_a, self.generator_b = Generator(config), Generator(config)
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

    # Training

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        """Eq. 5, with those losses of section 5.1 that are asked for. Each player's move draws its own styles."""
        config, a, b = self.config, batch.a, batch.b
        fits(a, config.downs, "MUNIT", self.discriminator_a.least)
        fits(b, config.downs, "MUNIT", self.discriminator_a.least)
        with torch.no_grad():
            style_a, style_b = self.drawn(rng, "style to judge", a)
            fake_a = self.generator_a.decode(self.generator_b.content(b), style_a)
            fake_b = self.generator_b.decode(self.generator_a.content(a), style_b)
        yield (
            "discriminators",
            {
                "domain_a": config.adversarial * judged(self.discriminator_a, a, fake_a),
                "domain_b": config.adversarial * judged(self.discriminator_b, b, fake_b),
            },
        )

        style_a, style_b = self.drawn(rng, "style", a)
        content_a, own_a = self.generator_a.encode(a)
        content_b, own_b = self.generator_b.encode(b)
        fake_a = self.generator_a.decode(content_b, style_a)
        fake_b = self.generator_b.decode(content_a, style_b)
        found_b, found_style_a = self.generator_a.encode(fake_a)  # the content of b, found again in a's domain
        found_a, found_style_b = self.generator_b.encode(fake_b)
        losses = {
            "reconstruction_a": config.picture * F.l1_loss(self.generator_a.decode(content_a, own_a), a),  # eq. 1
            "reconstruction_b": config.picture * F.l1_loss(self.generator_b.decode(content_b, own_b), b),
            "content_a": config.content * F.l1_loss(found_a, content_a),  # eq. 2; the target takes gradients, too
            "content_b": config.content * F.l1_loss(found_b, content_b),
            "style_a": config.style * F.l1_loss(found_style_a, style_a),  # eq. 3
            "style_b": config.style * F.l1_loss(found_style_b, style_b),
        }
        with frozen(self.discriminator_a, self.discriminator_b):
            losses["adversarial_a"] = config.adversarial * fooled(self.discriminator_a, fake_a)  # eq. 4
            losses["adversarial_b"] = config.adversarial * fooled(self.discriminator_b, fake_b)
        if config.cycle:
            losses["cycle_a"] = config.cycle * F.l1_loss(self.generator_a.decode(found_a, own_a), a)
            losses["cycle_b"] = config.cycle * F.l1_loss(self.generator_b.decode(found_b, own_b), b)
        if config.perceptual:
            vgg.require_weights(self.vgg, "MUNIT")
            losses["perceptual_a"] = config.perceptual * domain_invariant(self.vgg, fake_a, b)
            losses["perceptual_b"] = config.perceptual * domain_invariant(self.vgg, fake_b, a)
        yield "generators", losses

    def drawn(self, rng: Rng, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Random styles (B, style_width) for both domains."""
        width = self.config.style_width
        return rng.normal(f"{name}, a", width).to(like.device), rng.normal(f"{name}, b", width).to(like.device)

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """By rows: a picture, itself decoded again, and two translations; from a to b, then from b to a."""
        rows = []
        for here, there, pictures in (
            (self.generator_a, self.generator_b, batch.a),
            (self.generator_b, self.generator_a, batch.b),
        ):
            content, own = here.encode(pictures)
            styles = self.drawn(rng, "preview", pictures)
            rows.append(
                torch.stack([pictures, here.decode(content, own), *(there.decode(content, s) for s in styles)], 1)
            )
        return torch.cat([row[:4] for row in rows]).flatten(0, 1)

    # Abilities

    @torch.inference_mode()
    def translate(
        self, pictures: np.ndarray, *, seed: int = 0, style: Tensor | None = None, backwards: bool = False
    ) -> np.ndarray:
        """Pictures of the first domain in the second (or `backwards`), in a style (N or 1, style_width), or one drawn
        by the seed."""
        here, there = self.generator_a, self.generator_b
        if backwards:
            here, there = there, here
        given, (height, width) = self.whole(pictures), pictures.shape[1:3]
        styles = fitting(self.random_style(seed) if style is None else style, len(given), self.config.style_width)
        made = [
            there.decode(here.content(one), code)
            for one, code in zip(given.split(1), styles.to(given.device).split(1), strict=True)
        ]
        return to_uint8(torch.cat(made)[..., :height, :width])

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray, *, backwards: bool = False) -> Tensor:
        """Styles (N, style_width) of pictures of the second domain, for `translate`; with `backwards` of the first."""
        generator = self.generator_a if backwards else self.generator_b
        return torch.cat([generator.style(one) for one in self.whole(pictures).split(1)])

    def whole(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> (N, 3, H', W') in [-1, 1] on the model's device, mirrored to what `downs` divides."""
        given = mirrored(taken(pictures, system="MUNIT"), 2**self.config.downs)
        fits(given, self.config.downs, "MUNIT")
        return given.to(next(self.parameters()).device)

    def random_style(self, seed: int) -> Tensor:
        """(1, style_width), normal: both domains' prior."""
        return torch.randn(1, self.config.style_width, generator=torch_rng(seed, "style"))


def fits(pictures: Tensor, downs: int, name: str, least: int = 16) -> None:
    """`BadInput` for pictures (B, 3, H, W) whose sides can't be halved `downs` times, or are below `least`."""
    height, width = pictures.shape[-2:]
    if height % 2**downs or width % 2**downs:
        raise BadInput(f"{name} wants sides that are multiples of {2**downs}, not {width}x{height}: resize or crop.")
    if min(height, width) < (least := max(least, 2 ** (downs + 1))):
        raise BadInput(f"{name} wants pictures of at least {least} pixels a side, not {width}x{height}.")


def fitting(style: Tensor, count: int, width: int) -> Tensor:
    """Styles (N or 1, width) for N pictures, one each; other shapes are `BadInput`."""
    if style.ndim != 2 or style.shape[0] not in (1, count) or style.shape[1] != width:
        raise BadInput(
            f"A style for {count} pictures is of shape (1, {width}) or ({count}, {width}), not {tuple(style.shape)}. "
            "Take it from style_of or random_style of the same model."
        )
    return style.expand(count, width)


# The objectives


def judged(discriminator: MultiScaleDiscriminator, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss, summed over its scales."""
    told = [least_squares(scores, False) for scores in discriminator(fake)]
    told += [least_squares(scores, True) for scores in discriminator(real)]
    return torch.stack(told).sum()


def fooled(discriminator: MultiScaleDiscriminator, fake: Tensor) -> Tensor:
    """The generator's adversarial loss, summed over the discriminator's scales."""
    return torch.stack([least_squares(scores, True) for scores in discriminator(fake)]).sum()


def domain_invariant(network: vgg.VGG, one: Tensor, other: Tensor) -> Tensor:
    """Section 5.1's perceptual distance of pictures in [-1, 1] from two domains: squared differences of VGG's relu5_3
    after instance normalisation, which leaves out the features' means and variances: style more than content."""
    found, target = (instance_norm(deep_features(network, pictures)) for pictures in (one, other))
    return F.mse_loss(found, target)


def deep_features(network: vgg.VGG, pictures: Tensor) -> Tensor:
    """VGG's relu5_3. The published program leaves out the pooling before the fifth block."""
    (x,) = network(caffe(pictures), ["relu4_3"])
    for layer in list(network.features)[network.numbers["pool4"] + 1 :]:
        x = layer(x)
    found: Tensor = x
    return found


def caffe(pictures: Tensor) -> Tensor:
    """RGB in [-1, 1] -> BGR in [0, 255] without ImageNet's mean: what Caffe's VGG-16 was trained with."""
    mean = pictures.new_tensor([103.939, 116.779, 123.680]).view(1, 3, 1, 1)
    return (pictures.flip(1) + 1) * 127.5 - mean


# The networks (appendix B.2). Every convolution is padded by reflection.


class Generator(nn.Module):
    """One domain's encoders and decoder."""

    def __init__(self, config: MUNIT.Config) -> None:
        super().__init__()
        deep = config.width * 2**config.downs
        self.content_encoder = ContentEncoder(config.width, config.downs, config.blocks)
        self.style_encoder = StyleEncoder(config.width, config.style_width)
        self.decoder = Decoder(deep, config.downs, config.blocks)
        self.mlp = nn.Sequential(
            nn.Linear(config.style_width, config.mlp_width),
            nn.ReLU(),
            nn.Linear(config.mlp_width, config.mlp_width),
            nn.ReLU(),
            nn.Linear(config.mlp_width, config.blocks * 2 * 2 * deep),  # two norms a block, each with shift and scale
        )

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> content (B, C, h, w) and style (B, style_width)."""
        return self.content(pictures), self.style(pictures)

    def content(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.content_encoder(pictures)
        return found

    def style(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.style_encoder(pictures)
        return found

    def decode(self, content: Tensor, style: Tensor) -> Tensor:
        """Content (B, C, h, w) and style (B, style_width) -> pictures (B, 3, H, W) in [-1, 1]."""
        pictures: Tensor = self.decoder(content, self.mlp(style))
        return pictures


def convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return MirroredConv2d(before, after, kernel, stride, (kernel - 1) // 2)


class ContentEncoder(nn.Module):
    """(B, 3, H, W) -> (B, width * 2 ** downs, H / 2 ** downs, W / 2 ** downs). Instance norm takes the style away."""

    def __init__(self, width: int, downs: int, blocks: int) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(downs + 1)]
        self.layers = nn.ModuleList([convolution(3, width, 7), *(convolution(i, o, 4, 2) for i, o in pairwise(widths))])
        self.blocks = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = instance_norm(layer(x)).relu()
        out: Tensor = self.blocks(x)
        return out


class StyleEncoder(nn.Module):
    """(B, 3, H, W) -> (B, style_width). No norms: what they take away is what is looked for."""

    def __init__(self, width: int, style_width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
        self.layers = nn.ModuleList([convolution(3, width, 7), *(convolution(i, o, 4, 2) for i, o in pairwise(widths))])
        self.head = nn.Conv2d(widths[-1], style_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        out: Tensor = self.head(x.mean((2, 3), keepdim=True))
        return out.flatten(1)


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(width, width, 3), convolution(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + instance_norm(self.conv2(instance_norm(self.conv1(x)).relu()))


class AdaptiveBlock(nn.Module):
    """A residual block that takes its norms' shifts and scales (B, 4 * width) from outside (AdaIN, eq. 6)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(width, width, 3), convolution(width, width, 3)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        shift1, scale1, shift2, scale2 = style[..., None, None].chunk(4, 1)
        y = (instance_norm(self.conv1(x)) * scale1 + shift1).relu()
        return x + instance_norm(self.conv2(y)) * scale2 + shift2


class Decoder(nn.Module):
    """Content (B, width, h, w) and the shifts and scales of all blocks -> pictures in [-1, 1]."""

    def __init__(self, width: int, downs: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AdaptiveBlock(width) for _ in range(blocks))
        self.up = Upsampling(width, downs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        for block, part in zip(self.blocks, style.chunk(len(self.blocks), 1), strict=True):
            x = block(x, part)
        out: Tensor = self.up(x)
        return out


class Upsampling(nn.Module):
    """(B, width, h, w) -> pictures (B, 3, h * 2 ** downs, w * 2 ** downs) in [-1, 1]."""

    def __init__(self, width: int, downs: int) -> None:
        super().__init__()
        widths = [width // 2**i for i in range(downs + 1)]
        self.layers = nn.ModuleList(convolution(before, after, 5) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(LayerNorm(after) for after in widths[1:])
        self.head = convolution(widths[-1], 3, 7)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(layer(F.interpolate(x, scale_factor=2.0, mode="nearest"))).relu()
        out: Tensor = self.head(x).tanh()
        return out


class LayerNorm(nn.Module):
    """Normalises a whole sample; unlike instance norm it keeps what the style says of the channels' means.

    As published, the standard deviation is the unbiased one and epsilon is added to it, not to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        std, mean = torch.std_mean(x, (1, 2, 3), keepdim=True)
        gamma, beta = (each[:, None, None].to(x.dtype) for each in (self.gamma, self.beta))  # autocast doesn't
        return (x - mean) / (std + self.eps) * gamma + beta


class MultiScaleDiscriminator(nn.Module):
    """(B, 3, H, W) -> scores (B, 1, h, w) of patches at full size, half, a quarter..."""

    def __init__(self, width: int, depth: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width, depth) for _ in range(scales))
        self.least = 2 ** (depth + scales - 1)  # pixels a side: the last padding mirrors two rows

    def forward(self, x: Tensor) -> list[Tensor]:
        scores = []
        for scale in self.scales:
            scores.append(scale(x))
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return scores


class PatchDiscriminator(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        widths = [3, *(width * 2**i for i in range(depth))]
        layers = [convolution(before, after, 4, 2) for before, after in pairwise(widths)]
        self.layers = nn.ModuleList([*layers, nn.Conv2d(widths[-1], 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self.layers)[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        out: Tensor = self.layers[-1](x)
        return out
