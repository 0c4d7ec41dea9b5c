"""SPADE: photographs from label maps that modulate every layer (Park, Liu, Wang and Zhu, "GauGAN", CVPR 2019).

A normalisation washes out what a layer was told of a flat label map. So the map isn't the generator's input: every norm
gets its scales and shifts from it, pixel by pixel. The input is free to be a style, which an encoder finds in a picture
(the VAE), or which is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Labelled
from limner.errors import BadInput, CannotDo
from limner.losses import critic, feature_matching, hinge
from limner.nn import init, vgg
from limner.nn.instance_norm import InstanceNorm
from limner.nn.label_maps import accepted_map, checked, coloured, edges, one_hot, told_apart
from limner.nn.spectral_norm import spectral_norm
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.pictures import taken


class SPADE(System):
    """Label maps (B, H, W) -> pictures (B, 3, H, W) in [-1, 1], all of `Config.size`."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        classes: int = 182  # COCO-Stuff's; ADE20K: 150, Cityscapes: 35
        unknown: bool = True  # whether the maps have pixels of no class (255); one channel more
        edges: bool = True  # whether the borders between instances are an input; ADE20K: no
        size: tuple[int, int] = (256, 256)  # height and width; Cityscapes: (256, 512)
        doublings: Literal[5, 6, 7] = 5  # of the first small map: "normal", "more" (Cityscapes) and "most"
        width: int = 64  # channels before the last layer, half of it with 7 doublings
        vae: bool = False  # whether there are styles
        style: int = 256  # numbers of a style
        encoder_width: int = 64
        discriminator_width: int = 64
        discriminator_layers: int = 4
        scales: int = 2  # discriminators
        feature_matching: float = 10.0
        divergence: float = 0.05
        perceptual: float = 0.0  # published: 10, with VGG-19's weights
        generator_rate: float = 1e-4
        discriminator_rate: float = 4e-4
        betas: tuple[float, float] = (0.0, 0.9)  # of Adam, as the program has them; the paper: (0, 0.999)
        hold: int = 369_600  # steps at the full rate: 100 epochs of COCO-Stuff, 32 pictures a step
        fall: int = 0  # steps in which it then falls to 0; published for ADE20K and Cityscapes: as many as before

        def __post_init__(self) -> None:
            if any(side % 2**self.doublings for side in self.size) or not all(self.size):
                raise BadInput(
                    f"SPADE: size={self.size} with {self.doublings} doublings: sides must be multiples of "
                    f"{2**self.doublings}."
                )

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.kinds = config.classes + config.unknown
        channels = self.kinds + config.edges
        start = (config.size[0] >> config.doublings, config.size[1] >> config.doublings)
        self.generator = Generator(channels, config.width, start, config.doublings, config.style if config.vae else 0)
        self.discriminator = MultiscaleDiscriminator(
            channels + 3,
            config.discriminator_width,
            (2,) * (config.discriminator_layers - 1) + (1,),
            config.scales,
        )
        painters: list[nn.Module] = [self.generator]
        if config.vae:
            self.encoder = Encoder(config.encoder_width, config.style)
            painters.append(self.encoder)
        init.xavier(self)
        if config.perceptual:
            self.vgg = vgg.waiting()
        rate = held_then_falling(config.hold, config.fall)
        self.players = {
            "generator": Player(tuple(painters), adam(config.generator_rate, config.betas), rate),
            "discriminator": Player((self.discriminator,), adam(config.discriminator_rate, config.betas), rate),
        }

    def conditions(self, classes: Tensor, instances: Tensor) -> Tensor:
        """What all networks are told of a label map: (B, H, W) twice -> (B, kinds + edges, H, W)."""
        classes = checked(classes, self.config.classes, "SPADE", self.config.unknown)
        maps = one_hot(classes, self.kinds)
        return torch.cat([maps, edges(told_apart(classes, instances))], 1) if self.config.edges else maps

    # Training

    def play(self, batch: Labelled, rng: Rng) -> Game:
        """The generator steps first; the discriminator then judges what the stepped generator paints (section 3)."""
        config, real = self.config, batch.pictures
        if real.shape[-2:] != config.size:
            height, width = real.shape[-2:]
            raise BadInput(
                f"SPADE: pictures of {width}x{height}, but the model is for {config.size[1]}x{config.size[0]}. Resize "
                f"or crop the data, or set size=[{height},{width}]."
            )
        told = self.conditions(batch.classes, batch.instances)
        losses, style = {}, None
        if config.vae:
            mean, logvar = self.encoder(real)
            style = drawn(mean, logvar, rng.normal("style", config.style))
            # A sum over the batch too, as in the program.
            losses["divergence"] = -0.5 * config.divergence * (1 + logvar - mean.square() - logvar.exp()).sum()
        fake = self.generator(told, style)
        with frozen(self.discriminator):
            seen_fake, seen_real = judged(self.discriminator, told, fake, real)
        losses["adversarial"] = mean_of(critic(scale[-1], real=True) for scale in seen_fake)
        if config.feature_matching:
            inside = ([scale[:-1] for scale in seen] for seen in (seen_fake, seen_real))
            losses["feature_matching"] = config.feature_matching * feature_matching(*inside)
        if config.perceptual:
            vgg.require_weights(self.vgg, "SPADE")
            losses["perceptual"] = config.perceptual * vgg.perceptual(self.vgg, fake, real)
        yield "generator", losses

        with torch.no_grad():
            if config.vae:
                mean, logvar = self.encoder(real)
                style = drawn(mean, logvar, rng.normal("style again", config.style))
            fake = self.generator(told, style)
        seen_fake, seen_real = judged(self.discriminator, told, fake, real)
        yield (
            "discriminator",
            {
                "fake": mean_of(hinge(scale[-1], real=False) for scale in seen_fake),
                "real": mean_of(hinge(scale[-1], real=True) for scale in seen_real),
            },
        )

    def preview(self, batch: Labelled, rng: Rng) -> Tensor:
        """Label maps, what is painted (in the pictures' own styles), and the true pictures."""
        real, classes = batch.pictures[:6], batch.classes[:6]
        style = self.encoder(real)[0] if self.config.vae else None
        painted = self.generator(self.conditions(classes, batch.instances[:6]), style)
        return torch.stack([coloured(classes), painted, real], 1).flatten(0, 1)

    # Translation

    @torch.inference_mode()
    def translate(
        self,
        pictures: np.ndarray,
        *,
        instances: np.ndarray | None = None,
        style: Tensor | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Class numbers (N, H, W) -> uint8 pictures (N, H, W, 3). Other sizes than the model's are resized to it, and
        the pictures back.

        instances: instance numbers (N, H, W), 0 for what isn't countable; without them every class is one instance
        style: styles (N or 1, style) of `style_of` or `random_style`; without one, `seed` draws it, the same for all
        Classes that the model doesn't know are `BadInput`.
        """
        size, device = self.config.size, next(self.parameters()).device
        classes = accepted_map(pictures, "SPADE")
        given = torch.zeros_like(classes) if instances is None else accepted_map(instances, "SPADE")
        if given.shape != classes.shape:
            raise BadInput(f"SPADE: classes {tuple(classes.shape)}, but instances {tuple(given.shape)}.")
        told = self.conditions(*(nearest(numbers, size).to(device) for numbers in (classes, given)))
        if self.config.vae:
            style = self.random_style(seed) if style is None else style
            if style.shape[1:] != (self.config.style,) or len(style) not in (1, len(told)):
                raise BadInput(
                    f"SPADE: a style {tuple(style.shape)} doesn't fit {len(told)} label maps: it should be "
                    f"(1, {self.config.style}) or ({len(told)}, {self.config.style})."
                )
            style = style.to(device).expand(len(told), -1)
        elif style is not None:
            self.require_styles()
        painted = self.generator(told, style)
        if classes.shape[1:] != size:
            painted = F.interpolate(painted, tuple(classes.shape[1:]), mode="bilinear", antialias=True)
        return to_uint8(painted)

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) of any size -> styles (N, style): the means. The published program draws around them."""
        self.require_styles()
        found: Tensor = self.encoder(taken(pictures, system="SPADE").to(next(self.parameters()).device))[0]
        return found

    def random_style(self, seed: int) -> Tensor:
        """A style (1, style) by chance."""
        self.require_styles()
        return torch.randn(1, self.config.style, generator=torch_rng(seed, "style"))

    def require_styles(self) -> None:
        if not self.config.vae:
            raise CannotDo("SPADE: this model has no styles. Train one with vae=true.")


def judged(
    discriminator: nn.Module, told: Tensor, fake: Tensor, real: Tensor
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """What the discriminators see in fakes and in reals, of one pass: both are judged by the same weights."""
    seen = discriminator(torch.cat([torch.cat([told, fake], 1), torch.cat([told, real], 1)]))
    fakes = [[layer[: len(fake)] for layer in scale] for scale in seen]
    return fakes, [[layer[len(fake) :] for layer in scale] for scale in seen]


def drawn(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """A style of the encoder's distribution (Kingma and Welling, 2014)."""
    return mean + noise.to(mean.device) * (logvar / 2).exp()


def nearest(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """A map of numbers (B, H, W) at another size."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * old / new).long() for new, old in zip(size, numbers.shape[1:], strict=True)
    )
    return numbers[:, rows][:, :, columns]


def mean_of(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()


# The generator


class Modulation(nn.Module):
    """Scales and shifts from a label map: (B, channels, h, w) -> twice (B, width, h, w)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(channels, 128, 3, padding=1)
        self.scale = nn.Conv2d(128, width, 3, padding=1)
        self.shift = nn.Conv2d(128, width, 3, padding=1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        x = self.shared(maps).relu()
        return self.scale(x), self.shift(x)


class AdaptiveNorm(nn.Module):
    """SPADE (eq. 1): batch norm, then scales and shifts from the label map at x's own size."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.modulation = Modulation(channels, width)

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        scale, shift = self.modulation(maps)
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out


class ResidualBlock(nn.Module):
    """Figure 4, left. The shortcut, where widths differ, has no activation."""

    def __init__(self, channels: int, before: int, after: int) -> None:
        super().__init__()
        between = min(before, after)
        self.norm1 = AdaptiveNorm(channels, before)
        self.conv1 = spectral_norm(nn.Conv2d(before, between, 3, padding=1))
        self.norm2 = AdaptiveNorm(channels, between)
        self.conv2 = spectral_norm(nn.Conv2d(between, after, 3, padding=1))
        self.changes = before != after
        if self.changes:
            self.shortcut_norm = AdaptiveNorm(channels, before)
            self.shortcut = spectral_norm(nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        short = self.shortcut(self.shortcut_norm(x, maps)) if self.changes else x
        y = self.conv1(F.leaky_relu(self.norm1(x, maps), 0.2))
        y = self.conv2(F.leaky_relu(self.norm2(y, maps), 0.2))
        out: Tensor = short + y
        return out


class Generator(nn.Module):
    """Label maps (B, channels, H, W) and, with styles, (B, style) -> (B, 3, H, W) in [-1, 1]; H and W are `start`,
    doubled so many times."""

    def __init__(self, channels: int, width: int, start: tuple[int, int], doublings: int, style: int) -> None:
        super().__init__()
        widths = [16 * width, 16 * width, 16 * width, 16 * width, 8 * width, 4 * width, 2 * width, width]
        if doublings == 7:
            widths.append(width // 2)
        self.start, self.deep = start, widths[0]
        # The first map: of the style, or of a very small label map.
        self.first: nn.Module = (
            nn.Linear(style, widths[0] * start[0] * start[1]) if style else nn.Conv2d(channels, widths[0], 3, padding=1)
        )
        self.blocks = nn.ModuleList(ResidualBlock(channels, before, after) for before, after in pairwise(widths))
        self.kept = (0,) if doublings > 5 else (0, 2)  # blocks that work at the size of what came before
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, maps: Tensor, style: Tensor | None = None) -> Tensor:
        if style is None:
            x = self.first(F.interpolate(maps, self.start))
        else:
            x = self.first(style).view(-1, self.deep, *self.start)
        for number, block in enumerate(self.blocks):
            if number not in self.kept:
                x = F.interpolate(x, scale_factor=2.0)
            x = block(x, F.interpolate(maps, tuple(x.shape[-2:])))
        out: Tensor = self.head(F.leaky_relu(x, 0.2)).tanh()
        return out


# The encoder and the discriminators: instance norms without scales, so that convolutions before them have no bias


class Encoder(nn.Module):
    """Pictures (B, 3, H, W), which are resized to 256 x 256 -> mean and log variance of their styles (B, style)."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width, 8 * width, 8 * width]
        self.layers = nn.ModuleList(normalised(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.mean = nn.Linear(widths[-1] * 4 * 4, style)
        self.logvar = nn.Linear(widths[-1] * 4 * 4, style)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        x = pictures
        if x.shape[-2:] != (256, 256):
            x = F.interpolate(x, (256, 256), mode="bilinear")
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        x = x.flatten(1)
        return self.mean(x).float(), self.logvar(x).float()


class PatchDiscriminator(nn.ModuleList):
    """(B, channels, H, W) -> what every layer gives; the last are the scores. Convolutions of 4 x 4 with these strides,
    padded by 2, and one more for the scores."""

    def __init__(self, channels: int, width: int, strides: tuple[int, ...]) -> None:
        widths = [min(width * 2**layer, 512) for layer in range(len(strides))]
        super().__init__([nn.Sequential(nn.Conv2d(channels, width, 4, strides[0], 2), nn.LeakyReLU(0.2))])
        for stride, (before, after) in zip(strides[1:], pairwise(widths), strict=True):
            self.append(nn.Sequential(*normalised(before, after, 4, stride, 2), nn.LeakyReLU(0.2)))
        self.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2)))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self:
            x = layer(x)
            found.append(x)
        return found


class MultiscaleDiscriminator(nn.ModuleList):
    """The same discriminator, with weights of its own, for each scale. The first sees full resolution."""

    def __init__(self, channels: int, width: int, strides: tuple[int, ...], scales: int) -> None:
        super().__init__(PatchDiscriminator(channels, width, strides) for _ in range(scales))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        found = []
        for scale, discriminator in enumerate(self):
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) if scale else x
            found.append(discriminator(x))
        return found


def normalised(before: int, after: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    conv = spectral_norm(nn.Conv2d(before, after, kernel, stride, padding, bias=False))
    return nn.Sequential(conv, InstanceNorm())
