"""Serves the Sticker World as data: every kind, in memory, as a pure function of (seed, index).

The functions give numpy arrays, (H, W, 3) uint8, and need no torch; `StickerData` gives batches of tensors.
"""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from limner.errors import BadInput
from limner.rng import derive
from limner.stickers import edits
from limner.stickers.backdrop import STUFF
from limner.stickers.captions import caption
from limner.stickers.edits import Edit
from limner.stickers.vocabulary import Noun
from limner.stickers.vocabulary import nouns as all_nouns
from limner.stickers.world import (
    SceneTruth,
    columns_of,
    combination_is_held_out,
    compose,
    render,
    render_labels,
    times_of,
)

if TYPE_CHECKING:
    import torch

    from limner.data.kinds import Batch

Kind = Literal["captioned", "edits", "paired", "unpaired", "labelled"]
Pairing = Literal["lines", "labels", "night"]
KINDS: tuple[Kind, ...] = ("captioned", "edits", "paired", "unpaired", "labelled")
PAIRINGS: tuple[Pairing, ...] = ("lines", "labels", "night")
SPLITS = ("train", "held-out")
Pool = Sequence[Noun] | None


def scene(
    seed: int,
    index: int,
    width: int = 256,
    height: int = 144,
    *,
    nouns: Pool = None,
    styles: Sequence[str] = ("fluent",),
    split: str = "train",
) -> SceneTruth:
    """The scene of `(seed, index)` on this side of the split.

    About 3 % of the combinations of nouns, place and time are held out: training never sees them.
    """
    held_out = _held_out(split)
    attempt = 0
    while True:
        number = derive(seed, "scene number", split, index, attempt)
        truth = compose(seed, number, nouns=nouns, columns=columns_of(width, height), styles=styles)
        if combination_is_held_out(truth) == held_out:
            return truth
        attempt += 1


def _held_out(split: str) -> bool:
    if split not in SPLITS:
        raise BadInput(f"There is no split {split!r}; there are: {', '.join(SPLITS)}.")
    return split == "held-out"


def captioned(
    seed: int,
    index: int,
    width: int = 256,
    height: int = 144,
    *,
    nouns: Pool = None,
    styles: Sequence[str] = ("fluent",),
    split: str = "train",
    wording: int | None = None,
) -> tuple[np.ndarray, str, SceneTruth]:
    """Picture (height, width, 3) uint8, caption, truth. `wording` 0 is the canonical caption; `None` draws one."""
    truth = scene(seed, index, width, height, nouns=nouns, styles=styles, split=split)
    number = derive(seed, "wording", index) if wording is None else wording
    return render(truth, width, height), caption(truth, number, styled=len(styles) > 1), truth


def edited(
    seed: int, index: int, width: int = 256, height: int = 144, *, nouns: Pool = None, split: str = "train"
) -> tuple[np.ndarray, np.ndarray, Edit]:
    """Before and after, (height, width, 3) uint8 each, and the edit. In training neither shows a held-out
    combination; on the other side at least one does."""
    held_out = _held_out(split)
    attempt = 0
    while True:
        number = derive(seed, "edit number", split, index, attempt)
        made = edits.edit(seed, number, nouns=nouns, columns=columns_of(width, height))
        if any(map(combination_is_held_out, (made.before, made.after))) == held_out:
            return render(made.before, width, height), render(made.after, width, height), made
        attempt += 1


def paired(
    seed: int,
    index: int,
    width: int = 256,
    height: int = 144,
    *,
    pairing: Pairing = "lines",
    nouns: Pool = None,
    split: str = "train",
) -> tuple[np.ndarray, np.ndarray, SceneTruth]:
    """Source and target, (height, width, 3) uint8 each, and the target's truth: a line drawing and its colours
    (`lines`), a label map in false colours and its scene (`labels`), day and night (`night`).

    Lines and labels don't tell the time, weather or season nor what was painted, so their targets are `plain`.
    """
    attempt = 0
    while True:
        truth = scene(seed, derive(seed, "pair", index, attempt), width, height, nouns=nouns, split=split)
        if pairing in ("lines", "labels"):
            truth = plain(truth)
        if pairing == "lines":
            return render(truth, width, height, style="line"), render(truth, width, height), truth
        if pairing == "labels":
            return colour_labels(render_labels(truth, width, height)[0]), render(truth, width, height), truth
        if pairing != "night":
            raise BadInput(f"There is no pairing {pairing!r}; there are: {', '.join(PAIRINGS)}.")
        if {"day", "night"} <= set(times_of(truth.place, {thing.noun for thing in truth.things})):
            day, night = (render(replace(truth, time=time), width, height) for time in ("day", "night"))
            return day, night, replace(truth, time="night")
        attempt += 1


def plain(truth: SceneTruth) -> SceneTruth:
    """The same scene in unpainted colours on a fine summer day (or the earliest time at which it can be)."""
    times = times_of(truth.place, {thing.noun for thing in truth.things})
    time = min(times, key=("day", "dusk", "night").index)
    things = tuple(replace(thing, colour=None) for thing in truth.things)
    return replace(truth, time=time, weather="clear", season="summer", things=things)


def unpaired(
    seed: int, index: int, width: int = 256, height: int = 144, *, nouns: Pool = None, split: str = "train"
) -> tuple[np.ndarray, np.ndarray]:
    """Two different scenes, (height, width, 3) uint8 each: one in Fluent's flat style, one in Noto's shaded one."""
    a, b = (derive(seed, domain, index) for domain in ("fluent", "noto"))
    return (
        render(scene(seed, a, width, height, nouns=nouns, split=split), width, height),
        render(scene(seed, b, width, height, nouns=nouns, split=split), width, height, style="noto"),
    )


