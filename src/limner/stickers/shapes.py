"""The shapes that backdrops are made of: layers of signed distances, the sheet they are measured on, and a painter.

A layer is a signed distance to a shape's edge in pixels (positive inside), which gives crisp antialiased edges at any
size, outlines for the line style, and exact label maps. Lengths are in picture heights: y runs from 0 (top) to 1, x
from 0 to the aspect ratio. Colours are those of a day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import numpy as np

Array = np.ndarray
RGB = tuple[float, float, float]

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
    """One shape of a backdrop, in one colour or a run of two.

    `stuff` is what the label map calls it; `lit` (windows that shine when it gets dark) and `view` (what is seen
    through a window: sky) are coloured by the time of day.
    """

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
        """A shape that is nowhere: others are joined to it."""
        return np.full((self.height, self.width), -1e3, np.float32)

    def everything(self) -> Array:
        """A shape that fills the sheet."""
        return np.full((self.height, self.width), 1e3, np.float32)

    def ridge(self, base: float, *waves: tuple[float, float, float]) -> Array:
        """All that lies below a rolling line at `base`; waves are (amplitude, cycles over one height, phase)."""
        line = np.full_like(self.x, base)
        slope = np.zeros_like(self.x)
        for amplitude, cycles, phase in waves:
            line += amplitude * np.sin(2 * pi * cycles * self.x + phase)
            slope += amplitude * 2 * pi * cycles * np.cos(2 * pi * cycles * self.x + phase)
        distance: Array = ((self.y - line) * self.height / np.sqrt(1 + slope**2)).astype(np.float32)
        return distance

    def crags(self, base: float, rise: float, width: float, phase: float, rough: float) -> Array:
        """All that lies below a line of sharp peaks."""
        t = self.x / width + phase
        saw = np.abs((t % 1) * 2 - 1)
        second = np.abs((t * 2.3 + 0.37 + phase) % 1 * 2 - 1)
        line = base - rise * ((1 - rough) * (1 - saw) + rough * (1 - second))
        distance: Array = ((self.y - line) * self.height * 0.6).astype(np.float32)
        return distance

    def paint(
        self, onto: Array, shape: Callable[[Array, Array], Array], box: tuple[float, float, float, float]
    ) -> None:
        """Joins a shape, a function of (x, y), to a distance map, within a box of (left, top, right, bottom)."""
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
            flanks = (half * (y - top) / rise - np.abs(x - cx)) * scale
            inside: Array = np.minimum(flanks, bottom - y)
            return inside

        self.paint(onto, shape, (cx - half, top, cx + half, bottom))


class Painter:
    """Collects the layers of one place; `rng` arranges them."""

    def __init__(self, sheet: Sheet, season: str, rng: np.random.Generator) -> None:
        self.sheet, self.season, self.rng = sheet, season, rng
        self.layers: list[Layer] = []
        self.grass, self.leaves, self.petals = _GRASS[season], _LEAVES[season], _PETALS[season]

    def put(
        self, distance: Array, top: RGB, bottom: RGB | None = None, stuff: str = "land", *, far: float = 0.0,
        glows: bool = False, opacity: float = 1.0, outlined: bool = True,
    ) -> None:  # fmt: skip
        """Lays a shape over what is there already."""
        self.layers.append(Layer(distance, top, bottom or top, stuff, far, glows, opacity, outlined))

    def between(self, low: float, high: float) -> float:
        """A length, by chance."""
        return float(self.rng.uniform(low, high))

    def along(self, count: int, margin: float = 0.0) -> list[float]:
        """`count` places from left to right, roughly even."""
        step = (self.sheet.aspect + 2 * margin) / count
        return [-margin + step * (k + 0.5 + self.between(-0.3, 0.3)) for k in range(count)]

    def hills(self, base: float, colour: RGB, far: float, height: float = 0.035) -> None:
        """Rolling land below `base`."""
        distance = self.sheet.ridge(
            base,
            (height, self.between(0.35, 0.6), self.between(0, 6)),
            (height / 3, self.between(0.9, 1.4), self.between(0, 6)),
        )
        self.put(distance, mix(colour, (255, 255, 255), 0.14), mix(colour, (20, 60, 40), 0.12), far=far)

    def specks(
        self, top: float, bottom: float, count: int, size: float, colours: tuple[RGB, ...], stuff: str = "land"
    ) -> None:
        """Small round dots strewn over the ground, larger towards the front."""
        for colour in colours:
            distance = self.sheet.nothing()
            for _ in range(count // len(colours)):
                y = self.between(top, bottom)
                radius = size * (0.5 + (y - top) / (bottom - top + 1e-6))
                self.sheet.ellipse(distance, self.between(0, self.sheet.aspect), y, radius, radius * 0.8)
            self.put(distance, colour, stuff=stuff, outlined=False)

    def tufts(self, top: float, bottom: float, count: int, colour: RGB) -> None:
        """Tufts of grass."""
        distance = self.sheet.nothing()
        for _ in range(count):
            x, y = self.between(0, self.sheet.aspect), self.between(top, bottom)
            tall = 0.022 * (0.6 + (y - top) / (bottom - top))
            for lean in (-0.7, 0.0, 0.7):
                self.sheet.cone(distance, x + lean * 0.01, y - tall * (1 - 0.25 * abs(lean)), 0.005, y)
        self.put(distance, colour, outlined=False)

    def round_trees(self, count: int, base: float, size: float, colour: RGB, far: float) -> None:
        """A row of trees with round crowns, standing on `base`."""
        trunks, crowns = self.sheet.nothing(), self.sheet.nothing()
        for x in self.along(count, 0.1):
            tall = size * self.between(0.85, 1.15)
            self.sheet.box(trunks, x - tall * 0.06, base - tall * 0.5, x + tall * 0.06, base)
            for dx, dy, r in ((0.0, 0.78, 0.27), (-0.2, 0.6, 0.22), (0.2, 0.6, 0.22)):
                self.sheet.ellipse(crowns, x + dx * tall, base - dy * tall, r * tall, r * tall)
        self.put(trunks, mix((120, 88, 66), colour, 0.35), stuff="plants", far=far)
        self.put(crowns, mix(colour, (255, 255, 255), 0.12), mix(colour, (20, 50, 60), 0.12), stuff="plants", far=far)

    def pointed_trees(self, count: int, base: float, size: float, colour: RGB, far: float) -> None:
        """A row of firs, standing on `base`."""
        trees = self.sheet.nothing()
        for x in self.along(count, 0.1):
            tall = size * self.between(0.8, 1.2)
            for part, half in ((1.0, 0.17), (0.75, 0.22), (0.5, 0.27)):
                self.sheet.cone(trees, x, base - tall * part, tall * half, base - tall * (part - 0.5))
        self.put(trees, mix(colour, (255, 255, 255), 0.1), mix(colour, (20, 50, 60), 0.1), stuff="plants", far=far)

    def houses(self, count: int, base: float, size: float, roofs: tuple[RGB, ...], far: float) -> None:
        """A row of houses with windows, standing on `base`."""
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
        """Windows that shine when it gets dark."""
        self.put(distance, (150, 190, 214), stuff="lit")

    def clouds(self, count: int, low: float, high: float, colour: RGB = (255, 255, 255), opacity: float = 0.75) -> None:
        """A bank of clouds."""
        distance = self.sheet.nothing()
        for x in self.along(count, 0.1):
            y, size = self.between(low, high), self.between(0.05, 0.09)
            for dx, dy, r in ((-1.0, 0.15, 0.6), (-0.3, -0.25, 0.85), (0.5, -0.1, 0.75), (1.2, 0.2, 0.5)):
                self.sheet.ellipse(distance, x + dx * size, y + dy * size, r * size, r * size * 0.62)
        self.put(distance, colour, stuff="sky", opacity=opacity, far=0.5)


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """A colour between two: `share` 0 is `a`, 1 is `b`."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)
