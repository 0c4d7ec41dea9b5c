"""Holes as a brush would leave them: masks drawn at random for inpainting, where there are none.

Broad strokes that turn at every vertex (Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019,
algorithm 1), with RFR's numbers: 1 to 15 strokes of up to 25 vertices, at most 100 pixels from one to the next, 10 to
24 wide, on a picture of 256. For other sizes they grow with the shorter side.
"""

from __future__ import annotations

from math import tau

import numpy as np

MOST, VERTICES, LENGTH, WIDTHS, SIDE = 15, 25, 100, (10, 24), 256


def strokes(width: int, height: int, chance: np.random.Generator) -> np.ndarray:
    """A mask, bool (height, width), True where something is to be filled in."""
    from PIL import Image, ImageDraw

    mask = Image.new("1", (width, height))
    brush, scale = ImageDraw.Draw(mask), min(width, height) / SIDE
    for _ in range(chance.integers(1, MOST + 1)):
        at = chance.uniform((0, 0), (width, height))
        for _ in range(chance.integers(1, VERTICES + 1)):
            broad = scale * chance.uniform(*WIDTHS)
            angle, length = chance.uniform(0, tau), scale * chance.uniform(0, LENGTH)
            to = (at + length * np.array([np.cos(angle), np.sin(angle)])).clip(0, (width, height))
            brush.line([*at, *to], 1, max(1, round(broad)))
            for x, y in (at, to):  # round ends
                brush.ellipse([x - broad / 2, y - broad / 2, x + broad / 2, y + broad / 2], 1)
            at = to
    return np.array(mask)
