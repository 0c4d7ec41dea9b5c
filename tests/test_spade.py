from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from label_world import Blocks, class_maps
from limner.errors import BadInput, CannotDo
from limner.parity.fill import fill_tensor
from limner.published import open_as
from limner.rng import Rng
from limner.runs import Run
from limner.system import Styled, Translates, to_uint8
from limner.systems.translation.spade import SPADE, AdaptiveNorm
from limner.train import Options, Trainer

TINY = SPADE.Config(
    classes=3, unknown=False, size=(32, 32), width=2, style=4, encoder_width=2,
    discriminator_width=4, discriminator_layers=2,
)  # fmt: skip
STYLED = replace(TINY, vae=True)


def built(config: SPADE.Config, seed: int = 0) -> SPADE:
    torch.manual_seed(seed)
    return SPADE(config).eval()


@pytest.fixture(scope="module")
def styled() -> SPADE:
    """Untrained, but with weights large enough for a style to show."""
    model = built(STYLED)
    for parameter in model.generator.parameters():
        parameter.data.mul_(20)
    return model


def test_it_learns_what_classes_look_like(tmp_path: Path) -> None:
    model = built(replace(TINY, width=4, generator_rate=2e-3, discriminator_rate=2e-3))
    options = Options(steps=15, batch=4, threads=1, sample=0, precision="fp32")
    Trainer("spade", model, Blocks(32), Run(tmp_path), options).fit()
    batch = Blocks(32).take(range(1000, 1006))
    photos = to_uint8(batch.pictures)
    painted, one_colour = model.eval().translate(batch.classes.numpy()), photos.mean((0, 1, 2))
    assert np.abs(painted - photos.astype(float)).mean() < 0.85 * np.abs(one_colour - photos).mean()


def test_a_norm_takes_scales_and_shifts_from_each_pixels_class() -> None:
    torch.manual_seed(0)
    norm = AdaptiveNorm(2, 3).eval()  # untrained statistics: mean 0, variance 1
    maps = torch.zeros(1, 2, 8, 8)
    maps[:, 0, :, :4], maps[:, 1, :, 4:] = 1, 1
    x = torch.randn(1, 3, 1, 1).expand(1, 3, 8, 8)
    y = norm(x, maps)
    assert torch.allclose(y[..., 2:6, 1:2], y[..., 3:4, 1:2].expand(-1, -1, 4, -1))  # alike where the map is
    assert not torch.allclose(y[..., 3, 1], y[..., 3, 6])
    shift = norm.modulation(maps)[1]
    assert torch.allclose(norm(torch.zeros_like(x), maps), shift)


def test_label_maps_of_any_size_become_pictures_of_that_size(styled: SPADE) -> None:
    assert isinstance(styled, Translates) and isinstance(styled, Styled)
    for height, width in ((13, 50), (1, 3), (32, 32)):
        pictures = styled.translate(class_maps(2, height, width))
        assert pictures.shape == (2, height, width, 3) and pictures.dtype == np.uint8


def test_a_style_is_a_seed_or_a_picture(styled: SPADE) -> None:
    maps = class_maps(2, 32, 32)
    given = styled.translate(maps, seed=1)
    assert np.array_equal(given, styled.translate(maps, style=styled.random_style(1)))
    assert np.array_equal(given[1:], styled.translate(maps[1:], seed=1))
    assert not np.array_equal(given, styled.translate(maps, seed=2))
    photos = np.random.default_rng(0).integers(0, 256, (2, 20, 40, 3), np.uint8)
    styles = styled.style_of(photos)
    assert styles.shape == (2, 4) and torch.equal(styles, styled.style_of(photos))
    with pytest.raises(BadInput, match=r"\(1, 4\) or \(2, 4\)"):
        styled.translate(maps, style=torch.zeros(3, 4))


def test_without_a_vae_there_are_no_styles() -> None:
    model = built(TINY)
    with pytest.raises(CannotDo, match="vae=true"):
        model.random_style(0)
    with pytest.raises(CannotDo, match="vae=true"):
        model.translate(class_maps(1, 32, 32), style=torch.zeros(1, 4))


def test_bad_maps_and_sizes_are_refused() -> None:
    model = built(TINY)
    with pytest.raises(BadInput, match="SPADE: the label map has classes from 0 to 3, but the model knows 0 to 2"):
        model.translate(np.array([[[0, 3]]]))
    with pytest.raises(BadInput, match=r"unknown=true"):
        model.translate(np.array([[[0, 255]]], np.uint8))
    assert built(replace(TINY, unknown=True)).translate(np.array([[[0, 255]]], np.uint8)).shape == (1, 1, 2, 3)
    with pytest.raises(BadInput, match=r"pictures of 16x16, but the model is for 32x32.*size=\[16,16\]"):
        next(model.play(Blocks(16).take([0]), Rng(0, [0])))
    with pytest.raises(BadInput, match="multiples of 64"):
        SPADE.Config(size=(64, 96), doublings=6)


def test_the_discriminator_judges_a_new_picture_in_a_new_style() -> None:
    """The generator is played first, with one draw; the discriminator sees another, which takes no gradient to it."""
    model = built(STYLED).train()
    drawn: list[str] = []

    class Heard(Rng):
        def normal(self, name: str, *shape: int) -> torch.Tensor:
            drawn.append(name)
            return super().normal(name, *shape)

    game = model.play(Blocks(32).take([0, 1]), Heard(0, [0, 1]))
    player, losses = next(game)
    assert player == "generator" and set(losses) == {"divergence", "adversarial", "feature_matching"}
    assert drawn == ["style"]
    player, losses = next(game)
    assert player == "discriminator" and drawn == ["style", "style again"]
    grads = torch.autograd.grad(
        sum(losses.values()), list(model.generator.parameters())[:3], allow_unused=True, retain_graph=True
    )
    assert grads == (None, None, None)


@pytest.mark.parametrize("whole", [True, False])
def test_published_files_open_with_and_without_the_second_vector(whole: bool) -> None:
    layout = json.loads((Path(__file__).parent / "parity" / "spade-losses.json").read_text())["state"]
    published = {
        name: fill_tensor(name, tuple(shape))
        for name, shape in layout.items()
        if name.startswith(("G.", "D.", "E.")) and (whole or not name.endswith("weight_v"))
    }
    model = open_as("spade", published, "net_G.pth", {"unknown": False})
    assert isinstance(model, SPADE)
    found = model.config
    assert (found.classes, found.width, found.style, found.vae, found.doublings) == (8, 8, 256, True, 5)
    assert (found.encoder_width, found.discriminator_width, found.discriminator_layers, found.scales) == (8, 8, 4, 2)
    if not whole:
        first = model.generator.blocks[0].conv1.parametrizations.weight
        expected = normalize(first.original.flatten(1).T @ first[0]._u, dim=0)
        assert torch.allclose(first[0]._v, expected, atol=1e-6)
