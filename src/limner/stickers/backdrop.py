"""Draws the places of the Sticker World: smooth skies, layered hills, water, rooms, streets, caves, stars.

A backdrop is a stack of layers, back to front. Each layer is a signed distance to a shape's edge in pixels (positive
inside), which gives crisp antialiased edges at any size, outlines for the line style, and exact label maps. Colours
are given once, as on a summer day, and the time of day, weather and season change them.

Lengths are in picture heights: y runs from 0 (top) to 1, x from 0 to the aspect ratio.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np

from limner.rng import numpy_rng

Array = np.ndarray
RGB = tuple[float, float, float]

LAYOUTS = 4  # each place is drawn in so many arrangements
STUFF = ("sky", "land", "water", "plants", "buildings", "wall", "floor", "rock")  # what the label map calls layers


@dataclass(frozen=True)
class Stage:
    """Where things may stand in a place: rows of a grid that is 18 high, at which a thing's lower edge may lie."""

    ground: tuple[int, ...] = ()
    water: tuple[int, ...] = ()
    sky: tuple[int, ...] = ()
    deep: tuple[int, ...] = ()
    indoor: bool = False
    seasonal: bool = False
    weather: bool = True


_AIR = (5, 6, 7, 8)
STAGES: dict[str, Stage] = {
    "meadow": Stage(ground=(13, 15, 17), sky=_AIR, seasonal=True),
    "forest": Stage(ground=(14, 15, 17), sky=(5, 6, 7), seasonal=True),
    "garden": Stage(ground=(14, 15, 17), sky=_AIR, seasonal=True),
    "farm": Stage(ground=(13, 15, 17), sky=_AIR, seasonal=True),
    "village": Stage(ground=(14, 15, 17), sky=(5, 6), seasonal=True),
    "town": Stage(ground=(15, 16, 17), sky=(5, 6), seasonal=False),
    "mountains": Stage(ground=(14, 15, 17), sky=(5, 6), seasonal=True),
    "desert": Stage(ground=(13, 15, 17), sky=_AIR),
    "beach": Stage(ground=(15, 16, 17), water=(11, 12), sky=_AIR),
    "sea": Stage(water=(12, 13, 15, 16), sky=_AIR),
    "lake": Stage(ground=(16, 17), water=(12, 13), sky=_AIR, seasonal=True),
    "underwater": Stage(deep=(6, 8, 10, 12, 14, 16), weather=False),
    "room": Stage(ground=(14, 15, 17), indoor=True, weather=False),
    "cave": Stage(ground=(14, 15, 17), weather=False),
    "space": Stage(ground=(16, 17), sky=(5, 7, 9, 11), weather=False),
    "snow": Stage(ground=(13, 15, 17), sky=_AIR),
}

_SKIES: dict[str, tuple[RGB, RGB, RGB]] = {  # top, middle, horizon
    "day": ((96, 176, 240), (150, 208, 248), (216, 240, 252)),
    "dusk": ((96, 84, 160), (236, 132, 128), (255, 208, 140)),
    "night": ((16, 20, 60), (30, 42, 98), (64, 84, 146)),
}
_LIGHT: dict[str, tuple[RGB, RGB]] = {  # what the time of day does to a colour: times, plus
    "day": ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    "dusk": ((0.95, 0.79, 0.78), (14.0, 2.0, 14.0)),
    "night": ((0.36, 0.43, 0.60), (4.0, 8.0, 22.0)),
}
_GRASS: dict[str, RGB] = {
    "spring": (142, 212, 98), "summer": (112, 192, 78), "autumn": (212, 172, 84), "winter": (240, 246, 252),
}  # fmt: skip
_LEAVES: dict[str, RGB] = {
    "spring": (164, 214, 132), "summer": (70, 152, 84), "autumn": (226, 138, 58), "winter": (214, 226, 236),
}  # fmt: skip
_PETALS: dict[str, tuple[RGB, ...]] = {
    "spring": ((255, 182, 206), (255, 255, 255), (255, 226, 110)),
    "summer": ((255, 240, 120), (255, 255, 255), (240, 120, 120)),
    "autumn": ((222, 96, 48), (240, 150, 50), (180, 70, 50)),
    "winter": ((255, 255, 255), (222, 234, 248), (255, 255, 255)),
}


@dataclass(frozen=True)
class Layer:
    distance: Array  # (H, W), pixels, positive inside
    top: RGB
    bottom: RGB  # the colour runs from `top` at the layer's upper end to `bottom` at its lower
    stuff: str
    far: float = 0.0  # 0 near .. 1 at the horizon: fog and haze take more of what is far
    glows: bool = False  # lit by itself: the time of day leaves it alone
    opacity: float = 1.0
    outlined: bool = True


