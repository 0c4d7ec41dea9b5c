"""A plot of curves, drawn with Pillow: axes, points with their standard errors, names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, SCALE = 960, 640, 3  # pixels, and how many times as large it is drawn before it is shrunk
LEFT, RIGHT, TOP, BOTTOM = 90, 30, 30, 70  # margins
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
"""Told apart by most colour-blind people (Okabe and Ito, 2008)."""


@dataclass(frozen=True)
class Point:
    """A place, and the standard error of each coordinate."""

    x: float
    y: float
    x_error: float = 0.0
    y_error: float = 0.0


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(k * step, 12) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def span(values: Sequence[float]) -> tuple[float, float]:
    """The range of an axis that shows all of them, with room at its ends."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room


def curves(series: Mapping[str, Sequence[Point]], x_name: str, y_name: str) -> np.ndarray:
    """uint8 (H, W, 3): a line through each series' points in their order, with its name in the legend."""
    from PIL import Image, ImageDraw, ImageFont

    points = [point for each in series.values() for point in each]
    x_low, x_high = span([p.x + side * p.x_error for p in points for side in (-1, 1)])
    y_low, y_high = span([p.y + side * p.y_error for p in points for side in (-1, 1)])
    canvas = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(15 * SCALE)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return across * SCALE, down * SCALE

    def line(*places: tuple[float, float], colour: str, width: float) -> None:
        pen.line(places, fill=colour, width=round(width * SCALE), joint="curve")

    for tick in ticks(x_low, x_high):
        line(at(tick, y_low), at(tick, y_high), colour="#e4e4e4", width=1)
        place = at(tick, y_low)
        pen.text((place[0], place[1] + 6 * SCALE), f"{tick:g}", fill="black", font=font, anchor="mt")
    for tick in ticks(y_low, y_high):
        line(at(x_low, tick), at(x_high, tick), colour="#e4e4e4", width=1)
        place = at(x_low, tick)
        pen.text((place[0] - 6 * SCALE, place[1]), f"{tick:g}", fill="black", font=font, anchor="rm")
    line(at(x_low, y_high), at(x_low, y_low), at(x_high, y_low), colour="#808080", width=1.5)
    middle = (LEFT + WIDTH - RIGHT) / 2 * SCALE
    pen.text((middle, (HEIGHT - 12) * SCALE), x_name, fill="black", font=font, anchor="mb")
    sideways = Image.new("RGB", (HEIGHT * SCALE, 24 * SCALE), "white")
    ImageDraw.Draw(sideways).text((HEIGHT * SCALE / 2, 12 * SCALE), y_name, fill="black", font=font, anchor="mm")
    canvas.paste(sideways.rotate(90, expand=True), (8 * SCALE, 0))

    for number, (name, each) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        for p in each:
            line(at(p.x - p.x_error, p.y), at(p.x + p.x_error, p.y), colour=colour, width=1)
            line(at(p.x, p.y - p.y_error), at(p.x, p.y + p.y_error), colour=colour, width=1)
        if len(each) > 1:
            line(*(at(p.x, p.y) for p in each), colour=colour, width=2.5)
        for p in each:
            pen.circle(at(p.x, p.y), 4.5 * SCALE, fill=colour)
        row = (TOP + 14 + 22 * number) * SCALE
        pen.text(((WIDTH - RIGHT - 12) * SCALE, row), name, fill=colour, font=font, anchor="rm")
    return np.asarray(canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
