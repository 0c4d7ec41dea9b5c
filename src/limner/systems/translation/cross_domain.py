"""Cross-domain disentanglement: what two domains share, and what each has for its own (Gonzalez-Garcia et al., 2018).

Pictures come in pairs. Each is encoded as a shared part, alike for both pictures of a pair, and an exclusive part, from
which nothing of the other picture can be made: a decoder tries to, and its gradient is reversed (NeurIPS 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.losses import critic
from limner.nn import init
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, frozen, to_uint8
from limner.systems.translation.munit import fitting
from limner.systems.translation.pictures import taken


class CrossDomain(System):
    """Pairs of square pictures x (`source`) and y (`target`), each (B, 3, size, size) in [-1, 1]."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        size: int = 256  # pixels a side; a multiple of 64
        width: int = 64  # channels of the first layer
        exclusive: int = 8  # numbers of the exclusive part
        noise: float = 0.1  # standard deviation of what training adds to a decoder's input
        adversarial: float = 1.0
        exclusive_adversarial: float = 0.1
        penalty: float = 10.0  # on the critics' gradients
        l1: float = 100.0  # of reconstructions, of the shared parts' difference, and of codes found again
        learning_rate: float = 2e-4

        def __post_init__(self) -> None:
            if self.size < 64 or self.size % 64:
                raise BadInput(f"size={self.size}: it must be a multiple of 64.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.encoder_x, self.encoder_y = Encoder(config), Encoder(config)
        both = 8 * config.width + config.exclusive
        self.decoder_x, self.decoder_y = Decoder(both, config.width), Decoder(both, config.width)
        own = config.exclusive  # these make a domain's pictures from what is exclusive to the other one
        self.exclusive_decoder_x, self.exclusive_decoder_y = Decoder(own, config.width), Decoder(own, config.width)
        self.critic_x, self.critic_y = Critic(config.width), Critic(config.width)
        self.exclusive_critic_x, self.exclusive_critic_y = Critic(config.width), Critic(config.width)
        init.normal(self)
        critics = self.critic_x, self.critic_y, self.exclusive_critic_x, self.exclusive_critic_y
        translator = self.encoder_x, self.encoder_y, self.decoder_x, self.decoder_y
        exclusive = self.exclusive_decoder_x, self.exclusive_decoder_y
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999))
        self.players = {
            "critics": Player(critics, optimiser),
            "translator": Player(translator + exclusive, optimiser),
        }

    def play(self, batch: Paired, rng: Rng) -> Game:
        """Sections 3.2 to 3.5: first the four critics, then everything else by the sum of its losses."""
        config, x, y = self.config, batch.source, batch.target
        self.check(x)
        self.check(y)
        shared_x, own_x = self.encoder_x(x)
        shared_y, own_y = self.encoder_y(y)
        random_x = rng.normal("exclusive, x", config.exclusive).to(x.device)
        random_y = rng.normal("exclusive, y", config.exclusive).to(x.device)
        fake_y = self.decoder_y(self.joined(shared_x, random_y, rng, "y"))
        fake_x = self.decoder_x(self.joined(shared_y, random_x, rng, "x"))
        side = shared_x.shape[-1]
        guess_y = self.exclusive_decoder_y(tiled(reverse(own_x), side))
        guess_x = self.exclusive_decoder_x(tiled(reverse(own_y), side))

        told = {
            "x": (self.critic_x, y, x, fake_x),
            "y": (self.critic_y, x, y, fake_y),
            "exclusive_x": (self.exclusive_critic_x, y, x, guess_x),
            "exclusive_y": (self.exclusive_critic_y, x, y, guess_y),
        }
        judging = {}
        for name, (network, given, real, fake) in told.items():
            real_scores, fake_scores = network(given, real), network(given, fake.detach())
            judging[f"distance_{name}"] = critic(real_scores, True) + critic(fake_scores, False)
            mix = rng.uniform(f"mix, {name}", 1, 1, 1).to(x.device)
            judging[f"penalty_{name}"] = config.penalty * slope(network, given, real, fake.detach(), mix)
        yield "critics", judging

        found_x, found_random_y = self.encoder_y(fake_y)
        found_y, found_random_x = self.encoder_x(fake_x)
        again_x = self.decoder_x(self.joined(shared_y, own_x, rng, "x again"))  # section 3.4: the shared part is y's
        again_y = self.decoder_y(self.joined(shared_x, own_y, rng, "y again"))
        losses = {
            "reconstruction_x": config.l1 * F.l1_loss(again_x, x),
            "reconstruction_y": config.l1 * F.l1_loss(again_y, y),
            "alignment": config.l1 * F.l1_loss(shared_x, shared_y),
            "codes_x": config.l1 * (F.l1_loss(found_x, shared_x) + F.l1_loss(found_random_y, random_y)),
            "codes_y": config.l1 * (F.l1_loss(found_y, shared_y) + F.l1_loss(found_random_x, random_x)),
        }
        for name, (network, given, _, fake) in told.items():
            weight = config.exclusive_adversarial if name.startswith("exclusive") else config.adversarial
            with frozen(network):
                losses[f"adversarial_{name}"] = weight * critic(network(given, fake), True)
        yield "translator", losses

    def joined(self, shared: Tensor, exclusive: Tensor, rng: Rng, name: str) -> Tensor:
        """A decoder's input in training: both parts, with noise."""
        x = torch.cat([shared, tiled(exclusive, shared.shape[-1])], 1)
        return x + self.config.noise * rng.normal(f"noise, {name}", *x.shape[1:]).to(x.device)

    def check(self, pictures: Tensor) -> None:
        height, width = pictures.shape[-2:]
        if (height, width) != (self.config.size, self.config.size):
            raise BadInput(
                f"Cross-domain disentanglement was built for {self.config.size}x{self.config.size}, not "
                f"{width}x{height}: its exclusive part sees the whole picture. Resize the pictures, or set size."
            )

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """By rows: x, y, and y from x with y's exclusive part, and with a random one."""
        x, y = batch.source[:6], batch.target[:6]
        random = rng.normal("preview", self.config.exclusive)[:6].to(x.device)
        rows = []
        for one, other, code in zip(x.split(1), y.split(1), random.split(1), strict=True):
            (shared, _), (_, own) = self.encoder_x(one), self.encoder_y(other)
            rows += [one, other, *(self.paint(self.decoder_y, shared, each) for each in (own, code))]
        return torch.cat(rows)

    def paint(self, decoder: Decoder, shared: Tensor, exclusive: Tensor) -> Tensor:
        """Both parts -> pictures (B, 3, size, size) in [-1, 1], without noise."""
        pictures: Tensor = decoder(torch.cat([shared, tiled(exclusive, shared.shape[-1])], 1))
        return pictures

    # Abilities

    @torch.inference_mode()
    def translate(
        self, pictures: np.ndarray, *, seed: int = 0, style: Tensor | None = None, backwards: bool = False
    ) -> np.ndarray:
        """x to y (or `backwards`), with exclusive parts (N or 1, exclusive), or with one that the seed draws. Pictures
        of another size than the model's are resized, and so is the result."""
        encoder, decoder = (self.encoder_y, self.decoder_x) if backwards else (self.encoder_x, self.decoder_y)
        given = self.whole(pictures)
        styles = fitting(self.random_style(seed) if style is None else style, len(given), self.config.exclusive)
        made = torch.cat(
            [
                self.paint(decoder, encoder(one)[0], code)
                for one, code in zip(given.split(1), styles.to(given.device).split(1), strict=True)
            ]
        )
        return to_uint8(resized(made, *pictures.shape[1:3]))

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray, *, backwards: bool = False) -> Tensor:
        """Exclusive parts (N, exclusive) of pictures y, for `translate`; with `backwards` of pictures x."""
        encoder = self.encoder_x if backwards else self.encoder_y
        return torch.cat([encoder(one)[1] for one in self.whole(pictures).split(1)])

    def random_style(self, seed: int) -> Tensor:
        """(1, exclusive), normal."""
        return torch.randn(1, self.config.exclusive, generator=torch_rng(seed, "style"))

    @torch.inference_mode()
    def shared_of(self, pictures: np.ndarray, *, backwards: bool = False) -> Tensor:
        """The shared parts (N, 8 * width, size / 32, size / 32) of pictures x, or `backwards` of y. Pictures of both
        domains that show the same are near each other by Euclidean distance: so one finds the other."""
        encoder = self.encoder_y if backwards else self.encoder_x
        return torch.cat([encoder(one)[0] for one in self.whole(pictures).split(1)])

    def whole(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> (N, 3, size, size) in [-1, 1] on the model's device."""
        given = taken(pictures, system="cross-domain").to(next(self.parameters()).device)
        return resized(given, self.config.size, self.config.size)


def resized(pictures: Tensor, height: int, width: int) -> Tensor:
    if pictures.shape[-2:] == (height, width):
        return pictures
    return F.interpolate(pictures, size=(height, width), mode="bicubic", antialias=True)


def tiled(code: Tensor, side: int) -> Tensor:
    """(B, C) -> (B, C, side, side)."""
    return code[..., None, None].expand(-1, -1, side, side)


def slope(network: Critic, given: Tensor, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """How far a critic's slope is from 1, somewhere between real and fake pictures (Gulrajani et al., 2017, eq. 3)."""
    between = (real + mix * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(network(given, between).sum(), between, create_graph=True)
    found: Tensor = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    return found


class Reversal(torch.autograd.Function):
    """The same forward; backward, the gradient with the opposite sign (Ganin and Lempitsky, 2015)."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return -gradient


def reverse(x: Tensor) -> Tensor:
    reversed_: Tensor = Reversal.apply(x)  # type: ignore[no-untyped-call]  # torch has it untyped
    return reversed_


# The networks. Published, batch norms use the statistics of what they are given after training, too, so that a picture
# becomes something else among others. And alone it loses the exclusive part: that is the same in every cell, which is
# what a norm over the cells of one picture takes away. So averages of the training's statistics stand in for them.


class Encoder(nn.Module):
    """(B, 3, size, size) -> shared part (B, 8 * width, size / 32, size / 32), exclusive part (B, exclusive)."""

    def __init__(self, config: CrossDomain.Config) -> None:
        super().__init__()
        widths = [config.width * factor for factor in (1, 2, 4, 8, 8)]
        self.stem = nn.Conv2d(3, config.width, 4, 2, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, 2, 1), nn.BatchNorm2d(after))
            for before, after in pairwise(widths)
        )
        self.exclusive = nn.Linear(widths[-1] * (config.size // 16) ** 2, config.exclusive)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        *first, last = self.layers
        x = self.stem(x)
        for layer in first:
            x = layer(x)
        return last(x), self.exclusive(F.leaky_relu(x, 0.2).flatten(1))


class Decoder(nn.Sequential):
    """(B, channels, h, w) -> pictures (B, 3, 32 * h, 32 * w) in [-1, 1]."""

    def __init__(self, channels: int, width: int) -> None:
        widths = [channels, *(width * factor for factor in (8, 4, 2, 1))]
        layers: list[nn.Module] = []
        for level, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1), nn.BatchNorm2d(after)]
            if level < 2:
                layers.append(nn.Dropout(0.5))
        super().__init__(*layers, nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh())


class Critic(nn.Module):
    """A picture and what it was made from, each (B, 3, H, W) -> scores (B, S).

    As published, one linear layer scores every eight cells of the last map by themselves: at 256 pixels half a row.
    """

    CELLS = 8

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [6, *(width * factor for factor in (1, 2, 4, 8))]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise(widths))
        self.head = nn.Linear(self.CELLS * widths[-1], 1)

    def forward(self, given: Tensor, pictures: Tensor) -> Tensor:
        x = torch.cat([given, pictures], 1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        cells = x.flatten(2).transpose(1, 2)  # (B, h * w, 8 * width), row by row
        scores: Tensor = self.head(cells.reshape(len(x), -1, self.CELLS * cells.shape[-1]))
        return scores.squeeze(-1)
