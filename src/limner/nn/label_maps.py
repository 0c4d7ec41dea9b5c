"""Label maps (a class and an instance number for every pixel) as what networks take: channels.

pix2pixHD (section 3.3) introduced the form, and what translates label maps has kept it: one channel a class, and one
with the borders between instances, which classes alone don't show.
"""

from __future__ import annotations

import colorsys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import BadInput


def one_hot(classes: Tensor, count: int, name: str) -> Tensor:
    """Class numbers (B, H, W) in [0, count) -> (B, count, H, W), float32. Other numbers are `BadInput`, which says the
    system's `name`."""
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < count:
        raise BadInput(
            f"{name}: the label map has classes from {int(classes.min())} to {int(classes.max())}, the model knows 0 "
            f"to {count - 1}. Renumber the map, or take a model with as many classes."
        )
    return F.one_hot(classes.long(), count).movedim(-1, 1).float()


def edges(instances: Tensor) -> Tensor:
    """Instance numbers (B, H, W) -> (B, 1, H, W): 1 where a pixel's number differs from the one to its left or right,
    above or below."""
    border = torch.zeros_like(instances, dtype=torch.bool)
    across = instances[:, :, 1:] != instances[:, :, :-1]
    down = instances[:, 1:] != instances[:, :-1]
    border[:, :, 1:] |= across
    border[:, :, :-1] |= across
    border[:, 1:] |= down
    border[:, :-1] |= down
    return border[:, None].float()


def accepted_map(numbers: np.ndarray, name: str, multiple: int = 1, least: int = 1) -> Tensor:
    """What `translate` is given, integers (N, H, W), as int64 (N, H', W'): H' and W' are the next multiples, and at
    least `least`. The last row and column repeat; whoever asked cuts the result back. Anything else is `BadInput`,
    which says the system's `name`."""
    if numbers.ndim != 3 or numbers.dtype.kind not in "ui" or 0 in numbers.shape:
        raise BadInput(
            f"{name} takes label maps: class or instance numbers (N, H, W) of an integer type, not {numbers.dtype} "
            f"{numbers.shape}."
        )
    rows, columns = (np.arange(max(least, side + -side % multiple)).clip(max=side - 1) for side in numbers.shape[1:])
    return torch.from_numpy(numbers[:, rows][:, :, columns].astype(np.int64))


def coloured(classes: Tensor) -> Tensor:
    """Class numbers (B, H, W) -> pictures (B, 3, H, W) in [-1, 1] for people to look at: a colour a class, neighbours
    far apart on the colour circle."""
    table = [colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 0.95 - 0.35 * (number % 2)) for number in range(256)]
    colours = torch.tensor(table, device=classes.device) * 2 - 1
    return colours[classes % 256].movedim(-1, 1)
