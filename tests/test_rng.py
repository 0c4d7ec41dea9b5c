"""Randomness is a function of (seed, names, numbers): the same everywhere, always, and unrelated between streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.rng import Rng, derive, numpy_rng, torch_rng


def test_derived_seeds_never_change() -> None:
    """What was drawn with an older limner can be drawn again: these numbers are a promise."""
    assert derive(0) == 6_450_899_586_159_507_901
    assert derive(1, "caption", 7) == 8_600_053_394_948_872_367
    assert derive(-3, "noise", 2**70) == 5_864_669_572_238_124_405
    assert torch.randint(1000, (3,), generator=torch_rng(0, "draw")).tolist() == [217, 607, 407]
    assert numpy_rng(0, "draw").integers(1000, size=3).tolist() == [355, 830, 16]


@given(st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4), st.integers(), st.integers())
def test_seeds_fit_and_tell_keys_apart(keys: list[int | str], seed: int, more: int) -> None:
    found = derive(seed, *keys)
    assert 0 <= found < 2**63
    assert found != derive(seed, *keys, more)
    assert derive(seed, "1") != derive(seed, 1)
    assert derive(seed, "ab", "c") != derive(seed, "a", "bc")


def test_streams_are_unrelated() -> None:
    draws = [torch.randn(20_000, generator=torch_rng(1, name)) for name in ("caption", "noise", "captions")]
    draws += [torch.randn(20_000, generator=torch_rng(2, "caption"))]
    correlations = np.corrcoef(torch.stack(draws).numpy())
    assert np.abs(correlations - np.eye(4)).max() < 0.03  # four standard deviations


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.normal("noise", 2, 3),
        lambda rng: rng.uniform("drop"),
        lambda rng: rng.integers("timestep", 5, 1000),
    ],
    ids=["normal", "uniform", "integers"],
)
def test_a_row_depends_on_its_number_alone(draw) -> None:
    whole = draw(Rng(4, range(8)))
    halves = torch.cat([draw(Rng(4, range(4))), draw(Rng(4, range(4, 8)))])
    assert torch.equal(whole, halves)
    assert torch.equal(whole.flip(0), draw(Rng(4, range(7, -1, -1), step=9)))
    assert not torch.equal(whole, draw(Rng(5, range(8))))
    assert len({row.flatten()[0].item() for row in whole}) == 8


def test_ranges() -> None:
    rng = Rng(0, range(200))
    uniform, integers, normal = rng.uniform("u", 10), rng.integers("i", 3, 6, 10), rng.normal("n", 100)
    assert uniform.shape == (200, 10) and uniform.min() >= 0 and uniform.max() < 1
    assert integers.dtype == torch.int64 and set(integers.flatten().tolist()) == {3, 4, 5}
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
