from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from label_world import Blocks, class_maps
from limner.errors import BadInput
from limner.published.sean import networks
from limner.rng import Rng
from limner.runs import Run
from limner.system import Styled, Translates, to_uint8
from limner.systems.translation.sean import SEAN
from limner.train import Options, Trainer

TINY = SEAN.Config(
    classes=3, size=(32, 32), width=2, code=8, encoder_width=4, discriminator_width=4, discriminator_layers=2,
    generator_rate=2e-3, discriminator_rate=2e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SEAN:
    torch.manual_seed(0)
    model = SEAN(TINY)
    options = Options(steps=20, batch=4, threads=1, sample=0, precision="fp32")
    Trainer("sean", model, Blocks(32), Run(tmp_path_factory.mktemp("run")), options).fit()
    return model.eval()


def test_it_learns_what_classes_look_like(trained: SEAN) -> None:
    batch = Blocks(32).take(range(1000, 1006))
    photos, maps = to_uint8(batch.pictures), batch.classes.numpy()
    painted = trained.translate(maps, style=trained.style_of(photos, classes=maps))
    one_colour = photos.mean((0, 1, 2))
    assert np.abs(painted - photos.astype(float)).mean() < 0.85 * np.abs(one_colour - photos).mean()


def test_a_code_sees_its_region_alone_and_learns() -> None:
    torch.manual_seed(0)
    model = SEAN(TINY)
    batch = Blocks(32).take([0, 1])
    codes = model.encoder(batch.pictures, model.regions(batch.classes))
    lonely = model.encoder(batch.pictures, model.regions(batch.classes) * torch.tensor([1.0, 0, 0])[:, None, None])
    assert torch.equal(lonely[:, 0], codes[:, 0]) and not lonely[:, 1:].any() and codes[:, 1:].abs().min() > 0
    _, losses = next(model.play(batch, Rng(0, [0, 1])))
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder.layers[14].parameters())


def test_codes_of_regions_that_are_there_count_and_no_others(trained: SEAN) -> None:
    maps = np.zeros((1, 32, 32), np.uint8)
    maps[:, :, 16:] = 1
    style = trained.random_style(1)
    one = trained.translate(maps, style=style)
    for kind, matters in enumerate((True, True, False)):
        other = style.clone()
        other[:, kind] -= 4
        assert np.array_equal(one, trained.translate(maps, style=other)) != matters


def test_label_maps_of_any_size_become_pictures_of_that_size(trained: SEAN) -> None:
    assert isinstance(trained, Translates) and isinstance(trained, Styled)
    for height, width in ((13, 50), (1, 3), (32, 32)):
        pictures = trained.translate(class_maps(2, height, width))
        assert pictures.shape == (2, height, width, 3) and pictures.dtype == np.uint8


def test_the_seed_is_the_noise(trained: SEAN) -> None:
    maps = class_maps(2, 32, 32)
    noisy = trained.translate(maps, seed=1)
    assert np.array_equal(noisy, trained.translate(maps, seed=1))
    assert np.array_equal(noisy[1:], trained.translate(maps[1:], seed=1))
    assert not np.array_equal(noisy, trained.translate(maps, seed=2))


def test_regions_that_an_example_lacks_get_their_classes_mean(trained: SEAN) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (1, 20, 40, 3), np.uint8)
    maps = np.ones((1, 20, 40), np.uint8)
    codes = trained.style_of(photos, classes=maps)
    assert codes.shape == (1, 3, 8)
    assert torch.equal(codes[0, 0], trained.code_mean[0]) and not torch.equal(codes[0, 1], trained.code_mean[1])
    whole = trained.style_of(photos)  # of no regions: as if it were all of every class
    assert whole.shape == codes.shape and all(torch.equal(each, codes[0, 1]) for each in whole[0])


def test_the_codes_of_the_training_are_remembered() -> None:
    torch.manual_seed(0)
    model = SEAN(TINY)
    codes = torch.randn(3, 2, 3, 8)
    regions = torch.ones(3, 2, 3, 1, 1)
    regions[:, 0, 2], codes[:, 0, 2] = 0, 0  # the third class is in one picture of each batch
    for each, told in zip(codes, regions, strict=True):
        model.remember(each, told)
    assert model.seen.tolist() == [3, 3, 3]
    assert torch.allclose(model.code_mean[:2], codes[:, :, :2].mean((0, 1)), atol=1e-6)
    assert torch.allclose(model.code_mean[2], codes[:, 1, 2].mean(0), atol=1e-6)


def test_what_cannot_be_painted_is_refused(trained: SEAN) -> None:
    maps = class_maps(2, 32, 32)
    with pytest.raises(BadInput, match="SEAN: the label map has classes from 0 to 3, but the model knows 0 to 2"):
        trained.translate(np.array([[[0, 3]]]))
    with pytest.raises(BadInput, match=r"\(1 or 2, 3, 8\)"):
        trained.translate(maps, style=torch.zeros(1, 8))
    with pytest.raises(BadInput, match="but label maps"):
        trained.style_of(np.zeros((1, 8, 8, 3), np.uint8), classes=maps)
    with pytest.raises(BadInput, match="Give a style"):
        SEAN(TINY).translate(maps)
    with pytest.raises(BadInput, match="pictures of 16x16, but the model is for 32x32"):
        next(trained.play(Blocks(16).take([0]), Rng(0, [0])))
    with pytest.raises(BadInput, match="multiples of 32"):
        SEAN.Config(size=(48, 32))


def test_the_published_layout_of_the_generator_is_ours() -> None:
    """Names only: the published size is a gigabyte."""
    layout = json.loads((Path(__file__).parent / "parity" / "sean-generator.json").read_text())["state"]
    published = {name: torch.empty(shape, device="meta") for name, shape in layout.items()}
    generator, encoder = networks(published, "net_G.pth")
    with torch.device("meta"):
        model = SEAN()
    for found, network in ((generator, model.generator), (encoder, model.encoder)):
        assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in network.state_dict().items()}
