"""SEAN: SPADE with a style for every region of the label map (Zhu, Abdal, Qin and Wonka, CVPR 2020).

An encoder gives each region of a picture its own style code. Every norm lays the codes out over the regions and blends
the scales and shifts that they say with SPADE's. So hair, skin and background change one at a time, and each may come
from another picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Labelled
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.losses import critic, feature_matching, hinge
from limner.nn import init, vgg
from limner.nn.label_maps import accepted_map, checked, coloured, one_hot
from limner.nn.spectral_norm import spectral_norm
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.pictures import taken
from limner.systems.translation.spade import Modulation, MultiscaleDiscriminator, judged, mean_of, nearest

Noise = Callable[[int, int], Tensor]
"""Height and width -> the next plane of noise (B or 1, 1, height, width)."""


class SEAN(System):
    """Label maps (B, H, W) and a style code a region -> pictures (B, 3, H, W) in [-1, 1], all of `Config.size`."""

    config: Config
    preparation = Preparation(resize=256, crop=256)
    code_mean: Tensor
    code_square: Tensor
    seen: Tensor

    @dataclass(frozen=True)
    class Config:
        classes: int = 19  # CelebAMask-HQ's
        unknown: bool = False  # whether the maps have pixels of no class (255); one region more
        size: tuple[int, int] = (256, 256)  # height and width, multiples of 32
        width: int = 64  # channels before the last layer
        code: int = 512  # numbers of a region's style
        encoder_width: int = 32
        discriminator_width: int = 64
        discriminator_layers: int = 3
        scales: int = 2  # discriminators
        feature_matching: float = 10.0
        perceptual: float = 0.0  # published: 10, with VGG-19's weights
        generator_rate: float = 1e-4
        discriminator_rate: float = 4e-4
        betas: tuple[float, float] = (0.0, 0.9)  # of Adam
        hold: int = 43_750  # steps at the full rate: 50 epochs of CelebAMask-HQ, 32 pictures a step
        fall: int = 43_750  # steps in which it then falls to 0

        def __post_init__(self) -> None:
            if any(side % 32 for side in self.size) or not all(self.size):
                raise BadInput(f"SEAN: size={self.size}: sides must be multiples of 32.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.kinds = config.classes + config.unknown
        start = (config.size[0] // 32, config.size[1] // 32)
        self.generator = Generator(self.kinds, config.width, start, config.code)
        self.encoder = Encoder(config.encoder_width, config.code)
        strides = (2,) * config.discriminator_layers
        self.discriminator = MultiscaleDiscriminator(self.kinds + 3, config.discriminator_width, strides, config.scales)
        # The codes of the training data, class by class: for regions that an example lacks, and for styles by chance.
        self.register_buffer("code_mean", torch.zeros(self.kinds, config.code))
        self.register_buffer("code_square", torch.zeros(self.kinds, config.code))
        self.register_buffer("seen", torch.zeros(self.kinds, dtype=torch.int64))
        init.xavier(self)
        if config.perceptual:
            self.vgg = vgg.waiting()
        rate = held_then_falling(config.hold, config.fall)
        self.players = {
            "generator": Player((self.generator, self.encoder), adam(config.generator_rate, config.betas), rate),
            "discriminator": Player((self.discriminator,), adam(config.discriminator_rate, config.betas), rate),
        }

    def regions(self, classes: Tensor) -> Tensor:
        """What all networks are told of a label map: (B, H, W) -> (B, kinds, H, W)."""
        return one_hot(checked(classes, self.config.classes, "SEAN", self.config.unknown), self.kinds)

    # Training

    def play(self, batch: Labelled, rng: Rng) -> Game:
        """SPADE's game, with the pictures themselves as examples of their style: they are to be reconstructed."""
        config, real = self.config, batch.pictures
        if real.shape[-2:] != config.size:
            height, width = real.shape[-2:]
            raise BadInput(
                f"SEAN: pictures of {width}x{height}, but the model is for {config.size[1]}x{config.size[0]}. Resize "
                f"or crop the data, or set size=[{height},{width}]."
            )
        told = self.regions(batch.classes)
        codes = self.encoder(real, told)
        self.remember(codes.detach().float(), told)
        fake = self.generator(told, codes, drawn(rng, "noise", real.device))
        with frozen(self.discriminator):
            seen_fake, seen_real = judged(self.discriminator, told, fake, real)
        losses = {"adversarial": mean_of(critic(scale[-1], real=True) for scale in seen_fake)}
        if config.feature_matching:
            inside = ([scale[:-1] for scale in seen] for seen in (seen_fake, seen_real))
            losses["feature_matching"] = config.feature_matching * feature_matching(*inside)
        if config.perceptual:
            vgg.require_weights(self.vgg, "SEAN")
            losses["perceptual"] = config.perceptual * vgg.perceptual(self.vgg, fake, real)
        yield "generator", losses

        with torch.no_grad():
            fake = self.generator(told, self.encoder(real, told), drawn(rng, "noise again", real.device))
        seen_fake, seen_real = judged(self.discriminator, told, fake, real)
        yield (
            "discriminator",
            {
                "fake": mean_of(hinge(scale[-1], real=False) for scale in seen_fake),
                "real": mean_of(hinge(scale[-1], real=True) for scale in seen_real),
            },
        )

    @torch.no_grad()
    def remember(self, codes: Tensor, told: Tensor) -> None:
        """Averages of each class's codes: over everything at first, then over the last hundred steps or so."""
        here = told.flatten(2).any(2)  # (B, kinds)
        found = here.any(0)
        self.seen += found
        share = (found / self.seen.clamp(1, 100))[:, None]
        areas = here.sum(0).clamp(min=1)[:, None]
        for average, each in ((self.code_mean, codes), (self.code_square, codes.square())):
            average += share * (each.sum(0) / areas - average)  # codes of what isn't there are 0

    def preview(self, batch: Labelled, rng: Rng) -> Tensor:
        """Label maps, the pictures as they are painted from their own codes, and as they are."""
        real, classes = batch.pictures[:6], batch.classes[:6]
        told = self.regions(classes)
        few = Rng(rng.seed, rng.numbers[:6], rng.step)
        painted = self.generator(told, self.encoder(real, told), drawn(few, "noise", real.device))
        return torch.stack([coloured(classes), painted, real], 1).flatten(0, 1)

    # Translation

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, style: Tensor | None = None, seed: int = 0) -> np.ndarray:
        """Class numbers (N, H, W) -> uint8 pictures (N, H, W, 3). Other sizes than the model's are resized to it, and
        the pictures back.

        style: codes (N or 1, kinds, code) of `style_of` or `random_style`, in which rows may be exchanged; without
            them, the classes' mean codes
        seed: of the noise, the same for all pictures
        Classes that the model doesn't know are `BadInput`.
        """
        size, device = self.config.size, next(self.parameters()).device
        classes = accepted_map(pictures, "SEAN")
        told = self.regions(nearest(classes, size).to(device))
        codes = self.remembered()[None] if style is None else style.to(device)
        if codes.shape[1:] != (self.kinds, self.config.code) or len(codes) not in (1, len(told)):
            raise BadInput(
                f"SEAN: a style {tuple(codes.shape)} doesn't fit {len(told)} label maps: it should be "
                f"(1 or {len(told)}, {self.kinds}, {self.config.code})."
            )
        one = Rng(seed, [0])
        painted = self.generator(told, codes.expand(len(told), -1, -1), drawn(one, "noise", device))
        if classes.shape[1:] != size:
            painted = F.interpolate(painted, tuple(classes.shape[1:]), mode="bilinear", antialias=True)
        return to_uint8(painted)

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray, *, classes: np.ndarray | None = None) -> Tensor:
        """uint8 (N, H, W, 3) and their class numbers (N, H, W) -> codes (N, kinds, code). Regions that a picture lacks
        get the mean of their class. Without class numbers, every region gets the code of the picture as a whole."""
        given, device = taken(pictures, system="SEAN"), self.code_mean.device
        resized = F.interpolate(given.to(device), self.config.size, mode="bilinear", antialias=True)
        if classes is None:
            whole: Tensor = self.encoder(resized, torch.ones_like(resized[:, :1]))
            return whole.expand(-1, self.kinds, -1)
        numbers = accepted_map(classes, "SEAN")
        if given.shape[-2:] != numbers.shape[1:] or len(given) != len(numbers):
            raise BadInput(f"SEAN: pictures {pictures.shape}, but label maps {classes.shape}.")
        told = self.regions(nearest(numbers, self.config.size).to(device))
        found = self.encoder(resized, told)
        return torch.where(told.flatten(2).any(2)[..., None], found, self.code_mean)

    def random_style(self, seed: int) -> Tensor:
        """Codes (1, kinds, code) by chance: normal, as those of the training data were spread."""
        self.remembered()
        spread = (self.code_square - self.code_mean.square()).clamp(min=0).sqrt()
        chance = torch.randn(self.code_mean.shape, generator=torch_rng(seed, "style"))
        return (self.code_mean + spread * chance.to(spread.device))[None].clamp(-1, 1)

    def remembered(self) -> Tensor:
        """The classes' mean codes (kinds, code)."""
        if not bool(self.seen.any()):
            raise BadInput("SEAN: this model has seen no training, so it has no codes of its own. Give a style.")
        return self.code_mean


