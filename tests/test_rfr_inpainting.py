from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from limner.data.kinds import Masked
from limner.errors import BadCheckpoint, BadInput
from limner.parity.fill import fill_tensor
from limner.published import open_as
from limner.rng import Rng
from limner.system import Translates
from limner.systems.translation.rfr_inpainting import PartialConv, RFRInpainting

TINY = RFRInpainting.Config(width=8, iterations=2)
RECORDS = Path(__file__).parent / "parity"


@pytest.fixture(scope="module")
def model() -> RFRInpainting:
    torch.manual_seed(0)
    return RFRInpainting(TINY).eval()


def photos(count: int, height: int = 37, width: int = 50) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def hole(pictures: np.ndarray) -> np.ndarray:
    mask = np.zeros(pictures.shape[:3], bool)
    mask[:, 10:25, 20:40] = True
    return mask


def batch() -> Masked:
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    masks[..., 8:20, 8:20] = True
    return Masked(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1, masks)


def test_only_the_hole_is_painted_and_nothing_in_it_is_looked_at(model: RFRInpainting) -> None:
    assert isinstance(model, Translates)
    given = photos(2)
    mask = hole(given)
    filled = model.translate(given, mask=mask)
    assert np.array_equal(filled[~mask], given[~mask]) and not np.array_equal(filled[mask], given[mask])
    spoilt = np.where(mask[..., None], 255 - given, given).astype(np.uint8)
    assert np.array_equal(filled, model.translate(spoilt, mask=mask))
    assert np.array_equal(filled[1:], model.translate(given[1:], mask=mask[1:]))


@pytest.mark.parametrize("mask", [np.zeros((1, 37, 50), bool), np.zeros((2, 37, 50), np.uint8)])
def test_masks_that_are_none_are_refused(model: RFRInpainting, mask: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"mask of bool \(2, 37, 50\)"):
        model.translate(photos(2), mask=mask)


def test_a_partial_convolution_makes_up_for_what_it_does_not_see() -> None:
    layer = PartialConv(2, 1, 3)
    nn.init.ones_(layer.conv.weight)
    mask = torch.ones(1, 1, 9, 9)
    mask[..., 2:7, 2:7] = 0
    x = torch.full((1, 2, 9, 9), 0.5) + 100 * (1 - mask)
    y, seen = layer(x, mask)
    unseen = torch.zeros(9, 9, dtype=torch.bool)
    unseen[3:6, 3:6] = True
    assert torch.equal(seen[0, 0] == 0, unseen), "the hole shrinks by a pixel on each side"
    assert torch.allclose(y[0, 0], torch.where(unseen, 0.0, 9.0)), "as if the window were full; at the border, too"


def test_fine_tuning_keeps_the_statistics_and_goes_slower() -> None:
    model = RFRInpainting(RFRInpainting.Config(width=8, iterations=1, finetune=5))
    rate = model.players["network"].rate
    assert rate(4) == 1 and rate(5) == 0.25
    norm = model.network.norm1
    for step, moves in ((4, True), (5, False), (4, True)):
        assert norm.running_mean is not None
        before = norm.running_mean.clone()
        list(model.train().play(batch(), Rng(0, [0, 1], step)))
        assert torch.equal(before, norm.running_mean) is not moves
        assert norm.weight.requires_grad


def test_the_perceptual_losses_ask_for_their_weights() -> None:
    model = RFRInpainting(RFRInpainting.Config(width=8, iterations=1, style=120.0))
    with pytest.raises(BadInput, match=r"RFR: .* needs VGG"):
        list(model.play(batch(), Rng(0, [0, 1])))


def test_sizes_that_do_not_fit_are_refused(model: RFRInpainting) -> None:
    with pytest.raises(BadInput, match="multiples of 16, 32 or more, not 24x32"):
        given = batch()
        list(model.play(Masked(given.pictures[..., :24], given.masks[..., :24]), Rng(0, [0, 1])))


@pytest.mark.parametrize(("record", "kernel"), [("rfrnet", 7), ("rfrnet-smaller-hole", 5)])
def test_a_release_opens_with_all_its_entries(record: str, kernel: int) -> None:
    state = json.loads((RECORDS / f"rfr-inpainting-{record}.json").read_text())["state"]
    kept = {1: 1, 3: 3, 4: 4, 5: 5, 7: 7, 67: 11}  # every width an eighth
    shapes = {name: [kept.get(size, size // 8) for size in shape] for name, shape in state.items()}
    tensors = {f"generator.{name}": fill_tensor(name, tuple(shape)) for name, shape in shapes.items()}
    remembered = {"optimizer_G.state.0.exp_avg": torch.zeros(3)}
    model = open_as("rfr-inpainting", tensors | remembered, "paris.pth", {})
    assert isinstance(model, RFRInpainting) and model.config == RFRInpainting.Config(width=8, kernel=kernel)
    ratio = tensors["generator.RFRModule.att.att.ratio"]
    assert torch.equal(model.network.reason.attention.ratio, ratio)
    with pytest.raises(BadCheckpoint, match="lacks"):
        open_as("rfr-inpainting", {n: v for n, v in tensors.items() if "dec_3" not in n}, "paris.pth", {})


@pytest.mark.parametrize("options", [{"width": 4}, {"kernel": 4}])
def test_sizes_that_cannot_be_built_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=next(iter(options))):
        RFRInpainting.Config(**options)
