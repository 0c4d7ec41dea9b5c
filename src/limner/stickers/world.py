"""Composes scenes and renders them: a scene is plain data (the ground truth), a picture is a pure function of it.

`compose(seed, index)` decides what is where; `render` and `render_labels` draw exactly that, at any size. Things stand
on a grid that is 18 cells high (8 pixels at 256 x 144) and come in a few sizes, so that a small model can learn it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TypeVar

import numpy as np

from limner.rng import Key, derive, numpy_rng
from limner.stickers import backdrop
from limner.stickers.backdrop import LAYOUTS, STAGES, STUFF, Memory
from limner.stickers.sprites import LIGHTS, PLAIN, Light, blend, clip, ripple, shadow, sticker, veil
from limner.stickers.vocabulary import PLACES, Noun, noun, nouns

T = TypeVar("T")

ROWS = 18
COLUMNS = 32  # of a 16:9 picture
MOST_THINGS = 5
SIDES = {  # cells a thing's square takes, by natural size and as asked for
    "tiny": {"small": 3, "normal": 4, "big": 6},
    "small": {"small": 3, "normal": 5, "big": 8},
    "medium": {"small": 4, "normal": 6, "big": 8},
    "large": {"small": 6, "normal": 8, "big": 10},
    "huge": {"small": 8, "normal": 10, "big": 12},
}
RELATIONS = ("left of", "right of", "above", "below", "on", "under", "behind", "in front of", "inside")
_OPPOSITE = {"left of": "right of", "above": "below", "behind": "in front of"}
_COUNTS = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4)
_IN_SPACE = frozenset({"star", "moon", "shooting star", "rocket", "sun", "ghost", "fairy", "angel", "heart"})
_BY_NIGHT = frozenset({"star", "moon", "shooting star", "bat"})
ONLY_ONE = frozenset({"sun", "moon", "rainbow", "king"})
_BY_DAY = frozenset({"rainbow"})
_CLIMBERS = frozenset(
    {"bird", "crow", "owl", "parrot", "dove", "eagle", "rooster", "cat", "black cat", "squirrel", "monkey"}
)


@dataclass(frozen=True)
class Thing:
    """One sticker: its square stands on `bottom` and starts at `left`, in cells from the picture's upper left."""

    noun: str
    colour: str | None  # None: as the art has it
    size: str  # small, normal or big for its kind
    zone: str  # ground, sky, water or deep
    left: float
    bottom: float
    side: int
    flipped: bool = False

    @property
    def top(self) -> float:
        return self.bottom - self.side

    @property
    def centre(self) -> float:
        return self.left + self.side / 2

    @property
    def kind(self) -> tuple[str, str | None, str]:
        """What a caption can tell it by; things of one kind are counted together."""
        return self.noun, self.colour, self.size


@dataclass(frozen=True)
class Relation:
    """`subject` and `target` are places in `SceneTruth.things`; `kind` is one of `RELATIONS`."""

    subject: int
    kind: str
    target: int


@dataclass(frozen=True)
class SceneTruth:
    """Everything that a picture shows. `things` are in drawing order, back to front."""

    place: str
    time: str
    weather: str
    season: str
    style: str
    layout: int
    things: tuple[Thing, ...]
    arranged: tuple[Relation, ...] = ()  # relations that the scene was built around
    columns: int = COLUMNS

    @property
    def counts(self) -> dict[tuple[str, str | None, str], int]:
        """How many there are of each kind, in the order in which the scene was thought of."""
        counted: dict[tuple[str, str | None, str], int] = {}
        for thing in self.things:
            counted[thing.kind] = counted.get(thing.kind, 0) + 1
        return counted

    def box(self, thing: Thing) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of a thing's square as fractions of the picture."""
        return (
            thing.left / self.columns, thing.top / ROWS, (thing.left + thing.side) / self.columns, thing.bottom / ROWS,
        )  # fmt: skip

    @property
    def relations(self) -> tuple[Relation, ...]:
        """Every relation that can be said of two things that are the only ones of their kind."""
        counts = self.counts
        single = [k for k, thing in enumerate(self.things) if counts[thing.kind] == 1]
        held = list(self.arranged)
        arranged = {frozenset((r.subject, r.target)) for r in self.arranged}
        for a in single:
            for b in single:
                one, other = self.things[a], self.things[b]
                apart = (one.side + other.side) / 2
                if a != b and frozenset((a, b)) not in arranged and other.centre - one.centre >= 0.8 * apart:
                    held.append(Relation(a, "left of", b))
        held += [Relation(r.target, _OPPOSITE[r.kind], r.subject) for r in held if r.kind in _OPPOSITE]
        return tuple(held)


