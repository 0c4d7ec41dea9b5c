"""Cards: the title like the cover of a picture book, the last page, and the page that stands in for a scene that
failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from limner.film.letters import Line, Type, paint, set_lines
from limner.film.motion import quietest, reframe
from limner.rng import numpy_rng

if TYPE_CHECKING:
    from limner.film.planes import Frame

Colour = tuple[int, int, int]

PAPER: Colour = (248, 240, 224)
_INK: Colour = (52, 44, 58)
_RULE: Colour = (176, 120, 70)
_FAINT: Colour = (120, 106, 104)


def title_card(
    text: str, subtitle: str, size: tuple[int, int], *, picture: Frame | None = None, language: str = ""
) -> Frame:
    """The opening card, RGB (H, W, 3): the title on a label over `picture` (RGB), in its middle unless that hides much
    and another place less, or on a framed page without one.

    `size` is (width, height); `subtitle` is the author or empty. Raises MissingGlyph.
    """
    if picture is None:
        return _page(size, text, subtitle, language, frame=True)
    cover = Image.fromarray(reframe(picture, size))
    cover = cover.filter(ImageFilter.GaussianBlur(min(size) * 0.004))
    return _labelled(np.asarray(cover).copy(), text, subtitle, language)


def end_card(text: str, subtitle: str, size: tuple[int, int], *, language: str = "") -> Frame:
    """The closing card, RGB: `text` ("The End") and a line below it."""
    return _page(size, text, subtitle, language, frame=False)


def failure_card(text: str, reason: str, size: tuple[int, int], *, language: str = "") -> Frame:
    """The card in place of a scene whose picture is missing, RGB: its narration or prompt, and why, in small
    letters.
    """
    return _page(size, text, reason, language, frame=True, quiet=True)


def _page(size: tuple[int, int], text: str, below: str, language: str, *, frame: bool, quiet: bool = False) -> Frame:
    width, height = size
    page = _paper(size)
    if frame:
        _draw_frame(page, quiet)
    em = min(0.115 * height, 0.12 * width) * (0.5 if quiet else 1.0)
    _set_block(page, text, below, em, (0.74 * width, 0.62 * height), height / 2, language, quiet)
    return page


def _labelled(cover: Frame, text: str, below: str, language: str) -> Frame:
    height, width = cover.shape[:2]
    em = min(0.1 * height, 0.1 * width)
    room = (0.62 * width if width > height else 0.74 * width, 0.5 * height)
    title, author, ornament = _measured(text, below, em, room, language, quiet=False)
    block_h = _height(title) + ornament + _height(author)
    widest = max((line.width for line in (*title, *author)), default=0.0)
    label_w, label_h = round(widest + 2.4 * em), round(block_h + 1.5 * em)
    left, middle = (width - label_w) // 2, (height - label_h) // 2
    tops = (middle, round(0.09 * height), height - label_h - round(0.09 * height))
    boxes = [(left / width, y / height, (left + label_w) / width, (y + label_h) / height) for y in tops]
    top = tops[quietest(cover, boxes)]
    shadow = Image.new("L", (width, height), 0)
    box = (left, top + round(0.08 * em), left + label_w, top + label_h + round(0.08 * em))
    ImageDraw.Draw(shadow).rounded_rectangle(box, 0.3 * em, fill=150)
    dark = np.asarray(shadow.filter(ImageFilter.GaussianBlur(0.25 * em)), np.float32)[..., None] / 255
    cover[...] = np.rint(cover * (1 - dark)).astype(np.uint8)
    label = _paper((label_w, label_h))
    _draw_frame(label, quiet=False)
    mask = Image.new("L", (label_w * 4, label_h * 4), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, label_w * 4 - 1, label_h * 4 - 1), 1.0 * em, fill=255)
    rounded = np.asarray(mask.resize((label_w, label_h), Image.Resampling.BOX), np.float32)[..., None] / 255
    place = cover[top : top + label_h, left : left + label_w]
    place[...] = np.rint(place * (1 - rounded) + label * rounded).astype(np.uint8)
    _set_block(cover, text, below, em, room, top + label_h / 2, language, quiet=False)
    return cover


def _set_block(
    page: Frame, text: str, below: str, em: float, room: tuple[float, float], middle: float, language: str, quiet: bool
) -> None:
    """Title, ornament and author, centred as one block on `middle`."""
    title, author, ornament = _measured(text, below, em, room, language, quiet)
    size = title[0].type.size if title else em
    y = middle - (_height(title) + ornament + _height(author)) / 2
    y = _write(page, title, y, _FAINT if quiet else _INK)
    if ornament:
        _draw_ornament(page, y + ornament / 2, size)
    _write(page, author, y + ornament, _FAINT)


def _measured(
    text: str, below: str, em: float, room: tuple[float, float], language: str, quiet: bool
) -> tuple[list[Line], list[Line], float]:
    """(lines of the title, lines below, height of the ornament between): the em shrinks until the block fits the
    room.
    """
    while True:
        title = set_lines(text, Type(em, 400 if quiet else 600, language, title=not quiet), room[0])
        author = set_lines(below, Type(max(em * (0.6 if quiet else 0.42), 11), 500, language), room[0])
        ornament = 0.9 * em if author and title else 0.0
        if _height(title) + ornament + _height(author) <= room[1] or em < 12:
            return _fitting(title, room[1] * 0.7), _fitting(author, room[1] * 0.5), ornament
        em *= 0.9


def _fitting(lines: list[Line], height: float) -> list[Line]:
    kept = max(1, int(height / _leading(lines))) if lines else 0
    return lines[:kept]


def _leading(lines: list[Line]) -> float:
    return 1.28 * lines[0].type.size


def _height(lines: list[Line]) -> float:
    return len(lines) * _leading(lines) if lines else 0.0


def _write(page: Frame, lines: list[Line], y: float, colour: Colour) -> float:
    height, width = page.shape[:2]
    for line in lines:
        baseline = y + (_leading(lines) + line.ascent - line.descent) / 2
        ink = paint(line, (width - line.width) / 2, baseline, (width, height)).astype(np.float32)[..., None] / 255
        page[...] = np.rint(page * (1 - ink) + np.array(colour, np.float32) * ink).astype(np.uint8)
        y += _leading(lines)
    return y


def _paper(size: tuple[int, int]) -> Frame:
    """Warm paper: a faint grain, a little darker towards the edges; always the same."""
    width, height = size
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    vignette = 1 - 0.07 * np.clip(x * x * 0.6 + y * y * 0.6, 0, 1) ** 1.5
    noise = numpy_rng(0, "paper", width, height).normal(0, 1, (height // 2 + 1, width // 2 + 1)).astype(np.float32)
    grain = np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))
    paper = np.array(PAPER, np.float32) * vignette[..., None] + grain[..., None] * 1.1
    return np.clip(np.rint(paper), 0, 255).astype(np.uint8)


def _draw_frame(page: Frame, quiet: bool) -> None:
    """A thick and a thin rule around the page, with a diamond in each corner."""
    height, width = page.shape[:2]
    unit = min(width, height) / 100
    scale = 3
    layer = Image.new("L", (width * scale, height * scale), 0)
    pen = ImageDraw.Draw(layer)
    corners: list[tuple[float, float]] = []
    for inset, thick in ((4.2, 0.55), (5.9, 0.2)):
        m = inset * unit * scale
        right, bottom = width * scale - m, height * scale - m
        pen.rounded_rectangle(
            (m, m, right, bottom), 2.2 * unit * scale, outline=255, width=max(2, round(thick * unit * scale))
        )
        corners = [(m, m), (right, m), (m, bottom), (right, bottom)]
    if not quiet:
        for x, y in corners:
            r = 1.7 * unit * scale
            x, y = x + (r if x < width else -r) * 1.6, y + (r if y < height else -r) * 1.6
            pen.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=255)
    _tint(page, layer, _FAINT if quiet else _RULE, 0.5 if quiet else 0.9)


def _draw_ornament(page: Frame, y: float, size: float) -> None:
    """A short rule with a diamond in its middle, between title and author."""
    height, width = page.shape[:2]
    scale = 3
    layer = Image.new("L", (width * scale, height * scale), 0)
    pen = ImageDraw.Draw(layer)
    x, y, r, reach = width * scale / 2, y * scale, 0.13 * size * scale, 1.5 * size * scale
    pen.polygon([(x, y - r), (x + r, y), (x, y + r), (x - r, y)], fill=255)
    for side in (-1, 1):
        thin = max(1.0, 0.02 * size * scale)
        pen.polygon([(x + side * 2 * r, y - thin), (x + side * reach, y), (x + side * 2 * r, y + thin)], fill=255)
    _tint(page, layer, _RULE, 0.9)


def _tint(page: Frame, layer: Image.Image, colour: Colour, strength: float) -> None:
    height, width = page.shape[:2]
    ink = np.asarray(layer.resize((width, height), Image.Resampling.BOX), np.float32)[..., None] / 255 * strength
    page[...] = np.rint(page * (1 - ink) + np.array(colour, np.float32) * ink).astype(np.uint8)
