"""The sticker reader: names what a Sticker World picture shows, and where. The yardstick of pictures drawn from words.

Not a published system: a small network in the manner of CenterNet (Zhou et al., "Objects as Points", 2019). Each thing
is a peak in its noun's heat map, so that presence, number and position are read off one output; place, time of day,
season and style are classified from the pooled features, which also serve Fréchet distances between sets of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Read
from limner.errors import BadInput
from limner.rng import Rng
from limner.system import Game, Player, System, adamw, from_uint8, waning

CELL = 8  # pixels of a heat map's cell


@dataclass(frozen=True)
class Sighting:
    """One thing that the reader saw: its noun, how sure it is, and its centre as fractions of width and height.

    A reader that was taught looks tells its colour, too ("": as it is by nature), and the side of its square in cells.
    """

    noun: str
    confidence: float
    x: float
    y: float
    colour: str = ""
    side: int = 0


@dataclass(frozen=True)
class Reading:
    """What a picture shows, as far as the reader can tell."""

    things: tuple[Sighting, ...]
    place: str
    time: str
    season: str
    style: str
    weather: str = ""  # of a reader that was taught none

    def count(self, noun: str) -> int:
        return sum(thing.noun == noun for thing in self.things)


class StickerReader(System):
    """Pictures (B, 3, H, W), sides multiples of 16 -> readings."""

    @dataclass(frozen=True)
    class Config:
        nouns: tuple[str, ...]
        places: tuple[str, ...]
        times: tuple[str, ...]
        seasons: tuple[str, ...]
        styles: tuple[str, ...]
        weathers: tuple[str, ...] = ()
        colours: tuple[str, ...] = ()  # that a thing can be painted in; with them, it tells colours and sides
        largest: int = 12  # cells a side that a thing's square can take
        width: int = 64
        features: int = 128
        rate: float = 2e-3
        steps: int = 2500  # the learning rate wanes over these

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        width, features = config.width, config.features
        self.stem = nn.Sequential(  # to cells of 8 pixels
            nn.PixelUnshuffle(4), _conv(48, width), _conv(width, width, stride=2), _Residual(width)
        )
        self.context = nn.Sequential(  # to cells of 16
            _conv(width, features, stride=2), _Residual(features), _Residual(features), _Residual(features)
        )
        self.lateral = nn.Conv2d(width, features, 1)
        self.merge = nn.Sequential(nn.BatchNorm2d(features), nn.SiLU(), _conv(features, features))
        self.heat = nn.Conv2d(features, len(config.nouns), 1)
        nn.init.constant_(self.heat.get_parameter("bias"), -4.6)  # a noun is in a cell once in a hundred
        named = [name for name in ("places", "times", "seasons", "styles", "weathers") if getattr(config, name)]
        self.kinds = nn.ModuleDict({name: nn.Linear(features, len(getattr(config, name))) for name in named})
        if config.colours:
            self.looks = nn.Conv2d(features, 1 + len(config.colours) + config.largest, 1)
        self.players = {
            "reader": Player((self,), adamw(config.rate, decay=0.02), waning(config.steps), ema=0.995, clip=5.0)
        }

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What each cell shows (B, features, H/8, W/8), and pooled features (B, features)."""
        fine = self.stem(pictures)  # (B, width, H/8, W/8)
        wide = self.context(fine)  # (B, features, H/16, W/16)
        merged = self.merge(self.lateral(fine) + F.interpolate(wide, scale_factor=2.0, mode="nearest"))
        return merged, wide.mean((2, 3))

    def play(self, batch: Read, rng: Rng) -> Game:
        cells, pooled = self(batch.pictures)
        heat = self.heat(cells)
        losses = {"things": _focal(heat.float(), _peaks(heat, batch.things))}
        for name, head in self.kinds.items():
            losses[name] = 0.2 * F.cross_entropy(head(pooled).float(), getattr(batch, name))
        if self.config.colours:
            real = batch.things[..., 0] >= 0
            colour, side = self.seen_looks(cells, batch.things)
            losses["colours"] = 0.2 * F.cross_entropy(colour, batch.colours[real])
            losses["sides"] = 0.2 * F.cross_entropy(side, batch.sides[real] - 1)
        yield "reader", losses

    def seen_looks(self, cells: Tensor, things: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, as `_looks`, of all things that there are of (B, K, 3), in their order, at their centres' cells."""
        real = things[..., 0] >= 0
        row, column = things[real][:, 1:].unbind(-1)
        return self._looks(self.looks(cells)[real.nonzero(as_tuple=True)[0], :, row, column].float())

    def _looks(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (..., numbers) of a thing's colour, the first of which is its own, and of its side, from 1 up."""
        colour, side = found.split([1 + len(self.config.colours), self.config.largest], -1)
        return colour, side

    @torch.inference_mode()
    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Pooled features (N, features), float64, of uint8 pictures (N, H, W, 3)."""
        self.eval()
        parts = [self(from_uint8(pictures[i : i + 32]))[1] for i in range(0, len(pictures), 32)]
        return torch.cat(parts).double().numpy()

    @torch.inference_mode()
    def read(self, pictures: np.ndarray, *, sure: float = 0.35) -> list[Reading]:
        """Readings of uint8 pictures (N, H, W, 3); things below the confidence `sure` are not reported."""
        if pictures.ndim != 4 or pictures.shape[1] % 16 or pictures.shape[2] % 16:
            raise BadInput(
                f"The reader wants pictures (N, H, W, 3) with sides that are multiples of 16, not {pictures.shape}."
            )
        self.eval()
        readings = []
        for start in range(0, len(pictures), 32):
            cells, pooled = self(from_uint8(pictures[start : start + 32]))
            heat = self.heat(cells).sigmoid()
            looks = self.looks(cells) if self.config.colours else None
            peaks = (heat == F.max_pool2d(heat, 3, 1, 1)) & (heat > sure)
            named = {name: head(pooled).argmax(-1).tolist() for name, head in self.kinds.items()}
            for i in range(len(heat)):
                things = [
                    Sighting(
                        self.config.nouns[n],
                        heat[i, n, y, x].item(),
                        (x + 0.5) / heat.shape[3],
                        (y + 0.5) / heat.shape[2],
                        *(("", 0) if looks is None else self._told(looks[i, :, y, x])),
                    )
                    for n, y, x in peaks[i].nonzero().tolist()
                ]
                kinds = {name.removesuffix("s"): getattr(self.config, name)[named[name][i]] for name in named}
                readings.append(Reading(_without_rivals(things), **kinds))
        return readings

    def _told(self, looks: Tensor) -> tuple[str, int]:
        """A thing's colour and side, from what its centre's cell (numbers,) says."""
        colour, side = self._looks(looks)
        return ("", *self.config.colours)[int(colour.argmax())], 1 + int(side.argmax())


def _without_rivals(things: Sequence[Sighting]) -> tuple[Sighting, ...]:
    """Where two nouns claim the same spot, the surer one has it."""
    kept: list[Sighting] = []
    for thing in sorted(things, key=lambda t: -t.confidence):
        if all(abs(thing.x - other.x) > 0.04 or abs(thing.y - other.y) > 0.07 for other in kept):
            kept.append(thing)
    return tuple(kept)


def _peaks(heat: Tensor, things: Tensor) -> Tensor:
    """Targets in [0, 1] like `heat`: 1 at each thing's centre cell, less beside it.

    things: (B, K, 3), each noun, row, column
    """
    target = torch.zeros_like(heat)
    sample, slot = (things[..., 0] >= 0).nonzero(as_tuple=True)
    noun, row, column = things[sample, slot].unbind(-1)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            y, x = (row + dy).clamp(0, heat.shape[2] - 1), (column + dx).clamp(0, heat.shape[3] - 1)
            value = 1.0 if dx == dy == 0 else 0.5 if dx == 0 or dy == 0 else 0.3
            old = target[sample, noun, y, x]
            target[sample, noun, y, x] = torch.maximum(old, torch.full_like(old, value))
    return target


def _focal(logits: Tensor, target: Tensor) -> Tensor:
    """The penalty-reduced focal loss of "Objects as Points", eq. 1, alpha 2, beta 4, by the number of things."""
    chance = logits.sigmoid()
    hit = target == 1
    found = -((1 - chance) ** 2 * F.logsigmoid(logits))[hit].sum()
    missed = -((1 - target) ** 4 * chance**2 * F.logsigmoid(-logits))[~hit].sum()
    return (found + missed) / hit.sum().clamp(min=1)


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.SiLU())


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width), nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.body(x))