class Draws:
    """A short stream of uniform draws for one scene; fast, and the same on every machine."""

    def __init__(self, seed: int, *keys: Key) -> None:
        self.seed, self.keys, self.turn = seed, keys, 0
        self._numbers: list[float] = []

    def uniform(self) -> float:
        if not self._numbers:
            self._numbers = numpy_rng(self.seed, *self.keys, self.turn).random(64).tolist()
            self.turn += 1
        return self._numbers.pop()

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.uniform() * len(options))]

    def chance(self, share: float) -> bool:
        return self.uniform() < share


@cache
def zones(name: str, place: str) -> tuple[str, ...]:
    """Where in a place a noun can be; empty when it can't be there at all."""
    stage, what = STAGES[place], noun(name)
    if stage.indoor:
        return ("ground",) if "indoor" in what.where else ()
    if place == "cave":
        fits = what.category != "furniture" and (
            "indoor" in what.where or (what.category == "animal" and "ground" in what.where)
        )
        return ("ground",) if fits else ()
    found = []
    if stage.ground and "ground" in what.where:
        found.append("ground")
    if stage.water and "water" in what.where:
        found.append("water")
    if stage.deep and "deep" in what.where:
        found.append("deep")
    if stage.sky and "sky" in what.where and (place != "space" or name in _IN_SPACE):
        found.append("sky")
    return tuple(found)


@cache
def places_of(name: str) -> tuple[str, ...]:
    """The places where a noun can be."""
    return tuple(place.name for place in PLACES if zones(name, place.name))


def compose(
    seed: int,
    index: int,
    *,
    nouns: Sequence[Noun] | None = None,
    columns: int = COLUMNS,
    styles: Sequence[str] = ("fluent",),
) -> SceneTruth:
    """The scene of `(seed, index)`: the same on every machine, whatever was made before.

    `nouns` limits what can appear; `columns` is the picture's width in cells (`columns_of` tells it for a size).
    """
    draws = Draws(seed, "scene", index)
    pool = tuple(nouns) if nouns is not None else _all_nouns()
    for _ in range(20):
        scene = _attempt(draws, pool, columns, styles)
        if scene is not None:
            return scene
    raise ValueError(f"no scene of these {len(pool)} nouns fits {columns} columns")


def columns_of(width: int, height: int) -> int:
    """The width of a picture in cells."""
    return round(ROWS * width / height)


def _all_nouns() -> tuple[Noun, ...]:
    return nouns()


@lru_cache(maxsize=64)
def _pools(pool: tuple[Noun, ...]) -> dict[str, tuple[Noun, ...]]:
    return {place.name: tuple(n for n in pool if zones(n.name, place.name)) for place in PLACES}


