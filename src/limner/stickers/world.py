"""Composes scenes and renders them: a scene is plain data (the ground truth), a picture is a pure function of it.

`compose(seed, index)` decides what is where; `render` and `render_labels` draw exactly that, at any size. Things stand
on a grid that is 18 cells high (8 pixels at 256 x 144) and come in a few sizes, so that a small model can learn it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from limner.rng import Key, derive, numpy_rng
from limner.stickers import backdrop
from limner.stickers.art import STYLES, art
from limner.stickers.backdrop import LAYOUTS, STAGES, STUFF, Memory
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
_BY_DAY = frozenset({"rainbow"})


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


@lru_cache(maxsize=None)
def zones(name: str, place: str) -> tuple[str, ...]:
    """Where in a place a noun can be; empty when it can't be there at all."""
    stage, what = STAGES[place], noun(name)
    if stage.indoor:
        return ("ground",) if "indoor" in what.where else ()
    if place == "cave":
        fits = what.category != "furniture" and ("indoor" in what.where or what.category == "animal" and "ground" in what.where)
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


@lru_cache(maxsize=None)
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
        if other not in chosen:
            chosen.append(other)
    time, weather, season = _moment(draws, place, {n.name for n in chosen})
    builder = _Builder(draws, place, columns)
    related = len(chosen) > 1 and draws.chance(0.6) and builder.relate(chosen[0], chosen[1])
    for what in chosen[2:] if related else chosen:
        builder.add_kind(what)
    if not builder.placed:
        return None
    things, arranged = builder.finish()
    style = draws.pick(styles)
    return SceneTruth(place, time, weather, season, style, int(draws.uniform() * LAYOUTS), things, arranged, columns)


def _moment(draws: Draws, place: str, names: set[str]) -> tuple[str, str, str]:
    """A time, weather and season in which all these can be in this place."""
    times = ["day", "dusk", "night"]
    if place == "space":
        times = ["night"]
    elif names & _BY_NIGHT:
        times = ["night"] if names & _BY_DAY or "sun" in names else ["dusk", "night", "night"]
    elif names & _BY_DAY:
        times = ["day"]
    elif "sun" in names:
        times = ["day", "dusk"]
    time = draws.pick(times)
    season = draws.pick(("spring", "summer", "autumn", "winter")) if STAGES[place].seasonal else "summer"
    weather = "clear"
    if draws.chance(0.36) and not names & {"sun", "moon", "star", "rainbow", "shooting star"}:
        weather = draws.pick(weathers_of(place, season))
    return time, weather, season


def weathers_of(place: str, season: str) -> tuple[str, ...]:
    """The weathers that a place has in a season."""
    if not STAGES[place].weather:
        return ("clear",)
    if place == "snow" or (STAGES[place].seasonal and season == "winter"):
        return ("clear", "cloudy", "snowfall", "fog")
    if place == "desert":
        return ("clear", "cloudy", "fog")
    return ("clear", "cloudy", "rain", "fog")


