"""DRIT++: unpaired translation with many answers, by disentangled content and attributes (Lee et al., IJCV 2020).

A picture is a content code, in a space that a discriminator keeps from telling the domains apart, and an attribute code
of its own domain. Two pictures are translated by swapping their attributes; swapped once more, they must be themselves.
With `mode_seeking=0` it is DRIT (Lee et al., ECCV 2018).
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
from limner.errors import BadInput
from limner.losses import cross_entropy, mode_seeking
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.munit import fits, fitting
from limner.systems.translation.pictures import mirrored, taken


class DRIT(System):
    """Pictures of two domains, (B, 3, H, W) in [-1, 1]; H and W are multiples of 4. Trained on 216 x 216."""

    config: Config
    preparation = Preparation(256, crop=216)

    @dataclass(frozen=True)
    class Config:
        width: int = 64  # channels at full size
        attribute: Literal["concat", "film"] = "concat"  # how attributes enter the decoder; film: for changes of shape
        style_width: int = 8  # numbers of an attribute code
        discriminator_width: int = 64
        scales: int = 3  # sizes at which a discriminator looks; 1: the deeper one of the first release
        content_depth: int = 3  # halvings, nearly, of the content's discriminator; 3 takes contents of 54 x 54 and more

        picture: float = 10.0  # L1 of reconstructions and of cross-cycles
        kl: float = 0.01
        latent: float = 10.0
        mode_seeking: float = 1.0
        content_steps: int = 3  # of so many steps, only the last one is for all; the others train the content's judge
        learning_rate: float = 1e-4
        content_rate: float = 4e-5  # of the content's discriminator
        hold: int = 750_000  # steps at the full rate; published: 600 epochs, and 600 more in which it falls to 0
        fall: int = 750_000

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        deep = 4 * config.width
        self.a, self.b = Domain(config), Domain(config)
        self.shared_encoder = ResidualBlock(deep)
        self.shared_decoder = ResidualBlock(deep) if config.attribute == "concat" else nn.Identity()
        sizes = config.discriminator_width, config.scales
        self.judge_a, self.judge_b = Discriminator(*sizes), Discriminator(*sizes)  # of swapped attributes
        self.random_judge_a, self.random_judge_b = Discriminator(*sizes), Discriminator(*sizes)  # of random ones
        self.content_judge = ContentDiscriminator(deep, config.content_depth)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):  # biases begin as PyTorch has them
                nn.init.normal_(module.weight, 0, 0.02)
        judges = self.judge_a, self.random_judge_a, self.judge_b, self.random_judge_b
        rate = held_then_falling(config.hold, config.fall)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999), decay=1e-4)
        slow = adam(config.content_rate, betas=(0.5, 0.999), decay=1e-4)
        self.players = {
            "discriminators": Player(judges, optimiser, rate),
            "content_discriminator": Player((self.content_judge,), slow, rate, clip=5.0),
            "translator": Player((self.a, self.b, self.shared_encoder, self.shared_decoder), optimiser, rate),
        }

    def content(self, domain: Domain, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 4 * width, H / 4, W / 4)."""
        found: Tensor = self.shared_encoder(domain.content_encoder(pictures))
        return found

    def paint(self, domain: Domain, content: Tensor, attribute: Tensor) -> Tensor:
        """Content and attributes (B, style_width) -> pictures (B, 3, H, W) in [-1, 1]."""
        pictures: Tensor = domain.decoder(self.shared_decoder(content), attribute)
        return pictures

    # Training

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        """Section 3. The first half of a batch is translated; the other is what pictures with random attributes are
        compared with."""
        config = self.config
        fits(batch.a, 2, "DRIT", self.judge_a.least)
        fits(batch.b, 2, "DRIT", self.judge_a.least)
        if len(batch) % 2:
            raise BadInput(f"DRIT takes the pictures of a batch in twos, not {len(batch)}: make --batch even.")
        (a, other_a), (b, other_b) = batch.a.chunk(2), batch.b.chunk(2)

        if (rng.step + 1) % config.content_steps:
            with torch.no_grad():
                content_a, content_b = self.noisy(a, b, rng)
            yield "content_discriminator", self.told_apart(content_a, content_b)
            return

        content_a, content_b = self.noisy(a, b, rng)
        (attribute_a, prior_a), (attribute_b, prior_b) = self.attributes(a, b, rng)
        fake_a, own_a = self.paint(self.a, torch.cat([content_b, content_a]), torch.cat([attribute_a] * 2)).chunk(2)
        fake_b, own_b = self.paint(self.b, torch.cat([content_a, content_b]), torch.cat([attribute_b] * 2)).chunk(2)
        with torch.no_grad():
            codes = self.random_codes(rng, a)
            random_a, random_b = self.paint_randomly(content_a, content_b, codes)
        yield (
            "discriminators",
            {
                "domain_a": judged(self.judge_a, a, fake_a.detach()),
                "domain_b": judged(self.judge_b, b, fake_b.detach()),
                "random_a": torch.stack([judged(self.random_judge_a, other_a, fake) for fake in random_a]).sum(),
                "random_b": torch.stack([judged(self.random_judge_b, other_b, fake) for fake in random_b]).sum(),
            },
        )
        yield "content_discriminator", self.told_apart(content_a.detach(), content_b.detach())

        # All but random attributes. The contents are found again in each other's domain.
        again_b, again_a = self.noisy(fake_a, fake_b, rng, "again ")
        (found_a, _), (found_b, _) = self.attributes(fake_a, fake_b, rng, "again ")
        with frozen(self.judge_a, self.judge_b, self.content_judge):
            losses = {
                "adversarial_a": fooled(self.judge_a, fake_a),
                "adversarial_b": fooled(self.judge_b, fake_b),
                "content_a": undecided(self.content_judge(content_a)),  # eq. 1
                "content_b": undecided(self.content_judge(content_b)),
            }
        yield (
            "translator",
            losses
            | {
                "kl_a": config.kl * prior_a,
                "kl_b": config.kl * prior_b,
                "content_kl_a": config.kl * content_a.square().mean(),
                "content_kl_b": config.kl * content_b.square().mean(),
                "cycle_a": config.picture * F.l1_loss(self.paint(self.a, again_a, found_a), a),  # eq. 4
                "cycle_b": config.picture * F.l1_loss(self.paint(self.b, again_b, found_b), b),
                "reconstruction_a": config.picture * F.l1_loss(own_a, a),
                "reconstruction_b": config.picture * F.l1_loss(own_b, b),
            },
        )

        # Random attributes, which the attribute encoders don't learn from. The published program goes back through the
        # forward pass above, though its weights have changed; here it is made again with the new ones.
        content_a, content_b = self.noisy(a, b, rng)
        random_a, random_b = self.paint_randomly(content_a, content_b, codes)
        with frozen(self.random_judge_a, self.random_judge_b, self.a.attribute_encoder, self.b.attribute_encoder):
            losses = {
                "latent_a": config.latent * F.l1_loss(self.a.attribute_encoder(random_a[0])[0], codes[0]),
                "latent_b": config.latent * F.l1_loss(self.b.attribute_encoder(random_b[0])[0], codes[0]),
                "random_a": torch.stack([fooled(self.random_judge_a, fake) for fake in random_a]).sum(),
                "random_b": torch.stack([fooled(self.random_judge_b, fake) for fake in random_b]).sum(),
            }
        if config.mode_seeking:
            losses["mode_seeking_a"] = config.mode_seeking * mode_seeking(*random_a, *codes)
            losses["mode_seeking_b"] = config.mode_seeking * mode_seeking(*random_b, *codes)
        yield "translator", losses

    def noisy(self, a: Tensor, b: Tensor, rng: Rng, name: str = "") -> tuple[Tensor, Tensor]:
        """Contents with noise, which training adds to them."""
        contents = []
        for domain, pictures, side in ((self.a, a, "a"), (self.b, b, "b")):
            content = self.content(domain, pictures)
            contents.append(content + half(rng.normal(f"content {name}{side}", *content.shape[1:]), pictures))
        return contents[0], contents[1]

    def attributes(
        self, a: Tensor, b: Tensor, rng: Rng, name: str = ""
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Attributes of both domains (B, style_width), and how far they are from the prior: the KL divergence where
        they have a distribution, their mean square where they haven't."""
        found = []
        for domain, pictures, side in ((self.a, a, "a"), (self.b, b, "b")):
            mean, log_variance = domain.attribute_encoder(pictures)
            if log_variance is None:
                found.append((mean, mean.square().mean()))
            else:
                noise = half(rng.normal(f"attribute {name}{side}", mean.shape[1]), pictures)
                divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
                found.append((mean + noise * (0.5 * log_variance).exp(), divergence))
        return found[0], found[1]

    def random_codes(self, rng: Rng, like: Tensor) -> list[Tensor]:
        """The random attributes of a step, common to both domains; mode seeking compares two."""
        names = ["random", "random, the other"] if self.config.mode_seeking else ["random"]
        return [half(rng.normal(name, self.config.style_width), like) for name in names]

    def paint_randomly(
        self, content_a: Tensor, content_b: Tensor, codes: list[Tensor]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """For each of the codes, translations to a and to b."""
        count, stacked = len(codes), torch.cat(codes)
        random_a = self.paint(self.a, torch.cat([content_b] * count), stacked).chunk(count)
        random_b = self.paint(self.b, torch.cat([content_a] * count), stacked).chunk(count)
        return random_a, random_b

    def told_apart(self, content_a: Tensor, content_b: Tensor) -> dict[str, Tensor]:
        """The loss of the content's discriminator: b is real, a is not."""
        height, width = content_a.shape[-2:]
        if min(height, width) < (least := self.content_judge.least):
            raise BadInput(
                f"DRIT: the content's discriminator wants pictures of at least {4 * least} pixels a side, not "
                f"{4 * width}x{4 * height}. Take larger crops, or set content_depth lower."
            )
        return {
            "domain_a": cross_entropy(self.content_judge(content_a), False),
            "domain_b": cross_entropy(self.content_judge(content_b), True),
        }

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """By rows: a picture, itself decoded again, and two translations; from a to b, then from b to a."""
        rows = []
        for here, there, pictures in ((self.a, self.b, batch.a[:4]), (self.b, self.a, batch.b[:4])):
            content, (own, _) = self.content(here, pictures), here.attribute_encoder(pictures)
            codes = [rng.normal(f"preview {i}", self.config.style_width)[:4].to(pictures.device) for i in range(2)]
            translated = [self.paint(there, content, code) for code in codes]
            rows.append(torch.stack([pictures, self.paint(here, content, own), *translated], 1))
        return torch.cat(rows).flatten(0, 1)

    # Abilities

    @torch.inference_mode()
    def translate(
        self, pictures: np.ndarray, *, seed: int = 0, style: Tensor | None = None, backwards: bool = False
    ) -> np.ndarray:
        """Pictures of the first domain in the second (or `backwards`), with attributes (N or 1, style_width), or with
        some that the seed draws."""
        here, there = (self.b, self.a) if backwards else (self.a, self.b)
        given, (height, width) = self.whole(pictures), pictures.shape[1:3]
        styles = fitting(self.random_style(seed) if style is None else style, len(given), self.config.style_width)
        made = [
            self.paint(there, self.content(here, one), code)
            for one, code in zip(given.split(1), styles.to(given.device).split(1), strict=True)
        ]
        return to_uint8(torch.cat(made)[..., :height, :width])

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray, *, seed: int | None = None, backwards: bool = False) -> Tensor:
        """Attributes (N, style_width) of pictures of the second domain, for `translate`; with `backwards` of the first.

        They are the means of what the encoder finds. A seed draws them from its distribution, as the published test
        does; `film` has none.
        """
        domain = self.a if backwards else self.b
        codes = []
        for one in self.whole(pictures).split(1):
            mean, log_variance = domain.attribute_encoder(one)
            if seed is not None and log_variance is not None:
                noise = torch.randn(mean.shape, generator=torch_rng(seed, "attribute")).to(mean.device)
                mean = mean + noise * (0.5 * log_variance).exp()
            codes.append(mean)
        return torch.cat(codes)

    def random_style(self, seed: int) -> Tensor:
        """(1, style_width), normal: both domains' prior."""
        return torch.randn(1, self.config.style_width, generator=torch_rng(seed, "style"))

    def whole(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> (N, 3, H', W') in [-1, 1] on the model's device, mirrored to multiples of 4."""
        given = mirrored(taken(pictures, system="DRIT"), 4)
        fits(given, 2, "DRIT")
        return given.to(next(self.parameters()).device)


# The objectives


def half(drawn: Tensor, like: Tensor) -> Tensor:
    """Of draws for a batch, those of the half that is translated."""
    return drawn[: len(like)].to(like.device)


def judged(network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """A discriminator's loss, summed over its scales."""
    told = [cross_entropy(scores, False) for scores in network(fake)]
    told += [cross_entropy(scores, True) for scores in network(real)]
    return torch.stack(told).sum()


def fooled(network: nn.Module, fake: Tensor) -> Tensor:
    """The generator's adversarial loss, summed over the discriminator's scales."""
    return torch.stack([cross_entropy(scores, True) for scores in network(fake)]).sum()


def undecided(scores: Tensor) -> Tensor:
    """Cross-entropy to one half: least where the discriminator can't tell the domains apart."""
    return (cross_entropy(scores, True) + cross_entropy(scores, False)) / 2


# The networks (the supplement's tables). Padding is by reflection; leaky slopes are 0.01 but in the attribute encoder.


class Domain(nn.Module):
    """What a domain has for its own: the encoders and the decoder, but for the blocks that both share."""

    def __init__(self, config: DRIT.Config) -> None:
        super().__init__()
        width, style_width = config.width, config.style_width
        self.content_encoder = nn.Sequential(
            Convolution(3, width, 7),
            Convolution(width, 2 * width, 3, 2, norm=True),
            Convolution(2 * width, 4 * width, 3, 2, norm=True),
            *(ResidualBlock(4 * width) for _ in range(3)),
        )
        self.attribute_encoder: ConcatEncoder | FilmEncoder
        self.decoder: ConcatDecoder | FilmDecoder
        if config.attribute == "concat":
            self.attribute_encoder, self.decoder = ConcatEncoder(width, style_width), ConcatDecoder(width, style_width)
        else:
            self.attribute_encoder, self.decoder = FilmEncoder(width, style_width), FilmDecoder(width, style_width)


def reflecting(before: int, after: int, kernel: int, stride: int = 1, padding: int | None = None) -> nn.Conv2d:
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(before, after, kernel, stride, padding, padding_mode="reflect")


class Convolution(nn.Module):
    """A convolution; instance norm and ReLU, or a leaky ReLU alone."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, norm: bool = False) -> None:
        super().__init__()
        self.conv = reflecting(before, after, kernel, stride)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return F.instance_norm(y).relu() if self.norm else F.leaky_relu(y, 0.01)


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = reflecting(width, width, 3), reflecting(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.instance_norm(self.conv2(F.instance_norm(self.conv1(x)).relu()))


class ConcatEncoder(nn.Module):
    """(B, 3, H, W) -> mean and logarithm of the variance of the attributes, each (B, style_width)."""

    def __init__(self, width: int, style_width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 3 * width, 4 * width]
        self.stem = reflecting(3, width, 4, 2, 1)
        self.blocks = nn.ModuleList(PoolingBlock(before, after) for before, after in pairwise(widths))
        self.mean = nn.Linear(widths[-1], style_width)
        self.log_variance = nn.Linear(widths[-1], style_width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(x, 0.2).mean((2, 3))
        return self.mean(x), self.log_variance(x)


class PoolingBlock(nn.Module):
    """A residual block without norms that halves the size."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = reflecting(before, before, 3), reflecting(before, after, 3)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.leaky_relu(x, 0.2))
        y = F.avg_pool2d(self.conv2(F.leaky_relu(y, 0.2)), 2)
        out: Tensor = y + self.shortcut(F.avg_pool2d(x, 2))
        return out


class FilmEncoder(nn.Module):
    """(B, 3, H, W) -> attributes (B, style_width), and None: they have no distribution."""

    def __init__(self, width: int, style_width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
        downs = [reflecting(before, after, 4, 2, 1) for before, after in pairwise(widths)]
        self.layers = nn.ModuleList([reflecting(3, width, 7), *downs])
        self.head = nn.Conv2d(widths[-1], style_width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x.mean((2, 3), keepdim=True)).flatten(1), None


class ConcatDecoder(nn.Module):
    """Content (B, 4 * width, h, w) and attributes (B, style_width) -> pictures (B, 3, 4 * h, 4 * w) in [-1, 1]. The
    attributes stand beside the features, everywhere the same, and are given anew to each part."""

    def __init__(self, width: int, style_width: int) -> None:
        super().__init__()
        deep = 4 * width + style_width
        first = deep + style_width
        second = first // 2 + style_width
        self.blocks = nn.Sequential(*(ResidualBlock(deep) for _ in range(3)))
        self.ups = nn.ModuleList([Doubling(first, first // 2), Doubling(second, second // 2)])
        self.head = nn.ConvTranspose2d(second // 2 + style_width, 3, 1)

    def forward(self, x: Tensor, attribute: Tensor) -> Tensor:
        x = self.blocks(beside(x, attribute))
        for up in self.ups:
            x = up(beside(x, attribute))
        out: Tensor = self.head(beside(x, attribute)).tanh()
        return out


class FilmDecoder(nn.Module):
    """The same, but the attributes become four codes of 4 * width numbers, one for each of four blocks."""

    def __init__(self, width: int, style_width: int) -> None:
        super().__init__()
        deep = 4 * width
        self.mlp = nn.Sequential(
            nn.Linear(style_width, deep), nn.ReLU(), nn.Linear(deep, deep), nn.ReLU(), nn.Linear(deep, 4 * deep)
        )
        self.blocks = nn.ModuleList(MixingBlock(deep) for _ in range(4))
        self.ups = nn.ModuleList([Doubling(deep, deep // 2), Doubling(deep // 2, deep // 4)])
        self.head = nn.ConvTranspose2d(deep // 4, 3, 1)

    def forward(self, x: Tensor, attribute: Tensor) -> Tensor:
        for block, code in zip(self.blocks, self.mlp(attribute).chunk(4, 1), strict=True):
            x = block(x, code)
        for up in self.ups:
            x = up(x)
        out: Tensor = self.head(x).tanh()
        return out


class MixingBlock(nn.Module):
    """A residual block into which a code (B, width) is mixed after each of its convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = reflecting(width, width, 3), reflecting(width, width, 3)
        self.mix1, self.mix2 = mixer(width), mixer(width)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = self.mix1(beside(F.instance_norm(self.conv1(x)), code))
        out: Tensor = x + self.mix2(beside(F.instance_norm(self.conv2(y)), code))
        return out


def mixer(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2 * width, 2 * width, 1), nn.ReLU(), nn.Conv2d(2 * width, width, 1), nn.ReLU())


def beside(x: Tensor, code: Tensor) -> Tensor:
    """Features (B, C, h, w) and a code (B, D), which is the same in every cell -> (B, C + D, h, w)."""
    return torch.cat([x, code[..., None, None].expand(-1, -1, *x.shape[-2:])], 1)


class Doubling(nn.Module):
    """Twice the size, layer norm, ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(before, after, 3, 2, 1, 1)
        self.norm = LayerNorm(after)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out.relu()


class LayerNorm(nn.Module):
    """Normalises a whole sample (B, C, H, W), with a scale and a shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels, 1, 1)), nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:]) * self.weight + self.bias


class PatchDiscriminator(nn.Module):
    """(B, 3, H, W) -> scores (B, 1, h, w). No norms: the published program asks for them and never gets them."""

    def __init__(self, width: int, depth: int, kernel: int) -> None:
        super().__init__()
        widths = [3, *(width * 2**i for i in range(depth))]
        layers = [reflecting(before, after, kernel, 2, 1) for before, after in pairwise(widths)]
        self.layers = nn.ModuleList([*layers, nn.Conv2d(widths[-1], 1, 1)])

    def forward(self, x: Tensor) -> Tensor:
        return scored(self.layers, x)


class Discriminator(nn.Module):
    """Scores of pictures (B, 3, H, W) at several scales, full size first. A single one is deeper, of small kernels."""

    def __init__(self, width: int, scales: int) -> None:
        super().__init__()
        depth, kernel = (4, 4) if scales > 1 else (6, 3)
        self.scales = nn.ModuleList(PatchDiscriminator(width, depth, kernel) for _ in range(scales))
        self.least = 2 ** (depth + scales - 1)  # pixels a side: the last padding mirrors two rows

    def forward(self, x: Tensor) -> list[Tensor]:
        scores = []
        for scale in self.scales:
            scores.append(scale(x))
            x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
        return scores


class ContentDiscriminator(nn.Module):
    """Contents (B, width, h, w), both sides at least `least` -> scores (B, 1, h', w')."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        halvings = [reflecting(width, width, 7, 2, 1) for _ in range(depth)]
        self.layers = nn.ModuleList([*halvings, nn.Conv2d(width, width, 4), nn.Conv2d(width, 1, 1)])
        self.least = 4
        for _ in range(depth):
            self.least = 2 * (self.least - 1) + 5

    def forward(self, x: Tensor) -> Tensor:
        return scored(self.layers, x)


def scored(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Through all layers, with leaky ReLUs between them."""
    *hidden, last = layers
    for layer in hidden:
        x = F.leaky_relu(layer(x), 0.01)
    out: Tensor = last(x)
    return out