def labelled(
    seed: int, index: int, width: int = 256, height: int = 144, *, nouns: Pool = None, split: str = "train"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, SceneTruth]:
    """Picture (height, width, 3) uint8, class map and instance map (height, width) uint16, truth."""
    truth = scene(seed, index, width, height, nouns=nouns, split=split)
    return render(truth, width, height), *render_labels(truth, width, height), truth


@cache
def class_names() -> tuple[str, ...]:
    """What the numbers of class maps mean: the backdrop's stuff, then the nouns."""
    return (*STUFF, *(noun.name for noun in all_nouns()))


@cache
def _palette() -> np.ndarray:
    golden = 0.618033988749895  # neighbouring numbers get hues that are far apart
    colours = [
        colorsys.hsv_to_rgb((k * golden) % 1, (0.35 if k < len(STUFF) else 0.85), (0.95, 0.75, 0.55)[k % 3])
        for k in range(len(class_names()))
    ]
    return (np.asarray(colours) * 255 + 0.5).astype(np.uint8)


def colour_labels(classes: np.ndarray) -> np.ndarray:
    """A class map (H, W) in false colours, (H, W, 3) uint8: muted for the backdrop, vivid for nouns."""
    coloured: np.ndarray = _palette()[classes]
    return coloured


@dataclass(frozen=True)
class StickerData:
    """Endless batches of one kind, each a pure function of (seed, split, step): a resumed run sees the same."""

    kind: Kind = "captioned"
    width: int = 256
    height: int = 144
    seed: int = 0
    split: str = "train"
    nouns: tuple[Noun, ...] | None = None
    styles: tuple[str, ...] = ("fluent",)  # of captioned scenes
    pairing: Pairing = "lines"  # of pairs

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BadInput(f"The Sticker World has no data of the kind {self.kind!r}; it has: {', '.join(KINDS)}.")
        _held_out(self.split)

    def indices(self, step: int, size: int) -> list[int]:
        """The sample numbers of a batch."""
        return [derive(self.seed, "batch", step, k) for k in range(size)]

    def batch(self, step: int, size: int) -> Batch:
        """Batch number `step`, with `size` samples, as the data class of its kind."""
        return self.take(self.indices(step, size))

    @property
    def gives(self) -> type[Batch]:
        """The data class of its kind."""
        from limner.data import kinds

        every: dict[Kind, type[Batch]] = {
            "captioned": kinds.Captioned, "edits": kinds.Edits, "paired": kinds.Paired, "unpaired": kinds.Unpaired,
            "labelled": kinds.Labelled,
        }  # fmt: skip
        return every[self.kind]

    def held_out(self) -> StickerData:
        """Scenes that training never shows."""
        return replace(self, split="held-out")

    @property
    def classes(self) -> tuple[str, ...]:
        """What the numbers of its class maps mean: the backdrop's stuff, then the nouns that can appear."""
        return class_names() if self.nouns is None else (*STUFF, *(noun.name for noun in self.nouns))

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options, as `Folder.decides`."""
        decided: dict[str, Any] = {} if self.kind == "captioned" else {"size": (self.height, self.width)}
        return decided | ({"classes": len(self.classes), "unknown": False} if self.kind == "labelled" else {})

    def take(self, numbers: Sequence[int]) -> Batch:
        """The samples of these numbers."""
        import torch

        from limner.data import kinds

        seed, width, height, pool, split = self.seed, self.width, self.height, self.nouns, self.split
        if self.kind == "captioned":
            scenes = [captioned(seed, k, width, height, nouns=pool, styles=self.styles, split=split) for k in numbers]
            return kinds.Captioned(to_tensor([s[0] for s in scenes]), tuple(s[1] for s in scenes))
        if self.kind == "edits":
            changes = [edited(seed, k, width, height, nouns=pool, split=split) for k in numbers]
            return kinds.Edits(
                to_tensor([before for before, _, _ in changes]),
                tuple(made.instruction for _, _, made in changes),
                to_tensor([after for _, after, _ in changes]),
                tuple(caption(made.before) for _, _, made in changes),
                tuple(caption(made.after) for _, _, made in changes),
            )
        if self.kind == "paired":
            pairs = [paired(seed, k, width, height, pairing=self.pairing, nouns=pool, split=split) for k in numbers]
            return kinds.Paired(to_tensor([p[0] for p in pairs]), to_tensor([p[1] for p in pairs]))
        if self.kind == "unpaired":
            couples = [unpaired(seed, k, width, height, nouns=pool, split=split) for k in numbers]
            return kinds.Unpaired(to_tensor([a for a, _ in couples]), to_tensor([b for _, b in couples]))
        maps = [labelled(seed, k, width, height, nouns=pool, split=split) for k in numbers]
        renumbered = np.array([self.classes.index(name) if name in self.classes else -1 for name in class_names()])
        return kinds.Labelled(
            to_tensor([m[0] for m in maps]),
            torch.from_numpy(renumbered[np.stack([m[1] for m in maps])]),
            torch.from_numpy(np.stack([m[2] for m in maps]).astype(np.int64)),
        )


def to_tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    """(B, 3, H, W) float in [-1, 1] of B uint8 pictures (H, W, 3)."""
    import torch

    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()
