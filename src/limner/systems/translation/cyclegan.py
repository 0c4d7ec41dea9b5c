"""CycleGAN: two collections of pictures, each translated into the other without pairs (Zhu et al., ICCV 2017).

A generator for each direction must fool a discriminator of the domain it paints, and the way there and back must lead
to where it began (eq. 2). Discriminators also see fakes of the past, and generators leave alone what is already of
their target domain (section 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.losses import least_squares
from limner.nn import init
from limner.nn.mirrored import MirroredConv2d
from limner.nn.patch_discriminator import Norm, PatchDiscriminator, normalisation
from limner.rng import Rng
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.pictures import each_of, mirrored, taken


class CycleGAN(System):
    """Pictures (B, 3, H, W) in [-1, 1] of domain A -> domain B and back; H and W multiples of 4."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        size: tuple[int, int] = (256, 256)  # height and width of the pictures that it trains on
        width: int = 64  # channels of the finest level
        blocks: int = 9  # the published 6 for pictures of 128 pixels
        discriminator_width: int = 64
        cycle: tuple[float, float] = (10.0, 10.0)  # weights of A -> B -> A and of B -> A -> B, eq. 2
        identity: float = 0.5  # of the cycle's weight, section 5.2; 0: none, two of six passes less
        history: int = 50  # fakes of the past that each discriminator may be shown again; 0: only new ones
        learning_rate: float = 2e-4
        hold: int = 100_000  # steps at the full rate: the published 100 epochs for a thousand pictures
        fall: int = 100_000  # steps in which it then falls to 0

        def __post_init__(self) -> None:
            if any(side % 4 for side in self.size):
                raise BadInput(f"CycleGAN: the sides of size={self.size} must be multiples of 4.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.a_to_b = ResNetGenerator(width=config.width, blocks=config.blocks)  # the paper's G
        self.b_to_a = ResNetGenerator(width=config.width, blocks=config.blocks)  # F
        self.judge_a = PatchDiscriminator(3, config.discriminator_width, norm="instance")  # D_X
        self.judge_b = PatchDiscriminator(3, config.discriminator_width, norm="instance")  # D_Y
        init.normal(self)
        self.past_a = History(config.history, config.size)
        self.past_b = History(config.history, config.size)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999))
        rate = held_then_falling(config.hold, config.fall)
        self.players = {
            "generators": Player((self.a_to_b, self.b_to_a), optimiser, rate),
            "discriminators": Player((self.judge_a, self.judge_b), optimiser, rate),
        }

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        config, a, b = self.config, batch.a, batch.b
        check_size(a, config.size, "CycleGAN")
        check_size(b, config.size, "CycleGAN")
        fake_b, fake_a = self.a_to_b(a), self.b_to_a(b)
        cycle_a, cycle_b = config.cycle
        with frozen(self.judge_a, self.judge_b):
            losses = {
                "adversarial_a": least_squares(self.judge_a(fake_a), real=True),
                "adversarial_b": least_squares(self.judge_b(fake_b), real=True),
                "cycle_a": cycle_a * F.l1_loss(self.b_to_a(fake_b), a),
                "cycle_b": cycle_b * F.l1_loss(self.a_to_b(fake_a), b),
            }
        if config.identity:
            losses["identity_a"] = cycle_a * config.identity * F.l1_loss(self.b_to_a(a), a)
            losses["identity_b"] = cycle_b * config.identity * F.l1_loss(self.a_to_b(b), b)
        yield "generators", losses

        old_a, old_b = self.past_a(fake_a.detach(), rng, "a"), self.past_b(fake_b.detach(), rng, "b")
        yield (
            "discriminators",
            {
                "real_a": least_squares(self.judge_a(a), real=True) / 2,
                "fake_a": least_squares(self.judge_a(old_a), real=False) / 2,
                "real_b": least_squares(self.judge_b(b), real=True) / 2,
                "fake_b": least_squares(self.judge_b(old_b), real=False) / 2,
            },
        )

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """Rows of A, A as B, and back again; then of B, B as A, and back."""
        a, b = batch.a[:3], batch.b[:3]
        fake_b, fake_a = self.a_to_b(a), self.b_to_a(b)
        rows = [torch.stack([a, fake_b, self.b_to_a(fake_b)], 1), torch.stack([b, fake_a, self.a_to_b(fake_a)], 1)]
        return torch.cat(rows).flatten(0, 1)

    def translate(self, pictures: np.ndarray, *, backwards: bool = False) -> np.ndarray:
        """uint8 (N, H, W, 3) of any size, of domain A -> the same of domain B; `backwards` from B to A.

        Sides that 4 doesn't divide are mirrored to the next multiple, and the result is cropped back.
        """
        return repainted(pictures, self.b_to_a if backwards else self.a_to_b, system="CycleGAN")


