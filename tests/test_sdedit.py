from pathlib import Path

import numpy as np
import pytest
import torch

from limner import diffusion
from limner.data.kinds import Pictures
from limner.errors import BadInput
from limner.parity.check import verdict
from limner.rng import Rng
from limner.system import Edits, Translates
from limner.systems.diffusion.pixel import PixelDiffusion
from limner.systems.diffusion.sdedit import SDEdit, published_img2img
from playing import learn
from small_diffusion import small_diffusion

SAMPLERS = ["ddim", "euler", "euler_ancestral", "dpm_solver"]


@pytest.mark.parametrize("network", ["latent", "pixel"])
def test_it_is_the_published_one(network):
    result = verdict(Path(__file__).parent / "parity" / f"sdedit-{network}.json")
    assert result.passed, "\n".join(result.lines)


@pytest.fixture(scope="module")
def model():
    return small_diffusion()


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)


def test_strength_0_gives_the_picture_as_the_autoencoder_knows_it(model):
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    method = SDEdit(model)
    same = method.edit(picture, "a fox", strength=0, seed=1).pictures[0]
    with torch.no_grad():
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
        known = model.decode(model.encode(pixels)).clamp(-1, 1)[0].permute(1, 2, 0)
    assert np.abs(same / 127.5 - 1 - known.numpy()).mean() < 0.05
    assert not np.array_equal(same, method.edit(picture, "a fox", strength=1, steps=2, seed=1).pictures[0])


@torch.no_grad()
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("strength", "steps"), [(0.3, 3), (1.0, 10)])
def test_the_last_steps_are_done_from_the_picture_under_the_noise_of_the_first(
    model, monkeypatch, sampler, strength, steps
):
    pixels = torch.ones(1, 3, 16, 24)
    text, away = model.encode_words(["a fox"]), model.encode_words([""])
    seen = []

    def predict(latents, t, text):
        seen.append((latents, t))
        return torch.zeros_like(latents)

    monkeypatch.setattr(model, "predict", predict)
    SDEdit(model).latent(pixels, 3, text, away, 10, 1.0, strength, sampler)
    assert len(seen) == steps
    latents, t = seen[0]
    assert torch.allclose(latents, model.schedule.noised(model.encode(pixels), model.noise(3), t), atol=1e-2)
    assert int(t) == {"ddim": 100 * steps - 99, "dpm_solver": 100 * steps - 1}.get(sampler, 111 * (steps - 1))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_edit_of_a_seed_is_the_same_whatever_the_count(model, picture, sampler):
    options = {"steps": 4, "sampler": sampler, "strength": 0.6}
    method = SDEdit(model)
    assert isinstance(method, Edits)
    several = method.edit(picture, "a fox", count=2, seed=4, **options)
    alone = method.edit(picture, "a fox", seed=5, **options)
    assert several.seeds == (4, 5) and several.pictures.shape == (2, 30, 50, 3)
    assert np.array_equal(several.pictures[1], alone.pictures[0])
    assert not np.array_equal(*several.pictures)


def test_words_and_what_they_lead_away_from_matter(model, picture):
    plain, *others = (
        SDEdit(model).edit(picture, words, negative=negative, steps=4).pictures[0]
        for words, negative in (("a fox", ""), ("the snow", ""), ("a fox", "the snow"))
    )
    assert all(not np.array_equal(plain, other) for other in others)


@torch.no_grad()
def test_the_published_script_leaves_one_level_of_noise_too_many(model):
    clean, noise = torch.zeros(1, 4, 4, 6), torch.ones(1, 4, 4, 6)
    text, away = model.encode_words(["a fox"]), model.encode_words([""])
    noised, _ = published_img2img(model, clean, noise, text, away, 5, 10, 7.5)
    seen = []

    def denoise(x, t):
        seen.append((x, t))
        return diffusion.Denoised(x, x)

    model.sample(denoise, noise, 10, "ddim", onto=clean, last=5)
    assert len(seen) == 5 and float(seen[0][1]) == 401
    level = model.schedule.alpha_bar
    assert torch.allclose(noised, (1 - level[501]).sqrt()) and torch.allclose(seen[0][0], (1 - level[401]).sqrt())
    with pytest.raises(BadInput, match="does 1 to 9 of 10 steps, not 10"):
        published_img2img(model, clean, noise, text, away, 10, 10, 7.5)


def test_strengths_are_shares(model, picture):
    with pytest.raises(BadInput, match=r"strength=1\.5"):
        SDEdit(model).edit(picture, "a fox", strength=1.5)


@pytest.fixture(scope="module")
def pixels():
    torch.manual_seed(0)
    config = PixelDiffusion.Config(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(8,), timesteps=20)
    return PixelDiffusion(config).eval()


def test_pixels_outside_of_the_mask_stay_to_the_bit(pixels, picture):
    assert isinstance(pixels, Translates)
    mask = np.zeros((1, 30, 50), bool)
    mask[:, 5:25, 10:40] = True
    edited = pixels.translate(picture[None], mask=mask, seed=3)
    assert np.array_equal(edited[~mask], picture[None][~mask])
    assert (edited[mask] != picture[None][mask]).mean() > 0.5


def test_a_seed_edits_every_picture_alike(pixels, picture):
    both = pixels.translate(np.stack([picture[::-1], picture]), seed=3, repeats=1)
    alone = pixels.translate(picture[None], seed=3, repeats=1)
    assert both.shape == (2, 30, 50, 3) and np.array_equal(both[1], alone[0])
    assert not np.array_equal(alone, pixels.translate(picture[None], seed=4, repeats=1))
    assert not np.array_equal(alone, pixels.translate(picture[None], seed=3, repeats=2))
    assert np.array_equal(pixels.translate(picture[None], strength=0), picture[None])


def test_no_step_goes_beyond_a_network_that_knows_the_noise(pixels, monkeypatch):
    """Where the noise is told right, the picture comes out as it was, at any strength."""
    clean = torch.rand(1, 3, 16, 16) * 2 - 1

    def told(noisy, t):
        alpha_bar = pixels.schedule.alpha_bar[t.long()].view(-1, 1, 1, 1)
        return (noisy - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()

    monkeypatch.setattr(pixels, "predict", told)
    nothing = torch.zeros_like(clean)
    (found,) = pixels.repeated(clean, nothing, 20, 1, lambda: torch.randn_like(clean))
    assert torch.allclose(found, clean, atol=1e-4)


def test_pixel_diffusion_learns_the_noise():
    torch.manual_seed(0)
    config = PixelDiffusion.Config(size=8, width=32, multipliers=(1,), blocks=1, attention=(), timesteps=20)
    system = PixelDiffusion(config)

    def take(numbers):
        return Pictures(torch.full((len(numbers), 3, 8, 8), 0.5))

    def loss():
        numbers = range(64)
        with torch.no_grad():
            (_, losses), *_ = system.play(take(numbers), Rng(1, numbers))
        return float(losses["denoising"])

    before = loss()
    learn(system, take, steps=40, rate=3e-3)
    assert loss() < 0.6 * before


def test_sizes_that_cannot_be_halved_say_so():
    with pytest.raises(BadInput, match="size=20 can't be halved 5 times"):
        PixelDiffusion.Config(size=20)