def _attempt(draws: Draws, pool: tuple[Noun, ...], columns: int, styles: Sequence[str]) -> SceneTruth | None:
    first = draws.pick(pool)
    place = draws.pick(places_of(first.name))
    local = _pools(pool)[place]
    chosen = [first]
    for _ in range(draws.pick((0, 0, 0, 1, 1, 1, 1, 2, 2, 2))):
        other = draws.pick(local)
        names = {n.name for n in (*chosen, other)}
        if other not in chosen and not (names & _BY_NIGHT and names & (_BY_DAY | {"sun"})):
            chosen.append(other)
    time, weather, season = _moment(draws, place, {n.name for n in chosen})
    builder = Builder(draws, place, columns)
    done = builder.relate(chosen) if len(chosen) > 1 and draws.chance(0.6) else 0
    for what in chosen[done:]:
        builder.add_kind(what)
    if not builder.placed:
        return None
    things, arranged = builder.finish()
    style = draws.pick(styles)
    return SceneTruth(place, time, weather, season, style, int(draws.uniform() * LAYOUTS), things, arranged, columns)


def _moment(draws: Draws, place: str, names: set[str]) -> tuple[str, str, str]:
    """A time, weather and season in which all these can be in this place."""
    times = times_of(place, names)
    time = draws.pick(times)
    season = draws.pick(("spring", "summer", "autumn", "winter")) if STAGES[place].seasonal else "summer"
    weather = "clear"
    if draws.chance(0.36) and not names & {"sun", "moon", "star", "rainbow", "shooting star"}:
        weather = draws.pick(weathers_of(place, season))
    return time, weather, season


def times_of(place: str, names: set[str]) -> tuple[str, ...]:
    """The times of day at which a place can hold all these nouns."""
    if place == "space":
        return ("night",)
    if names & _BY_DAY:
        return ("day",)
    if "sun" in names:
        return ("day", "dusk")
    return ("dusk", "night", "night") if names & _BY_NIGHT else ("day", "dusk", "night")


def weathers_of(place: str, season: str) -> tuple[str, ...]:
    """The weathers that a place has in a season."""
    if not STAGES[place].weather:
        return ("clear",)
    if place == "snow" or (STAGES[place].seasonal and season == "winter"):
        return ("clear", "cloudy", "snowfall", "fog")
    if place == "desert":
        return ("clear", "cloudy", "fog")
    return ("clear", "cloudy", "rain", "fog")


