"""Text as pictures: order (UAX #9), shaping, and outlines filled by HarfBuzz; no system library, no browser.

A line of text becomes `Line`: glyphs at sub-pixel positions, each knowing which character it came from, so that one
word can be coloured without shaping again. `paint` turns a line, or part of it, into an 8-bit coverage mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.errors import MissingExtra
from limner.film.bidi import levels
from limner.film.breaking import clusters, wrap
from limner.film.fonts import Face, Fonts, MissingGlyph, clean, fonts, script_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Type:
    """How text is set: `size` is the em in pixels, `weight` 100-900, `language` a BCP-47 tag (it picks local letter
    forms).
    """

    size: float
    weight: int = 500
    language: str = ""
    title: bool = False

    @property
    def fonts(self) -> Fonts:
        return fonts("title" if self.title else "text")


@dataclass(frozen=True)
class Glyph:
    face: Face
    index: int  # glyph number in the face
    x: float  # pixels from the left end of the line
    y: float  # pixels above the baseline
    advance: float  # pixels to the next glyph
    offset: int  # the character of the text that it draws (the first one, of several)


@dataclass(frozen=True)
class Line:
    """A shaped line. `width`, `ascent` and `descent` (both positive) in pixels; `start` is where its text lies in
    the whole.
    """

    text: str
    start: int
    glyphs: tuple[Glyph, ...]
    width: float
    ascent: float
    descent: float
    type: Type


def shape(text: str, type_: Type, start: int = 0) -> Line:
    """Shape one line. Raises `MissingGlyph` if a character has no font.

    `start` is only remembered in the result; glyph offsets count from it.
    """
    text = clean(text)
    items = _items(text, type_)
    x = 0.0
    glyphs: list[Glyph] = []
    ascent, descent = 0.8 * type_.size, 0.2 * type_.size
    for item in _visual_order(items):
        font = item.face.font(type_.weight)
        scale = type_.size / font.face.upem
        extents = font.get_font_extents("ltr")
        ascent, descent = max(ascent, extents.ascender * scale), max(descent, -extents.descender * scale)
        buffer = _shaped(text, item, font, type_.language)
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            advance = position.x_advance * scale
            dx, dy = position.x_offset * scale, position.y_offset * scale
            glyphs.append(Glyph(item.face, info.codepoint, x + dx, dy, advance, start + info.cluster))
            x += advance
    return Line(text, start, tuple(glyphs), x, ascent, descent, type_)


def set_lines(text: str, type_: Type, width: float) -> list[Line]:
    """`text` broken at its newlines, and into even lines of at most `width` pixels, shaped."""
    text = clean(text, lines=True)
    return [
        shape(text[start:end], type_, start)
        for start, end in wrap(text, width, type_.language, lambda piece: _width(piece, type_))
    ]


def _width(text: str, type_: Type) -> float:
    """Pixels; without hinting they grow with the size, so each text is shaped once however often it is tried."""
    return _unit_width(text, type_.weight, type_.language, type_.title) * type_.size


@lru_cache(maxsize=8192)
def _unit_width(text: str, weight: int, language: str, title: bool) -> float:
    return shape(text, Type(1.0, weight, language, title)).width


def paint(
    line: Line, x: float, y: float, size: tuple[int, int], part: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Coverage (H, W) 0-255 of `line` with its left end at `x` and its baseline at `y` pixels from the top left.

    `size` is (W, H). `part` keeps the glyphs whose text offset lies in [start, end). What falls outside is cut off.
    """
    hb = _harfbuzz()
    width, height = size
    draw = hb.RasterDraw()
    drawn = False
    for glyph in line.glyphs:
        if part is not None and not part[0] <= glyph.offset < part[1]:
            continue
        font = glyph.face.font(line.type.weight)
        scale = line.type.size / font.face.upem
        draw.transform = (scale, 0.0, 0.0, scale, x + glyph.x, height - y + glyph.y)
        drawn = draw.draw_glyph_or_fail(font, glyph.index) or drawn
    mask = np.zeros((height, width), np.uint8)
    image = draw.render() if drawn else None
    if image is None:
        return mask
    box = image.extents
    pixels = (
        np.frombuffer(image.buffer, np.uint8).reshape(box.height, box.stride)[::-1, : box.width] if box.height else None
    )
    if pixels is None:
        return mask
    left, top = box.x_origin, height - (box.y_origin + box.height)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + box.width, width), min(top + box.height, height)
    if x0 < x1 and y0 < y1:
        mask[y0:y1, x0:x1] = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
    return mask


_SHARED = "Zyyy"


@dataclass(frozen=True)
class _Item:
    """A stretch of text with one direction, one font and one script."""

    start: int
    end: int
    level: int
    face: Face
    script: str


def _items(text: str, type_: Type) -> list[_Item]:
    pieces = clusters(text)
    faces = _faces([text[start:end] for start, end in pieces], type_.fonts)
    embedding = levels(text)
    items: list[_Item] = []
    for (start, end), face in zip(pieces, faces, strict=True):
        script = script_of(text[start])
        last = items[-1] if items else None
        if last is None or last.face is not face or last.level != embedding[start]:
            items.append(_Item(start, end, embedding[start], face, script))
        elif _SHARED in (script, last.script) or script == last.script:
            items[-1] = _Item(last.start, end, last.level, face, script if last.script == _SHARED else last.script)
        else:
            items.append(_Item(start, end, embedding[start], face, script))
    return items


def _faces(pieces: list[str], choice: Fonts) -> list[Face]:
    """A face for each cluster. What all scripts share (spaces, marks, digits) keeps the font of the word it stands
    beside.
    """
    own = [None if script_of(piece[0]) == _SHARED else choice.face_for(piece) for piece in pieces]
    beside = next((face for face in own if face is not None), None)
    faces: list[Face] = []
    missing: list[str] = []
    for piece, face in zip(pieces, own, strict=True):
        if face is None and beside is not None and script_of(piece[0]) == _SHARED and beside.covers(piece):
            face = beside
        # a mark that goes with no font's base is drawn beside it by the base's font
        face = face or choice.face_for(piece) or choice.face_for(piece[0])
        if face is None or choice.missing(piece):
            missing.extend(choice.missing(piece))
        if face is not None:
            faces.append(face)
            beside = face
    if missing:
        raise MissingGlyph(missing)
    return faces


def _visual_order(items: list[_Item]) -> Iterator[_Item]:
    """UAX #9, L2: from the highest level to the lowest odd one, reverse every stretch at that level or above."""
    order = list(items)
    highest = max((item.level for item in items), default=0)
    for level in range(highest, 0, -1):
        i = 0
        while i < len(order):
            j = i
            while j < len(order) and order[j].level >= level:
                j += 1
            order[i:j] = order[i:j][::-1]
            i = j + 1
    yield from order


def _shaped(text: str, item: _Item, font: Any, language: str) -> Any:
    hb = _harfbuzz()
    buffer = hb.Buffer()
    buffer.add_str(text, item.start, item.end - item.start)  # with its surroundings: Arabic letters join across fonts
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if item.level % 2 else "ltr"
    if item.script != _SHARED:
        buffer.script = item.script
    if language:
        buffer.language = language
    hb.shape(font, buffer)
    return buffer


def _harfbuzz() -> Any:
    try:
        import uharfbuzz
    except ImportError:
        raise MissingExtra("Drawing text", "film") from None
    return uharfbuzz
