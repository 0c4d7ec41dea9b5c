"""A picture of any size at a size that a latent diffusion model draws, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from limner.errors import BadInput
from limner.system import from_uint8, to_uint8
from limner.systems.diffusion.latent import Parts

LONGEST = 4
"""A side of the fitted picture is at most this times the side of the square that it has the area of."""


def fitting(size: tuple[int, int], model: Parts) -> tuple[int, int]:
    """Height and width of about the area that the model was trained at and about the shape of `size`: multiples of the
    autoencoder's factor. Shapes longer than 16 to 1 are compressed."""
    factor = model.config.autoencoder.factor
    reach = math.sqrt(math.prod(model.config.size))
    scale = reach / math.sqrt(math.prod(size))
    height, width = (max(1, round(min(side * scale, LONGEST * reach) / factor)) * factor for side in size)
    return height, width


def check_picture(picture: np.ndarray) -> None:
    """BadInput unless it is uint8 (H, W, 3)."""
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise BadInput(f"A picture to edit is uint8 (H, W, 3), not {picture.dtype} {picture.shape}.")


def fitted(picture: np.ndarray, model: Parts) -> Tensor:
    """uint8 (H, W, 3) of any size -> (1, 3, h, w) in [-1, 1], resized (Lanczos) to `fitting`, on the model's device."""
    check_picture(picture)
    height, width = fitting((picture.shape[0], picture.shape[1]), model)
    return from_uint8(resized(picture, (height, width)))[None].to(model.device)


def refitted(pictures: Tensor, like: np.ndarray) -> np.ndarray:
    """(N, 3, h, w) in [-1, 1] -> uint8 (N, H, W, 3) of the size of `like`."""
    return np.stack([resized(each, (like.shape[0], like.shape[1])) for each in to_uint8(pictures)])


def resized(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """uint8 (H, W, 3) at another height and width, by Lanczos' filter; at its own, as it is."""
    if picture.shape[:2] == tuple(size):
        return picture
    return np.array(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.LANCZOS))
