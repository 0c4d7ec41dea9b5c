"""The Sticker World as training data: what a sample shows depends on its number alone.

`scenes` are the storybook's: its nouns at their normal size, in clear weather, on a grid of even cells, so that a small
model that writes cells of 16 pixels sees the same thing made of the same cells wherever it stands. `collages` crowd a
place with stickers and mean nothing: an autoencoder that learns from them sees every sticker many times sooner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.data.kinds import Captioned, Pictures, Read
from limner.rng import derive, numpy_rng
from limner.stickers.art import STYLES
from limner.stickers.backdrop import STAGES
from limner.stickers.captions import caption, describe
from limner.stickers.edits import edit
from limner.stickers.kinds import to_tensor
from limner.stickers.vocabulary import COLOURS, PLACES, TIMES, WEATHERS, Noun, noun, storybook_nouns
from limner.stickers.vocabulary import SEASONS as ALL_SEASONS
from limner.stickers.world import (
    COLUMNS,
    ROWS,
    SIDES,
    SceneTruth,
    Thing,
    combination_is_held_out,
    compose,
    is_held_out,
    render,
    weathers_of,
    zones,
)


def storybook_scene(seed: int, number: int, *, held_out: bool = False) -> SceneTruth:
    """The storybook's scene `number`, on the asked side of the split."""
    attempt = 0
    while True:
        truth = simplified(compose(seed, derive(seed, "storybook", number, attempt), nouns=storybook_nouns()))
        if combination_is_held_out(truth) == held_out:
            return truth
        attempt += 1


def simplified(truth: SceneTruth) -> SceneTruth:
    """The same scene in the storybook's narrower world."""
    return replace(
        truth,
        weather="clear",
        season="summer",
        layout=0,
        things=tuple(_coarse(thing) for thing in truth.things),
    )


def coarse_side(what: Noun) -> int:
    """Cells (of 8 pixels) that a noun's square takes in the storybook: an even number."""
    return max(4, 2 * round(SIDES[what.size]["normal"] / 2 + 0.1))


def _coarse(thing: Thing) -> Thing:
    side = coarse_side(noun(thing.noun))
    left = min(max(0, 2 * round((thing.centre - side / 2) / 2)), COLUMNS - side)
    bottom = min(max(side, 2 * round(thing.bottom / 2)), ROWS)
    return replace(thing, size="normal", colour=None, side=side, left=left, bottom=bottom, flipped=False)


@dataclass(frozen=True)
class Scenes:
    """Storybook scenes with captions, (3, 144, 256)."""

    seed: int = 0
    held_out: bool = False

    def truth(self, number: int) -> SceneTruth:
        return storybook_scene(self.seed, number, held_out=self.held_out)

    def words(self, number: int) -> str:
        return caption(self.truth(number), derive(self.seed, "wording", number))

    def take(self, numbers: Sequence[int]) -> Captioned:
        truths = [self.truth(number) for number in numbers]
        words = tuple(caption(t, derive(self.seed, "wording", n)) for t, n in zip(truths, numbers, strict=True))
        return Captioned(to_tensor([render(truth, 256, 144) for truth in truths]), words)


@dataclass(frozen=True)
class Crowds:
    """Every other sample a scene, every other one a place with up to seven things, all of them named.

    A model that writes pictures from words meets each noun, with its name, several times as often as in scenes alone.
    """

    seed: int = 0

    def told(self, number: int) -> tuple[SceneTruth, str]:
        """A sample's truth and its caption."""
        if number % 2:
            scenes = Scenes(self.seed)
            return scenes.truth(number), scenes.words(number)
        truth = Collages(self.seed, most=7).truth(number)
        return truth, _roll_call(truth)

    def take(self, numbers: Sequence[int]) -> Captioned:
        told = [self.told(number) for number in numbers]
        return Captioned(to_tensor([render(truth, 256, 144) for truth, _ in told]), tuple(words for _, words in told))


def _roll_call(truth: SceneTruth) -> str:
    """Place and time, then everything that is there."""
    place = next(term for term in PLACES if term.name == truth.place).phrases[0]
    time = next(term for term in TIMES if term.name == truth.time).phrases[0]
    first = {thing.kind: thing for thing in truth.things}
    return f"{place} {time}: " + ", ".join(describe(first[kind], min(n, 4)) for kind, n in truth.counts.items())


@dataclass(frozen=True)
class Collages:
    """Places crowded with stickers, (3, height, width); every other one is a proper scene."""

    seed: int = 0
    width: int = 256
    height: int = 144
    most: int = 40

    def truth(self, number: int) -> SceneTruth:
        if number % 2:
            return storybook_scene(self.seed, number)
        draw = numpy_rng(self.seed, "collage", number)
        while True:
            place = PLACES[int(draw.integers(len(PLACES)))].name
            local = [what for what in storybook_nouns() if zones(what.name, place)]
            things = scattered(draw, place, local, self.most)
            time = "night" if place == "space" else ("day", "dusk", "night")[int(draw.integers(3))]
            truth = SceneTruth(place, time, "clear", "summer", "fluent", 0, things)
            if not combination_is_held_out(truth):
                return truth

    def take(self, numbers: Sequence[int]) -> Pictures:
        return Pictures(to_tensor([render(self.truth(number), self.width, self.height) for number in numbers]))


def scattered(draw: np.random.Generator, place: str, pool: Sequence[Noun], most: int) -> tuple[Thing, ...]:
    """At most `most` things of these nouns, anywhere, none hiding another."""
    things: list[Thing] = []
    taken: set[tuple[int, int]] = set()
    for _ in range(40):
        if len(things) == most:
            break
        what = pool[int(draw.integers(len(pool)))]
        side = coarse_side(what)
        left, bottom = anywhere(draw, side)
        cells = {(x, y) for x in range(left, left + side) for y in range(bottom - side, bottom)}
        if cells & taken:
            continue
        taken |= cells
        things.append(Thing(what.name, None, "normal", zones(what.name, place)[0], left, bottom, side))
    return tuple(things)