class Builder:
    """Puts things into a place, one after the other, where there is room."""

    def __init__(self, draws: Draws, place: str, columns: int) -> None:
        self.draws, self.place, self.columns = draws, place, columns
        self.placed: list[tuple[float, Thing]] = []  # depth, thing
        self.arranged: list[tuple[Thing, str, Thing]] = []

    def dress(self, what: Noun, largest: int = 12) -> Thing:
        """A thing of this kind, with a size and perhaps a colour, not yet placed."""
        sizes = SIDES[what.size]
        size = self.draws.pick(("normal",) * 6 + ("small", "big"))
        if sizes[size] > min(largest, self.columns - 1):
            size = "normal" if sizes["normal"] <= min(largest, self.columns - 1) else "small"
        colour = self.draws.pick(what.colours) if what.colours and self.draws.chance(0.45) else None
        flipped = what.category in ("animal", "vehicle") and self.draws.chance(0.5)
        zone = self.draws.pick(zones(what.name, self.place))
        return Thing(what.name, colour, size, zone, 0, 0, sizes[size], flipped)

    def rows(self, thing: Thing) -> tuple[int, ...]:
        """Where its lower edge may lie."""
        stage = STAGES[self.place]
        rows = {"ground": stage.ground, "water": stage.water, "sky": stage.sky, "deep": stage.deep}[thing.zone]
        if thing.zone == "ground":  # big things further back, small ones in front: both are seen, and depth is right
            rows = rows[:2] if thing.side >= 8 else rows[-2:] if thing.side <= 5 else rows
        fitting = tuple(row for row in rows if row >= thing.side)
        return fitting or (max(*rows, thing.side),)

    def free(self, thing: Thing) -> Thing | None:
        """The thing at a spot where it hides nothing, or `None`."""
        spots = [
            (left, row)
            for row in self.rows(thing)
            for left in range(self.columns - thing.side + 1)
            if all(not collide(left, row, thing.side, other) for _, other in self.placed)
        ]
        if not spots:
            return None
        left, row = self.draws.pick(spots)
        return replace(thing, left=left, bottom=row)

    def add_kind(self, what: Noun) -> None:
        """Places one or more of a noun, as many as there is room for."""
        thing = self.dress(what)
        most = 1 if what.name in ONLY_ONE else 2 if thing.side >= 8 else 4
        wanted = min(self.draws.pick(_COUNTS), MOST_THINGS - len(self.placed), most)
        for k in range(wanted):
            spot = self.free(replace(thing, flipped=thing.flipped ^ (k % 2 == 1)) if thing.flipped else thing)
            if spot is None:
                return
            self.placed.append((depth_of(spot), spot))

    def relate(self, chosen: list[Noun]) -> int:
        """Places the first two nouns (or three: two passengers) in a relation that suits them; returns how many."""
        one, other = chosen[:2]
        options = [(a, kind, b) for a, b in ((one, other), (other, one)) for kind in self._kinds(a, b)]
        if not options:
            return 0
        subject, kind, target = self.draws.pick(options)
        b = self.dress(target)
        if kind == "above":
            b = replace(b, zone=next(z for z in zones(target.name, self.place) if z != "sky"))
        elif kind != "inside":
            b = replace(b, zone="ground")
        b = replace(
            b, bottom=self.draws.pick(self.rows(b)), left=int(self.draws.uniform() * (self.columns - b.side + 1))
        )
        room = {"on": b.side - 1, "inside": b.side - 1, "under": round(0.6 * b.side)}.get(kind, 12)
        a = self.dress(subject, largest=max(3, room))
        pair = [self._beside(a, kind, b, target, 1 if self.draws.chance(0.5) else -1)]
        if kind == "inside" and b.side >= 10 and a.side <= 6 and "inside" in self._kinds(chosen[-1], target):
            second = self.dress(chosen[-1], largest=6) if len(chosen) > 2 else None
            if second is not None and second.side <= 6:
                other_seat = self._beside(second, kind, b, target, 1)
                pair = [replace(t, left=t.left + shift) for t, shift in ((pair[0], -2.25), (other_seat, 2.25))]
        if any(t.top < 0 or t.left < 0 or t.left + t.side > self.columns for t in pair):
            return 0
        depth = depth_of(b)
        self.placed = [(depth - 0.1 if kind == "behind" else 0.0 if kind == "above" else depth + 0.1, t) for t in pair]
        self.placed.append((depth, b))
        self.arranged = [(t, kind, b) for t in pair]
        return 1 + len(pair)

    def _beside(self, a: Thing, kind: str, b: Thing, target: Noun, side: int) -> Thing:
        """The thing `a`, moved to where it is in a relation to the placed `b`."""
        middle = b.centre - a.side / 2
        if kind == "on":
            return replace(a, zone=b.zone, left=middle, bottom=b.bottom - target.seat * b.side + 0.15)
        if kind == "inside":  # two thirds look over the rim
            return replace(a, zone=b.zone, left=middle, bottom=b.bottom - target.holds * b.side + a.side / 3)
        if kind == "under":
            return replace(
                a, zone=b.zone, left=round(middle + side * b.side * 0.22), bottom=min(b.bottom + 1, ROWS - 1)
            )
        if kind == "above":
            a = replace(a, zone="sky")
            return replace(a, left=round(middle), bottom=min(b.top, max(self.rows(a))))
        left = round(middle + side * (b.side / 2 + 0.12 * a.side))  # behind: more than half of it is seen
        return replace(a, zone=b.zone, left=left, bottom=max(b.bottom - 1, a.side))

    def _kinds(self, a: Noun, b: Noun) -> list[str]:
        """The relations in which `a` can stand to `b` here; twice named, twice as likely."""
        here, there = zones(a.name, self.place), zones(b.name, self.place)
        light = a.size not in ("large", "huge") and a.category not in ("vehicle", "building", "furniture", "sky")
        stands = light and "ground" in a.where and a.name != "fire"
        climbs = stands and (a.name in _CLIMBERS or b.size != "huge")
        least, most = SIDES[a.size]["small"], SIDES[a.size]["normal"]
        kinds = []
        if climbs and b.seat and "ground" in there and least < SIDES[b.size]["normal"]:
            kinds += ["on"] * 2
        if stands and b.holds and {"ground", "water"} & set(there) and least < SIDES[b.size]["small"]:
            kinds += ["inside"] * 2
        if light and b.shelter and "ground" in here and "ground" in there:
            kinds += ["under"] * 4
        if "sky" in here and set(there) - {"sky"} and self.place != "underwater":
            kinds += ["above"]
        if "ground" in here and "ground" in there and SIDES[b.size]["normal"] <= most + 2:
            kinds += ["behind"]
        return kinds

    def finish(self) -> tuple[tuple[Thing, ...], tuple[Relation, ...]]:
        """Things in drawing order, and the relations between them by their places in it."""
        things = tuple(thing for _, thing in sorted(self.placed, key=lambda pair: pair[0]))
        return things, tuple(Relation(things.index(a), kind, things.index(b)) for a, kind, b in self.arranged)