class _Builder:
    """Puts things into a place, one after the other, where there is room."""

    def __init__(self, draws: Draws, place: str, columns: int) -> None:
        self.draws, self.place, self.columns = draws, place, columns
        self.placed: list[tuple[float, Thing]] = []  # depth, thing
        self.arranged: tuple[Thing, str, Thing] | None = None

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
            if all(not _collide(left, row, thing.side, other) for _, other in self.placed)
        ]
        if not spots:
            return None
        left, row = self.draws.pick(spots)
        return replace(thing, left=left, bottom=row)

    def add_kind(self, what: Noun) -> None:
        thing = self.dress(what)
        wanted = min(self.draws.pick(_COUNTS), MOST_THINGS - len(self.placed), 2 if thing.side >= 8 else 4)
        for k in range(wanted):
            spot = self.free(replace(thing, flipped=thing.flipped ^ (k % 2 == 1)) if thing.flipped else thing)
            if spot is None:
                return
            self.placed.append((_depth(spot), spot))

    def relate(self, one: Noun, other: Noun) -> bool:
        """Places two nouns in a relation that suits them; says whether it did."""
        options = [(a, kind, b) for a, b in ((one, other), (other, one)) for kind in self._kinds(a, b)]
        if not options:
            return False
        subject, kind, target = self.draws.pick(options)
        b = self.dress(target)
        room = {"on": b.side - 1, "inside": b.side - 1, "under": round(0.6 * b.side)}.get(kind, 12)
        a = self.dress(subject, largest=max(3, room))
        if kind in ("on", "inside", "under"):
            a = replace(a, zone=b.zone)
        if kind == "above":
            a, b = replace(a, zone="sky"), replace(b, zone=next(z for z in zones(target.name, self.place) if z != "sky"))
        row = self.draws.pick(self.rows(b))
        b = replace(b, bottom=row, left=int(self.draws.uniform() * (self.columns - b.side + 1)))
        side = 1 if self.draws.chance(0.5) else -1
        if kind == "on":
            a = replace(a, left=b.centre - a.side / 2, bottom=b.bottom - target.seat * b.side + 0.15)
        elif kind == "inside":
            a = replace(a, left=b.centre - a.side / 2, bottom=b.bottom - target.holds * b.side * 0.5)
        elif kind == "under":
            a = replace(a, left=round(b.centre + side * b.side * 0.22 - a.side / 2), bottom=min(b.bottom + 1, ROWS - 1))
        elif kind == "above":
            a = replace(a, left=round(b.centre - a.side / 2), bottom=min(b.top, max(self.rows(a))))
        else:  # behind
            a = replace(a, left=round(b.centre + side * (b.side / 2 + 0.12 * a.side) - a.side / 2), bottom=max(b.bottom - 1, a.side))
            a = replace(a, zone=b.zone)
        if a.top < 0 or a.left < 0 or a.left + a.side > self.columns:
            return False
        depth = _depth(b)
        self.placed = [(depth - 0.1 if kind == "behind" else 0.0 if kind == "above" else depth + 0.1, a), (depth, b)]
        self.arranged = (a, kind, b)
        return True

    def _kinds(self, a: Noun, b: Noun) -> list[str]:
        here, there = zones(a.name, self.place), zones(b.name, self.place)
        kinds = []
        light = a.size not in ("large", "huge") and a.category in ("animal", "person", "food", "thing", "plant", "feeling")
        stands = "ground" in a.where and a.name != "fire"
        if light and stands and b.seat and "ground" in there and SIDES[a.size]["small"] < SIDES[b.size]["normal"]:
            kinds += ["on", "on"]
        if light and b.holds and stands and ("ground" in there or "water" in there) and (
            SIDES[a.size]["small"] < SIDES[b.size]["small"]
        ):
            kinds += ["inside", "inside"]
        if light and b.shelter and "ground" in here and "ground" in there:
            kinds += ["under"] * 4
        if "sky" in here and (set(there) - {"sky"}) and self.place != "underwater":
            kinds.append("above")
        if "ground" in here and "ground" in there and SIDES[b.size]["normal"] <= SIDES[a.size]["normal"] + 2:
            kinds.append("behind")
        return kinds

    def finish(self) -> tuple[tuple[Thing, ...], tuple[Relation, ...]]:
        things = tuple(thing for _, thing in sorted(self.placed, key=lambda pair: pair[0]))
        if self.arranged is None:
            return things, ()
        a, kind, b = self.arranged
        return things, (Relation(things.index(a), kind, things.index(b)),)


def _depth(thing: Thing) -> float:
    return 0.0 if thing.zone == "sky" else thing.bottom


def _collide(left: float, bottom: float, side: int, other: Thing) -> bool:
    across = min(left + side, other.left + other.side) - max(left, other.left)
    down = min(bottom, other.bottom) - max(bottom - side, other.top)
    return across > 0 and down > 0 and across * down > 0.06 * min(side, other.side) ** 2


# --- pixels ---------------------------------------------------------------------------------------------------------

_backdrops = Memory(limit=192 * 2**20)
_NIGHT = {"day": (256, 256, 256), "dusk": (256, 226, 218), "night": (188, 192, 230)}  # stickers' light, of 256
_HUES = {  # hue in degrees, saturation times, value times
    "red": (356, 1.0, 1.0), "orange": (26, 1.0, 1.05), "yellow": (48, 1.0, 1.12), "green": (125, 0.85, 0.85),
    "blue": (214, 1.0, 1.0), "purple": (276, 0.85, 0.95), "pink": (334, 0.62, 1.08), "white": (0, 0.06, 1.25),
    "black": (240, 0.12, 0.3), "brown": (24, 0.75, 0.6),
}  # fmt: skip


