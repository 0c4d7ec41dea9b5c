"""UNIT for digits: a classifier learned in one domain reads another one (Liu, Breuel and Kautz, NIPS 2017, section 5).

House numbers (SVHN) have labels, handwritten digits (MNIST) have none. Two variational autoencoders that share their
deepest layers translate between them; the discriminators share theirs, too, and on top of these sits the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Transferred
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adam, frozen, to_uint8
from limner.systems.translation.pictures import taken

SIDE = 32  # pixels; the networks end in kernels of just the size that is left


class DigitUNIT(System):
    """Pictures of two domains, (B, 3, 32, 32) in [-1, 1], and classes of the first."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        channels: tuple[int, int] = (3, 1)  # of the domains' pictures: 1 works on the mean of red, green and blue
        classes: int = 10
        width: int = 32  # channels of the autoencoders' first layer
        discriminator_width: int = 64

        adversarial: float = 1.0  # the weights are not the published program's, which the paper doesn't print
        picture: float = 1.0
        kl: float = 1.0
        classification: float = 1.0
        features: float = 1.0
        learning_rate: float = 2e-4

        def __post_init__(self) -> None:
            if not set(self.channels) <= {1, 3}:
                raise BadInput(f"channels={self.channels}: each is 1 or 3.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = CoupledAutoencoder(config.width, config.channels)
        self.discriminator = CoupledDiscriminator(config.discriminator_width, config.channels, config.classes)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999), decay=5e-4)
        self.players = {
            "discriminator": Player((self.discriminator,), optimiser),
            "generator": Player((self.generator,), optimiser),
        }

    def play(self, batch: Transferred, rng: Rng) -> Game:
        """The discriminator learns what is real, what the first domain's pictures show, and to see the same in a
        picture and in its translation; the generator, to reconstruct and to be taken for real."""
        config = self.config
        a, b = self.given(batch.a, 0), self.given(batch.b, 1)
        with torch.no_grad():
            mean, spread = self.generator.encode(a, b)
            (own_a, fake_a), (fake_b, _) = self.generator.decode(self.latent(mean, spread, rng, "to judge"))
        real = self.discriminator(a, b)
        fake = self.discriminator(fake_a, fake_b)
        seen, translated = self.discriminator.see(own_a, 0), self.discriminator.see(fake_b, 1)
        yield (
            "discriminator",
            {
                "real": config.adversarial * called(real, True),
                "fake": config.adversarial * called(fake, False),
                "classification": config.classification
                * F.cross_entropy(self.discriminator.classify(self.discriminator.see(a, 0)), batch.classes),
                "features": config.features * F.mse_loss(seen, translated),
            },
        )

        mean, spread = self.generator.encode(a, b)
        (own_a, fake_a), (fake_b, own_b) = self.generator.decode(self.latent(mean, spread, rng, "to make"))
        with frozen(self.discriminator):
            scores = self.discriminator(fake_a, fake_b)
        divergence = mean.square() + spread.square() - 2 * spread.log()
        yield (
            "generator",
            {
                "adversarial": config.adversarial * called(scores, True),
                "reconstruction_a": config.picture * summed((own_a - a).square()),
                "reconstruction_b": config.picture * summed((own_b - b).square()),
                "kl": config.kl * summed(divergence),
            },
        )

    def latent(self, mean: Tensor, spread: Tensor, rng: Rng, name: str) -> Tensor:
        """A draw from the posteriors (2 B, C, 1, 1), those of the first domain first."""
        noise = torch.cat([rng.normal(f"{name} {side}", *mean.shape[1:]) for side in "ab"])
        return mean + spread * noise.to(mean.device)

    def given(self, pictures: Tensor, domain: int) -> Tensor:
        """(B, 3, 32, 32) with the channels of a domain. Other sizes are `BadInput`."""
        if pictures.shape[-2:] != (SIDE, SIDE):
            height, width = pictures.shape[-2:]
            raise BadInput(f"UNIT for digits wants pictures of {SIDE}x{SIDE}, not {width}x{height}: resize them.")
        return pictures if self.config.channels[domain] == 3 else pictures.mean(1, keepdim=True)

    def preview(self, batch: Transferred, rng: Rng) -> Tensor:
        """By rows: a picture, itself decoded again, and its translation; of the first domain, then of the second."""
        a, b = self.given(batch.a[:6], 0), self.given(batch.b[:6], 1)
        mean, _ = self.generator.encode(a, b)
        (own_a, fake_a), (fake_b, own_b) = self.generator.decode(mean)
        rows = [(a, own_a, fake_b), (b, own_b, fake_a)]
        return torch.cat([torch.stack([x.expand(-1, 3, -1, -1) for x in row], 1).flatten(0, 1) for row in rows])

    # Abilities

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, backwards: bool = False) -> np.ndarray:
        """Pictures of the first domain in the second (or `backwards`). They are worked on at 32 x 32."""
        here = int(backwards)
        code, _ = self.generator.posterior(self.small(pictures, here), here)
        made = self.generator.paint(code, 1 - here).expand(-1, 3, -1, -1)
        return to_uint8(F.interpolate(made, size=pictures.shape[1:3], mode="bicubic", antialias=True))

    @torch.inference_mode()
    def classify(self, pictures: np.ndarray, *, backwards: bool = False) -> np.ndarray:
        """How probable each class is for uint8 pictures (N, H, W, 3) of the second domain, (N, classes); with
        `backwards` of the first."""
        domain = 0 if backwards else 1
        scores = self.discriminator.classify(self.discriminator.see(self.small(pictures, domain), domain))
        return scores.softmax(1).cpu().numpy()

    def small(self, pictures: np.ndarray, domain: int) -> Tensor:
        given = taken(pictures, system="UNIT for digits").to(next(self.parameters()).device)
        return self.given(F.interpolate(given, size=(SIDE, SIDE), mode="bicubic", antialias=True), domain)