class Sheet:
    """The grid that shapes are measured on."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.aspect = width / height
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
        self.x = ((np.arange(width, dtype=np.float32) + 0.5) / height)[None, :]

    def nothing(self) -> Array:
        return np.full((self.height, self.width), -1e3, np.float32)

    def everything(self) -> Array:
        return np.full((self.height, self.width), 1e3, np.float32)

    def ridge(self, base: float, *waves: tuple[float, float, float]) -> Array:
        """All that lies below a rolling line at `base`; waves are (amplitude, cycles over one height, phase)."""
        line = np.full_like(self.x, base)
        slope = np.zeros_like(self.x)
        for amplitude, cycles, phase in waves:
            line += amplitude * np.sin(2 * pi * cycles * self.x + phase)
            slope += amplitude * 2 * pi * cycles * np.cos(2 * pi * cycles * self.x + phase)
        return ((self.y - line) * self.height / np.sqrt(1 + slope**2)).astype(np.float32)

    def crags(self, base: float, rise: float, width: float, phase: float, rough: float) -> Array:
        """All that lies below a line of sharp peaks."""
        t = self.x / width + phase
        saw = np.abs((t % 1) * 2 - 1)
        second = np.abs((t * 2.3 + 0.37 + phase) % 1 * 2 - 1)
        line = base - rise * ((1 - rough) * (1 - saw) + rough * (1 - second))
        return ((self.y - line) * self.height * 0.6).astype(np.float32)

    def paint(self, onto: Array, shape: Callable[[Array, Array], Array], box: tuple[float, float, float, float]) -> None:
        """Joins a shape, given as a function of (x, y), to a distance map, within a box of (left, top, right, bottom)."""
        h = self.height
        x0, x1 = max(0, int((box[0]) * h) - 3), min(self.width, int(box[2] * h) + 4)
        y0, y1 = max(0, int((box[1]) * h) - 3), min(h, int(box[3] * h) + 4)
        if x0 < x1 and y0 < y1:
            part = onto[y0:y1, x0:x1]
            np.maximum(part, shape(self.x[:, x0:x1], self.y[y0:y1]) * h, out=part)

    def ellipse(self, onto: Array, cx: float, cy: float, rx: float, ry: float) -> None:
        def shape(x: Array, y: Array) -> Array:
            u, v = (x - cx) / rx, (y - cy) / ry
            r = np.sqrt(u * u + v * v)
            steep = np.sqrt((u / rx) ** 2 + (v / ry) ** 2) + 1e-6  # of r * r / 2: makes the distance true at the edge
            return np.minimum((1 - r) * (r + 1e-3) / steep, min(rx, ry))

        self.paint(onto, shape, (cx - rx, cy - ry, cx + rx, cy + ry))

    def box(self, onto: Array, left: float, top: float, right: float, bottom: float) -> None:
        def shape(x: Array, y: Array) -> Array:
            return np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))

        self.paint(onto, shape, (left, top, right, bottom))

    def cone(self, onto: Array, cx: float, top: float, half: float, bottom: float) -> None:
        """An upright triangle."""
        rise = bottom - top
        scale = rise / np.hypot(rise, half)

        def shape(x: Array, y: Array) -> Array:
            return np.minimum((half * (y - top) / rise - np.abs(x - cx)) * scale, bottom - y)

        self.paint(onto, shape, (cx - half, top, cx + half, bottom))


class Painter:
    """Collects the layers of one place; `rng` arranges them."""

    def __init__(self, sheet: Sheet, season: str, rng: np.random.Generator) -> None:
        self.sheet, self.season, self.rng = sheet, season, rng
        self.layers: list[Layer] = []
        self.grass, self.leaves, self.petals = _GRASS[season], _LEAVES[season], _PETALS[season]

    def put(
        self, distance: Array, top: RGB, bottom: RGB | None = None, stuff: str = "land", **more: float | bool
    ) -> None:
        self.layers.append(Layer(distance, top, bottom or top, stuff, **more))  # type: ignore[arg-type]

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def along(self, count: int, margin: float = 0.0) -> list[float]:
        """`count` places from left to right, roughly even."""
        step = (self.sheet.aspect + 2 * margin) / count
        return [-margin + step * (k + 0.5 + self.between(-0.3, 0.3)) for k in range(count)]

    def hills(self, base: float, colour: RGB, far: float, height: float = 0.035) -> None:
        distance = self.sheet.ridge(
            base, (height, self.between(0.35, 0.6), self.between(0, 6)), (height / 3, self.between(0.9, 1.4), self.between(0, 6))
        )
        self.put(distance, _mix(colour, (255, 255, 255), 0.14), _mix(colour, (20, 60, 40), 0.12), far=far)

    def specks(self, top: float, bottom: float, count: int, size: float, colours: tuple[RGB, ...], stuff: str = "land") -> None:
        """Small round dots strewn over the ground, larger towards the front."""
        for colour in colours:
            distance = self.sheet.nothing()
            for _ in range(count // len(colours)):
                y = self.between(top, bottom)
                radius = size * (0.5 + (y - top) / (bottom - top + 1e-6))
                self.sheet.ellipse(distance, self.between(0, self.sheet.aspect), y, radius, radius * 0.8)
            self.put(distance, colour, stuff=stuff, outlined=False)

    def tufts(self, top: float, bottom: float, count: int, colour: RGB) -> None:
        distance = self.sheet.nothing()
        for _ in range(count):
            x, y = self.between(0, self.sheet.aspect), self.between(top, bottom)
            tall = 0.022 * (0.6 + (y - top) / (bottom - top))
            for lean in (-0.7, 0.0, 0.7):
                self.sheet.cone(distance, x + lean * 0.01, y - tall * (1 - 0.25 * abs(lean)), 0.005, y)
        self.put(distance, colour, outlined=False)

    def round_trees(self, count: int, base: float, size: float, colour: RGB, far: float) -> None:
        trunks, crowns = self.sheet.nothing(), self.sheet.nothing()
        for x in self.along(count, 0.1):
            tall = size * self.between(0.85, 1.15)
            self.sheet.box(trunks, x - tall * 0.06, base - tall * 0.5, x + tall * 0.06, base)
            for dx, dy, r in ((0.0, 0.78, 0.27), (-0.2, 0.6, 0.22), (0.2, 0.6, 0.22)):
                self.sheet.ellipse(crowns, x + dx * tall, base - dy * tall, r * tall, r * tall)
        self.put(trunks, _mix((120, 88, 66), colour, 0.35), stuff="plants", far=far)
        self.put(crowns, _mix(colour, (255, 255, 255), 0.12), _mix(colour, (20, 50, 60), 0.12), stuff="plants", far=far)

    def pointed_trees(self, count: int, base: float, size: float, colour: RGB, far: float) -> None:
        trees = self.sheet.nothing()
        for x in self.along(count, 0.1):
            tall = size * self.between(0.8, 1.2)
            for part, half in ((1.0, 0.17), (0.75, 0.22), (0.5, 0.27)):
                self.sheet.cone(trees, x, base - tall * part, tall * half, base - tall * (part - 0.5))
        self.put(trees, _mix(colour, (255, 255, 255), 0.1), _mix(colour, (20, 50, 60), 0.1), stuff="plants", far=far)

    def houses(self, count: int, base: float, size: float, roofs: tuple[RGB, ...], far: float) -> None:
        walls, windows = self.sheet.nothing(), self.sheet.nothing()
        tops = [self.sheet.nothing() for _ in roofs]
        for k, x in enumerate(self.along(count)):
            wide, tall = size * self.between(0.85, 1.1), size * self.between(0.55, 0.8)
            self.sheet.box(walls, x - wide / 2, base - tall, x + wide / 2, base)
            self.sheet.cone(tops[k % len(roofs)], x, base - tall - size * 0.5, wide * 0.64, base - tall * 0.96)
            for dx in (-0.24, 0.24):
                self.sheet.box(
                    windows, x + (dx - 0.1) * wide, base - tall * 0.72, x + (dx + 0.1) * wide, base - tall * 0.36
                )
        self.put(walls, (250, 236, 212), (236, 216, 186), stuff="buildings", far=far)
        for distance, colour in zip(tops, roofs, strict=True):
            self.put(distance, colour, stuff="buildings", far=far)
        self.windows(windows)

    def windows(self, distance: Array) -> None:
        self.put(distance, (150, 190, 214), stuff="buildings", glows=False)
        self.layers[-1] = Layer(distance, (150, 190, 214), (150, 190, 214), "lit")

    def clouds(self, count: int, low: float, high: float, colour: RGB = (255, 255, 255), opacity: float = 0.75) -> None:
        distance = self.sheet.nothing()
        for x in self.along(count, 0.1):
            y, size = self.between(low, high), self.between(0.05, 0.09)
            for dx, dy, r in ((-1.0, 0.15, 0.6), (-0.3, -0.25, 0.85), (0.5, -0.1, 0.75), (1.2, 0.2, 0.5)):
                self.sheet.ellipse(distance, x + dx * size, y + dy * size, r * size, r * size * 0.62)
        self.put(distance, colour, stuff="sky", opacity=opacity, far=0.5)


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def _meadow(p: Painter) -> None:
    p.hills(0.50, _mix(p.grass, (120, 180, 200), 0.45), 0.8, 0.05)
    p.hills(0.56, _mix(p.grass, (90, 170, 120), 0.3), 0.5, 0.04)
    p.hills(0.63, p.grass, 0.1, 0.025)
    p.specks(0.70, 0.99, 42, 0.007, p.petals)
    p.tufts(0.68, 0.99, 16, _mix(p.grass, (30, 110, 50), 0.4))


def _forest(p: Painter) -> None:
    p.hills(0.5, _mix(p.leaves, (130, 180, 180), 0.55), 0.9)
    p.pointed_trees(13, 0.64, 0.40, _mix(p.leaves, (120, 170, 170), 0.5), 0.7)
    p.round_trees(8, 0.68, 0.46, _mix(p.leaves, (90, 140, 120), 0.28), 0.4)
    p.hills(0.66, _mix(p.grass, (60, 120, 60), 0.3), 0.1, 0.015)
    p.specks(0.74, 0.99, 24, 0.006, (_mix(p.leaves, (255, 255, 255), 0.2), p.petals[0]))
    p.tufts(0.72, 0.99, 14, _mix(p.leaves, (20, 80, 40), 0.3))


def _garden(p: Painter) -> None:
    p.hills(0.48, _mix(p.grass, (120, 180, 190), 0.45), 0.8)
    hedge = p.sheet.nothing()
    for x in p.along(14, 0.1):
        p.sheet.ellipse(hedge, x, 0.6, 0.11, 0.1)
    p.put(hedge, _mix(p.leaves, (255, 255, 255), 0.1), _mix(p.leaves, (30, 70, 50), 0.15), stuff="plants", far=0.3)
    p.specks(0.53, 0.62, 30, 0.011, p.petals, "plants")
    p.put(p.sheet.ridge(0.64), p.grass, _mix(p.grass, (40, 120, 60), 0.15))
    fence = p.sheet.nothing()
    step = 0.075
    for k in range(int(p.sheet.aspect / step) + 1):
        p.sheet.box(fence, k * step + 0.015, 0.59, k * step + 0.05, 0.70)
        p.sheet.cone(fence, k * step + 0.0325, 0.565, 0.0175, 0.592)
    for y in (0.615, 0.66):
        p.sheet.box(fence, 0, y, p.sheet.aspect, y + 0.014)
    p.put(fence, (255, 253, 246), (226, 226, 222), stuff="buildings")
    p.specks(0.73, 0.99, 36, 0.008, p.petals)
    p.tufts(0.73, 0.99, 12, _mix(p.grass, (30, 110, 50), 0.4))


def _farm(p: Painter) -> None:
    p.hills(0.49, _mix(p.grass, (120, 180, 200), 0.45), 0.8)
    p.put(p.sheet.ridge(0.56, (0.01, 0.5, 1.0)), (236, 206, 104), (222, 186, 86), far=0.4) if p.season != "winter" else None
    x = p.between(0.2, p.sheet.aspect - 0.45)
    barn, roof, door = p.sheet.nothing(), p.sheet.nothing(), p.sheet.nothing()
    p.sheet.box(barn, x, 0.46, x + 0.24, 0.6)
    p.sheet.cone(roof, x + 0.12, 0.36, 0.15, 0.47)
    p.sheet.box(door, x + 0.08, 0.51, x + 0.16, 0.6)
    p.put(barn, (206, 84, 70), (186, 70, 60), stuff="buildings", far=0.3)
    p.put(roof, (134, 74, 66), stuff="buildings", far=0.3)
    p.put(door, (246, 232, 214), stuff="buildings", far=0.3)
    p.hills(0.61, p.grass, 0.1, 0.012)
    furrows = p.sheet.nothing()
    for k in range(-9, 10):  # furrows run to a vanishing point
        cx = p.sheet.aspect / 2
        slope = k * 0.34

        def furrow(x: Array, y: Array, cx: float = cx, slope: float = slope) -> Array:
            return 0.012 * (y - 0.5) * 2 - np.abs(x - cx - slope * (y - 0.5) * 2) * 0.8

        p.sheet.paint(furrows, furrow, (0, 0.67, p.sheet.aspect, 1.0))
    p.put(furrows, _mix(p.grass, (120, 90, 40), 0.25), outlined=False)


def _village(p: Painter) -> None:
    p.hills(0.46, _mix(p.grass, (120, 180, 200), 0.45), 0.8, 0.05)
    p.round_trees(7, 0.6, 0.2, _mix(p.leaves, (120, 160, 150), 0.3), 0.5)
    p.houses(6, 0.64, 0.2, ((214, 110, 88), (184, 96, 92), (222, 140, 92)), 0.3)
    p.put(p.sheet.ridge(0.63, (0.006, 0.5, 0.0)), p.grass, _mix(p.grass, (40, 120, 60), 0.15))
    p.put(p.sheet.ridge(0.73, (0.008, 0.4, p.between(0, 6))), (226, 206, 172), (208, 184, 148))


def _town(p: Painter) -> None:
    for base, colour, far, count in ((0.66, (168, 190, 214), 0.8, 11), (0.7, (196, 176, 184), 0.3, 7)):
        blocks, windows = p.sheet.nothing(), p.sheet.nothing()
        for x in p.along(count, 0.05):
            wide, tall = 0.62 * p.sheet.aspect / count, p.between(0.2, 0.44)
            p.sheet.box(blocks, x - wide, base - tall, x + wide * 0.7, base)
            for row in range(int(tall / 0.07)):
                for column in range(3):
                    left = x - wide * 0.75 + column * wide * 0.48
                    if p.rng.random() < 0.7:
                        p.sheet.box(windows, left, base - tall + 0.03 + row * 0.07, left + wide * 0.22, base - tall + 0.065 + row * 0.07)
        p.put(blocks, colour, _mix(colour, (90, 90, 120), 0.15), stuff="buildings", far=far)
        if far < 0.5:
            p.windows(windows)
    p.put(p.sheet.ridge(0.69), (214, 210, 208), (200, 196, 196))
    p.put(p.sheet.ridge(0.77), (150, 152, 162), (126, 128, 140))
    dashes = p.sheet.nothing()
    for k in range(int(p.sheet.aspect / 0.22) + 1):
        p.sheet.box(dashes, k * 0.22 + 0.04, 0.86, k * 0.22 + 0.15, 0.872)
    p.put(dashes, (240, 238, 228), outlined=False)


def _mountains(p: Painter) -> None:
    for base, rise, far, colour in ((0.6, 0.44, 0.7, (142, 162, 196)), (0.66, 0.36, 0.35, (118, 130, 158))):
        width, phase = p.between(0.55, 0.75), p.between(0, 1)
        peaks = p.sheet.crags(base, rise, width, phase, 0.22)
        p.put(peaks, colour, _mix(colour, p.grass, 0.35), stuff="rock", far=far)
        snowline = p.sheet.ridge(base - rise * 0.52, (0.02, 3.1, phase), (0.012, 7.3, phase * 3))
        p.put(np.minimum(peaks, -snowline), (252, 254, 255), (232, 240, 250), stuff="rock", far=far * 0.5)
    p.pointed_trees(16, 0.69, 0.13, _mix(p.leaves, (60, 110, 100), 0.5), 0.2)
    p.hills(0.68, _mix(p.grass, (130, 170, 120), 0.2), 0.0, 0.012)
    stones = p.sheet.nothing()
    for _ in range(7):
        y, size = p.between(0.76, 0.97), p.between(0.012, 0.026)
        p.sheet.ellipse(stones, p.between(0, p.sheet.aspect), y, size * 1.5, size)
    p.put(stones, (186, 188, 196), (150, 152, 164), stuff="rock")


def _desert(p: Painter) -> None:
    if p.rng.random() < 0.5:
        pyramids = p.sheet.nothing()
        x = p.between(0.3, p.sheet.aspect - 0.3)
        p.sheet.cone(pyramids, x, 0.34, 0.24, 0.6)
        p.sheet.cone(pyramids, x + 0.28, 0.43, 0.16, 0.6)
        p.put(pyramids, (232, 190, 118), (214, 166, 98), stuff="rock", far=0.6)
    for base, colour, far in ((0.55, (240, 208, 142), 0.6), (0.61, (236, 194, 116), 0.3), (0.69, (244, 206, 128), 0.0)):
        wave = p.sheet.ridge(base, (0.04, p.between(0.3, 0.5), p.between(0, 6)), (0.012, p.between(0.8, 1.2), p.between(0, 6)))
        p.put(wave, _mix(colour, (255, 240, 200), 0.3), _mix(colour, (190, 130, 70), 0.25), far=far)


def _waves(p: Painter, top: float, bottom: float, count: int) -> None:
    crests = p.sheet.nothing()
    for k in range(count):
        y = top + (bottom - top) * ((k + 0.5) / count) ** 1.3
        deep = 0.4 + (y - top) / (1 - top)
        for x in p.along(max(3, round(7 - 3 * deep))):
            p.sheet.ellipse(crests, x, y, 0.10 * deep, 0.0055 * deep + 0.001)
    p.put(crests, (214, 240, 250), stuff="water", opacity=0.55, outlined=False)


def _sea(p: Painter) -> None:
    p.put(p.sheet.ridge(0.5), (112, 190, 224), (36, 104, 176), stuff="water", far=0.3)
    _waves(p, 0.52, 0.8, 6)
    p.put(p.sheet.ridge(0.82, (0.012, 1.6, p.between(0, 6))), (58, 136, 200), (30, 92, 164), stuff="water")
    _waves(p, 0.86, 1.0, 2)


def _beach(p: Painter) -> None:
    p.put(p.sheet.ridge(0.47), (110, 190, 224), (72, 168, 214), stuff="water", far=0.3)
    _waves(p, 0.49, 0.66, 4)
    phase = p.between(0, 6)
    p.put(p.sheet.ridge(0.695, (0.012, 0.7, phase), (0.005, 2.1, phase)), (240, 250, 252), stuff="water")
    p.put(p.sheet.ridge(0.715, (0.012, 0.7, phase), (0.005, 2.1, phase)), (250, 228, 172), (236, 202, 136))
    p.specks(0.77, 0.99, 30, 0.005, ((222, 188, 126), (255, 244, 214)))


def _lake(p: Painter) -> None:
    p.hills(0.46, _mix(p.grass, (120, 170, 200), 0.5), 0.8, 0.05)
    p.pointed_trees(15, 0.56, 0.14, _mix(p.leaves, (80, 130, 130), 0.4), 0.5)
    p.put(p.sheet.ridge(0.545, (0.006, 0.7, p.between(0, 6))), _mix(p.grass, (90, 160, 110), 0.2), far=0.3)
    ice = p.season == "winter"
    p.put(p.sheet.ridge(0.575, (0.006, 0.6, p.between(0, 6))), (150, 206, 232), (92, 164, 212), stuff="water", far=0.2)
    _waves(p, 0.6, 0.78, 4)
    shore = p.sheet.ridge(0.81, (0.014, 0.5, p.between(0, 6)), (0.005, 1.7, 1.0))
    p.put(shore, _mix(p.grass, (255, 255, 255), 0.1 if not ice else 0.4), _mix(p.grass, (40, 120, 60), 0.15))
    reeds = p.sheet.nothing()
    for x in p.along(9):
        for k in range(3):
            p.sheet.cone(reeds, x + k * 0.018, 0.735 + 0.015 * k, 0.006, 0.84)
    p.put(reeds, _mix(p.leaves, (60, 110, 50), 0.4), stuff="plants")
    p.specks(0.86, 0.99, 22, 0.007, p.petals)


def _underwater(p: Painter) -> None:
    p.put(p.sheet.everything(), (96, 200, 226), (14, 66, 138), stuff="water")
    for _ in range(5):  # shafts of light
        x, wide, lean = p.between(0, p.sheet.aspect), p.between(0.04, 0.1), p.between(0.15, 0.35)

        def shaft(x_: Array, y: Array, x: float = x, wide: float = wide, lean: float = lean) -> Array:
            return wide * (0.4 + y) - np.abs(x_ - x - lean * y)

        rays = p.sheet.nothing()
        p.sheet.paint(rays, shaft, (0, 0, p.sheet.aspect, 1))
        p.put(rays, (190, 240, 250), stuff="water", opacity=0.12, outlined=False)
    p.put(p.sheet.ridge(0.8, (0.03, 0.6, p.between(0, 6))), (60, 132, 156), (46, 108, 140), stuff="rock")
    weeds = p.sheet.nothing()
    for x in p.along(8):
        tall, phase = p.between(0.15, 0.34), p.between(0, 6)

        def blade(x_: Array, y: Array, x: float = x, tall: float = tall, phase: float = phase) -> Array:
            up = np.clip((0.95 - y) / tall, 0, 1)
            return 0.014 * (1 - up**2) - np.abs(x_ - x - 0.02 * np.sin(9 * up + phase))

        p.sheet.paint(weeds, blade, (x - 0.06, 0.95 - tall, x + 0.06, 0.95))
    p.put(weeds, (60, 168, 120), (26, 104, 96), stuff="plants")
    p.put(p.sheet.ridge(0.89, (0.015, 0.5, p.between(0, 6))), (236, 214, 160), (204, 178, 124))
    bubbles = p.sheet.nothing()
    for _ in range(14):
        r = p.between(0.006, 0.015)
        p.sheet.ellipse(bubbles, p.between(0, p.sheet.aspect), p.between(0.08, 0.8), r, r)
    p.put(bubbles, (214, 246, 252), stuff="water", opacity=0.5, outlined=False)


def _room(p: Painter) -> None:
    walls: tuple[RGB, ...] = ((250, 228, 196), (206, 224, 232), (238, 212, 216), (216, 230, 202))
    wall = walls[int(p.rng.integers(len(walls)))]
    p.put(p.sheet.everything(), wall, _mix(wall, (150, 120, 110), 0.12), stuff="wall")
    stripes = p.sheet.nothing()
    for k in range(int(p.sheet.aspect / 0.16) + 1):
        p.sheet.box(stripes, k * 0.16, 0, k * 0.16 + 0.07, 0.69)
    p.put(stripes, _mix(wall, (255, 255, 255), 0.35), stuff="wall", outlined=False)
    x = p.between(0.25, p.sheet.aspect - 0.25 - 0.34)
    frame, glass, bars = p.sheet.nothing(), p.sheet.nothing(), p.sheet.nothing()
    p.sheet.box(frame, x, 0.14, x + 0.34, 0.5)
    p.sheet.box(glass, x + 0.022, 0.162, x + 0.318, 0.478)
    p.sheet.box(bars, x + 0.162, 0.16, x + 0.178, 0.48)
    p.sheet.box(bars, x + 0.02, 0.312, x + 0.32, 0.328)
    p.put(frame, (255, 252, 244), stuff="wall")
    p.layers.append(Layer(glass, (0, 0, 0), (0, 0, 0), "view"))
    p.put(bars, (255, 252, 244), stuff="wall")
    curtains = p.sheet.nothing()
    p.sheet.cone(curtains, x - 0.04, 0.02, 0.09, 0.56)
    p.sheet.cone(curtains, x + 0.38, 0.02, 0.09, 0.56)
    p.put(curtains, (226, 112, 104), (200, 88, 88), stuff="wall")
    p.put(p.sheet.ridge(0.68), (255, 250, 240), stuff="wall")
    p.put(p.sheet.ridge(0.705), (214, 164, 112), (186, 132, 84), stuff="floor")
    boards = p.sheet.nothing()
    for y in (0.76, 0.83, 0.915):
        p.sheet.box(boards, 0, y, p.sheet.aspect, y + 0.006)
    p.put(boards, (170, 118, 74), stuff="floor", outlined=False)
    rug = p.sheet.nothing()
    p.sheet.ellipse(rug, p.sheet.aspect / 2 + p.between(-0.2, 0.2), 0.88, 0.52, 0.085)
    p.put(rug, (126, 160, 196), (104, 134, 176), stuff="floor", opacity=0.85)


def _cave(p: Painter) -> None:
    p.put(p.sheet.everything(), (96, 84, 96), (76, 66, 80), stuff="rock")
    hollow = p.sheet.nothing()
    cx = p.sheet.aspect / 2 + p.between(-0.35, 0.35)
    p.sheet.ellipse(hollow, cx, 0.62, 0.72, 0.5)
    p.put(hollow, (128, 110, 116), (104, 88, 96), stuff="rock")
    deep = p.sheet.nothing()
    p.sheet.ellipse(deep, cx, 0.66, 0.44, 0.34)
    p.put(deep, (150, 130, 128), (124, 104, 108), stuff="rock")
    p.put(p.sheet.ridge(0.68, (0.014, 0.8, p.between(0, 6))), (160, 140, 130), (116, 98, 98), stuff="floor")
    teeth = p.sheet.nothing()
    for x in p.along(11):
        length, half = p.between(0.07, 0.22), p.between(0.025, 0.05)

        def tooth(x_: Array, y: Array, x: float = x, length: float = length, half: float = half) -> Array:
            return np.minimum(half * (1 - y / length) - np.abs(x_ - x), length - y)

        p.sheet.paint(teeth, tooth, (x - half, 0, x + half, length))
    p.put(teeth, (74, 64, 78), (92, 80, 92), stuff="rock")
    crystals = p.sheet.nothing()
    for x in p.along(5):
        for k in (-1, 0, 1):
            p.sheet.cone(crystals, x + k * 0.02, 0.64 + 0.02 * abs(k), 0.012, 0.71)
    p.put(crystals, (164, 214, 226), (112, 160, 196), stuff="rock")
    stones = p.sheet.nothing()
    for _ in range(8):
        y, size = p.between(0.74, 0.98), p.between(0.01, 0.022)
        p.sheet.ellipse(stones, p.between(0, p.sheet.aspect), y, size * 1.5, size)
    p.put(stones, (104, 90, 94), stuff="rock")


def _space(p: Painter) -> None:
    p.put(p.sheet.everything(), (22, 16, 58), (62, 38, 104), stuff="sky", glows=True)
    for colour, opacity in (((150, 90, 190), 0.22), ((80, 120, 210), 0.2)):
        mist = p.sheet.nothing()
        p.sheet.ellipse(mist, p.between(0.2, p.sheet.aspect - 0.2), p.between(0.15, 0.5), p.between(0.35, 0.6), p.between(0.1, 0.2))
        p.layers.append(Layer(mist * (2 / p.sheet.height) - 0.5, colour, colour, "sky", glows=True, opacity=opacity, outlined=False))
    _stars(p, 0.78, 70)
    x, r = p.between(0.15, p.sheet.aspect - 0.15), p.between(0.1, 0.14)
    world, bands = p.sheet.nothing(), p.sheet.nothing()
    p.sheet.ellipse(world, x, 0.2, r, r)
    for dy in (-0.5, 0.05, 0.5):
        p.sheet.box(bands, x - r, 0.2 + dy * r, x + r, 0.2 + dy * r + r * 0.2)
    p.put(world, (240, 176, 140), (206, 116, 128), stuff="sky", glows=True)
    p.put(np.minimum(world, bands), (250, 206, 164), stuff="sky", glows=True, opacity=0.7, outlined=False)
    p.put(p.sheet.ridge(0.77, (0.025, 0.4, p.between(0, 6))), (196, 196, 212), (142, 142, 168), glows=True)
    craters = p.sheet.nothing()
    for _ in range(8):
        y, size = p.between(0.83, 0.97), p.between(0.025, 0.06)
        p.sheet.ellipse(craters, p.between(0, p.sheet.aspect), y, size, size * 0.3)
    p.put(craters, (158, 158, 182), (172, 172, 194), glows=True)


def _snow(p: Painter) -> None:
    peaks = p.sheet.crags(0.6, 0.24, p.between(0.5, 0.7), p.between(0, 1), 0.3)
    p.put(peaks, (206, 226, 244), (226, 240, 250), stuff="rock", far=0.5)
    for base, colour, far in ((0.56, (222, 236, 248), 0.4), (0.62, (234, 244, 252), 0.2), (0.7, (246, 250, 255), 0.0)):
        p.put(p.sheet.ridge(base, (0.03, p.between(0.35, 0.6), p.between(0, 6))), (255, 255, 255), _mix(colour, (180, 206, 234), 0.3), far=far)
    p.pointed_trees(5, 0.66, 0.16, (150, 190, 196), 0.4)
    p.hills(0.69, (240, 247, 255), 0.0, 0.012)


_DRAW: dict[str, Callable[[Painter], None]] = {
    "meadow": _meadow, "forest": _forest, "garden": _garden, "farm": _farm, "village": _village, "town": _town,
    "mountains": _mountains, "desert": _desert, "beach": _beach, "sea": _sea, "lake": _lake,
    "underwater": _underwater, "room": _room, "cave": _cave, "space": _space, "snow": _snow,
}  # fmt: skip


def _stars(p: Painter, bottom: float, count: int) -> None:
    stars = p.sheet.nothing()
    for _ in range(count):
        r = p.between(0.0022, 0.0052)
        p.sheet.ellipse(stars, p.between(0, p.sheet.aspect), bottom * p.between(0.02, 1) ** 1.3, r, r)
    p.put(stars, (255, 250, 220), stuff="sky", glows=True, outlined=False, opacity=0.9)


def _layers(place: str, layout: int, time: str, weather: str, season: str, width: int, height: int) -> list[Layer]:
    painter = Painter(Sheet(width, height), season, numpy_rng(layout, "backdrop", place))
    if time == "night" and weather == "clear" and place not in ("space", "underwater", "cave", "room"):
        _stars(painter, 0.5, 46)
    if weather in ("cloudy", "rain", "snowfall") and STAGES[place].weather:
        painter.clouds(7, 0.02, 0.16, (226, 230, 236), 0.9)
        painter.clouds(6, 0.10, 0.24, (240, 242, 246), 0.8)
    _DRAW[place](painter)
    return painter.layers


def _lit(colour: RGB, time: str, weather: str, far: float) -> Array:
    """A summer day's colour, at another time and weather."""
    rgb = np.asarray(colour, np.float32)
    if weather in ("cloudy", "rain", "snowfall"):
        rgb = (rgb + (rgb.mean() - rgb) * 0.3) * (0.86 if weather == "rain" else 0.93)
    elif weather == "fog":
        rgb = rgb + (np.float32(226) - rgb) * (0.3 + 0.5 * far)
    if time == "night":  # moonlight takes the colour out of things and leaves blue
        rgb = 0.6 * rgb + 0.4 * rgb.mean() * np.asarray((0.82, 0.94, 1.25), np.float32)
    times, plus = _LIGHT[time]
    return rgb * np.asarray(times, np.float32) + np.asarray(plus, np.float32)