def depth_of(thing: Thing) -> float:
    """What is drawn later has more of it."""
    return 0.0 if thing.zone == "sky" else thing.bottom


def collide(left: float, bottom: float, side: int, other: Thing) -> bool:
    """Whether a square hides more of another thing's than a corner."""
    across = min(left + side, other.left + other.side) - max(left, other.left)
    down = min(bottom, other.bottom) - max(bottom - side, other.top)
    return across > 0 and down > 0 and across * down > 0.06 * min(side, other.side) ** 2


# --- pixels ---------------------------------------------------------------------------------------------------------

_backdrops = Memory(limit=192 * 2**20)


def render(truth: SceneTruth, width: int, height: int, *, style: str | None = None) -> np.ndarray:
    """The picture of a scene: (height, width, 3) uint8. `style` overrides the scene's own."""
    style = style or truth.style
    canvas = _background(truth, style, width, height).copy()
    for k in range(len(truth.things)):
        _stand(canvas, truth, k, style, width, height)
        for relation in truth.arranged:
            if relation.kind == "inside" and relation.subject == k:
                _front(canvas, truth, relation.target, style, width, height)
    if style != "line" and truth.weather in ("rain", "snowfall"):
        blend(canvas, veil(truth.weather, truth.layout, width, height), 0, 0)
    return canvas


def render_layer(truth: SceneTruth, k: int, width: int, height: int) -> np.ndarray:
    """A scene's thing `k` alone, with its shadow or its ripples: (height, width, 4) uint8.

    Red, green and blue are multiplied by alpha: what it is laid over shows through by (255 - alpha) / 255.
    """
    over_black, over_white = np.zeros((height, width, 3), np.uint8), np.full((height, width, 3), 255, np.uint8)
    for canvas in (over_black, over_white):
        _stand(canvas, truth, k, truth.style, width, height)
    alpha = 255 - (over_white[..., :1] - over_black[..., :1])
    return np.concatenate([over_black, alpha], -1)