def drawn(rng: Rng, name: str, device: torch.device) -> Noise:
    """Noise for one pass of the generator, a new plane at every call."""
    numbers = count()
    return lambda height, width: rng.normal(f"{name} {next(numbers)}", 1, height, width).to(device)


# The networks


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) and their regions (B, kinds, H, W) -> codes (B, kinds, code) in [-1, 1]: the means of a map
    at half the size; 0 for regions that aren't there."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(3, width, 3),
            nn.InstanceNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.InstanceNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
            nn.InstanceNorm2d(4 * width),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(4 * width, 8 * width, 3, 2, 1, 1),
            nn.InstanceNorm2d(8 * width),
            nn.LeakyReLU(0.2),
            nn.ReflectionPad2d(1),
            nn.Conv2d(8 * width, code, 3),
            nn.Tanh(),
        )

    def forward(self, pictures: Tensor, regions: Tensor) -> Tensor:
        found = self.layers(pictures).float()  # (B, code, H/2, W/2)
        regions = F.interpolate(regions, tuple(found.shape[-2:]))
        areas = regions.sum((2, 3)).clamp(min=1)[..., None]
        codes: Tensor = torch.einsum("bkhw,bchw->bkc", regions, found) / areas
        return codes


class RegionNorm(nn.Module):
    """The paper's SEAN block (figure 3): batch norm of x with noise, then scales and shifts that the regions' codes and
    the label map say together. Without codes, the label map says them alone."""

    def __init__(self, kinds: int, width: int, code: int, coded: bool) -> None:
        super().__init__()
        self.coded = coded
        self.noise_scale = nn.Parameter(torch.zeros(width))
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.modulation = Modulation(kinds, width)
        self.scale_blend = nn.Parameter(torch.zeros(1))  # published weights have both where there are no codes, too
        self.shift_blend = nn.Parameter(torch.zeros(1))
        if coded:
            self.projections = nn.ModuleList(nn.Linear(code, code) for _ in range(kinds))
            self.scale = nn.Conv2d(code, width, 3, padding=1)
            self.shift = nn.Conv2d(code, width, 3, padding=1)

    def forward(self, x: Tensor, regions: Tensor, codes: Tensor, noise: Noise) -> Tensor:
        scale, shift = self.modulation(regions)
        if self.coded:
            projected = torch.stack([layer(codes[:, k]).relu() for k, layer in enumerate(self.projections)], 1)
            styles = torch.einsum("bkhw,bkc->bchw", regions, projected.to(regions.dtype))  # each region its code
            by_code, shift_by_code = self.scale_blend.sigmoid(), self.shift_blend.sigmoid()
            scale = by_code * self.scale(styles) + (1 - by_code) * scale
            shift = shift_by_code * self.shift(styles) + (1 - shift_by_code) * shift
        noisy = x + noise(*x.shape[-2:]) * self.noise_scale[:, None, None]
        out: Tensor = self.norm(noisy) * (1 + scale) + shift
        return out