class ResNetGenerator(nn.Sequential):
    """The generator of Johnson et al. (2016): c7s1-64, d128, d256, R256 many times, u128, u64, c7s1-3 (appendix 7.2).

    Pictures (B, incoming, H, W) -> (B, outgoing, H, W) in [-1, 1]; H and W multiples of 4.
    """

    def __init__(
        self,
        incoming: int = 3,
        outgoing: int = 3,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        dropout: float = 0.0,
    ) -> None:
        bias = norm == "instance"

        def reflecting(before: int, after: int) -> nn.Conv2d:
            return MirroredConv2d(before, after, 7, padding=3, bias=bias)

        def down(before: int, after: int) -> nn.Conv2d:
            return nn.Conv2d(before, after, 3, 2, 1, bias=bias)

        def up(before: int, after: int) -> nn.ConvTranspose2d:
            return nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=1, bias=bias)

        def stage(convolution: nn.Module, after: int) -> nn.Sequential:
            return nn.Sequential(convolution, normalisation(norm, after), nn.ReLU())

        super().__init__(
            stage(reflecting(incoming, width), width),
            stage(down(width, 2 * width), 2 * width),
            stage(down(2 * width, 4 * width), 4 * width),
            *(ResidualBlock(4 * width, norm, dropout) for _ in range(blocks)),
            stage(up(4 * width, 2 * width), 2 * width),
            stage(up(2 * width, width), width),
            nn.Sequential(MirroredConv2d(width, outgoing, 7, padding=3), nn.Tanh()),
        )


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions on mirrored borders, added to what came in; nothing follows the sum."""

    def __init__(self, width: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        bias = norm == "instance"
        self.first = MirroredConv2d(width, width, 3, padding=1, bias=bias)
        self.first_norm = normalisation(norm, width)
        self.dropout = nn.Dropout(dropout)
        self.second = MirroredConv2d(width, width, 3, padding=1, bias=bias)
        self.second_norm = normalisation(norm, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.dropout(self.first_norm(self.first(x)).relu())
        changed: Tensor = x + self.second_norm(self.second(inner))
        return changed


class History(nn.Module):
    """Fakes of the past, so that a discriminator doesn't forget them (Shrivastava et al., 2017; section 4).

    Kept in buffers, and so in checkpoints: a resumed run goes on with the same past.
    """

    pictures: Tensor
    filled: Tensor

    def __init__(self, capacity: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("pictures", torch.zeros(capacity, 3, *size))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, fakes: Tensor, rng: Rng, name: str) -> Tensor:
        """What the discriminator is shown for fakes (B, 3, H, W): until the history is full, they are stored and shown;
        then each is shown, or, as often as not, a random one of the past, whose place it takes."""
        capacity = len(self.pictures)
        if not capacity:
            return fakes
        shown = []
        coins, places = rng.uniform(f"past {name}").tolist(), rng.integers(f"place {name}", 0, capacity).tolist()
        for fake, coin, place in zip(fakes, coins, places, strict=True):
            shown.append(fake)
            if self.filled < capacity:
                self.pictures[int(self.filled)] = fake
                self.filled += 1
            elif coin > 0.5:
                shown[-1] = self.pictures[place].clone().to(fake.dtype)
                self.pictures[place] = fake
        return torch.stack(shown)


def check_size(pictures: Tensor, size: tuple[int, int], system: str) -> None:
    """Its history holds pictures of one size only."""
    if pictures.shape[1:] != (3, *size):
        height, width = pictures.shape[-2:]
        raise BadInput(
            f"{system} was made for training pictures of {size[1]}x{size[0]} (width x height) in three channels, not "
            f"{width}x{height} in {pictures.shape[1]}. Set size=({height}, {width}), or crop the data."
        )


@torch.inference_mode()
def repainted(pictures: np.ndarray, generator: ResNetGenerator, *, system: str) -> np.ndarray:
    """uint8 (N, H, W, 3) through a generator, one at a time; sides are mirrored to multiples of 4 and cropped back."""
    source = taken(pictures, system=system)
    height, width = source.shape[-2:]
    if min(height, width) < 5:  # the residual blocks mirror maps of a quarter of the size, which takes two cells
        raise BadInput(f"{system} translates pictures of at least 5 pixels a side, not {width}x{height}.")
    source = mirrored(source, 4).to(next(generator.parameters()).device)
    return to_uint8(torch.cat([generator(each) for each in each_of(source)])[..., :height, :width])