def called(scores: Tensor, real: bool) -> Tensor:
    """Cross-entropy of scores (B, 2), in which the second is for real."""
    return F.cross_entropy(scores, torch.full((len(scores),), int(real), device=scores.device))


def summed(x: Tensor) -> Tensor:
    """The sum over all but the batch, of which it is the mean."""
    return x.flatten(1).sum(1).mean()


# The networks


class CoupledAutoencoder(nn.Module):
    """Pictures of both domains -> posteriors of one latent space -> pictures of both. Only what touches pixels is each
    domain's own. To the pictures' channels come two with each pixel's row and column, from -1 to 1."""

    def __init__(self, width: int, channels: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.ModuleList(Layer(nn.Conv2d(each + 2, width, 5, 2, 2)) for each in channels)
        self.encoder = nn.Sequential(
            Layer(nn.Conv2d(width, 2 * width, 5, 2, 2)),
            Layer(nn.Conv2d(2 * width, 4 * width, 8)),
            Layer(nn.Conv2d(4 * width, 8 * width, 1)),
        )
        self.mean, self.spread = nn.Conv2d(8 * width, 8 * width, 1), nn.Conv2d(8 * width, 8 * width, 1)
        self.decoder = nn.Sequential(
            Layer(nn.ConvTranspose2d(8 * width, 8 * width, 4, 2)),
            Layer(nn.ConvTranspose2d(8 * width, 4 * width, 4, 2, 1)),
            Layer(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1)),
        )
        self.last = nn.ModuleList(Layer(nn.ConvTranspose2d(2 * width, width, 4, 2, 1)) for _ in channels)
        self.heads = nn.ModuleList(nn.ConvTranspose2d(width, each, 1) for each in channels)

    def encode(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the posteriors, (2 B, C, 1, 1) each, those of `a` first."""
        return self.latent(torch.cat([self.first[0](located(a)), self.first[1](located(b))]))

    def posterior(self, pictures: Tensor, domain: int) -> tuple[Tensor, Tensor]:
        """The same for pictures of one domain."""
        return self.latent(self.first[domain](located(pictures)))

    def latent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.encoder(x)
        return self.mean(x), F.softplus(self.spread(x))

    def decode(self, latent: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Latents of both domains in one batch -> (a as a, b as a), (a as b, b as b)."""
        x = self.decoder(latent)
        as_a, as_b = (head(last(x)).tanh().chunk(2) for last, head in zip(self.last, self.heads, strict=True))
        return as_a, as_b

    def paint(self, latent: Tensor, domain: int) -> Tensor:
        """Latents -> pictures of a domain in [-1, 1]."""
        pictures: Tensor = self.heads[domain](self.last[domain](self.decoder(latent))).tanh()
        return pictures


def located(pictures: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C + 2, H, W): with each pixel's row and column, in [-1, 1)."""
    height, width = pictures.shape[-2:]
    rows = 2 * torch.arange(height, device=pictures.device) / height - 1
    columns = 2 * torch.arange(width, device=pictures.device) / width - 1
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return torch.cat([pictures, places.expand(len(pictures), -1, -1, -1).to(pictures.dtype)], 1)


class Layer(nn.Module):
    """A convolution, batch norm without scale, a shift, leaky ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(conv.out_channels, affine=False)
        self.bias = nn.Parameter(torch.zeros(conv.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x)) + self.bias[:, None, None]
        return F.leaky_relu(y, 0.01)


class CoupledDiscriminator(nn.Module):
    """Pictures of both domains -> scores for false and for real, (2 B, 2), those of `a` first."""

    def __init__(self, width: int, channels: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(halving(each, width, 0.1) for each in channels)
        self.shared = nn.Sequential(
            halving(width, 2 * width, 0.3), halving(2 * width, 4 * width, 0.5), halving(4 * width, 8 * width, 0.5)
        )
        self.score = nn.Conv2d(8 * width, 2, 2)
        self.classifier = nn.Conv2d(8 * width, classes, 2)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        seen = self.shared(torch.cat([self.first[0](a), self.first[1](b)]))
        scores: Tensor = self.score(seen)
        return scores.flatten(1)

    def see(self, pictures: Tensor, domain: int) -> Tensor:
        """Features (B, 8 * width, 2, 2) of pictures of a domain."""
        features: Tensor = self.shared(self.first[domain](pictures))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Features -> scores (B, classes)."""
        scores: Tensor = self.classifier(features)
        return scores.flatten(1)


def halving(before: int, after: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(dropout))
