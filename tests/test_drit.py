from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.data.kinds import Unpaired
from limner.errors import BadCheckpoint, BadInput
from limner.nn import init
from limner.parity.fill import fill_tensor
from limner.published import open_as
from limner.published.keys import Incomplete
from limner.rng import Rng
from limner.system import Styled, Translates
from limner.systems.translation.drit import DRIT

TINY: dict[str, Any] = {"width": 4, "style_width": 3, "discriminator_width": 2, "scales": 2, "content_depth": 1}
RECORDS = Path(__file__).parent / "parity"


@pytest.fixture(scope="module", params=["concat", "film"])
def model(request: pytest.FixtureRequest) -> DRIT:
    torch.manual_seed(0)
    model = DRIT(DRIT.Config(**TINY, attribute=request.param)).eval()
    init.kaiming(model)  # at the published start, 0.02, attributes hardly show
    return model


def photos(count: int, height: int = 21, width: int = 30) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def batch(side: int = 48, count: int = 2) -> Unpaired:
    draw = torch.Generator().manual_seed(0)
    return Unpaired(*(torch.rand(count, 3, side, side, generator=draw) * 2 - 1 for _ in range(2)))


def test_it_translates_both_ways_and_keeps_the_size(model: DRIT) -> None:
    assert isinstance(model, Translates) and isinstance(model, Styled)
    given = photos(2)
    there, back = model.translate(given), model.translate(given, backwards=True)
    assert there.shape == back.shape == given.shape and not np.array_equal(there, back)
    assert np.array_equal(there[1:], model.translate(given[1:], style=model.random_style(0)))
    assert not np.array_equal(there, model.translate(given, seed=1))
    with pytest.raises(BadInput, match=r"\(1, 3\)"):
        model.translate(given, style=torch.zeros(1, 4))


def test_attributes_of_an_example_are_its_domains_and_may_be_drawn(model: DRIT) -> None:
    given = photos(2)
    means = model.style_of(given)
    assert means.shape == (2, 3) and not torch.allclose(means, model.style_of(given, backwards=True))
    drawn = model.style_of(given, seed=1)
    assert torch.equal(drawn, model.style_of(given, seed=1))
    assert torch.equal(drawn, means) == (model.config.attribute == "film"), "only concat has a distribution"


def test_most_steps_are_for_the_contents_judge_alone(model: DRIT) -> None:
    def players(step: int) -> list[str]:
        return [name for name, _ in model.play(batch(), Rng(0, [0, 1], step))]

    assert players(0) == players(1) == players(3) == ["content_discriminator"]
    assert players(2) == ["discriminators", "content_discriminator", "translator", "translator"]


def test_random_attributes_do_not_teach_the_encoders_that_find_them(model: DRIT) -> None:
    *_, (_, first), (_, second) = model.play(batch(), Rng(0, [0, 1], 2))
    for losses, taught in ((first, True), (second, False)):
        parameters = model.players["translator"].parameters()
        torch.stack(list(losses.values())).sum().backward(inputs=parameters)
        for domain in (model.a, model.b):
            assert all((p.grad is not None) == taught for p in domain.attribute_encoder.parameters())
            assert all(p.grad is not None for p in domain.decoder.parameters())
        model.zero_grad()


def test_without_mode_seeking_it_is_the_first_drit() -> None:
    model = DRIT(DRIT.Config(**TINY, mode_seeking=0.0))
    *_, (_, last) = model.play(batch(), Rng(0, [0, 1], 2))
    assert set(last) == {"latent_a", "latent_b", "random_a", "random_b"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (batch(count=3), "in twos, not 3"),
        (batch(side=42), "multiples of 4"),
        (batch(side=28), "at least 32 pixels"),
        (batch(side=40), "at least 44 pixels a side, not 40x40"),
    ],
)
def test_batches_that_do_not_fit_are_refused(model: DRIT, given: Unpaired, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        list(model.play(given, Rng(0, range(len(given)))))


def published(state: Mapping[str, list[int]]) -> dict[str, torch.Tensor]:
    """A small checkpoint of the same layout: every width an eighth, but for pictures, attributes and scores."""
    codes = {1: 1, 3: 3, 7: 7, 8: 8, 4: 4, 264: 40, 272: 48, 136: 24, 144: 32, 72: 16, 80: 24, 10: 10, 2: 2}
    shapes = {name: [codes.get(size, size // 8) for size in shape] for name, shape in state.items()}
    return {name: fill_tensor(name, tuple(shape)) for name, shape in shapes.items()}


@pytest.mark.parametrize("record", ["losses", "translator-film"])
def test_a_release_opens_with_all_its_entries(record: str) -> None:
    tensors = published(json.loads((RECORDS / f"drit-{record}.json").read_text())["state"])
    remembered = {"gen_opt.state.0.exp_avg": torch.zeros(3), "disA2_opt.state.0.exp_avg": torch.zeros(3)}
    film = record == "translator-film"
    with pytest.warns(Incomplete, match="judge") if film else nullcontext():
        model = open_as("drit", tensors | remembered, "00999.pth", {})
    assert isinstance(model, DRIT) and model.config.width == 8
    assert model.config.attribute == ("film" if film else "concat")
    assert torch.equal(model.b.content_encoder[4].conv2.bias, tensors["enc_c.convB.4.model.5.bias"])
    if not film:
        assert torch.equal(model.random_judge_b.scales[1].layers[4].bias, tensors["disB2.Diss.1.4.bias"])
    with pytest.raises(BadCheckpoint, match="no place in the model"):
        open_as("drit", tensors | {"gen.extra.weight": torch.zeros(1)}, "00999.pth", {})
