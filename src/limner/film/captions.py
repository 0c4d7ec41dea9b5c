"""Captions burnt into the picture: the words as they are spoken, readable on any picture, right in any script.

A caption is drawn once for each of its states (one per spoken word at most) and laid over the frames in a cropped box.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from limner.film.fonts import check_glyphs
from limner.film.letters import Line, Type, paint, set_lines
from limner.film.motion import quietest
from limner.film.planes import Frame, planes, size_of, to_i420

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limner.film.subtitles import Cue

Colour = tuple[int, int, int]
Side = Literal["bottom", "top"]


@dataclass(frozen=True)
class CaptionStyle:
    """How captions look. `size` is the em as a share of the frame's shorter side; `language` picks letter forms and
    line breaks.

    `look`: letters in a soft dark box, or outlined letters on the bare picture. `highlight`: colour the word being
    spoken, or show whole lines. `side`: at the foot of the frame or at its head.
    """

    look: Literal["box", "outline"] = "box"
    highlight: Literal["word", "line"] = "word"
    side: Side = "bottom"
    size: float = 0.058
    language: str = ""
    ink: Colour = (255, 255, 255)
    accent: Colour = (255, 209, 92)
    shade: Colour = (22, 20, 28)


_FADE = 0.08  # seconds that a caption takes to come and go: two frames of film
_BOX_OPACITY = 0.64


Layer = tuple[Image.Image, Image.Image]  # colour and opacity, of one plane or of RGB


@dataclass(frozen=True, eq=False)
class Stamp:
    """A picture (h, w, 3) with its opacity (h, w), uint8, and the place of its top left corner in the frame; all four
    lengths are even. It is made ready for either layout of frames once, and then laid over many.
    """

    colour: Frame
    opacity: Frame
    x: int
    y: int

    @cached_property
    def rgb(self) -> list[Layer]:
        return [(Image.fromarray(self.colour), Image.fromarray(self.opacity))]

    @cached_property
    def i420(self) -> list[Layer]:
        height, width = self.opacity.shape
        halves = self.opacity.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        small = np.rint(halves).astype(np.uint8)
        return [
            (Image.fromarray(colour), Image.fromarray(opacity))
            for colour, opacity in zip(planes(to_i420(self.colour)), (self.opacity, small, small), strict=True)
        ]


def draw_caption(frame: Frame, cue: Cue, t: float, style: CaptionStyle = CaptionStyle()) -> Frame:
    """`frame` (RGB or I420) at film time `t` with the caption of `cue` on it; unchanged when the cue isn't showing.

    Draws into `frame` itself where it can be written. Raises MissingGlyph.
    """
    if not cue.start <= t < cue.end or not cue.text.strip():
        return frame
    stamp = render_caption(cue, _active(cue, t) if style.highlight == "word" else None, size_of(frame), style)
    share = min(1.0, (t - cue.start) / _FADE + 0.25, (cue.end - t) / _FADE)
    return lay(frame, stamp, share)


def check_caption(text: str) -> None:
    """Raise MissingGlyph if a caption of `text` can't be drawn: cheap enough to ask before any long work."""
    check_glyphs(text, Type(16).fonts)


@lru_cache(maxsize=8)
def render_caption(cue: Cue, active: int | None, size: tuple[int, int], style: CaptionStyle) -> Stamp:
    """The caption of `cue` for frames of `size` (width, height) with word number `active` highlighted."""
    width, height = size
    em = style.size * min(size)
    lines = _lines(cue.text, em, (0.86 if width >= height else 0.84) * width, style.language)
    leading = max(line.ascent + line.descent for line in lines)
    leading = min(max(leading, 1.25 * em), 1.6 * em)
    pad_x, pad_y = 0.7 * em, 0.42 * em
    box_w = _even(max(line.width for line in lines) + 2 * pad_x)
    box_h = _even(leading * len(lines) + 2 * pad_y)
    word = None
    if active is not None:
        word = (cue.words[active].offset, cue.words[active].offset + len(cue.words[active].text))
    plain, marked = np.zeros((box_h, box_w), np.uint8), np.zeros((box_h, box_w), np.uint8)
    for number, line in enumerate(lines):
        x = (box_w - line.width) / 2
        y = pad_y + leading * number + (leading + line.ascent - line.descent) / 2
        plain = np.maximum(plain, paint(line, x, y, (box_w, box_h)))
        if word is not None:
            marked = np.maximum(marked, paint(line, x, y, (box_w, box_h), word))
    colour, opacity = _dressed(plain, marked, em, style)
    margin = _margin(width, height)
    y = margin if style.side == "top" else height - margin - box_h
    return Stamp(colour, opacity, int((width - box_w) / 2) & ~1, max(0, int(y)) & ~1)


