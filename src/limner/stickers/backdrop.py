"""Draws the backdrops of scenes: the layers of a place, in the light of a time of day, a weather and a season.

Colours are given once, as on a clear day, and the time of day and the weather change them; so a forest at dusk in the
fog is nobody's special case.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from limner.rng import numpy_rng
from limner.stickers.places import DRAWINGS, stars
from limner.stickers.shapes import RGB, Array, Layer, Painter, Sheet

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


def _layers(place: str, layout: int, time: str, weather: str, season: str, width: int, height: int) -> list[Layer]:
    painter = Painter(Sheet(width, height), season, numpy_rng(layout, "backdrop", place))
    if time == "night" and weather == "clear" and place not in ("space", "underwater", "cave", "room"):
        stars(painter, 0.5, 46)
    if weather in ("cloudy", "rain", "snowfall") and STAGES[place].weather:
        painter.clouds(7, 0.02, 0.16, (226, 230, 236), 0.9)
        painter.clouds(6, 0.10, 0.24, (240, 242, 246), 0.8)
    DRAWINGS[place](painter)
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
    lit: Array = rgb * np.asarray(times, np.float32) + np.asarray(plus, np.float32)
    return lit


def _sky(time: str, weather: str, height: int, bottom: float = 0.55) -> Array:
    """(H, 1, 3): the sky's colours from the top to the horizon at `bottom`."""
    top, middle, horizon = (np.asarray(colour, np.float32) for colour in _SKIES[time])
    if weather != "clear":
        grey = {"day": (196, 206, 216), "dusk": (170, 140, 150), "night": (44, 50, 76)}[time]
        share = {"cloudy": 0.65, "rain": 0.8, "snowfall": 0.75, "fog": 0.85}[weather]
        top, middle, horizon = (
            colour + (np.asarray(grey, np.float32) - colour) * share for colour in (top, middle, horizon)
        )
    t = np.clip((np.arange(height, dtype=np.float32) + 0.5) / height / bottom, 0, 1)[:, None, None]
    upper = top + (middle - top) * np.clip(t * 1.7, 0, 1)
    sky: Array = upper + (horizon - upper) * np.clip((t - 0.5) * 2, 0, 1) ** 1.2
    return sky


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
            ends = [
                np.asarray(c, np.float32) if layer.glows else _lit(c, time, weather, layer.far)
                for c in (layer.top, layer.bottom)
            ]
            t = np.linspace(0, 1, rows[-1] - rows[0] + 1, dtype=np.float32)
            colour = ends[0] + (ends[1] - ends[0]) * t[:, None, None]
        canvas[part] += (colour - canvas[part]) * mask
    if weather == "fog" and STAGES[place].weather:
        haze = {"day": (232, 236, 240), "dusk": (206, 172, 176), "night": (74, 84, 116)}[time]
        y = (np.arange(height, dtype=np.float32) + 0.5) / height
        canvas += (np.asarray(haze, np.float32) - canvas) * (0.45 * np.exp(-(((y - 0.55) / 0.22) ** 2)))[:, None, None]
    pixels: Array = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return pixels


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
