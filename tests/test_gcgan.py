from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.published import open_as
from limner.published.cyclegan import resnet_names
from limner.rng import Rng, torch_rng
from limner.systems.translation.gcgan import GcGAN
from playing import learn

TINY = GcGAN.Config(size=(24, 24), width=4, blocks=1, discriminator_width=4, history=4)


def tiny(**options) -> GcGAN:
    torch.manual_seed(0)
    return GcGAN(dataclasses.replace(TINY, **options))


def dark_and_bright(numbers) -> Unpaired:
    noise = [torch.rand(2, 3, 24, 24, generator=torch_rng(0, "noise", n)) * 0.6 for n in numbers]
    return Unpaired(torch.stack([a - 0.8 for a, _ in noise]), torch.stack([b + 0.2 for _, b in noise]))


def told(model: GcGAN) -> dict[str, torch.Tensor]:
    return next(iter(model.play(dark_and_bright([0]), Rng(0, [0]))))[1]


def test_it_learns_what_the_domains_differ_in() -> None:
    model = tiny(identity=0.0, width=8)
    learn(model, dark_and_bright, steps=25, rate=4e-3)
    with torch.no_grad():
        assert model.generator(dark_and_bright(range(1000, 1008)).a).mean() > 0.1


def test_rotation_is_a_quarter_turn_clockwise_and_the_flip_upside_down() -> None:
    picture = torch.tensor([[1, 2], [3, 4]]).view(1, 1, 2, 2)
    assert tiny().turn(picture).flatten().tolist() == [3, 1, 4, 2]
    assert tiny(geometry="flip").turn(picture).flatten().tolist() == [3, 4, 1, 2]


@pytest.mark.parametrize("geometry", ["rotation", "flip"])
def test_turning_back_undoes_turning(geometry: str) -> None:
    model, a = tiny(geometry=geometry), dark_and_bright([0]).a
    assert torch.equal(model.turn_back(model.turn(a)), a) and not torch.equal(model.turn(a), a)


@pytest.mark.parametrize("geometry", ["rotation", "flip"])
def test_what_commutes_with_the_turn_is_consistent(geometry: str) -> None:
    """A generator that changes every pixel alike pays nothing; one that looks at what is beside it does."""
    model = tiny(geometry=geometry)
    assert told(model)["consistency"] > 0
    model.generator = nn.Conv2d(3, 3, 1)
    assert told(model)["consistency"] < 1e-5


def test_each_branch_follows_the_other_as_it_stands() -> None:
    """The gradient of the consistency in one branch takes the other for given."""
    model = tiny(shared=False)
    losses = told(model)
    there, turned = ([*m.parameters()] for m in (model.generator, model.generator_turned))
    grads = torch.autograd.grad(losses["consistency"], [there[0], turned[0]], retain_graph=True)
    a = dark_and_bright([0]).a
    fake, fake_turned = model.generator(a), model.paint_turned(model.turn(a))
    straight = (fake - model.turn_back(fake_turned).detach()).abs().mean()
    around = (fake_turned - model.turn(fake).detach()).abs().mean()
    alone = torch.autograd.grad(20 * straight, there[0])[0], torch.autograd.grad(20 * around, turned[0])[0]
    assert all(torch.allclose(*pair) for pair in zip(grads, alone, strict=True))


def test_one_generator_or_two() -> None:
    assert tiny().paint_turned(torch.zeros(1, 3, 8, 8)).equal(tiny().generator(torch.zeros(1, 3, 8, 8)))
    both = tiny(shared=False).players["generator"].parameters()
    assert len(both) == 2 * len(tiny().players["generator"].parameters())


def test_any_size_is_translated() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 13, 30, 3), np.uint8)
    assert tiny().translate(pictures).shape == pictures.shape


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="Make it square, or flip"):
        GcGAN.Config(size=(24, 32))
    assert GcGAN.Config(size=(24, 32), geometry="flip")
    with pytest.raises(BadInput, match="multiples of 4"):
        GcGAN.Config(size=(30, 30))
    with pytest.raises(BadInput, match="GcGAN was made for"):
        list(tiny(size=(32, 32)).play(dark_and_bright([0]), Rng(0, [0])))


def test_published_files_open() -> None:
    model = tiny(shared=False).eval()
    theirs = {ours: name for name, ours in resnet_names(["model.10.conv_block.5.weight"]).items()}
    file = {f"G_AB.{theirs[name]}": value for name, value in model.generator.state_dict().items()}
    pictures = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    alone = open_as("gcgan", file, "file", {"geometry": "flip"})
    assert alone.config.shared and alone.config.geometry == "flip" and alone.config.width == 4
    assert np.array_equal(alone.translate(pictures), model.translate(pictures))
    file |= {f"G_gc_AB.{theirs[name]}": value for name, value in model.generator_turned.state_dict().items()}
    assert not open_as("gcgan", file, "file", {}).config.shared
