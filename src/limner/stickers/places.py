"""The places of the Sticker World, drawn layer by layer from the back to the front, as on a day of a season."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limner.stickers.shapes import RGB, Array, Layer, Painter, mix


def _meadow(p: Painter) -> None:
    p.hills(0.50, mix(p.grass, (120, 180, 200), 0.45), 0.8, 0.05)
    p.hills(0.56, mix(p.grass, (90, 170, 120), 0.3), 0.5, 0.04)
    p.hills(0.63, p.grass, 0.1, 0.025)
    p.specks(0.70, 0.99, 42, 0.007, p.petals)
    p.tufts(0.68, 0.99, 16, mix(p.grass, (30, 110, 50), 0.4))


def _forest(p: Painter) -> None:
    p.hills(0.5, mix(p.leaves, (130, 180, 180), 0.55), 0.9)
    p.pointed_trees(13, 0.64, 0.40, mix(p.leaves, (120, 170, 170), 0.5), 0.7)
    p.round_trees(8, 0.68, 0.46, mix(p.leaves, (90, 140, 120), 0.28), 0.4)
    p.hills(0.66, mix(p.grass, (60, 120, 60), 0.3), 0.1, 0.015)
    p.specks(0.74, 0.99, 24, 0.006, (mix(p.leaves, (255, 255, 255), 0.2), p.petals[0]))
    p.tufts(0.72, 0.99, 14, mix(p.leaves, (20, 80, 40), 0.3))


def _garden(p: Painter) -> None:
    p.hills(0.48, mix(p.grass, (120, 180, 190), 0.45), 0.8)
    hedge = p.sheet.nothing()
    for x in p.along(14, 0.1):
        p.sheet.ellipse(hedge, x, 0.6, 0.11, 0.1)
    p.put(hedge, mix(p.leaves, (255, 255, 255), 0.1), mix(p.leaves, (30, 70, 50), 0.15), stuff="plants", far=0.3)
    p.specks(0.53, 0.62, 30, 0.011, p.petals, "plants")
    p.put(p.sheet.ridge(0.64), p.grass, mix(p.grass, (40, 120, 60), 0.15))
    fence = p.sheet.nothing()
    step = 0.075
    for k in range(int(p.sheet.aspect / step) + 1):
        p.sheet.box(fence, k * step + 0.015, 0.59, k * step + 0.05, 0.70)
        p.sheet.cone(fence, k * step + 0.0325, 0.565, 0.0175, 0.592)
    for y in (0.615, 0.66):
        p.sheet.box(fence, 0, y, p.sheet.aspect, y + 0.014)
    p.put(fence, (255, 253, 246), (226, 226, 222), stuff="buildings")
    p.specks(0.73, 0.99, 36, 0.008, p.petals)
    p.tufts(0.73, 0.99, 12, mix(p.grass, (30, 110, 50), 0.4))


def _farm(p: Painter) -> None:
    p.hills(0.49, mix(p.grass, (120, 180, 200), 0.45), 0.8)
    if p.season != "winter":
        p.put(p.sheet.ridge(0.56, (0.01, 0.5, 1.0)), (236, 206, 104), (222, 186, 86), far=0.4)
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
    p.put(furrows, mix(p.grass, (120, 90, 40), 0.25), outlined=False)


def _village(p: Painter) -> None:
    p.hills(0.46, mix(p.grass, (120, 180, 200), 0.45), 0.8, 0.05)
    p.round_trees(7, 0.6, 0.2, mix(p.leaves, (120, 160, 150), 0.3), 0.5)
    p.houses(6, 0.64, 0.2, ((214, 110, 88), (184, 96, 92), (222, 140, 92)), 0.3)
    p.put(p.sheet.ridge(0.63, (0.006, 0.5, 0.0)), p.grass, mix(p.grass, (40, 120, 60), 0.15))
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
                        p.sheet.box(
                            windows,
                            left,
                            base - tall + 0.03 + row * 0.07,
                            left + wide * 0.22,
                            base - tall + 0.065 + row * 0.07,
                        )
        p.put(blocks, colour, mix(colour, (90, 90, 120), 0.15), stuff="buildings", far=far)
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
        p.put(peaks, colour, mix(colour, p.grass, 0.35), stuff="rock", far=far)
        snowline = p.sheet.ridge(base - rise * 0.52, (0.02, 3.1, phase), (0.012, 7.3, phase * 3))
        p.put(np.minimum(peaks, -snowline), (252, 254, 255), (232, 240, 250), stuff="rock", far=far * 0.5)
    p.pointed_trees(16, 0.69, 0.13, mix(p.leaves, (60, 110, 100), 0.5), 0.2)
    p.hills(0.68, mix(p.grass, (130, 170, 120), 0.2), 0.0, 0.012)
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
        wave = p.sheet.ridge(
            base, (0.04, p.between(0.3, 0.5), p.between(0, 6)), (0.012, p.between(0.8, 1.2), p.between(0, 6))
        )
        p.put(wave, mix(colour, (255, 240, 200), 0.3), mix(colour, (190, 130, 70), 0.25), far=far)


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
    p.hills(0.46, mix(p.grass, (120, 170, 200), 0.5), 0.8, 0.05)
    p.pointed_trees(15, 0.56, 0.14, mix(p.leaves, (80, 130, 130), 0.4), 0.5)
    p.put(p.sheet.ridge(0.545, (0.006, 0.7, p.between(0, 6))), mix(p.grass, (90, 160, 110), 0.2), far=0.3)
    ice = p.season == "winter"
    p.put(p.sheet.ridge(0.575, (0.006, 0.6, p.between(0, 6))), (150, 206, 232), (92, 164, 212), stuff="water", far=0.2)
    _waves(p, 0.6, 0.78, 4)
    shore = p.sheet.ridge(0.81, (0.014, 0.5, p.between(0, 6)), (0.005, 1.7, 1.0))
    p.put(shore, mix(p.grass, (255, 255, 255), 0.1 if not ice else 0.4), mix(p.grass, (40, 120, 60), 0.15))
    reeds = p.sheet.nothing()
    for x in p.along(9):
        for k in range(3):
            p.sheet.cone(reeds, x + k * 0.018, 0.735 + 0.015 * k, 0.006, 0.84)
    p.put(reeds, mix(p.leaves, (60, 110, 50), 0.4), stuff="plants")
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
    p.put(p.sheet.everything(), wall, mix(wall, (150, 120, 110), 0.12), stuff="wall")
    stripes = p.sheet.nothing()
    for k in range(int(p.sheet.aspect / 0.16) + 1):
        p.sheet.box(stripes, k * 0.16, 0, k * 0.16 + 0.07, 0.69)
    p.put(stripes, mix(wall, (255, 255, 255), 0.35), stuff="wall", outlined=False)
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
        p.sheet.ellipse(
            mist, p.between(0.2, p.sheet.aspect - 0.2), p.between(0.15, 0.5), p.between(0.35, 0.6), p.between(0.1, 0.2)
        )
        p.layers.append(
            Layer(mist * (2 / p.sheet.height) - 0.5, colour, colour, "sky", glows=True, opacity=opacity, outlined=False)
        )
    stars(p, 0.78, 70)
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
        p.put(
            p.sheet.ridge(base, (0.03, p.between(0.35, 0.6), p.between(0, 6))),
            (255, 255, 255),
            mix(colour, (180, 206, 234), 0.3),
            far=far,
        )
    p.pointed_trees(5, 0.66, 0.16, (150, 190, 196), 0.4)
    p.hills(0.69, (240, 247, 255), 0.0, 0.012)


def stars(p: Painter, bottom: float, count: int) -> None:
    """Points of light, from the top of the picture down to `bottom`."""
    points = p.sheet.nothing()
    for _ in range(count):
        r = p.between(0.0022, 0.0052)
        p.sheet.ellipse(points, p.between(0, p.sheet.aspect), bottom * p.between(0.02, 1) ** 1.3, r, r)
    p.put(points, (255, 250, 220), stuff="sky", glows=True, outlined=False, opacity=0.9)


DRAWINGS: dict[str, Callable[[Painter], None]] = {
    "meadow": _meadow, "forest": _forest, "garden": _garden, "farm": _farm, "village": _village, "town": _town,
    "mountains": _mountains, "desert": _desert, "beach": _beach, "sea": _sea, "lake": _lake,
    "underwater": _underwater, "room": _room, "cave": _cave, "space": _space, "snow": _snow,
}  # fmt: skip
