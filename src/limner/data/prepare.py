"""How the pictures of a folder become training samples: resized, cropped, mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from limner.data import joints
from limner.errors import BadInput

Layers = tuple[np.ndarray, ...]
"""What belongs together pixel by pixel: pictures uint8 (H, W, 3) and maps (H, W) of numbers or bools; and points,
float32 (K, 2), the joints of the picture before them: x and y in pixels."""
Side = int | tuple[int, int] | None


@dataclass(frozen=True)
class Preparation:
    """The defaults are those that most published loaders share. A system names its own as `System.preparation`.

    resize: pixels, or (height, width), or None for as it is. Pictures bicubically, maps by the nearest
    fit: which sides a single number is for: both (a picture may be squeezed), the shorter, or the width
    crop: pixels, or (height, width), of a part anywhere in the picture; None takes all of it
    flip: whether every other sample is mirrored left to right
    backwards: pairs and domains change places
    factor: how many times as large as its source a pair's target is
    """

    resize: Side = 286
    fit: Literal["both", "shorter", "width"] = "both"
    crop: Side = 256
    flip: bool = True
    backwards: bool = False
    factor: int = 1

    def __post_init__(self) -> None:
        for name, side in (("resize", self.resize), ("crop", self.crop)):
            if side is not None and not all(4 <= pixels <= 16384 for pixels in _both(side)):
                raise BadInput(f"{name}={side}: sides have 4 to 16384 pixels.")
        if self.resize and self.crop and (self.fit != "width" or isinstance(self.resize, tuple)):
            whole, part = _both(self.resize), _both(self.crop)
            if whole[0] < part[0] or whole[1] < part[1]:
                raise BadInput(f"crop={self.crop} is larger than what resize={self.resize} leaves. Set both.")
        if self.factor < 1 or (self.factor > 1 and (self.resize or self.backwards)):
            raise BadInput(f"factor={self.factor}: from 1; above it only with resize=null, and not backwards.")

    def whole(self) -> Preparation:
        """For measuring: the whole picture at the size of a crop, as it stands."""
        return replace(self, resize=None if self.factor > 1 else self.crop or self.resize, crop=None, flip=False)

    def size(self) -> tuple[int, int] | None:
        """Width and height of every sample, or None where they depend on the picture."""
        if self.crop or isinstance(self.resize, tuple) or (self.resize and self.fit == "both"):
            return _both(self.crop or self.resize or 0)
        return None

    def resized(self, layers: Layers) -> Layers:
        """The part without chance. Layers of different shapes, or too small for the crop, are `BadInput`."""
        height, width = layers[0].shape[:2]
        for other in layers[1:]:
            if not _are_points(other) and not self._agree((width, height), (other.shape[1], other.shape[0])):
                wanted = "of the same shape" if self.resize else f"{width * self.factor}x{height * self.factor}"
                raise BadInput(
                    f"is {width}x{height}, and what belongs to it {other.shape[1]}x{other.shape[0]}: to match pixel by "
                    f"pixel it has to be {wanted}."
                )
        if self.resize:
            width, height = self._size(width, height)
            layers = tuple(
                _rescaled(layer, before, width, height) if _are_points(layer) else _resize(layer, width, height)
                for before, layer in zip((layers[0], *layers), layers, strict=False)
            )
        if self.crop and (width < _both(self.crop)[0] or height < _both(self.crop)[1]):
            raise BadInput(f"is {width}x{height}, smaller than crop={self.crop}.")
        return layers

    def cut(self, layers: Layers, draw: np.random.Generator) -> Layers:
        """The part with chance, the same for all layers."""
        height, width = layers[0].shape[:2]
        across, down = _both(self.crop) if self.crop else (width, height)
        x, y = int(draw.integers(width - across + 1)), int(draw.integers(height - down + 1))
        mirrored = self.flip and draw.random() < 0.5
        cut = []
        for layer, f in zip(layers, (1, *[self.factor] * (len(layers) - 1)), strict=True):
            if _are_points(layer):
                moved = layer - np.array([x, y], np.float32)
                cut.append(_mirrored(moved, across) if mirrored else moved)
                continue
            part = layer[y * f : (y + down) * f, x * f : (x + across) * f]
            cut.append(part[:, ::-1] if mirrored else part)
        return tuple(cut)

    def _size(self, width: int, height: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple) or self.resize is None or self.fit == "both":
            return _both(self.resize or (height, width))
        scale = self.resize / (width if self.fit == "width" else min(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _agree(self, first: Sequence[int], second: Sequence[int]) -> bool:
        """Whether two sizes (width, height) match; what is resized needs only the same shape, give or take a pixel."""
        if self.resize:
            return abs(first[0] * second[1] - second[0] * first[1]) <= max(*first, *second)
        return (first[0] * self.factor, first[1] * self.factor) == tuple(second)


def _both(side: int | tuple[int, int]) -> tuple[int, int]:
    """Width and height."""
    return (side[1], side[0]) if isinstance(side, tuple) else (side, side)


def _are_points(layer: np.ndarray) -> bool:
    return layer.dtype == np.float32


def _rescaled(points: np.ndarray, picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Points of a picture that is resized."""
    scale = np.array([width / picture.shape[1], height / picture.shape[0]], np.float32)
    return (points + np.float32(0.5)) * scale - np.float32(0.5)


def _mirrored(points: np.ndarray, width: int) -> np.ndarray:
    """Joints of a picture that is mirrored: what was a right hand is a left one."""
    swapped = points[list(joints.MIRRORED)]
    swapped[:, 0] = width - 1 - swapped[:, 0]
    return swapped


def _resize(layer: np.ndarray, width: int, height: int) -> np.ndarray:
    from PIL import Image

    if layer.shape[:2] == (height, width):
        return layer
    if layer.ndim == 3:
        return np.array(Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC))
    rows = ((np.arange(height) + 0.5) * layer.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * layer.shape[1] / width).astype(np.intp)
    nearest: np.ndarray = layer[rows[:, None], columns]
    return nearest