def quiet_side(picture: Frame) -> Side:
    """Where captions hide least of an RGB picture: at its foot, or at its head if what there is to see stands low."""
    height, width = picture.shape[:2]
    margin, room = _margin(width, height) / height, 3.4 * CaptionStyle.size * min(width, height) / height  # two lines
    boxes = [(0.1, 1 - margin - room, 0.9, 1 - margin), (0.1, margin, 0.9, margin + room)]
    return "top" if quietest(picture, boxes) else "bottom"


def _margin(width: int, height: int) -> float:
    return 0.075 * height if width >= height else 0.16 * height  # phone players cover the ends of an upright film


def lay(frame: Frame, stamp: Stamp, share: float = 1.0) -> Frame:
    """`frame` with `stamp` over it, its opacity times `share`."""
    if not frame.flags.writeable:
        frame = frame.copy()
    layers, targets = (stamp.rgb, (frame,)) if frame.ndim == 3 else (stamp.i420, planes(frame))
    for target, (colour, opacity) in zip(targets, layers, strict=True):
        scale = size_of(frame)[0] // target.shape[1]  # a chroma plane has half the width
        x, y = stamp.x // scale, stamp.y // scale
        place = target[y : y + colour.height, x : x + colour.width]
        if share < 1:
            opacity = opacity.point([round(value * share) for value in range(256)])
        under = Image.fromarray(place)
        under.paste(colour, mask=opacity)
        place[...] = np.asarray(under)
    return frame


@lru_cache(maxsize=64)
def _lines(text: str, em: float, width: float, language: str) -> list[Line]:
    type_ = Type(em, 600, language)
    return set_lines(text, type_, width)


def _dressed(plain: Frame, marked: Frame, em: float, style: CaptionStyle) -> tuple[Frame, Frame]:
    """(colour, opacity) of the letters over what makes them readable."""
    height, width = plain.shape
    under: NDArray[np.float32]
    if style.look == "box":
        under = _rounded(width, height, 0.38 * em).astype(np.float32) * np.float32(_BOX_OPACITY / 255)
        glow = np.asarray(Image.fromarray(plain).filter(ImageFilter.GaussianBlur(em * 0.06)), np.float32) / 255
        under = np.maximum(under, under + (1 - under) * glow * 0.5)
    else:
        edge = _grown(plain, max(1.5, em * 0.075))
        halo = np.asarray(Image.fromarray(edge).filter(ImageFilter.GaussianBlur(em * 0.12)), np.float32) / 255
        under = np.maximum(edge.astype(np.float32) / 255, halo * 0.45)
    letters = plain.astype(np.float32)[..., None] / 255
    mark = marked.astype(np.float32)[..., None] / 255
    shade, ink, accent = (np.array(c, np.float32) for c in (style.shade, style.ink, style.accent))
    text_colour = ink * (1 - mark) + accent * mark
    opacity = letters + (1 - letters) * under[..., None]
    mixed = text_colour * letters + shade * (1 - letters) * under[..., None]
    colour = np.where(opacity > 0, mixed / np.maximum(opacity, 1e-6), shade)
    return np.rint(colour).astype(np.uint8), np.rint(opacity[..., 0] * 255).astype(np.uint8)


def _rounded(width: int, height: int, radius: float) -> NDArray[np.uint8]:
    """A filled box with round corners, anti-aliased."""
    big = Image.new("L", (width * 4, height * 4), 0)
    ImageDraw.Draw(big).rounded_rectangle((0, 0, width * 4 - 1, height * 4 - 1), radius * 4, fill=255)
    return np.asarray(big.resize((width, height), Image.Resampling.BOX))


def _grown(mask: Frame, radius: float) -> Frame:
    """`mask` spread by `radius` pixels in all directions."""
    grown = mask.copy()
    height, width = mask.shape
    for r in (radius, radius / 2):
        for angle in np.arange(16) * (np.pi / 8):
            dx, dy = round(r * np.cos(angle)), round(r * np.sin(angle))
            source = mask[max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
            target = grown[max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
            np.maximum(target, source, out=target)
    return grown


def _active(cue: Cue, t: float) -> int | None:
    """The word being spoken; it stays lit in the pause after it, so that nothing flickers."""
    number = bisect.bisect_right([word.start for word in cue.words], t) - 1
    return number if number >= 0 else None


def _even(length: float) -> int:
    return (int(length) + 2) & ~1