def render_labels(truth: SceneTruth, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Class and instance map, (height, width) uint16 each.

    Classes below `len(STUFF)` are the backdrop's, then come the nouns in their order; instances are 0 for the
    backdrop, then 1 + the thing's place in `truth.things`.
    """
    key = ("labels", truth.place, truth.layout, truth.season, width, height)
    stuff = _backdrops.get(key, lambda: backdrop.draw_labels(truth.place, truth.layout, truth.season, width, height))
    classes, instances = stuff.astype(np.uint16), np.zeros((height, width), np.uint16)

    def stamp(k: int, below: float = 0.0) -> None:
        thing = truth.things[k]
        x, y, side = _place(thing, width, height, truth.columns)
        alpha = sticker(truth.style, thing.noun, side, thing.colour, thing.flipped, PLAIN)[1][..., 0]
        shown = alpha < 128  # it holds 256 - alpha
        shown[: round(side * below)] = False
        for target, value in ((classes, class_of(thing.noun)), (instances, k + 1)):
            part, (y0, y1, x0, x1) = clip(target, x, y, side, side)
            part[shown[y0:y1, x0:x1]] = value

    for k in range(len(truth.things)):
        stamp(k)
        for relation in truth.arranged:
            if relation.kind == "inside" and relation.subject == k:
                stamp(relation.target, 1 - noun(truth.things[relation.target].noun).holds)
    return classes, instances


@cache
def class_of(name: str) -> int:
    """A noun's number in class maps."""
    return len(STUFF) + [n.name for n in nouns()].index(name)


def _background(truth: SceneTruth, style: str, width: int, height: int) -> np.ndarray:
    if style == "line":
        key: tuple[object, ...] = ("line", truth.place, truth.layout, truth.season, width, height)
        return _backdrops.get(key, lambda: backdrop.draw_lines(truth.place, truth.layout, truth.season, width, height))
    look = (truth.place, truth.layout, truth.time, truth.weather, truth.season, width, height)
    return _backdrops.get(look, lambda: backdrop.draw(*look))


def _place(thing: Thing, width: int, height: int, columns: int) -> tuple[int, int, int]:
    """Left, top and side in pixels."""
    side = max(1, round(thing.side * height / ROWS))
    return round(thing.left * width / columns), round(thing.bottom * height / ROWS) - side, side


def _stands_on_another(truth: SceneTruth, k: int) -> bool:
    return any(r.subject == k and r.kind in ("on", "inside") for r in truth.arranged)


def _stand(canvas: np.ndarray, truth: SceneTruth, k: int, style: str, width: int, height: int) -> None:
    """Draws a thing, on its shadow or in its ripples."""
    thing = truth.things[k]
    x, y, side = _place(thing, width, height, truth.columns)
    light = _light(truth, style)
    sprite = sticker(style, thing.noun, side, thing.colour, thing.flipped, PLAIN if noun(thing.noun).glows else light)
    if style != "line" and thing.zone == "ground" and not _stands_on_another(truth, k):
        blend(canvas, shadow(side, 70), x - side // 16, y + side - round(side * 0.11))
    blend(canvas, sprite, x, y)
    if style != "line" and thing.zone == "water":
        blend(canvas, ripple(side, light), x - side // 8, y + side - round(side * 0.09))


def _front(canvas: np.ndarray, truth: SceneTruth, k: int, style: str, width: int, height: int) -> None:
    """Draws the part of a container that is in front of what it holds."""
    thing = truth.things[k]
    x, y, side = _place(thing, width, height, truth.columns)
    colour, through = sticker(style, thing.noun, side, thing.colour, thing.flipped, _light(truth, style))
    rim = round(side * (1 - noun(thing.noun).holds))
    blend(canvas, (colour[rim:], through[rim:]), x, y + rim)


def _light(truth: SceneTruth, style: str) -> Light:
    return LIGHTS["day" if style == "line" else truth.time]


def combination_is_held_out(truth: SceneTruth) -> bool:
    """Whether a scene's combination of nouns, place and time is kept from all training: about 3 % of them are."""
    return is_held_out({thing.noun for thing in truth.things}, truth.place, truth.time)


def is_held_out(nouns: Iterable[str], place: str, time: str) -> bool:
    """The same for a combination that is no scene yet."""
    return derive(0, "held out", "|".join(sorted(set(nouns))), place, time) % 33 == 0
