"""Label maps with pictures for the tests of the systems that translate them: each a function of its number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from limner.data.kinds import Labelled
from limner.rng import torch_rng

COLOURS = torch.tensor([[-0.8, 0.2, 0.6], [0.7, -0.6, -0.4], [0.1, 0.8, -0.7]])  # of the three classes


class Blocks:
    """Quarters of `side` / 4 pixels in random classes; every picture shows its classes' colours, with its own shade."""

    def __init__(self, side: int = 16) -> None:
        self.side = side

    def take(self, numbers: Sequence[int]) -> Labelled:
        cells = torch.stack([torch.randint(3, (4, 4), generator=torch_rng(0, "cells", n)) for n in numbers])
        classes = cells.repeat_interleave(self.side // 4, 1).repeat_interleave(self.side // 4, 2)
        shades = torch.stack([0.2 * torch.rand(1, 1, 1, generator=torch_rng(0, "shade", n)) for n in numbers])
        return Labelled(COLOURS[classes].movedim(-1, 1) + shades, classes, 1 + (classes == 2).long())


def class_maps(count: int, height: int, width: int) -> np.ndarray:
    """Class numbers uint8 (count, height, width) from 0 to 2, in patches of 5 pixels."""
    cells = np.random.default_rng(count).integers(0, 3, (count, height // 5 + 1, width // 5 + 1), np.uint8)
    return cells.repeat(5, 1).repeat(5, 2)[:, :height, :width]
