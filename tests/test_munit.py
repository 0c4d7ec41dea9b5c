from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.data.kinds import Unpaired
from limner.errors import BadCheckpoint, BadInput
from limner.parity.fill import fill_tensor
from limner.published import open_as
from limner.published.keys import Incomplete
from limner.rng import Rng
from limner.system import Styled, Translates
from limner.systems.translation.munit import MUNIT, LayerNorm

TINY = MUNIT.Config(
    width=4, downs=1, blocks=1, style_width=3, mlp_width=8, discriminator_width=4, discriminator_depth=2, scales=2
)


@pytest.fixture(scope="module")
def model() -> MUNIT:
    torch.manual_seed(0)
    return MUNIT(TINY).eval()


def photos(count: int, height: int = 17, width: int = 22) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def test_it_translates_both_ways_and_keeps_the_size(model: MUNIT) -> None:
    assert isinstance(model, Translates) and isinstance(model, Styled)
    given = photos(2)
    there, back = model.translate(given), model.translate(given, backwards=True)
    assert there.shape == back.shape == given.shape and there.dtype == np.uint8
    assert not np.array_equal(there, back)


def test_a_seed_is_a_style_whatever_else_is_in_the_call(model: MUNIT) -> None:
    given = photos(2)
    both = model.translate(given, seed=1)
    assert np.array_equal(both[1:], model.translate(given[1:], seed=1))
    assert np.array_equal(both, model.translate(given, style=model.random_style(1)))
    assert not np.array_equal(both, model.translate(given, seed=2))


def test_the_style_of_an_example_is_its_domains(model: MUNIT) -> None:
    given = photos(2)
    styles = model.style_of(given)
    assert styles.shape == (2, 3)
    assert not torch.allclose(styles, model.style_of(given, backwards=True))
    mixed = model.translate(given, style=styles.flip(0))
    assert np.array_equal(mixed[:1], model.translate(given[:1], style=styles[1:]))


@pytest.mark.parametrize("shape", [(3,), (1, 2), (3, 3)])
def test_foreign_styles_are_refused(model: MUNIT, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"\(1, 3\) or \(2, 3\)"):
        model.translate(photos(2), style=torch.zeros(shape))


def test_sizes_that_do_not_fit_are_refused(model: MUNIT) -> None:
    with pytest.raises(BadInput, match="at least 16 pixels"):
        model.translate(photos(1, 9, 30))
    odd = Unpaired(torch.zeros(1, 3, 17, 16), torch.zeros(1, 3, 16, 16))
    with pytest.raises(BadInput, match="multiples of 2, not 16x17"):
        next(model.play(odd, Rng(0, [0])))


def test_the_perceptual_loss_asks_for_its_weights() -> None:
    model = MUNIT(MUNIT.Config(**vars(TINY) | {"perceptual": 1.0}))
    batch = Unpaired(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32))
    with pytest.raises(BadInput, match=r"MUNIT: .* needs VGG"):
        list(model.play(batch, Rng(0, [0])))
    assert "vgg" not in {name.partition(".")[0] for name, _ in MUNIT(TINY).named_parameters()}


def test_layer_norm_keeps_the_channels_apart() -> None:
    """Unlike instance norm: a channel that is brighter than the others still is."""
    x = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0)) + torch.arange(4.0)[:, None, None]
    norm = LayerNorm(4)
    torch.nn.init.ones_(norm.gamma)
    y = norm(x)
    assert y.mean((2, 3)).diff(dim=1).gt(0).all()
    assert torch.allclose(y.mean((1, 2, 3)), torch.zeros(2), atol=1e-5)


def published() -> dict[str, torch.Tensor]:
    """A release's two files, small: the layout that the parity record of the losses holds."""
    record = json.loads((Path(__file__).parent / "parity" / "munit-losses.json").read_text())
    shapes = {n.replace("_", ".", 1): s for n, s in record["state"].items() if not n.startswith("vgg.")}
    return {name: fill_tensor(name, shape) for name, shape in shapes.items()}


def test_a_release_opens_with_all_its_entries() -> None:
    tensors = published()
    model = open_as("munit", tensors, "munit", {"cycle": 10.0})
    assert isinstance(model, MUNIT) and not model.training
    assert model.config == MUNIT.Config(width=8, mlp_width=16, discriminator_width=8, cycle=10.0)
    assert torch.equal(model.generator_b.decoder.up.head.weight, tensors["gen.b.dec.model.5.conv.weight"])
    assert torch.equal(model.discriminator_a.scales[2].layers[4].bias, tensors["dis.a.cnns.2.4.bias"])


def test_generators_alone_open_and_other_files_do_not() -> None:
    tensors = {n.removeprefix("gen."): v for n, v in published().items() if n.startswith("gen.")}
    tensors["a.enc_content.model.0.norm.running_mean"] = torch.zeros(8)  # as PyTorch 0.3 left them
    with pytest.warns(Incomplete, match="discriminator_a"):
        model = open_as("munit", tensors, "gen.pt", {})
    assert isinstance(model, MUNIT) and torch.equal(model.generator_a.mlp[4].bias, tensors["a.mlp.model.2.fc.bias"])
    with pytest.raises(BadCheckpoint, match="no place in the model"):
        open_as("munit", tensors | {"a.extra": torch.zeros(1)}, "gen.pt", {})
    with pytest.raises(BadCheckpoint, match=r"gen\.pt"):
        open_as("munit", {"a.enc_content.model.0.conv.weight": torch.zeros(8, 3, 7, 7)}, "gen.pt", {})
