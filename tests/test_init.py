from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from limner.nn import init
from limner.nn.spectral_norm import spectral_norm

DRAWS: list[tuple[Callable[[nn.Module], None], float]] = [
    (init.normal, 0.02),
    (init.xavier, 0.02 * math.sqrt(2 / (64 * 9 + 32 * 9))),
    (init.kaiming, math.sqrt(2 / (64 * 9))),
]


@pytest.mark.parametrize(("draw", "std"), DRAWS)
@pytest.mark.parametrize("wrap", [lambda layer: layer, spectral_norm])
def test_weights_have_the_published_spread(
    draw: Callable[[nn.Module], None], std: float, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    torch.manual_seed(0)
    layer = wrap(nn.Conv2d(64, 32, 3))
    draw(nn.Sequential(layer))
    weight = dict(layer.named_parameters()).get(
        "weight", dict(layer.named_parameters()).get("parametrizations.weight.original")
    )
    assert weight is not None
    assert abs(weight.mean().item()) < std / 20 and weight.std().item() == pytest.approx(std, rel=0.03)
    assert not dict(layer.named_parameters())["bias"].any()


def test_orthogonal_rows_have_the_gain_as_their_length() -> None:
    layer = nn.Linear(20, 8)
    init.orthogonal(layer, gain=0.5)
    assert torch.allclose(layer.weight @ layer.weight.T, 0.25 * torch.eye(8), atol=1e-6)


def test_batch_norms_scale_around_one_and_other_norms_stay() -> None:
    torch.manual_seed(0)
    batch, bare, layer = nn.BatchNorm2d(4000), nn.BatchNorm2d(4, affine=False), nn.LayerNorm(4)
    nn.init.ones_(batch.bias)
    init.normal(nn.Sequential(batch, bare, layer))
    assert batch.weight.mean().item() == pytest.approx(1, abs=1e-3)
    assert batch.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not batch.bias.any() and torch.equal(layer.weight, torch.ones(4))