def _sky(time: str, weather: str, height: int, bottom: float = 0.55) -> Array:
    """(H, 1, 3): the sky's colours from the top to the horizon at `bottom`."""
    top, middle, horizon = (np.asarray(colour, np.float32) for colour in _SKIES[time])
    if weather != "clear":
        grey = {"day": (196, 206, 216), "dusk": (170, 140, 150), "night": (44, 50, 76)}[time]
        share = {"cloudy": 0.65, "rain": 0.8, "snowfall": 0.75, "fog": 0.85}[weather]
        top, middle, horizon = (colour + (np.asarray(grey, np.float32) - colour) * share for colour in (top, middle, horizon))
    t = np.clip((np.arange(height, dtype=np.float32) + 0.5) / height / bottom, 0, 1)[:, None, None]
    upper = top + (middle - top) * np.clip(t * 1.7, 0, 1)
    return upper + (horizon - upper) * np.clip((t - 0.5) * 2, 0, 1) ** 1.2


def draw(place: str, layout: int, time: str, weather: str, season: str, width: int, height: int) -> Array:
    """The backdrop in colour: (H, W, 3) uint8."""
    sky = _sky(time, weather, height)
    canvas = np.broadcast_to(sky, (height, width, 3)).astype(np.float32)
    for layer in _layers(place, layout, time, weather, season, width, height):
        inside = layer.distance > -0.5
        rows = np.flatnonzero(inside.any(1))
        if not len(rows):
            continue
        part = slice(rows[0], rows[-1] + 1)
        mask = np.clip(layer.distance[part] + 0.5, 0, layer.opacity)[..., None]
        if layer.stuff == "view":  # through a window
            colour = _sky(time, "clear", height, 0.5)[part]
        elif layer.stuff == "lit":  # windows shine when it gets dark
            warm = {"day": (150, 190, 214), "dusk": (255, 214, 130), "night": (255, 212, 112)}[time]
            colour = np.asarray(warm, np.float32)
        else:
            ends = [np.asarray(c, np.float32) if layer.glows else _lit(c, time, weather, layer.far) for c in (layer.top, layer.bottom)]
            t = np.linspace(0, 1, rows[-1] - rows[0] + 1, dtype=np.float32)
            colour = ends[0] + (ends[1] - ends[0]) * t[:, None, None]
        canvas[part] += (colour - canvas[part]) * mask
    if weather == "fog" and STAGES[place].weather:
        haze = {"day": (232, 236, 240), "dusk": (206, 172, 176), "night": (74, 84, 116)}[time]
        y = (np.arange(height, dtype=np.float32) + 0.5) / height
        canvas += (np.asarray(haze, np.float32) - canvas) * (0.45 * np.exp(-(((y - 0.55) / 0.22) ** 2)))[:, None, None]
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def draw_lines(place: str, layout: int, season: str, width: int, height: int) -> Array:
    """The backdrop as a line drawing: dark outlines on white, (H, W, 3) uint8."""
    canvas = np.full((height, width), 255, np.float32)
    thick = max(0.55, height / 300)
    for layer in _layers(place, layout, "day", "clear", season, width, height):
        if not layer.outlined:
            continue
        inside = np.clip(layer.distance + 0.5, 0, 1)
        canvas += (255 - canvas) * inside
        line = np.clip(thick + 0.5 - np.abs(layer.distance), 0, 1)
        canvas += (96 - canvas) * line
    return np.repeat(np.clip(canvas + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def draw_labels(place: str, layout: int, season: str, width: int, height: int) -> Array:
    """What each pixel of the backdrop is: (H, W) uint8 numbers of `STUFF`."""
    labels = np.zeros((height, width), np.uint8)
    names = {"lit": "buildings", "view": "wall"}
    for layer in _layers(place, layout, "day", "clear", season, width, height):
        if layer.opacity >= 0.5 and not (layer.stuff == "sky" and layer.opacity < 0.95):
            labels[layer.distance > 0] = STUFF.index(names.get(layer.stuff, layer.stuff))
    return labels


def weather_veil(weather: str, variant: int, width: int, height: int) -> tuple[Array, RGB] | None:
    """What falls in front of everything: its opacity, (H, W) uint8, and colour; `None` in other weathers."""
    if weather not in ("rain", "snowfall"):
        return None
    sheet, rng = Sheet(width, height), numpy_rng(variant, "veil", weather)
    distance = sheet.nothing()
    for _ in range(90 if weather == "rain" else 110):
        x, y = float(rng.uniform(-0.1, sheet.aspect)), float(rng.uniform(-0.05, 1.0))
        if weather == "rain":
            length = float(rng.uniform(0.05, 0.09))

            def streak(x_: Array, y_: Array, x: float = x, y: float = y, length: float = length) -> Array:
                along = (y_ - y) / length
                return np.minimum(0.0038 - np.abs(x_ - x - 0.25 * (y_ - y)), np.minimum(along, 1 - along) * length)

            sheet.paint(distance, streak, (x, y, x + 0.04, y + length))
        else:
            r = float(rng.uniform(0.004, 0.011))
            sheet.ellipse(distance, x, y, r, r)
    strength = 150 if weather == "rain" else 235
    colour: RGB = (206, 226, 246) if weather == "rain" else (255, 255, 255)
    return (np.clip(distance + 0.5, 0, 1) * strength).astype(np.uint8), colour


class Memory:
    """Keeps the most recently used arrays, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self.kept: OrderedDict[tuple[object, ...], Array] = OrderedDict()

    def get(self, key: tuple[object, ...], make: Callable[[], Array]) -> Array:
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key]
        value = make()
        value.flags.writeable = False
        self.kept[key] = value
        self.held += value.nbytes
        while self.held > self.limit and len(self.kept) > 1:
            self.held -= self.kept.popitem(last=False)[1].nbytes
        return value


