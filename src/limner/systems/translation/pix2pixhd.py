"""pix2pixHD: large photographs from label maps, coarse to fine (Wang et al., CVPR 2018).

A global generator paints the whole scene; local enhancers around it add a level of detail each, at twice the size.
Borders between instances are an input of their own, discriminators judge several scales, and what they see inside is
matched. With the instance-wise encoder the look of every single thing can be chosen: by an example, or by chance
from the looks that its class had in the training data.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Labelled
from limner.data.prepare import Preparation
from limner.errors import BadInput, CannotDo
from limner.losses import feature_matching, least_squares
from limner.nn import vgg
from limner.nn.label_maps import accepted_map, checked, coloured, edges, one_hot, told_apart
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.pictures import taken


class Pix2PixHD(System):
    """Label maps (B, H, W) -> pictures (B, 3, H, W) in [-1, 1]; H and W multiples of `multiple`, at least two of it."""

    preparation = Preparation(resize=1024, fit="width", crop=None)
    config: Config
    centres: Tensor
    known: Tensor

    @dataclass(frozen=True)
    class Config:
        classes: int = 35  # Cityscapes'
        unknown: bool = False  # whether the maps have pixels of no class (255); one channel more
        edges: bool = True  # whether the borders between instances are an input
        features: int = 0  # channels of the instance-wise encoder; published: 3, or none
        clusters: int = 10  # looks that are kept for each class, of those that the encoder finds
        width: int = 64  # channels of the global generator at its full size; each enhancer has half the one below it
        downsamplings: int = 4
        blocks: int = 9  # residual blocks of the global generator
        enhancers: int = 0  # 1 for 2048 x 1024
        enhancer_blocks: int = 3
        enhancers_alone: int = 0  # steps in which the global generator stays as it is, once there are enhancers
        encoder_width: int = 16
        encoder_downsamplings: int = 4
        discriminator_width: int = 64
        discriminator_layers: int = 3
        scales: int = 2  # discriminators; 3 for 2048 x 1024
        feature_matching: float = 10.0
        perceptual: float = 0.0  # published: 10, with VGG-19's weights
        learning_rate: float = 2e-4
        hold: int = 297_500  # steps at the full rate: 100 epochs of Cityscapes, picture by picture
        fall: int = 297_500  # steps in which it then falls to 0

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.kinds = config.classes + config.unknown
        channels = self.kinds + config.edges
        encoded = config.encoder_downsamplings if config.features else 0
        self.multiple = 2 ** max(config.downsamplings + config.enhancers, encoded)
        self.generator = Generator(
            channels + config.features,
            config.width,
            config.downsamplings,
            config.blocks,
            config.enhancers,
            config.enhancer_blocks,
        )
        self.discriminator = MultiscaleDiscriminator(
            channels + 3, config.discriminator_width, config.discriminator_layers, config.scales
        )
        painters: list[nn.Module] = [self.generator]
        if config.features:
            self.encoder = Encoder(config.features, config.encoder_width, config.encoder_downsamplings)
            painters.append(self.encoder)
            self.register_buffer("centres", torch.zeros(self.kinds, config.clusters, config.features))
            self.register_buffer("known", torch.zeros(self.kinds, dtype=torch.int64))  # centres of each class
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):  # biases stay as torch draws them
                nn.init.normal_(layer.weight, 0, 0.02)
        if config.perceptual:
            self.vgg = vgg.waiting()
        optimiser, rate = adam(config.learning_rate, (0.5, 0.999)), held_then_falling(config.hold, config.fall)
        self.players = {
            "generator": Player(tuple(painters), optimiser, rate),
            "discriminator": Player((self.discriminator,), optimiser, rate),
        }

    def begin_from(self, smaller: Pix2PixHD) -> None:
        """Take over the generator and the encoder that were trained at half the size (section 3.2). The smaller system
        has the same options but for its enhancers, which are fewer."""
        mine, theirs = self.state_dict(), smaller.state_dict()
        taken = {
            n: w for n, w in theirs.items() if n.startswith(("generator.coarse.", "generator.enhancers.", "encoder."))
        }
        if any(name not in mine or mine[name].shape != value.shape for name, value in taken.items()):
            raise BadInput("pix2pixHD: the smaller system must have this one's options, but for fewer enhancers.")
        self.load_state_dict(mine | taken)

    # Conditions

    def checked(self, classes: Tensor) -> Tensor:
        return checked(classes, self.config.classes, "pix2pixHD", self.config.unknown)

    def conditions(self, classes: Tensor, instances: Tensor) -> Tensor:
        """What discriminators are told of a label map: (B, H, W) twice -> (B, kinds + edges, H, W)."""
        maps = one_hot(classes, self.kinds)
        return torch.cat([maps, edges(told_apart(classes, instances))], 1) if self.config.edges else maps

    def with_looks(self, told: Tensor, pictures: Tensor, classes: Tensor, instances: Tensor) -> Tensor:
        """What generators are told: the conditions and, with an encoder, how every thing looks in the pictures."""
        if not self.config.features:
            return told
        return torch.cat([told, averaged(self.encoder(pictures), things(classes, instances))], 1)

    # Training

    def play(self, batch: Labelled, rng: Rng) -> Game:
        """Both players' losses come from one forward pass; the generator steps first (eq. 5, and the program)."""
        config, real = self.config, batch.pictures
        self.check_size(real)
        classes, instances = self.checked(batch.classes), batch.instances
        told = self.conditions(classes, instances)
        alone = config.enhancers and rng.step < config.enhancers_alone
        with frozen(self.generator.coarse) if alone else nullcontext():
            fake = self.generator(self.with_looks(told, real, classes, instances))
        seen_real = self.discriminator(torch.cat([told, real], 1))
        with frozen(self.discriminator):
            seen_fake = self.discriminator(torch.cat([told, fake], 1))
        losses = {"adversarial": sum_of(least_squares(scale[-1], real=True) for scale in seen_fake)}
        if config.feature_matching:
            # The factor is the program's alone, and 1 for the published three layers.
            weight = config.feature_matching * 4 / (config.discriminator_layers + 1)
            inside = ([scale[:-1] for scale in seen] for seen in (seen_fake, seen_real))
            losses["feature_matching"] = weight * feature_matching(*inside)
        if config.perceptual:
            vgg.require_weights(self.vgg, "pix2pixHD")
            losses["perceptual"] = config.perceptual * vgg.perceptual(self.vgg, fake, real)
        yield "generator", losses
        seen_fake = self.discriminator(torch.cat([told, fake.detach()], 1))
        yield (
            "discriminator",
            {
                "fake": sum_of(least_squares(scale[-1], real=False) for scale in seen_fake) / 2,
                "real": sum_of(least_squares(scale[-1], real=True) for scale in seen_real) / 2,
            },
        )

    def check_size(self, pictures: Tensor) -> None:
        height, width = pictures.shape[-2:]
        least = 2 * self.multiple
        if height % self.multiple or width % self.multiple or min(height, width) < least:
            raise BadInput(
                f"pix2pixHD: pictures of {width}x{height}, but these options want sides that are multiples of "
                f"{self.multiple}, at least {least}. Resize or crop the data, or set downsamplings lower."
            )

    def preview(self, batch: Labelled, rng: Rng) -> Tensor:
        """Label maps, what is painted, and the true pictures."""
        real, instances = batch.pictures[:6], batch.instances[:6]
        classes = self.checked(batch.classes[:6])
        painted = self.generator(self.with_looks(self.conditions(classes, instances), real, classes, instances))
        return torch.stack([coloured(classes), painted, real], 1).flatten(0, 1)

    def conclude(self, batches: Iterable[Labelled]) -> None:
        if self.config.features:
            self.learn_looks(batches)

    @torch.inference_mode()
    def learn_looks(self, batches: Iterable[Labelled], seed: int = 0) -> None:
        """Cluster what the encoder finds in the training data, class by class, for `translate` to choose from (section
        3.4). Training ends with it; the centres are part of the model. Things on less than a 64th of their picture
        don't count, as published."""
        self.require_encoder()
        found: list[list[Tensor]] = [[] for _ in range(self.kinds)]
        for batch in batches:
            batch = batch.to(self.centres.device)
            classes = self.checked(batch.classes)
            apart = things(classes, batch.instances)
            looks = averaged(self.encoder(batch.pictures), apart)
            for numbers, kinds, look in zip(apart, classes, looks, strict=True):
                for number, area in zip(*(x.tolist() for x in numbers.unique(return_counts=True)), strict=True):
                    if 32 * area > numbers.numel() / 2:
                        y, x = (numbers == number).nonzero()[0]
                        found[int(kinds[y, x])].append(look[:, y, x].cpu())
        for kind, each in enumerate(found):
            centres = k_means(torch.stack(each), self.config.clusters, seed) if each else torch.zeros(0)
            self.known[kind] = len(centres)
            self.centres[kind] = 0
            self.centres[kind, : len(centres)] = centres.to(self.centres)

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
        """Class numbers (N, H, W) of any size -> uint8 pictures (N, H, W, 3).

        instances: instance numbers (N, H, W), 0 for what isn't countable; without them every class is one instance
        style: looks, from `style_of` or `random_style`; without one, every thing gets a look of its class by chance,
            or none (0) before `learn_looks`
        seed: of that chance
        Classes that the model doesn't know are `BadInput`.
        """
        device = next(self.parameters()).device
        classes = self.checked(accepted_map(pictures, "pix2pixHD").to(device))
        given = torch.zeros_like(classes) if instances is None else accepted_map(instances, "pix2pixHD").to(device)
        if given.shape != classes.shape:
            raise BadInput(f"pix2pixHD: classes {tuple(classes.shape)}, but instances {tuple(given.shape)}.")
        told = self.conditions(classes, given)
        if self.config.features:
            apart = things(classes, given)
            looks = self.drawn(classes, apart, seed) if style is None else self.laid(style.to(device), classes, apart)
            told = torch.cat([told, looks], 1)
        elif style is not None:
            self.require_encoder()
        height, width = classes.shape[-2:]
        return to_uint8(self.generator(self.padded(told))[..., :height, :width])

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> looks (N, features, H, W), which `translate` averages over each thing."""
        self.require_encoder()
        given = taken(pictures, system="pix2pixHD").to(self.centres.device)
        height, width = given.shape[-2:]
        found: Tensor = self.encoder(self.padded(given))
        return found[..., :height, :width]

    def random_style(self, seed: int) -> Tensor:
        """One look for each class, (1, kinds, features), by chance from the learned ones."""
        self.require_encoder()
        if not bool(self.known.any()):
            raise BadInput(
                "pix2pixHD: no looks to choose from yet. They are learned when limner train ends; or call learn_looks "
                "on the training data."
            )
        chance = torch.rand(self.kinds, generator=torch_rng(seed, "looks"), dtype=torch.float64)
        chosen = (chance.to(self.known.device) * self.known).long()  # 0, an empty one, for classes without
        return self.centres[torch.arange(self.kinds), chosen][None]

    def drawn(self, classes: Tensor, apart: Tensor, seed: int) -> Tensor:
        """A look by chance for everything in (B, H, W): (B, features, H, W). Classes without any get zeros."""
        looks = self.centres.new_zeros(*classes.shape, self.config.features)
        for row, (kinds, numbers) in enumerate(zip(classes, apart, strict=True)):
            generator = torch_rng(seed, "looks")
            for number in numbers.unique():
                here = numbers == number
                kind = kinds[here][0]
                chosen = int(torch.rand((), generator=generator, dtype=torch.float64) * self.known[kind])
                looks[row][here] = self.centres[kind, chosen]
        return looks.movedim(-1, 1)

    def laid(self, style: Tensor, classes: Tensor, apart: Tensor) -> Tensor:
        """A given style, of either kind, over (B, H, W): (B, features, H, W)."""
        count, features = len(classes), self.config.features
        if style.shape[1:] == (self.kinds, features) and len(style) in (1, count):
            return style.expand(count, -1, -1)[torch.arange(count)[:, None, None], classes].movedim(-1, 1)
        if style.ndim == 4 and style.shape[1] == features and len(style) in (1, count):
            style = F.interpolate(style, tuple(classes.shape[1:]), mode="bilinear")
            return averaged(style.expand(count, -1, -1, -1), apart)
        raise BadInput(
            f"pix2pixHD: a style {tuple(style.shape)} doesn't fit {count} label maps. Take one, or {count}, from this "
            "model's style_of or random_style."
        )

    def padded(self, x: Tensor) -> Tensor:
        """(B, C, H, W) of any size -> sides that the networks take; the last row and column repeat."""
        height, width = (max(2 * self.multiple, side + -side % self.multiple) - side for side in x.shape[-2:])
        return F.pad(x, (0, width, 0, height), mode="replicate")

    def require_encoder(self) -> None:
        if not self.config.features:
            raise CannotDo("pix2pixHD: this model has no encoder of looks. Train one with features=3.")


# The generator


def stem(channels: int, width: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7), nn.InstanceNorm2d(width), nn.ReLU(inplace=True)]


def halving(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, 2, 1), nn.InstanceNorm2d(after), nn.ReLU(inplace=True)]


def doubling(before: int, after: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), nn.InstanceNorm2d(after), nn.ReLU(inplace=True)]


def last(width: int, channels: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh()]


def halved(x: Tensor) -> Tensor:
    """(B, C, H, W) -> half the size, as generators and discriminators see coarser scales; padding isn't counted."""
    return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class Enhancer(nn.Module):
    """One finer level around a coarser painting, which joins it at half this level's size (figure 2)."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(*stem(channels, width), *halving(width, 2 * width))
        self.up = nn.Sequential(*(ResidualBlock(2 * width) for _ in range(blocks)), *doubling(2 * width, width))

    def forward(self, x: Tensor, coarser: Tensor) -> Tensor:
        """(B, channels, H, W) and (B, 2 width, H / 2, W / 2) -> (B, width, H, W)."""
        out: Tensor = self.up(self.down(x) + coarser)
        return out


class Generator(nn.Module):
    """(B, channels, H, W) -> (B, 3, H, W) in [-1, 1]: the global generator and the enhancers around it."""

    def __init__(
        self, channels: int, width: int, downsamplings: int, blocks: int, enhancers: int, enhancer_blocks: int
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(downsamplings + 1)]
        self.coarse = nn.Sequential(*stem(channels, width))
        for before, after in pairwise(widths):
            self.coarse.extend(halving(before, after))
        self.coarse.extend(ResidualBlock(widths[-1]) for _ in range(blocks))
        for before, after in pairwise(reversed(widths)):
            self.coarse.extend(doubling(before, after))
        self.enhancers = nn.ModuleList(
            Enhancer(channels, width // 2**level, enhancer_blocks) for level in range(1, enhancers + 1)
        )
        self.head = nn.Sequential(*last(width // 2**enhancers, 3))

    def forward(self, x: Tensor) -> Tensor:
        pyramid = self.pyramid(x)
        y = self.coarse(pyramid[-1])
        for enhancer, level in zip(self.enhancers, reversed(pyramid[:-1]), strict=True):
            y = enhancer(level, y)
        out: Tensor = self.head(y)
        return out

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """What each level is given, the finest first."""
        levels = [x]
        for _ in self.enhancers:
            levels.append(halved(levels[-1]))
        return levels


# The looks of things


class Encoder(nn.Sequential):
    """Pictures (B, 3, H, W) -> features (B, features, H, W) in [-1, 1], not yet averaged."""

    def __init__(self, features: int, width: int, downsamplings: int) -> None:
        widths = [width * 2**level for level in range(downsamplings + 1)]
        layers = stem(3, width)
        for before, after in pairwise(widths):
            layers += halving(before, after)
        for before, after in pairwise(reversed(widths)):
            layers += doubling(before, after)
        super().__init__(*layers, *last(width, features))


def things(classes: Tensor, instances: Tensor) -> Tensor:
    """A number for everything that has a look of its own: instances, and what else has a class of its own. Cityscapes'
    instance maps are numbered so already; others are 0 wherever nothing is countable."""
    return (instances << 16) + classes


def averaged(features: Tensor, apart: Tensor) -> Tensor:
    """Every pixel gets the mean over its thing: (B, F, H, W), numbers (B, H, W) -> (B, F, H, W), float32."""
    numbers, places = torch.unique(apart, return_inverse=True)
    places = (places + len(numbers) * torch.arange(len(apart), device=apart.device)[:, None, None]).flatten()
    flat = features.float().movedim(1, -1).flatten(0, 2)  # (BHW, F)
    sums = flat.new_zeros(len(apart) * len(numbers), flat.shape[1]).index_add(0, places, flat)
    areas = places.bincount(minlength=len(sums)).clamp(min=1)[:, None]
    means: Tensor = (sums / areas)[places]
    return means.view(*apart.shape, -1).movedim(-1, 1)


def k_means(points: Tensor, count: int, seed: int) -> Tensor:
    """At most `count` centres of points (n, F), by Lloyd's algorithm from k-means++'s choice (Arthur and Vassilvitskii,
    2007). Fewer where there are fewer different points; the published program fails there."""
    generator = torch_rng(seed, "k-means")
    centres = points[:1]
    for _ in range(min(count, len(torch.unique(points, dim=0))) - 1):
        away = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").amin(1).square()
        centres = torch.cat([centres, points[away.multinomial(1, generator=generator)]])
    for _ in range(100):
        nearest = torch.cdist(points, centres).argmin(1)
        moved = torch.stack(
            [points[nearest == k].mean(0) if (nearest == k).any() else c for k, c in enumerate(centres)]
        )
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


# The discriminators


class PatchDiscriminator(nn.ModuleList):
    """(B, channels, H, W) -> what every layer gives; the last are the scores, one for each patch of 70 x 70. Padded by
    2, it also judges patches that reach over the border."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        widths = [min(width * 2**layer, 512) for layer in range(layers + 1)]
        super().__init__([nn.Sequential(nn.Conv2d(channels, width, 4, 2, 2), nn.LeakyReLU(0.2, inplace=True))])
        for layer, (before, after) in enumerate(pairwise(widths), 1):
            conv = nn.Conv2d(before, after, 4, 2 if layer < layers else 1, 2)
            self.append(nn.Sequential(conv, nn.InstanceNorm2d(after), nn.LeakyReLU(0.2, inplace=True)))
        self.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2)))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self:
            x = layer(x)
            found.append(x)
        return found


class MultiscaleDiscriminator(nn.ModuleList):
    """The same discriminator, with weights of its own, for each scale (section 3.2). The first sees full resolution."""

    def __init__(self, channels: int, width: int, layers: int, scales: int) -> None:
        super().__init__(PatchDiscriminator(channels, width, layers) for _ in range(scales))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        found = []
        for scale, discriminator in enumerate(self):
            x = halved(x) if scale else x
            found.append(discriminator(x))
        return found


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
