"""The segmenter learns where colours end, and refuses what it can't take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.data.kinds import Labelled
from limner.errors import BadInput
from limner.hub import load
from limner.metrics.segmentation import SegmentationScores
from limner.rng import torch_rng
from limner.runs import Run
from limner.system import to_uint8
from limner.systems.segmenter import Segmenter
from limner.train import Options, Trainer

COLOURS = torch.tensor([[-1.0, -1.0, -1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, 0.5]])


class Blocks:
    """Maps of 4 x 4 blocks of three classes, painted in the class's colour with noise on it."""

    def take(self, numbers: Sequence[int]) -> Labelled:
        cells = torch.stack([torch.randint(3, (4, 4), generator=torch_rng(0, "blocks", n)) for n in numbers])
        classes = cells.repeat_interleave(8, 1).repeat_interleave(8, 2)
        noise = torch.stack([torch.randn(3, 32, 32, generator=torch_rng(0, "noise", n)) for n in numbers])
        pictures = (COLOURS[classes].movedim(-1, 1) + 0.5 * noise).clamp(-1, 1)
        return Labelled(pictures, classes, torch.zeros_like(classes))


def test_it_learns(tmp_path: Path) -> None:
    model = Segmenter(Segmenter.Config(classes=3, width=8, rate=1e-2, steps=150))
    Trainer("segmenter", model, Blocks(), Run(tmp_path), Options(steps=120, batch=8, threads=1, sample=0)).fit()
    batch, scores = Blocks().take(range(500, 508)), SegmentationScores(3)
    scores.update(load(tmp_path).segment(to_uint8(batch.pictures)), batch.classes.numpy())
    assert scores.values()["per-pixel"].value > 0.9


def test_bad_input_is_refused() -> None:
    model = Segmenter(Segmenter.Config(classes=2, width=4))
    with pytest.raises(BadInput, match="multiples of 8"):
        model.segment(np.zeros((1, 20, 16, 3), np.uint8))
    with pytest.raises(BadInput, match="go up to 2, the segmenter has 2"):
        next(model.play(Blocks().take([0, 1]), None))
