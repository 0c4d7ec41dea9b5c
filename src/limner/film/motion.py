"""The camera: slow eased moves over a still picture at sub-pixel steps, dissolves, and reframing to another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from limner.film.planes import Frame, blend, planes
from limner.rng import numpy_rng

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FURTHEST = 1.12  # zoom
_CELLS = 64  # a side, of the grid on which a picture's subject is looked for


@dataclass(frozen=True)
class Move:
    """From one view of the picture to another. `x`, `y`: centre of the view as a share of the picture; `zoom` 1
    shows all of it.
    """

    x0: float
    y0: float
    zoom0: float
    x1: float
    y1: float
    zoom1: float

    def view(self, t: float) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) as shares of the picture at `t` in [0, 1]; always inside the picture."""
        share = ease(t)
        zoom = math.exp((1 - share) * math.log(self.zoom0) + share * math.log(self.zoom1))
        half = 0.5 / max(zoom, 1.0)
        x = min(max(self.x0 + share * (self.x1 - self.x0), half), 1 - half)
        y = min(max(self.y0 + share * (self.y1 - self.y0), half), 1 - half)
        return x - half, y - half, x + half, y + half


STILL = Move(0.5, 0.5, 1.0, 0.5, 0.5, 1.0)


def ease(t: float) -> float:
    """0 to 1 as `t` goes from 0 to 1, starting and stopping gently and even in between (a quarter of the way each)."""
    t = min(max(t, 0.0), 1.0)
    ramp = 0.25
    if t > 0.5:
        return 1 - ease(1 - t)
    return (t * t / (2 * ramp) if t < ramp else t - ramp / 2) / (1 - ramp)


def plan_move(seed: int, index: int, aspect: float = 16 / 9, focus: tuple[float, float] = (0.5, 0.5)) -> Move:
    """The move for scene `index`: in and out by turns, now and then a pan along the longer side; a function of
    (seed, index).

    `aspect` is width by height; `focus` is where the picture's subject is, as shares.
    """
    rng = numpy_rng(seed, "move", index)
    if rng.random() < 0.25:
        zoom, side = float(rng.uniform(1.07, 1.10)), 1 if rng.random() < 0.5 else -1
        reach = 0.5 - 0.5 / zoom
        dx, dy = (side * reach, 0.0) if aspect >= 1 else (0.0, side * reach)
        return Move(0.5 - dx, 0.5 - dy, zoom, 0.5 + dx, 0.5 + dy, zoom)
    near = float(rng.uniform(1.08, _FURTHEST))
    reach = 0.5 - 0.5 / near
    x, y = (float(np.clip(at + rng.uniform(-0.5, 0.5) * reach, 0.5 - reach, 0.5 + reach)) for at in focus)
    return Move(0.5, 0.5, 1.0, x, y, near) if index % 2 == 0 else Move(x, y, near, 0.5, 0.5, 1.0)


def frame_at(picture: Frame, move: Move, t: float, size: tuple[int, int], *, fine: bool = True) -> Frame:
    """What the camera sees at `t` in [0, 1] of the move, at `size` (width, height), in the layout of `picture`.

    `fine` resamples luma (or RGB) bicubically, else bilinearly. The picture should have the shape of `size` (see
    `reframe`).
    """
    left, top, right, bottom = move.view(t)
    if picture.ndim == 3:
        height, width = picture.shape[:2]
        return _view(picture, (left * width, top * height, right * width, bottom * height), size, fine)
    out = np.empty((size[1] * 3 // 2, size[0]), np.uint8)
    for number, (source, target) in enumerate(zip(planes(picture), planes(out), strict=True)):
        height, width = source.shape
        box = (left * width, top * height, right * width, bottom * height)
        target[...] = _view(source, box, (target.shape[1], target.shape[0]), fine and number == 0)
    return out


def dissolve(a: Frame, b: Frame, t: float) -> Frame:
    """The frame at `t` in [0, 1] of a dissolve from `a` to `b`, eased."""
    return blend(a, b, 0.5 - 0.5 * math.cos(math.pi * min(max(t, 0.0), 1.0)))


def reframe(picture: Frame, size: tuple[int, int]) -> Frame:
    """The part of an RGB picture (H, W, 3) that has the shape of `size` and holds most of what there is to see, at
    `size`.
    """
    height, width = picture.shape[:2]
    wanted = size[0] / size[1]
    crop_w, crop_h = min(width, height * wanted), min(height, width / wanted)
    x, y = subject(picture)
    left = min(max(x * width - crop_w / 2, 0.0), width - crop_w)
    top = min(max(y * height - crop_h / 2, 0.0), height - crop_h)
    box = (left, top, left + crop_w, top + crop_h)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS, box=box))


def subject(picture: Frame) -> tuple[float, float]:
    """Where the subject of an RGB picture is, as shares of width and height: the centre of its contrast and colour
    edges.

    The middle is preferred in doubt.
    """
    places = (np.arange(_CELLS) + 0.5) / _CELLS
    near_middle = np.exp(-np.square(places - 0.5) / 0.18)
    energy = (_energy(picture) + 1e-3) * near_middle[:, None] * near_middle[None, :]
    energy /= energy.sum()
    return float(energy.sum(axis=0) @ places), float(energy.sum(axis=1) @ places)


def quietest(picture: Frame, boxes: Sequence[tuple[float, float, float, float]]) -> int:
    """Which of `boxes` (left, top, right, bottom, as shares of an RGB picture) hides least of what there is to see. The
    first is preferred: another must hide less than half of what it does."""
    energy = _energy(picture) + 1e-3
    hidden = []
    for box in boxes:
        left, top, right, bottom = (round(share * _CELLS) for share in box)
        hidden.append(float(energy[max(0, top) : bottom, max(0, left) : right].sum()))
    best = int(np.argmin(hidden))
    return best if hidden[best] < 0.5 * hidden[0] else 0


def _energy(picture: Frame) -> NDArray[np.float64]:
    """(64, 64): how strong the edges of an RGB picture are. Squared, the few strong ones of a figure outweigh much
    faint texture."""
    small = np.asarray(Image.fromarray(picture).resize((_CELLS, _CELLS), Image.Resampling.BOX), np.float64)
    dy, dx = np.gradient(small, axis=(0, 1))
    return np.asarray(np.square(dx).sum(axis=2) + np.square(dy).sum(axis=2))


@lru_cache(maxsize=1)
def _opencv() -> Any:
    """OpenCV, or None: it is optional, and gives the same picture several times faster."""
    try:
        import cv2
    except ImportError:
        return None
    return cv2


def _view(plane: Frame, box: tuple[float, float, float, float], size: tuple[int, int], fine: bool) -> Frame:
    left, top, right, bottom = box
    if (cv2 := _opencv()) is not None and right - left <= 1.5 * size[0]:  # beyond that warpAffine would alias
        sx, sy = (right - left) / size[0], (bottom - top) / size[1]
        matrix = np.array([[sx, 0, left + sx / 2 - 0.5], [0, sy, top + sy / 2 - 0.5]])
        kind = (cv2.INTER_CUBIC if fine else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(plane, matrix, size, flags=kind, borderMode=cv2.BORDER_REPLICATE))
    kind = Image.Resampling.BICUBIC if fine else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plane).resize(size, kind, box=box))
