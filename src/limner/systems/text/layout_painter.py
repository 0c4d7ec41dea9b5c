"""The layout painter: a plan of what stands where becomes picture codes, all cells at once.

Text to layout to picture (Hong et al., "Inferring Semantic Layout for Hierarchical Text-to-Image Synthesis", CVPR
2018), at the Sticker World's scale. A plan is a short row of tokens: place, time, then noun, left and bottom of each
thing, back to front. DALL-E mini's transformer writes plans from words; this network paints them. Nothing has to be
attended to from afar: each cell is told which part of which thing it shows, and two layers of convolution settle what
neighbours do to each other (shadows, ripples, rims).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Planned
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adam, falling

NONE = 0  # the token of nothing


class LayoutPainter(System):
    """Plans (B, 2 + 3 things) -> codes (B, rows, columns)."""

    config: Config
    sides: Tensor

    @dataclass(frozen=True)
    class Config:
        places: tuple[str, ...]
        times: tuple[str, ...]
        nouns: tuple[str, ...]
        sides: tuple[int, ...]  # cells that each noun's square takes
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
        self.front = nn.Embedding(1 + len(config.nouns) * largest**2, width, padding_idx=0)  # the foremost thing's part
        self.behind = nn.Embedding(1 + len(config.nouns) * largest**2, width, padding_idx=0)  # the part behind it
        for table in (self.backdrop, self.front, self.behind):
            nn.init.normal_(table.weight, 0, 0.3)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(3))
        self.head = nn.Conv2d(width, config.codebook, 1)
        self.register_buffer("sides", torch.tensor(config.sides), persistent=False)
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

    def parts(self, plans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each cell shows: rows of the three tables, (B, rows, columns). Tokens out of place count as none."""
        config, first = self.config, self.firsts()
        rows, columns = config.grid
        if plans.shape[1] != config.length:
            raise BadInput(f"A plan has {config.length} tokens here, not {plans.shape[1]}.")
        place = (plans[:, 0] - first["place"]).clamp(0, len(config.places) - 1)
        time = (plans[:, 1] - first["time"]).clamp(0, len(config.times) - 1)
        cells = torch.arange(rows * columns, device=plans.device).view(rows, columns)
        backdrop = (place * len(config.times) + time)[:, None, None] * (rows * columns) + cells
        triples = plans[:, 2:].reshape(-1, config.things, 3)
        begin = torch.tensor([first["noun"], first["left"], first["bottom"]], device=plans.device)
        noun, left, bottom = (triples - begin).unbind(-1)
        real = (
            (noun >= 0) & (noun < len(config.nouns)) & (left >= 0) & (left < columns) & (bottom >= 0) & (bottom <= rows)
        )
        noun = torch.where(real, noun, torch.zeros_like(noun))
        side = self.sides[noun]
        down = cells // columns - (bottom - side)[..., None, None]  # (B, things, rows, columns)
        across = cells % columns - left[..., None, None]
        side = side[..., None, None]
        covered = real[..., None, None] & (down >= 0) & (down < side) & (across >= 0) & (across < side)
        part = 1 + noun[..., None, None] * self.largest**2 + down * self.largest + across
        front = torch.zeros_like(backdrop)
        behind = torch.zeros_like(backdrop)
        for k in range(config.things):  # back to front: what was in front is behind now
            behind = torch.where(covered[:, k], front, behind)
            front = torch.where(covered[:, k], part[:, k], front)
        return backdrop, front, behind

    # Painting

    def forward(self, plans: Tensor) -> Tensor:
        """Logits of the codes, (B, codebook, rows, columns)."""
        backdrop, front, behind = self.parts(plans)
        x = (self.backdrop(backdrop) + self.front(front) + self.behind(behind)).permute(0, 3, 1, 2)
        for norm, layer in zip(self.norms, self.layers, strict=False):
            x = x + layer(F.silu(norm(x)))
        out: Tensor = self.head(F.silu(self.norms[-1](x)))
        return out

    def play(self, batch: Planned, rng: Rng) -> Game:
        """Cross-entropy of every cell's code."""
        codes = batch.codes.view(-1, *self.config.grid)
        yield "painter", {"cross_entropy": F.cross_entropy(self(batch.plans), codes)}

    @torch.no_grad()
    def paint(self, plans: Tensor) -> Tensor:
        """The likeliest codes, (B, rows, columns)."""
        codes: Tensor = self(plans).argmax(1)
        return codes

    @staticmethod
    def bare(plans: Tensor) -> Tensor:
        """The same places and times with nothing in them."""
        return torch.cat([plans[:, :2], torch.full_like(plans[:, 2:], NONE)], 1)
