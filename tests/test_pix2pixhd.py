from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from label_world import Blocks, class_maps
from limner.data.kinds import Labelled
from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.hub import load
from limner.parity.fill import fill_tensor
from limner.published import open_as
from limner.published.keys import Incomplete
from limner.rng import Rng
from limner.runs import Run
from limner.system import Styled, Translates, to_uint8
from limner.systems.translation.pix2pixhd import Pix2PixHD, averaged, k_means, things
from limner.train import Options, Trainer

TINY = Pix2PixHD.Config(
    classes=3, width=8, downsamplings=1, blocks=1, enhancer_blocks=1, encoder_width=4, encoder_downsamplings=1,
    discriminator_width=8, discriminator_layers=2,
)  # fmt: skip
LOOKS = replace(TINY, features=2, clusters=3)


def built(config: Pix2PixHD.Config, seed: int = 0) -> Pix2PixHD:
    torch.manual_seed(seed)
    return Pix2PixHD(config).eval()


@pytest.fixture(scope="module")
def stylist() -> Pix2PixHD:
    """With an encoder, untrained, whose looks are known."""
    model = built(LOOKS)
    model.learn_looks(Blocks().take(range(4 * k, 4 * k + 4)) for k in range(3))
    return model


def test_it_learns_what_classes_look_like(tmp_path: Path) -> None:
    options = Options(steps=40, batch=4, threads=1, sample=0, precision="fp32")
    model = built(replace(TINY, learning_rate=2e-3))
    batch = Blocks().take(range(1000, 1008))
    truth = to_uint8(batch.pictures).astype(float)

    def error() -> float:
        return float(np.abs(model.translate(batch.classes.numpy(), instances=batch.instances.numpy()) - truth).mean())

    before = error()
    Trainer("pix2pixhd", model, Blocks(), Run(tmp_path), options).fit()
    assert error() < before / 2


def test_label_maps_of_any_size_become_pictures_of_that_size() -> None:
    model = built(replace(TINY, enhancers=1))
    assert isinstance(model, Translates) and isinstance(model, Styled)
    for height, width in ((13, 22), (1, 3), (16, 8)):
        pictures = model.translate(class_maps(2, height, width))
        assert pictures.shape == (2, height, width, 3) and pictures.dtype == np.uint8


def test_borders_between_instances_are_seen() -> None:
    maps = np.zeros((1, 16, 16), np.int64)
    instances = np.ones_like(maps)
    instances[:, 4:9] = 2
    model, blind = built(TINY), built(replace(TINY, edges=False))
    assert not np.array_equal(model.translate(maps), model.translate(maps, instances=instances))
    assert np.array_equal(blind.translate(maps), blind.translate(maps, instances=instances))


def test_bad_maps_are_refused() -> None:
    model = built(TINY)
    with pytest.raises(BadInput, match="pix2pixHD: the label map has classes from 0 to 7, but the model knows 0 to 2"):
        model.translate(np.array([[[0, 7]]]))
    with pytest.raises(BadInput, match="instances"):
        model.translate(np.zeros((1, 8, 8), np.uint8), instances=np.zeros((1, 8, 9), np.uint8))
    batch = Blocks().take([0])
    with pytest.raises(BadInput, match="pictures of 15x16"):
        next(
            model.play(Labelled(batch.pictures[..., 1:], batch.classes[..., 1:], batch.instances[..., 1:]), Rng(0, [0]))
        )
    with pytest.raises(BadInput, match="model knows 0 to 2"):
        next(model.play(replace(batch, classes=batch.classes + 1), Rng(0, [0])))


def test_enhancers_can_learn_alone_at_first(tmp_path: Path) -> None:
    model = built(replace(TINY, enhancers=1, enhancers_alone=2))
    coarse = [parameter.detach().clone() for parameter in model.generator.coarse.parameters()]
    finer = [parameter.detach().clone() for parameter in model.generator.enhancers.parameters()]

    def moved(before: list[torch.Tensor], network: torch.nn.Module) -> bool:
        return any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))

    for steps, expected in ((2, False), (3, True)):
        options = Options(steps=steps, batch=1, threads=1, sample=0, precision="fp32")
        Trainer("pix2pixhd", model, Blocks(), Run(tmp_path), options).fit()
        assert moved(coarse, model.generator.coarse) == expected and moved(finer, model.generator.enhancers)


def test_an_enhancer_begins_from_the_global_generator() -> None:
    small, large = built(LOOKS), built(replace(LOOKS, enhancers=1, scales=3), seed=1)
    large.begin_from(small)
    half = torch.randn(1, 6, 8, 8)
    assert torch.equal(small.generator.coarse(half), large.generator.coarse(half))
    pictures = np.zeros((1, 8, 8, 3), np.uint8)
    assert torch.equal(small.style_of(pictures), large.style_of(pictures))
    with pytest.raises(BadInput, match="fewer enhancers"):
        large.begin_from(built(replace(LOOKS, width=16)))
    with pytest.raises(BadInput, match="fewer enhancers"):
        small.begin_from(large)


# Looks


