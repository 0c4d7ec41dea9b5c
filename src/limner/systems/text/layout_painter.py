"""The layout painter: a plan of what stands where becomes picture codes, all cells at once.

Text to layout to picture (Hong et al., "Inferring Semantic Layout for Hierarchical Text-to-Image Synthesis", CVPR
2018), at the Sticker World's scale, a layer for each thing, as collages are made. A plan is a short row of tokens:
place, time, then noun, left and bottom of each thing, back to front. DALL-E mini's transformer writes plans from words;
this network paints them: first the place with nothing in it, then each thing alone, in codes that know how much of what
is behind them they let through. What overlaps is never asked of the network. Nothing has to be attended to from afar
either: each cell is told which part of the thing it shows, and two layers of convolution settle what neighbours do to
each other (shadows, ripples).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Planned
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adam, falling
from limner.systems.text.patch_codes import CLEAR

NONE = 0  # the token of nothing


class LayoutPainter(System):
    """Plans (B, 2 + 3 things) -> codes of layers (B, rows, columns)."""

    config: Config
    sides: Tensor
    holds: Tensor

    @dataclass(frozen=True)
    class Config:
        places: tuple[str, ...]
        times: tuple[str, ...]
        nouns: tuple[str, ...]
        sides: tuple[int, ...]  # cells that each noun's square takes
        holds: tuple[float, ...]  # how high each noun's rim is, in squares, if things stand in it; else 0
        grid: tuple[int, int] = (9, 16)
        things: int = 7  # the most that a plan holds
        codebook: int = 8192
        width: int = 192
        rate: float = 2e-3
        steps: int = 1500  # the learning rate falls linearly to a twentieth over these

        @property
        def vocabulary(self) -> int:
            """Tokens in all: nothing, places, times, nouns, lefts, bottoms."""
            return 1 + len(self.places) + len(self.times) + len(self.nouns) + self.grid[1] + self.grid[0] + 1

        @property
        def length(self) -> int:
            return 2 + 3 * self.things

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        width, (rows, columns) = config.width, config.grid
        settings, largest = len(config.places) * len(config.times), max(config.sides)
        self.backdrop = nn.Embedding(settings * rows * columns, width)
        self.part = nn.Embedding(1 + len(config.nouns) * largest**2, width, padding_idx=0)
        for table in (self.backdrop, self.part):
            nn.init.normal_(table.weight, 0, 0.3)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(3))
        self.head = nn.Linear(width, config.codebook)
        self.register_buffer("sides", torch.tensor(config.sides), persistent=False)
        self.register_buffer("holds", torch.tensor(config.holds), persistent=False)
        self.largest = largest
        optimiser = adam(config.rate, betas=(0.9, 0.99))
        self.players = {"painter": Player((self,), optimiser, falling(config.steps), ema=0.99, clip=1.0)}

    # Plans

    def tokens(self, place: str, time: str, things: Sequence[tuple[str, int, int]]) -> list[int]:
        """A plan's tokens, padded. things: noun, left and bottom in cells, back to front; too many are left out."""
        config = self.config
        first = self.firsts()
        row = [first["place"] + config.places.index(place), first["time"] + config.times.index(time)]
        for noun, left, bottom in things[: config.things]:
            row += [first["noun"] + config.nouns.index(noun), first["left"] + left, first["bottom"] + bottom]
        return row + [NONE] * (config.length - len(row))

    def firsts(self) -> dict[str, int]:
        """The first token of each kind."""
        config = self.config
        sizes = {
            "place": len(config.places),
            "time": len(config.times),
            "noun": len(config.nouns),
            "left": config.grid[1],
        }
        firsts, at = {}, 1
        for kind, size in sizes.items():
            firsts[kind] = at
            at += size
        return firsts | {"bottom": at}

    def things(self, plans: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What stands where: noun, left, bottom and whether there is one, (B, things) each. Tokens out of place count
        as none."""
        config, first = self.config, self.firsts()
        rows, columns = config.grid
        if plans.shape[1] != config.length:
            raise BadInput(f"A plan has {config.length} tokens here, not {plans.shape[1]}.")
        begin = torch.tensor([first["noun"], first["left"], first["bottom"]], device=plans.device)
        noun, left, bottom = (plans[:, 2:].reshape(-1, config.things, 3) - begin).unbind(-1)
        real = (
            (noun >= 0) & (noun < len(config.nouns)) & (left >= 0) & (left < columns) & (bottom >= 0) & (bottom <= rows)
        )
        return torch.where(real, noun, torch.zeros_like(noun)), left, bottom, real

    # Painting

    def forward(self, plans: Tensor) -> tuple[Tensor, Tensor]:
        """What the first thing of each plan looks like, or, where a plan has none, its place.

        Logits (N, codebook) of the cells that matter, and which they are (B, rows, columns): those of the thing's
        square and around it, or all.
        """
        config, first = self.config, self.firsts()
        rows, columns = config.grid
        noun, left, bottom, real = (found[:, 0, None, None] for found in self.things(plans))
        cells = torch.arange(rows * columns, device=plans.device).view(rows, columns)
        place = (plans[:, 0] - first["place"]).clamp(0, len(config.places) - 1)
        time = (plans[:, 1] - first["time"]).clamp(0, len(config.times) - 1)
        backdrop = (place * len(config.times) + time)[:, None, None] * (rows * columns) + cells
        side = self.sides[noun]
        down, across = cells // columns - (bottom - side), cells % columns - left
        covered = real & (down >= 0) & (down < side) & (across >= 0) & (across < side)
        part = torch.where(covered, 1 + noun * self.largest**2 + down * self.largest + across, 0)
        around = real & (down >= -1) & (down <= side) & (across >= -1) & (across <= side)
        matter = around | ~real
        x = (self.backdrop(backdrop) + self.part(part)).permute(0, 3, 1, 2)
        for norm, layer in zip(self.norms, self.layers, strict=False):
            x = x + layer(F.silu(norm(x)))
        logits: Tensor = self.head(F.silu(self.norms[-1](x)).permute(0, 2, 3, 1)[matter])
        return logits, matter

    def play(self, batch: Planned, rng: Rng) -> Game:
        """Cross-entropy of the codes of the cells that matter."""
        logits, matter = self(batch.plans)
        yield "painter", {"cross_entropy": F.cross_entropy(logits, batch.codes.view(matter.shape)[matter])}

    @torch.no_grad()
    def paint(self, plans: Tensor) -> Tensor:
        """The likeliest codes of each plan's first thing, or of its place if it has none: (B, rows, columns)."""
        logits, matter = self(plans)
        codes = torch.full(matter.shape, CLEAR, device=plans.device)
        codes[matter] = logits.argmax(1)
        return codes

    def layered(self, plans: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The layers of plans, back to front: a plan of one thing each, and from which row of pixels it is laid on.

        The first is the place. What stands in a boat, a basket or a bath is drawn before the boat's front: a thing
        that is planned after a container, upon its square and higher, is followed by the container from its rim down.
        Plans (B, length), rows (B,) in cells.
        """
        everywhere = torch.zeros(len(plans), device=plans.device)
        nowhere = torch.full_like(everywhere, self.config.grid[0])
        yield self.alone(plans, None), everywhere
        noun, left, bottom, real = self.things(plans)
        side = self.sides[noun]
        rim = bottom - self.holds[noun] * side
        for k in range(self.config.things):
            if not bool(real[:, k].any()):
                continue
            yield self.alone(plans, k), torch.where(real[:, k], everywhere, nowhere)
            for j in range(k):
                upon = (left[:, k] + 1 >= left[:, j]) & (left[:, k] + side[:, k] <= left[:, j] + side[:, j] + 1)
                higher = (bottom[:, k] < bottom[:, j]) & (bottom[:, k] > bottom[:, j] - side[:, j])
                inside = real[:, k] & real[:, j] & (self.holds[noun[:, j]] > 0) & upon & higher
                if bool(inside.any()):
                    yield self.alone(plans, j), torch.where(inside, rim[:, j], nowhere)

    @staticmethod
    def alone(plans: Tensor, k: int | None) -> Tensor:
        """The same places and times with thing `k` alone in them, or none."""
        found = torch.full_like(plans, NONE)
        found[:, :2] = plans[:, :2]
        if k is not None:
            found[:, 2:5] = plans[:, 2 + 3 * k : 5 + 3 * k]
        return found
