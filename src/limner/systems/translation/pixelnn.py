"""PixelNN: pictures from edges or normals, by copying pixels from examples (Bansal, Sheikh and Ramanan, ICLR 2018).

A regressor makes of the source what can be said with certainty, a smooth picture. What it lacks is copied: among
examples whose smooth versions look alike, each pixel finds the one that it resembles most, and takes what is there in
the example's true picture. Which examples there are, and how far a pixel may look, gives many answers, and control.

Nothing adversarial is trained, and what is copied from, the exemplars, is data: a run keeps those that it met.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Paired
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.nn import init
from limner.nn.vgg import VGG, imagenet
from limner.rng import Rng
from limner.system import Game, Player, System, adam, to_uint8
from limner.systems.translation.pictures import each_of, taken
from limner.systems.translation.pixel_domain_transfer import resized

WAYS = tuple(product(range(6), (5, 3, 1), (3, 5, 0, -1)))
"""The 72 answers to one source: rank of the first exemplar, how many exemplars, and how far a pixel looks for its match
(pixels; -1: everywhere)."""

LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Exemplars:
    """What is copied from: M true pictures, and how the networks see their sources.

    targets, smooth: (M, 3, H, W) in [-1, 1]
    codes: (M, D), of length 1
    """

    targets: Tensor
    smooth: Tensor
    codes: Tensor

    def chosen(self, which: Sequence[int]) -> Exemplars:
        """Only these."""
        return Exemplars(*(kept[list(which)] for kept in (self.targets, self.smooth, self.codes)))


class PixelNN(System):
    """Sources (B, 3, H, W) -> (B, 3, H, W), in [-1, 1]; H and W are `size`."""

    config: Config
    preparation = Preparation(resize=96, crop=None, flip=False)
    sources: Tensor
    targets: Tensor
    known: Tensor

    @dataclass(frozen=True)
    class Config:
        size: tuple[int, int] = (96, 96)  # height and width
        layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")  # of VGG-16
        width: int = 64  # channels of VGG's first block; only 64 takes published weights
        hidden: int = 1024  # units in each of two layers that read a pixel's column of features
        padding: int = 48  # pixels around the source
        descriptor_padding: int = 64  # pixels around the smooth picture
        pixels: int = 2000  # of each picture, in a training step
        exemplars: int = 200  # different pairs that training keeps
        copies: Literal["colour", "luminance"] = "colour"  # the paper's way, and the published program's
        learning_rate: float = 1e-4

        def __post_init__(self) -> None:
            if not self.layers or self.exemplars < 1 or self.pixels < 1:
                raise BadInput("PixelNN: layers names at least one layer of VGG; exemplars and pixels are 1 or more.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.regressor = PixelNet(config, config.padding)
        self.descriptor = PixelNet(config, config.descriptor_padding)
        for name in ("sources", "targets"):
            self.register_buffer(name, torch.zeros(config.exemplars, 3, *config.size, dtype=torch.uint8))
        self.register_buffer("known", torch.zeros((), dtype=torch.int64))  # different pairs met
        self._ready: Exemplars | None = None
        self.players = {
            name: Player((network,), adam(config.learning_rate))
            for name, network in (("regressor", self.regressor), ("descriptor", self.descriptor))
        }
        init.kaiming(self)

    def play(self, batch: Paired, rng: Rng) -> Game:
        """Both networks learn the target at pixels drawn at random, with a squared error: the regressor from the
        source, the descriptor, whose features are compared later, from what the regressor makes of it."""
        height, width = self.config.size
        if {batch.source.shape[-2:], batch.target.shape[-2:]} != {(height, width)}:
            other = "x".join(map(str, reversed(batch.source.shape[-2:])))
            raise BadInput(
                f"PixelNN: the pictures are {other} and should be {width}x{height}. Resize them or set size."
            )
        self.remember(batch)
        count = self.config.pixels
        drawn = [rng.integers(name, 0, side, count) for name, side in (("row", height), ("column", width))]
        places = torch.stack(drawn, -1).to(batch.source.device)  # (B, pixels, 2)
        truth = torch.stack([y[:, at[:, 0], at[:, 1]].T for y, at in zip(batch.target, places, strict=True)])
        yield "regressor", {"error": F.mse_loss(self.regressor.at(batch.source, places), truth)}
        with torch.no_grad():
            smooth = self.smooth(batch.source)
        yield "descriptor", {"error": F.mse_loss(self.descriptor.at(smooth, places), truth)}

    @torch.no_grad()
    def remember(self, batch: Paired) -> None:
        """Keep the pairs of a batch that are not kept yet; the newest take the places of the oldest."""
        self._ready = None
        pairs = [((each + 1) * 127.5).round().clamp(0, 255).to(torch.uint8) for each in (batch.source, batch.target)]
        for source, target in zip(*pairs, strict=True):
            known = int(self.known)
            same = (self.sources == source).flatten(1).all(1) & (self.targets == target).flatten(1).all(1)
            if not same[:known].any():
                self.sources[known % len(self.sources)], self.targets[known % len(self.sources)] = source, target
                self.known += 1

    def smooth(self, source: Tensor) -> Tensor:
        """What the regressor says of (B, 3, H, W): the same shape, in [-1, 1]."""
        said: Tensor = self.regressor(source)
        return said.clamp(-1, 1)

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """Source, what the regressor makes of it, and the target."""
        source, target = batch.source[:6], batch.target[:6]
        return torch.stack([source, self.smooth(source), target], 1).flatten(0, 1)

    # Copying

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """See `Translates`. `seed` counts through `WAYS`, of which 0 is the most faithful; copies are made from what
        training has kept. Pictures of another size are resized to the system's own, and the results back."""
        if not int(self.known):
            raise BadInput(
                "PixelNN has no exemplars to copy from. Train it, or give pairs: "
                "model.synthesise(pictures, model.exemplars(sources, targets))."
            )
        if self._ready is None:
            kept = [known[: int(self.known)].movedim(1, -1).cpu().numpy() for known in (self.sources, self.targets)]
            self._ready = self.exemplars(*kept)
        rank, neighbours, window = WAYS[seed % len(WAYS)]
        return self.synthesise(pictures, self._ready, neighbours=neighbours, rank=rank, window=window)

    @torch.inference_mode()
    def exemplars(self, sources: np.ndarray, targets: np.ndarray) -> Exemplars:
        """Pairs to copy from, uint8 (M, H, W, 3) each, seen by the networks as they are now."""
        if sources.shape[:1] != targets.shape[:1]:
            raise BadInput(f"Exemplars are pairs: {len(sources)} sources and {len(targets)} targets are not.")
        smooth = torch.cat([self.smooth(each) for each in each_of(self.ours(sources))])
        codes = torch.cat([self.code(each) for each in each_of(smooth)])
        return Exemplars(self.ours(targets), smooth, codes)

    @torch.inference_mode()
    def synthesise(
        self, pictures: np.ndarray, exemplars: Exemplars, *, neighbours: int = 5, rank: int = 0, window: int = 3
    ) -> np.ndarray:
        """Sources uint8 (N, H, W, 3) -> the same shape, copied from `exemplars`.

        neighbours: how many exemplars, the most similar first, are copied from; fewer where there are no more
        rank: the exemplar that counts as the most similar one, from 0; higher ones give other answers
        window: how many pixels from its own place a pixel's match may be; 0: the same place, -1: anywhere
        """
        if neighbours < 1 or rank < 0 or window < -1 or not len(exemplars.codes):
            raise BadInput(
                f"PixelNN wants exemplars (there are {len(exemplars.codes)}), neighbours from 1 (not {neighbours}), "
                f"rank from 0 (not {rank}) and window from -1 (not {window})."
            )
        painted = []
        for source in each_of(self.ours(pictures)):
            smooth = self.smooth(source)
            likest = (exemplars.codes @ self.code(smooth)[0]).argsort(descending=True, stable=True)
            first = max(0, min(rank, len(likest) - neighbours))
            painted.append(self.copied(smooth, exemplars.chosen(likest[first : first + neighbours].tolist()), window))
        return to_uint8(resized(torch.cat(painted), pictures.shape[1:3]))

    def copied(self, smooth: Tensor, nearest: Exemplars, window: int) -> Tensor:
        """A smooth picture (1, 3, H, W) with the details of these exemplars."""
        described = self.described(smooth)
        found = [match(described, self.described(each), window) for each in each_of(nearest.smooth)]
        scores, places = torch.stack([score for score, _ in found]), [place for _, place in found]  # (K, H, W)
        if self.config.copies == "colour":
            colours = torch.stack([at(*each) for each in zip(nearest.targets, places, strict=True)])
            return colours.gather(0, scores.argmax(0).expand(1, 3, -1, -1))
        lacking = luminance(nearest.targets) - luminance(nearest.smooth)  # (K, 1, H, W)
        details = torch.stack([at(*each) for each in zip(lacking, places, strict=True)])
        weights = scores.clamp(min=1e-6)[:, None]
        return smooth + (weights * details).sum(0, keepdim=True) / weights.sum(0, keepdim=True)

    def described(self, smooth: Tensor) -> Tensor:
        """Descriptors (C, H, W) of length 1 of the pixels of (1, 3, H, W)."""
        columns = self.descriptor.columns(smooth, everywhere(smooth))[0]
        return F.normalize(columns.reshape(-1, *smooth.shape[-2:]), dim=0)

    def code(self, smooth: Tensor) -> Tensor:
        """(1, 3, H, W) -> (1, D): the deepest features, all in a row, of length 1."""
        return F.normalize(self.descriptor.features(smooth)[-1].flatten(1))

    def ours(self, pictures: np.ndarray) -> Tensor:
        """uint8 (N, H, W, 3) -> (N, 3, *size) in [-1, 1], on the model's device."""
        return resized(taken(pictures, system="PixelNN").to(self.known.device), self.config.size).clamp(-1, 1)


