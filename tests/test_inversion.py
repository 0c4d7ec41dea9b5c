from pathlib import Path

import numpy as np
import pytest
import torch

from limner.errors import BadInput
from limner.parity.check import verdict
from limner.system import from_uint8
from limner.systems.diffusion.inversion import invert, null_text, redraw, visited
from limner.systems.diffusion.pictures import fitted, fitting, refitted
from small_diffusion import small_diffusion

STEPS = 5


def test_it_is_the_published_one():
    result = verdict(Path(__file__).parent / "parity" / "ddim-inversion-null-text.json")
    assert result.passed, "\n".join(result.lines)


@pytest.fixture(scope="module")
def model():
    return small_diffusion()


@pytest.fixture(scope="module")
def inverted(model):
    """The latent of a picture, states of its caption and of nothing, and its path to the noise."""
    with torch.no_grad():
        clean = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(1))
        text, away = model.encode_words(["a red fox"]), model.encode_words([""])
    return clean, text, away, invert(model, clean, text, STEPS)


def error(found, clean):
    return float((found - clean).square().mean())


def test_without_guidance_the_noise_gives_the_picture_back(model, inverted):
    clean, text, away, path = inverted
    assert path.shape == (STEPS + 1, *clean.shape) and torch.equal(path[0], clean)
    found = redraw(model, path[-1], text, away.expand(STEPS, 1, -1, -1), guidance=1)
    assert error(found, clean) < 0.1 * float(clean.square().mean())
    # And that of another caption's inversion is another noise.
    assert not torch.allclose(invert(model, clean, away, STEPS)[-1], path[-1])


def test_fixed_points_come_closer(model, inverted):
    clean, text, away, path = inverted
    no_words = away.expand(STEPS, 1, -1, -1)
    closer = invert(model, clean, text, STEPS, again=3)
    assert error(redraw(model, closer[-1], text, no_words, guidance=1), clean) < 0.1 * error(
        redraw(model, path[-1], text, no_words, guidance=1), clean
    )


def test_null_text_gives_the_picture_back_with_guidance(model, inverted):
    clean, text, away, path = inverted
    states = null_text(model, path, text, away, 7.5, iterations=10)
    assert states.shape == (STEPS, *away.shape) and not states.requires_grad
    assert all(parameter.grad is None for parameter in model.unet.parameters())
    assert all(parameter.requires_grad for parameter in model.unet.parameters())
    plain = redraw(model, path[-1], text, away.expand(STEPS, 1, -1, -1), 7.5)
    assert error(redraw(model, path[-1], text, states, 7.5), clean) < 0.7 * error(plain, clean)


def test_leading_away_from_the_caption_undoes_guidance(model, inverted):
    """Negative-prompt inversion: the same picture at any guidance, that of none."""
    _, text, _, path = inverted
    states = text.expand(STEPS, 1, -1, -1)
    without = redraw(model, path[-1], text, states, 1)
    assert torch.allclose(redraw(model, path[-1], text, states, 9.0), without, atol=1e-4)


def test_there_are_as_many_timesteps_as_steps(model):
    assert visited(model, 50)[:2] == [981, 961] and visited(model, 50)[-1] == 1
    assert [len(visited(model, steps)) for steps in (1, 3, 7, 1000)] == [1, 3, 7, 1000]


@pytest.mark.parametrize(
    ("size", "fit"),
    [((16, 24), (16, 24)), ((480, 320), (24, 16)), ((1, 1), (20, 20)), ((300, 400), (16, 24)), ((1, 900), (4, 80))],
)
def test_pictures_of_any_size_fit(model, size, fit):
    assert fitting(size, model) == fit
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert fitted(picture, model).shape == (1, 3, *fit)
    back = refitted(torch.zeros(2, 3, *fit), picture)
    assert back.shape == (2, *size, 3) and back.dtype == np.uint8


def test_a_picture_of_the_models_size_stays_as_it_is(model):
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    assert torch.equal(fitted(picture, model)[0], from_uint8(picture))
    assert np.array_equal(refitted(fitted(picture, model), picture)[0], picture)


def test_what_is_no_picture_says_so(model):
    with pytest.raises(BadInput, match="A picture to edit is uint8"):
        fitted(np.zeros((4, 4, 4), np.uint8), model)
