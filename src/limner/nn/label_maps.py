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

UNKNOWN = 255
"""The class number of pixels that have none, as in the label maps of Cityscapes, COCO-Stuff and ADE20K."""


def checked(classes: Tensor, count: int, name: str, unknown: bool = False) -> Tensor:
    """Class numbers (B, H, W) in [0, count), int64; with `unknown`, pixels of no class (255, where that isn't one)
    become class `count`. Other numbers are `BadInput`, which says the system's `name`."""
    classes = classes.long()
    if unknown and count <= UNKNOWN:
        classes = classes.masked_fill(classes == UNKNOWN, count)
    lowest, highest = (int(end) for end in classes.aminmax())
    if lowest < 0 or highest >= count + unknown:
        hint = " Is 255 for pixels of no class? That needs a model with unknown=true." if highest == UNKNOWN else ""
        raise BadInput(
            f"{name}: the label map has classes from {lowest} to {highest}, but the model knows 0 to {count - 1}. "
            f"Renumber the map, or take a model with as many classes.{hint}"
        )
    return classes


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Class numbers (B, H, W) in [0, count) -> (B, count, H, W), float32."""
    return F.one_hot(classes, count).movedim(-1, 1).float()


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


def told_apart(classes: Tensor, instances: Tensor) -> Tensor:
    """Numbers (B, H, W) whose edges are worth showing: the instances', and where a whole map has none (all 0, as data
    without instance maps are) the classes'."""
    none = (instances == 0).flatten(1).all(1)
    return torch.where(none[:, None, None], classes, instances)


def accepted_map(numbers: np.ndarray, name: str) -> Tensor:
    """What `translate` is given, integers (N, H, W), as int64. Anything else is `BadInput`, which says the system's
    `name`."""
    if numbers.ndim != 3 or numbers.dtype.kind not in "ui" or not numbers.size:
        raise BadInput(
            f"{name} takes label maps: class or instance numbers (N, H, W) of an integer type, not {numbers.dtype} "
            f"{numbers.shape}."
        )
    return torch.from_numpy(numbers.astype(np.int64))


def coloured(classes: Tensor) -> Tensor:
    """Class numbers (B, H, W) -> pictures (B, 3, H, W) in [-1, 1] for people to look at: a colour a class, neighbours
    far apart on the colour circle."""
    table = [colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 0.95 - 0.35 * (number % 2)) for number in range(256)]
    colours = torch.tensor(table, device=classes.device) * 2 - 1
    return colours[classes % 256].movedim(-1, 1)