def match(query: Tensor, key: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """For every pixel of `query` the pixel of `key` with the largest product: its score and its number, (H, W) each.

    query, key: descriptors (C, H, W). window: as in `PixelNN.synthesise`; of equal ones the nearer is taken.
    """
    height, width = query.shape[-2:]
    if window < 0:
        pixels = query.flatten(1).T
        few = pixels.chunk(math.ceil(len(pixels) / 1024))  # all scores at once would take much memory
        scores, places = zip(*((part @ key.flatten(1)).max(1) for part in few), strict=True)
        return torch.cat(scores).view(height, width), torch.cat(places).view(height, width)
    score = torch.full((height, width), -torch.inf, device=query.device)
    place = torch.zeros((height, width), dtype=torch.int64, device=query.device)
    numbers = torch.arange(height * width, device=query.device).view(height, width)
    reach = range(-window, window + 1)
    for down, right in sorted(product(reach, reach), key=lambda by: by[0] ** 2 + by[1] ** 2):
        rows, columns = (slice(max(0, -by), side - max(0, by)) for by, side in ((down, height), (right, width)))
        moved = [slice(part.start + by, part.stop + by) for part, by in ((rows, down), (columns, right))]
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue  # the window is larger than the picture
        here = (query[:, rows, columns] * key[:, moved[0], moved[1]]).sum(0)
        better = here > score[rows, columns]
        score[rows, columns] = torch.where(better, here, score[rows, columns])
        place[rows, columns] = torch.where(better, numbers[moved[0], moved[1]], place[rows, columns])
    return score, place


def at(values: Tensor, places: Tensor) -> Tensor:
    """What (C, H, W) holds at pixels of these numbers (H, W)."""
    return values.flatten(1)[:, places]


def luminance(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 1, H, W). Adding to it, with chrominance kept, adds the same to red, green and blue."""
    return (pictures * pictures.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)


def everywhere(pictures: Tensor) -> Tensor:
    """All places of (B, 3, H, W), row by row: (B, H W, 2)."""
    rows, columns = (torch.arange(side, device=pictures.device) for side in pictures.shape[-2:])
    return torch.cartesian_prod(rows, columns).expand(len(pictures), -1, -1)


class PixelNet(nn.Module):
    """Reads each pixel by itself, off a column of VGG's features of several scales (Bansal et al., 2017)."""

    def __init__(self, config: PixelNN.Config, padding: int) -> None:
        super().__init__()
        self.layers, self.padding = config.layers, padding
        self.trunk = VGG(16, config.layers[-1], width=config.width)
        if unknown := sorted(set(config.layers) - self.trunk.numbers.keys()):
            raise BadInput(f"PixelNN: {', '.join(unknown)}: no layer of VGG-16, or deeper than the last of layers.")
        blocks = [min(2 ** (int(layer[4]) - 1), 8) for layer in config.layers]  # VGG doubles its width three times
        channels = sum(config.width * times for times in blocks)
        self.head = nn.Sequential(
            nn.Linear(channels, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.hidden), nn.ReLU(),
            nn.Linear(config.hidden, 3),
        )  # fmt: skip

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W); one after the other, for the columns of all pixels take much memory."""
        read = torch.cat([self.at(each, everywhere(each)) for each in each_of(pictures)])
        return read.mT.reshape(pictures.shape)

    def at(self, pictures: Tensor, places: Tensor) -> Tensor:
        """At places (B, P, 2) of pictures (B, 3, H, W): (B, P, 3)."""
        read: Tensor = self.head(self.columns(pictures, places).mT)
        return read

    def columns(self, pictures: Tensor, places: Tensor) -> Tensor:
        """Features (B, C, P) of all scales at places (B, P, 2): bilinear between the cells of coarser ones."""
        sides = places.new_tensor(pictures.shape[-2:]) + 2 * self.padding
        on = 2 * (places + self.padding + 0.5) / sides - 1  # from -1 to 1 over the padded picture
        grid = on.flip(-1)[:, None]  # grid_sample wants x first
        scales = [F.grid_sample(each.float(), grid, align_corners=False) for each in self.features(pictures)]
        return torch.cat(scales, 1)[:, :, 0]

    def features(self, pictures: Tensor) -> list[Tensor]:
        """The outputs of `layers` for pictures with zeros around them."""
        padded = F.pad(imagenet(pictures), [self.padding] * 4)
        found: list[Tensor] = self.trunk(padded, self.layers)
        return found