def test_a_thing_has_one_look_and_no_other_things() -> None:
    torch.manual_seed(0)
    features, apart = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    mean = averaged(features, apart)
    for row in range(2):
        for thing in apart[row].unique():
            here = apart[row] == thing
            expected = features[row][:, here].mean(1, keepdim=True).expand(-1, int(here.sum()))
            assert torch.allclose(mean[row][:, here], expected, atol=1e-6)


def test_instances_and_what_is_not_countable_are_things() -> None:
    classes, instances = torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 5, 6]]])
    assert len(things(classes, instances).unique()) == 4


def test_k_means_finds_the_groups_and_no_more_than_there_are() -> None:
    torch.manual_seed(0)
    groups = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    found = k_means((groups[:, None] + 0.1 * torch.randn(3, 20, 2)).flatten(0, 1), 3, seed=0)
    assert torch.cdist(groups, found).amin(1).max() < 0.2
    assert len(k_means(torch.ones(4, 2), 3, seed=0)) == 1


def test_looks_are_those_of_the_training_data_by_class(stylist: Pix2PixHD) -> None:
    assert stylist.known.tolist() == [3, 3, 3]
    style = stylist.random_style(4)
    assert style.shape == (1, 3, 2)
    for kind in range(3):
        assert any(torch.equal(style[0, kind], centre) for centre in stylist.centres[kind])
    assert torch.equal(style, stylist.random_style(4)) and not torch.equal(style, stylist.random_style(5))


def test_chance_or_a_style_decides_the_looks(stylist: Pix2PixHD) -> None:
    maps = class_maps(2, 16, 18)
    chance = stylist.translate(maps, seed=1)
    assert np.array_equal(chance, stylist.translate(maps, seed=1))
    assert not np.array_equal(chance, stylist.translate(maps, seed=2))
    classwise = stylist.random_style(3)
    assert not np.array_equal(chance, stylist.translate(maps, style=classwise))
    photos = np.random.default_rng(0).integers(0, 256, (2, 16, 18, 3), np.uint8)
    looks = stylist.style_of(photos)
    assert looks.shape == (2, 2, 16, 18)
    both = stylist.translate(maps, style=looks)
    assert np.array_equal(both[1:], stylist.translate(maps[1:], style=looks[1:]))
    assert not np.array_equal(both, stylist.translate(maps, style=looks.flip(0)))
    smaller = torch.nn.functional.interpolate(looks, scale_factor=0.5)
    assert stylist.translate(maps, style=smaller).shape == both.shape
    with pytest.raises(BadInput, match=r"style \(3, 2, 16, 18\) doesn't fit 2 label maps"):
        stylist.translate(maps, style=torch.zeros(3, 2, 16, 18))


def test_looks_need_an_encoder_and_to_be_learned() -> None:
    with pytest.raises(CannotDo, match="features=3"):
        built(TINY).style_of(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(CannotDo, match="features=3"):
        built(TINY).translate(class_maps(1, 8, 8), style=torch.zeros(1, 3, 2))
    model, maps = built(LOOKS), class_maps(1, 8, 8)
    with pytest.raises(BadInput, match="learn_looks"):
        model.random_style(0)
    assert np.array_equal(model.translate(maps), model.translate(maps, style=torch.zeros(1, 3, 2)))


def test_training_ends_with_learned_looks_however_often_it_was_stopped(tmp_path: Path) -> None:
    class Few(Blocks):
        def __len__(self) -> int:
            return 6

    def trained(run: str, *ends: int) -> Pix2PixHD:
        for steps in ends:
            options = Options(steps=steps, batch=4, threads=1, sample=0, precision="fp32")
            Trainer("pix2pixhd", built(LOOKS), Few(), Run(tmp_path / run), options).fit()
        model = load(str(tmp_path / run))
        assert isinstance(model, Pix2PixHD)
        return model

    whole, parts, again = trained("whole", 3), trained("parts", 1, 3), built(LOOKS)
    assert whole.known.all() and torch.equal(whole.centres, parts.centres)
    again.load_state_dict(whole.state_dict())
    again.learn_looks([Few().take(range(4)), Few().take([4, 5])])
    assert torch.equal(again.centres, whole.centres) and len(whole.random_style(1)) == 1


# The authors' files


def test_published_files_open() -> None:
    record = json.loads((Path(__file__).parent / "parity" / "pix2pixhd-local-enhancer-2levels.json").read_text())
    published = {f"G.{name}": fill_tensor(name, tuple(shape)) for name, shape in record["state"].items()}
    with pytest.warns(Incomplete, match="first weights: discriminator"):
        model = open_as("pix2pixhd", published, "net_G.pth", {"discriminator_width": 4})
    assert isinstance(model, Pix2PixHD)
    found = model.config
    assert (found.classes, found.width, found.downsamplings, found.blocks) == (4, 32, 3, 2)
    assert (found.enhancers, found.enhancer_blocks, found.features) == (2, 2, 0)
    assert model.translate(class_maps(1, 40, 33)).shape == (1, 40, 33, 3)
    with pytest.warns(Incomplete):
        wordier = open_as("pix2pixhd", published, "net_G.pth", {"edges": False, "discriminator_width": 4})
    assert wordier.config.classes == 5
    with pytest.raises(BadCheckpoint, match="net_G"):
        open_as("pix2pixhd", {k: v for k, v in published.items() if "model1_1" not in k}, "net_G.pth", {})