class ResidualBlock(nn.Module):
    """SPADE's block with region norms. The shortcut is first to draw its noise."""

    def __init__(self, kinds: int, before: int, after: int, code: int, coded: bool) -> None:
        super().__init__()
        between = min(before, after)
        self.norm1 = RegionNorm(kinds, before, code, coded)
        self.conv1 = spectral_norm(nn.Conv2d(before, between, 3, padding=1))
        self.norm2 = RegionNorm(kinds, between, code, coded)
        self.conv2 = spectral_norm(nn.Conv2d(between, after, 3, padding=1))
        self.changes = before != after
        if self.changes:
            self.shortcut_norm = RegionNorm(kinds, before, code, coded)
            self.shortcut = spectral_norm(nn.Conv2d(before, after, 1, bias=False))

    def forward(self, x: Tensor, regions: Tensor, codes: Tensor, noise: Noise) -> Tensor:
        short = self.shortcut(self.shortcut_norm(x, regions, codes, noise)) if self.changes else x
        y = self.conv1(F.leaky_relu(self.norm1(x, regions, codes, noise), 0.2))
        y = self.conv2(F.leaky_relu(self.norm2(y, regions, codes, noise), 0.2))
        out: Tensor = short + y
        return out


class Generator(nn.Module):
    """Regions (B, kinds, H, W), codes (B, kinds, code) and noise -> (B, 3, H, W) in [-1, 1]; H and W are 32 times
    `start`. The last block has no codes."""

    def __init__(self, kinds: int, width: int, start: tuple[int, int], code: int) -> None:
        super().__init__()
        widths = [16 * width, 16 * width, 16 * width, 16 * width, 8 * width, 4 * width, 2 * width, width]
        self.start = start
        self.first = nn.Conv2d(kinds, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            ResidualBlock(kinds, before, after, code, coded=number < 6)
            for number, (before, after) in enumerate(pairwise(widths))
        )
        self.head = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, regions: Tensor, codes: Tensor, noise: Noise) -> Tensor:
        x = self.first(F.interpolate(regions, self.start))
        for number, block in enumerate(self.blocks):
            if number not in (0, 2):
                x = F.interpolate(x, scale_factor=2.0)
            x = block(x, F.interpolate(regions, tuple(x.shape[-2:])), codes, noise)
        out: Tensor = self.head(F.leaky_relu(x, 0.2)).tanh()
        return out