def render(truth: SceneTruth, width: int, height: int, *, style: str | None = None) -> np.ndarray:
    """The picture of a scene: (height, width, 3) uint8. `style` overrides the scene's own."""
    style = style or truth.style
    canvas = _background(truth, style, width, height).copy()
    for k, thing in enumerate(truth.things):
        x, y, side = _place(thing, width, height, truth.columns)
        light = _NIGHT["day" if style == "line" else truth.time]
        glows = noun(thing.noun).glows
        sprite = _premultiplied(style, thing.noun, side, thing.colour, thing.flipped, (256, 256, 256) if glows else light)
        if style != "line" and thing.zone == "ground" and not _stands_on_another(truth, k):
            _blend(canvas, _shadow(side, 70), x - side // 16, y + side - round(side * 0.11))
        _blend(canvas, sprite, x, y)
        if style != "line" and thing.zone == "water":
            _blend(canvas, _ripple(side, light), x - side // 8, y + side - round(side * 0.09))
        for relation in truth.arranged:
            if relation.kind == "inside" and relation.subject == k:
                _front(canvas, truth, relation.target, style, width, height, light)
    if style != "line" and truth.weather in ("rain", "snowfall"):
        _blend(canvas, _veil(truth.weather, truth.layout, width, height), 0, 0)
    return canvas


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
        alpha = _premultiplied(truth.style, thing.noun, side, thing.colour, thing.flipped, (256, 256, 256))[1][..., 0]
        shown = alpha < 128  # it holds 256 - alpha
        shown[: round(side * below)] = False
        for target, value in ((classes, class_of(thing.noun)), (instances, k + 1)):
            part, (y0, y1, x0, x1) = _clip(target, x, y, side, side)
            part[shown[y0:y1, x0:x1]] = value

    for k in range(len(truth.things)):
        stamp(k)
        for relation in truth.arranged:
            if relation.kind == "inside" and relation.subject == k:
                stamp(relation.target, 1 - noun(truth.things[relation.target].noun).holds)
    return classes, instances


@lru_cache(maxsize=None)
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


Sprite = tuple[np.ndarray, np.ndarray]  # colour times alpha, and 256 - alpha; (h, w, 3) and (h, w, 1) uint16


def _clip(canvas: np.ndarray, x: int, y: int, wide: int, tall: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The part of the canvas that a patch covers, and the part of the patch that is on the canvas."""
    y0, x0 = max(0, -y), max(0, -x)
    y1, x1 = min(tall, canvas.shape[0] - y), min(wide, canvas.shape[1] - x)
    y1, x1 = max(y0, y1), max(x0, x1)
    return canvas[y + y0 : y + y1, x + x0 : x + x1], (y0, y1, x0, x1)


def _blend(canvas: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    colour, through = sprite
    part, (y0, y1, x0, x1) = _clip(canvas, x, y, colour.shape[1], colour.shape[0])
    part[:] = (colour[y0:y1, x0:x1] + part * through[y0:y1, x0:x1]) >> 8


def _front(canvas: np.ndarray, truth: SceneTruth, k: int, style: str, width: int, height: int, light: tuple[int, int, int]) -> None:
    """Draws the part of a container that is in front of what it holds."""
    thing = truth.things[k]
    x, y, side = _place(thing, width, height, truth.columns)
    colour, through = _premultiplied(style, thing.noun, side, thing.colour, thing.flipped, light)
    rim = round(side * (1 - noun(thing.noun).holds))
    _blend(canvas, (colour[rim:], through[rim:]), x, y + rim)


@lru_cache(maxsize=6000)
def _premultiplied(style: str, name: str, side: int, colour: str | None, flipped: bool, light: tuple[int, int, int]) -> Sprite:
    what = noun(name)
    pixels = art().sprite(style, what.icons[STYLES.index(style)], side)
    if colour is not None and style != "line":
        pixels = recolour(pixels, colour, green_stays=what.category == "plant")
    if flipped:
        pixels = pixels[:, ::-1]
    alpha = (pixels[..., 3:].astype(np.uint32) * 257 + 128) // 256  # 0..256
    lit = pixels[..., :3].astype(np.uint32) * np.asarray(light, np.uint32) // 256
    return (lit * alpha).astype(np.uint16), (256 - alpha).astype(np.uint16)


def recolour(pixels: np.ndarray, colour: str, *, green_stays: bool = False) -> np.ndarray:
    """RGBA pixels with their main hue turned to a named colour; other hues stay (the stem of a rose, say)."""
    rgb = pixels[..., :3].astype(np.float32) / 255
    high, low = rgb.max(-1), rgb.min(-1)
    span = high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        r, g, b = np.moveaxis(rgb, -1, 0)
        sixth = np.where(high == r, ((g - b) / span) % 6, np.where(high == g, (b - r) / span + 2, (r - g) / span + 4))
        hue = np.where(span > 0, sixth * 60, 0.0)
        saturation = np.where(high > 0, span / high, 0.0)
    vivid = (saturation > 0.2) & (pixels[..., 3] > 40)
    if green_stays:
        vivid &= (hue < 65) | (hue > 175)
    if not vivid.any():
        return pixels
    votes = np.bincount((hue[vivid] // 10).astype(int) % 36, weights=(saturation * high)[vivid], minlength=36)
    main = (int((votes + 0.6 * (np.roll(votes, 1) + np.roll(votes, -1))).argmax()) + 0.5) * 10
    off = (hue - main + 180) % 360 - 180
    chosen = vivid & (np.abs(off) < 42)
    target, saturate, brighten = _HUES[colour]
    new_hue = ((target + 0.35 * off) % 360) / 60
    new_s, new_v = np.clip(saturation * saturate, 0, 1), np.clip(high * brighten, 0, 1)
    wheel = np.stack([np.abs(new_hue - 3) - 1, 2 - np.abs(new_hue - 2), 2 - np.abs(new_hue - 4)], -1).clip(0, 1)
    turned = new_v[..., None] * (1 + new_s[..., None] * (wheel - 1))
    result = pixels.copy()
    result[chosen, :3] = (turned[chosen] * 255 + 0.5).astype(np.uint8)
    return result


@lru_cache(maxsize=256)
def _shadow(side: int, strength: int) -> Sprite:
    wide, tall = side + side // 8, max(2, round(side * 0.2))
    y, x = np.mgrid[:tall, :wide]
    r = ((x + 0.5) / wide * 2 - 1) ** 2 + ((y + 0.5) / tall * 2 - 1) ** 2
    alpha = (np.clip(1 - r, 0, 1) ** 0.7 * strength).astype(np.uint32)[..., None]
    ink = np.asarray((30, 32, 60), np.uint32)
    return (alpha * ink).astype(np.uint16), (256 - alpha).astype(np.uint16)


@lru_cache(maxsize=256)
def _ripple(side: int, light: tuple[int, int, int]) -> Sprite:
    wide, tall = side + side // 4, max(2, round(side * 0.14))
    y, x = np.mgrid[:tall, :wide]
    r = ((x + 0.5) / wide * 2 - 1) ** 2 + ((y + 0.5) / tall * 2 - 1) ** 2
    alpha = (np.clip(1.15 - r, 0, 1) ** 0.6 * 190).astype(np.uint32)[..., None]
    foam = np.asarray((206, 236, 248), np.uint32) * np.asarray(light, np.uint32) // 256
    return (alpha * foam).astype(np.uint16), (256 - alpha).astype(np.uint16)


@lru_cache(maxsize=32)
def _veil(weather: str, variant: int, width: int, height: int) -> Sprite:
    made = backdrop.weather_veil(weather, variant, width, height)
    assert made is not None
    alpha = made[0].astype(np.uint32)[..., None]
    return (alpha * np.asarray(made[1], np.uint32)).astype(np.uint16), (256 - alpha).astype(np.uint16)


def combination_is_held_out(truth: SceneTruth) -> bool:
    """Whether a scene's combination of nouns, place and time is kept from all training: about 3 % of them are."""
    names = "|".join(sorted({thing.noun for thing in truth.things}))
    return derive(0, "held out", names, truth.place, truth.time) % 33 == 0
