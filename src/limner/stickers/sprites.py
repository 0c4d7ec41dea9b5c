"""Stickers as pixels that are ready to be laid on a picture: sized, recoloured, turned, lit, with shadow and ripple.

A `Sprite` is a colour that is already multiplied by its opacity, and what shows through, both in 256ths: laying it on
a picture is one multiplication, one addition and one shift.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from limner.stickers import backdrop
from limner.stickers.art import STYLES, Art, art
from limner.stickers.vocabulary import noun

Light = tuple[int, int, int]  # of 256, for red, green and blue
PLAIN: Light = (256, 256, 256)
LIGHTS: dict[str, Light] = {"day": PLAIN, "dusk": (256, 226, 218), "night": (188, 192, 230)}  # by time of day
_HUES = {  # hue in degrees, saturation times, value times
    "red": (356, 1.0, 1.0), "orange": (26, 1.0, 1.05), "yellow": (48, 1.0, 1.12), "green": (125, 0.85, 0.85),
    "blue": (214, 1.0, 1.0), "purple": (276, 0.85, 0.95), "pink": (334, 0.62, 1.08), "white": (0, 0.06, 1.25),
    "black": (240, 0.12, 0.3), "brown": (24, 0.75, 0.6),
}  # fmt: skip


Sprite = tuple[np.ndarray, np.ndarray]  # colour times alpha, and 256 - alpha; (h, w, 3) and (h, w, 1) uint16


def clip(canvas: np.ndarray, x: int, y: int, wide: int, tall: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The part of the canvas that a patch covers, and the part of the patch that is on the canvas."""
    y0, x0 = max(0, -y), max(0, -x)
    y1, x1 = min(tall, canvas.shape[0] - y), min(wide, canvas.shape[1] - x)
    y1, x1 = max(y0, y1), max(x0, x1)
    return canvas[y + y0 : y + y1, x + x0 : x + x1], (y0, y1, x0, x1)


def blend(canvas: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    """Lays a sprite on a picture, its upper left corner at (x, y); what is outside is left out."""
    colour, through = sprite
    part, (y0, y1, x0, x1) = clip(canvas, x, y, colour.shape[1], colour.shape[0])
    part[:] = (colour[y0:y1, x0:x1] + part * through[y0:y1, x0:x1]) >> 8


def sticker(style: str, name: str, side: int, colour: str | None, flipped: bool, light: Light) -> Sprite:
    """A noun's sticker, `side` pixels wide and high."""
    return _sticker(art(), style, name, side, colour, flipped, light)


@lru_cache(maxsize=6000)
def _sticker(source: Art, style: str, name: str, side: int, colour: str | None, flipped: bool, light: Light) -> Sprite:
    what = noun(name)
    pixels = source.sprite(style, what.icons[STYLES.index(style)], side)
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
def shadow(side: int, strength: int) -> Sprite:
    """What a sticker throws on the ground it stands on."""
    wide, tall = side + side // 8, max(2, round(side * 0.2))
    y, x = np.mgrid[:tall, :wide]
    r = ((x + 0.5) / wide * 2 - 1) ** 2 + ((y + 0.5) / tall * 2 - 1) ** 2
    alpha = (np.clip(1 - r, 0, 1) ** 0.7 * strength).astype(np.uint32)[..., None]
    ink = np.asarray((30, 32, 60), np.uint32)
    return (alpha * ink).astype(np.uint16), (256 - alpha).astype(np.uint16)


@lru_cache(maxsize=256)
def ripple(side: int, light: Light) -> Sprite:
    """The foam where a sticker lies in the water."""
    wide, tall = side + side // 4, max(2, round(side * 0.14))
    y, x = np.mgrid[:tall, :wide]
    r = ((x + 0.5) / wide * 2 - 1) ** 2 + ((y + 0.5) / tall * 2 - 1) ** 2
    alpha = (np.clip(1.15 - r, 0, 1) ** 0.6 * 190).astype(np.uint32)[..., None]
    foam = np.asarray((206, 236, 248), np.uint32) * np.asarray(light, np.uint32) // 256
    return (alpha * foam).astype(np.uint16), (256 - alpha).astype(np.uint16)


@lru_cache(maxsize=32)
def veil(weather: str, variant: int, width: int, height: int) -> Sprite:
    """Rain or falling snow, in front of the whole picture."""
    made = backdrop.weather_veil(weather, variant, width, height)
    assert made is not None
    alpha = made[0].astype(np.uint32)[..., None]
    return (alpha * np.asarray(made[1], np.uint32)).astype(np.uint16), (256 - alpha).astype(np.uint16)
