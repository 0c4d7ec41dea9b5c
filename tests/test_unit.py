"""UNIT, of both published programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.data.kinds import Transferred, Unpaired
from limner.errors import BadCheckpoint, BadInput
from limner.parity.fill import fill_tensor
from limner.published import open_as
from limner.published.keys import Incomplete
from limner.rng import Rng
from limner.system import Styled, Translates
from limner.systems.translation.unit import UNIT
from limner.systems.translation.unit_digits import DigitUNIT, located
from limner.systems.translation.unit_shared import MultiScaleDiscriminator, SharedUNIT

SEPARATE = UNIT.Config(width=4, downs=1, blocks=1, discriminator_width=4, discriminator_depth=2, scales=2)
SHARED = SharedUNIT.Config(
    width=4, downs=1, encoder_blocks=1, decoder_blocks=1, discriminator_width=4, own_layers=1, shared_layers=1
)
RECORDS = Path(__file__).parent / "parity"


@pytest.fixture(scope="module", params=["separate", "shared"])
def model(request: pytest.FixtureRequest) -> UNIT | SharedUNIT:
    torch.manual_seed(0)
    return UNIT(SEPARATE).eval() if request.param == "separate" else SharedUNIT(SHARED).eval()


def photos(count: int, height: int = 17, width: int = 22) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def test_it_translates_both_ways_in_one_way_each(model: UNIT | SharedUNIT) -> None:
    assert isinstance(model, Translates) and not isinstance(model, Styled)
    given = photos(2)
    there, back = model.translate(given), model.translate(given, backwards=True)
    assert there.shape == back.shape == given.shape and not np.array_equal(there, back)
    assert np.array_equal(there[1:], model.train().translate(given[1:])), "no noise, not even in training"


def test_sizes_that_do_not_fit_are_refused(model: UNIT | SharedUNIT) -> None:
    odd = Unpaired(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 19))
    with pytest.raises(BadInput, match="multiples of 2, not 19x16"):
        next(model.play(odd, Rng(0, [0])))


@pytest.mark.parametrize("side", "ab")
def test_the_deepest_layers_learn_from_both_domains(side: str) -> None:
    torch.manual_seed(0)
    model = SharedUNIT(SHARED)
    game = model.play(Unpaired(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)), Rng(0, [0]))
    next(game)
    _, losses = next(game)
    torch.autograd.backward(losses[f"reconstruction_{side}"])
    taught = {n.split(".")[1] for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert taught == {f"encoder_{side}", "shared_encoder", "shared_decoder", f"decoder_{side}"}


@pytest.mark.parametrize("kind", ["separate", "multi-scale"])
def test_the_other_published_discriminators_play(kind: str) -> None:
    model = SharedUNIT(SharedUNIT.Config(**vars(SHARED) | {"discriminator": kind}))
    batch = Unpaired(torch.rand(1, 3, 16, 24), torch.rand(1, 3, 16, 24))
    moves = dict(model.play(batch, Rng(0, [0])))
    assert moves.keys() == {"discriminator", "generator"}
    assert all(torch.isfinite(value) for losses in moves.values() for value in losses.values())


def test_the_published_mistake_with_wide_pictures_is_not_the_default() -> None:
    wide = torch.rand(1, 3, 16, 48)
    for square, widths in ((False, [24, 12, 6]), (True, [24, 4, 2])):
        scores, _ = MultiScaleDiscriminator(4, 1, square=square)(wide, wide)
        assert [each.shape[-1] for each in scores] == widths


def published(record: str) -> dict[str, torch.Tensor]:
    """A release's two files, small: the layout that a parity record holds."""
    state = json.loads((RECORDS / record).read_text())["state"]
    shapes = {n.replace("_", ".", 1) if n[3] == "_" else n: s for n, s in state.items() if not n.startswith("vgg.")}
    return {name: fill_tensor(name, shape) for name, shape in shapes.items()}