def anywhere(draw: np.random.Generator, side: int) -> tuple[int, int]:
    """Left and bottom of a square of `side` cells, wholly in the picture, on the grid of even cells."""
    return 2 * int(draw.integers((COLUMNS - side) // 2 + 1)), side + 2 * int(draw.integers((ROWS - side) // 2 + 1))


@dataclass(frozen=True)
class Lineups:
    """Captioned scenes in groups of eight that are easily confused: one place, one time, one to three of four nouns.

    A model that tells pictures apart by their words learns from chance neighbours to look at place and time; here it
    has to look at what is there.
    """

    seed: int = 0

    def told(self, number: int) -> tuple[SceneTruth, str]:
        """A sample's truth and its caption."""
        group = numpy_rng(self.seed, "group", number // 8)
        place = PLACES[int(group.integers(len(PLACES)))].name
        time = "night" if place == "space" else ("day", "dusk", "night")[int(group.integers(3))]
        local = [what for what in storybook_nouns() if zones(what.name, place)]
        pool = [local[int(i)] for i in group.permutation(len(local))[:4]]
        choices = [
            chosen
            for size in (1, 2, 3)
            for chosen in combinations(pool, size)
            if not is_held_out((what.name for what in chosen), place, time)
        ]
        chosen = choices[int(group.permutation(len(choices))[number % 8 % len(choices)])]
        draw = numpy_rng(self.seed, "lineup", number)
        things: tuple[Thing, ...] = ()
        while {thing.noun for thing in things} != {what.name for what in chosen}:
            things = scattered(draw, place, chosen, len(chosen) + int(draw.integers(2)))
        truth = SceneTruth(place, time, "clear", "summer", "fluent", 0, things)
        return truth, caption(truth, derive(self.seed, "wording", number)) if number % 2 else _roll_call(truth)

    def take(self, numbers: Sequence[int]) -> Captioned:
        told = [self.told(number) for number in numbers]
        return Captioned(to_tensor([render(truth, 256, 144) for truth, _ in told]), tuple(words for _, words in told))


@dataclass(frozen=True)
class Readings:
    """What the sticker reader learns from, with its truth: a third storybook scenes, the others freer ones, in which
    paint, weather, season and style are as common as can be. Held-out combinations are not among them."""

    seed: int = 0

    def truth(self, number: int) -> SceneTruth:
        draw = numpy_rng(self.seed, "reading", number)
        style = ("fluent",) * 8 + ("noto", "line")
        if number % 3 == 0:
            return replace(storybook_scene(self.seed, number), style=style[int(draw.integers(10))])
        attempt = 0
        while True:
            free = derive(self.seed, "free", number, attempt)
            if number % 3 == 1:
                truth = compose(self.seed, free, nouns=storybook_nouns())
            else:  # with one thing at least that paint fits
                truth = edit(self.seed, free, kind="recolour", nouns=storybook_nouns()).after
            if not combination_is_held_out(truth):
                return _varied(truth, draw)
            attempt += 1

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options."""
        names = {f"{kind}s": names for kind, names in READABLE.items()}
        return {"nouns": tuple(noun.name for noun in storybook_nouns()), "colours": COLOURS} | names

    def take(self, numbers: Sequence[int]) -> Read:
        truths = [self.truth(number) for number in numbers]
        return Read(
            to_tensor([render(truth, 256, 144) for truth in truths]),
            *(torch.tensor(found) for found in zip(*map(_readable, truths), strict=True)),
            *(torch.tensor([names.index(getattr(t, kind)) for t in truths]) for kind, names in READABLE.items()),
        )


def _varied(truth: SceneTruth, draw: np.random.Generator) -> SceneTruth:
    """The same scene with any style, season and weather that it can have, and paint on every other thing."""

    def one(choices: Sequence[str]) -> str:
        return choices[int(draw.integers(len(choices)))]

    season = one([each.name for each in ALL_SEASONS]) if STAGES[truth.place].seasonal else truth.season
    weather = one(weathers_of(truth.place, season))
    things = tuple(
        replace(thing, colour=one(colours)) if (colours := noun(thing.noun).colours) and draw.random() < 0.5 else thing
        for thing in truth.things
    )
    return replace(truth, style=one(STYLES), season=season, weather=weather, things=things)


READABLE = {
    "place": tuple(place.name for place in PLACES),
    "time": tuple(time.name for time in TIMES),
    "season": tuple(season.name for season in ALL_SEASONS),
    "style": STYLES,
    "weather": tuple(weather.name for weather in WEATHERS),
}
"""What the reader names besides things, and the names."""


def _readable(truth: SceneTruth, most: int = 8) -> tuple[list[tuple[int, int, int]], list[int], list[int]]:
    """Noun, row and column of each thing's centre, padded with -1; its colour; its side."""
    names, things = [what.name for what in storybook_nouns()], truth.things[:most]
    cells = [
        (names.index(t.noun), min(int(t.bottom - t.side / 2), ROWS - 1), min(int(t.centre), COLUMNS - 1))
        for t in things
    ]
    none = [0] * (most - len(things))
    colours = [COLOURS.index(t.colour) + 1 if t.colour else 0 for t in things]
    return cells + [(-1, -1, -1)] * len(none), colours + none, [t.side for t in things] + none


def pictures_of(truths: Sequence[SceneTruth]) -> Tensor:
    """(B, 3, 144, 256) in [-1, 1]."""
    return torch.cat([to_tensor([render(truth, 256, 144)]) for truth in truths])
