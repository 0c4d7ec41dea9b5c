"""Layers that are there for their speed compute what torch's own do, and keep what makes them quick."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.instance_norm import instance_norm
from limner.nn.mirrored import MirroredConv2d

mine = MirroredConv2d(3, 4, 5, 2, 2)
theirs = nn.Conv2d(3, 4, 5, 2, 2, padding_mode="reflect")
theirs.load_state_dict(mine.state_dict())
PAIRS = [(instance_norm, F.instance_norm), (mine, theirs)]


def maps(batch: int) -> Tensor:
    x = torch.randn(batch, 3, 8, 6, generator=torch.Generator().manual_seed(0)) * 3 + 1
    return x.to(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("quick", "plain"), PAIRS, ids=["instance norm", "mirrored"])
def test_values_and_gradients_are_the_plain_layers(
    quick: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor], batch: int
) -> None:
    found, wanted = maps(batch), maps(batch)
    one, other = quick(found), plain(wanted)
    torch.testing.assert_close(one, other)
    weights = torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    (one * weights).sum().backward()
    (other * weights).sum().backward()
    torch.testing.assert_close(found.grad, wanted.grad)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("quick", [instance_norm, mine], ids=["instance norm", "mirrored"])
def test_maps_stay_narrow_and_channels_last(quick: Callable[[Tensor], Tensor], batch: int) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        out = quick(maps(batch).detach().to(torch.bfloat16).requires_grad_())
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    step, steps = out.grad_fn, []
    while step is not None and step.next_functions:
        steps.append(step.name())
        step = step.next_functions[0][0]  # the way back to the maps; weights are the later ones
    assert not [name for name in steps if "Copy" in name]  # nothing is widened