def test_the_later_release_opens_with_all_its_entries() -> None:
    tensors = published("unit-losses.json")
    model = open_as("unit", tensors, "unit", {})
    assert isinstance(model, UNIT) and model.config == UNIT.Config(width=8, discriminator_width=8)
    assert torch.equal(model.generator_b.up.head.weight, tensors["gen.b.dec.model.5.conv.weight"])
    alone = {name.removeprefix("gen."): value for name, value in tensors.items() if name.startswith("gen.")}
    with pytest.warns(Incomplete, match="discriminator_a"):
        assert isinstance(open_as("unit", alone, "gen.pt", {}), UNIT)


def test_the_papers_release_opens_with_all_its_entries() -> None:
    tensors = published("unit-nips-losses.json")
    model = open_as("unit-shared", tensors, "unit", {"norms": False})
    assert isinstance(model, SharedUNIT)
    assert model.config == SharedUNIT.Config(width=8, discriminator_width=8, norms=False)
    assert torch.equal(model.generator.shared_decoder[0].conv2.bias, tensors["gen.dec_shared.0.model.3.bias"])
    alone = {name.removeprefix("gen."): value for name, value in tensors.items() if name.startswith("gen.")}
    with pytest.warns(Incomplete, match="discriminator"):
        assert isinstance(open_as("unit-shared", alone, "cats_gen.pkl", {}), SharedUNIT)
    with pytest.raises(BadCheckpoint, match="lacks"):
        open_as("unit-shared", {n: v for n, v in alone.items() if "encode_B.0" not in n}, "cats_gen.pkl", {})


# Digits


@pytest.fixture(scope="module")
def digits() -> DigitUNIT:
    torch.manual_seed(0)
    return DigitUNIT(DigitUNIT.Config(width=4, discriminator_width=4, classes=5)).eval()


def test_digits_are_translated_and_classified_at_any_size(digits: DigitUNIT) -> None:
    assert isinstance(digits, Translates)
    given = photos(3, 28, 40)
    there, back = digits.translate(given), digits.translate(given, backwards=True)
    assert there.shape == back.shape == given.shape
    assert np.array_equal(there[..., 0], there[..., 2]) and not np.array_equal(back[..., 0], back[..., 2]), (
        "grey, colour"
    )
    chances = digits.classify(given)
    assert chances.shape == (3, 5) and np.allclose(chances.sum(1), 1, atol=1e-5)
    assert not np.allclose(chances, digits.classify(given, backwards=True)), "the first layers are the domains' own"


def test_rows_and_columns_count_from_minus_one() -> None:
    _, row, column = located(torch.zeros(1, 1, 4, 8))[0]
    assert row[:, 0].tolist() == [-1, -0.5, 0, 0.5] and column[0, :4].tolist() == [-1, -0.75, -0.5, -0.25]


def test_only_the_discriminator_learns_from_classes(digits: DigitUNIT) -> None:
    batch = Transferred(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), torch.tensor([0, 4]))
    game = digits.play(batch, Rng(0, [0, 1]))
    name, losses = next(game)
    assert name == "discriminator"
    losses["classification"].backward()
    taught = {n.split(".")[1] for n, p in digits.named_parameters() if p.grad is not None}
    digits.zero_grad()
    assert taught == {"first", "shared", "classifier"}
    with pytest.raises(BadInput, match="32x32, not 16x32"):
        next(digits.play(Transferred(batch.a[..., :16], batch.b, batch.classes), Rng(0, [0, 1])))


def test_digits_networks_open_with_all_their_entries() -> None:
    tensors = {}
    for prefix, record in (("gen", "covae32"), ("dis", "codis32")):
        state = json.loads((RECORDS / f"unit-nips-{record}.json").read_text())["state"]
        kept = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 8: 8, 10: 10}  # every width an eighth
        shapes = {n: [kept.get(size, size // 8) for size in shape] for n, shape in state.items()}
        tensors |= {f"{prefix}.{n}": fill_tensor(n, tuple(shape)) for n, shape in shapes.items()}
    model = open_as("unit-digits", tensors, "svhn2mnist", {})
    assert isinstance(model, DigitUNIT) and model.config == DigitUNIT.Config(width=4, discriminator_width=8)
    assert torch.equal(model.generator.heads[1].bias, tensors["gen.de_conv4_b.bias"])
