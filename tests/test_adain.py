from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.data.kinds import Unpaired
from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.published import open_as
from limner.published.adain import DECODER_NAMES, ENCODER_NAMES
from limner.rng import Rng, torch_rng
from limner.systems.translation.adain import AdaIN, Encoder, recoloured, restyled, statistics
from playing import learn

TINY = AdaIN.Config(width=8)
CONTENT = np.random.default_rng(0).integers(0, 256, (2, 21, 30, 3), np.uint8)
STYLES = [np.random.default_rng(n).integers(0, 40 + 100 * n, (16 + 9 * n, 20, 3), np.uint8) for n in (1, 2)]


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny()


def tiny() -> AdaIN:
    torch.manual_seed(0)
    return AdaIN(TINY).eval()


def style(model: AdaIN, number: int) -> torch.Tensor:
    return model.style_of(STYLES[number][None])


def blotches(numbers) -> Unpaired:
    """Content and style of different kinds and sizes."""
    rough = [torch.rand(2, 3, 3, 3, generator=torch_rng(0, "blotch", n)) * 2 - 1 for n in numbers]
    content, style = (torch.stack([pair[i] for pair in rough]) for i in (0, 1))
    return Unpaired(F.interpolate(content, size=(16, 24), mode="bilinear"), F.interpolate(style.abs(), size=(24, 24)))


def test_it_learns_although_its_encoder_is_random() -> None:
    model, batch, rng = tiny(), blotches(range(1000, 1008)), Rng(0, range(8))
    encoder = {name: value.clone() for name, value in model.encoder.state_dict().items()}

    def loss() -> torch.Tensor:
        with torch.no_grad():
            return torch.stack(list(dict(model.play(batch, rng))["decoder"].values())).sum()

    before = loss()
    learn(model, blotches, steps=12, rate=1e-3)
    assert loss() < before / 1.3
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())


def test_features_take_the_mean_and_deviation_of_the_style() -> None:
    content, wanted = torch.randn(2, 4, 6, 5), torch.rand(2, 2, 4) + 0.5
    found = restyled(content, wanted)
    assert torch.allclose(found.mean((2, 3)), wanted[:, 0], atol=1e-5)
    assert torch.allclose(found.std((2, 3)), wanted[:, 1], atol=1e-4)  # torch's is the unbiased one
    assert torch.allclose(restyled(content, statistics(content)), content, atol=1e-5)


def test_a_region_has_statistics_of_its_own() -> None:
    features, region = torch.randn(1, 3, 4, 4), torch.zeros(1, 1, 4, 4)
    region[..., :2] = 1
    assert torch.allclose(statistics(features, region), statistics(features[..., :2]), atol=1e-6)
    assert statistics(features, torch.zeros(1, 1, 4, 4)).isfinite().all()


def test_mixed_codes_are_mixed_features(model: AdaIN) -> None:
    """Eq. 15: the decoder is given the weighted sum of what each style makes of the content."""
    content = torch.rand(1, 3, 16, 16) * 2 - 1
    one, other, features = style(model, 0), style(model, 1), model.features(content)
    summed = 0.25 * restyled(features, one) + 0.75 * restyled(features, other)
    assert torch.allclose(restyled(features, 0.25 * one + 0.75 * other), summed, atol=1e-5)
    weighted = model.stylise(CONTENT, STYLES, weights=[1, 3])
    assert np.array_equal(weighted, model.translate(CONTENT, style=0.25 * one + 0.75 * other))


def test_strength_goes_from_the_content_to_the_style(model: AdaIN) -> None:
    none, half, full = (model.stylise(CONTENT, STYLES[:1], strength=s).astype(float) for s in (0, 0.5, 1))
    assert np.array_equal(none, model.stylise(CONTENT, STYLES[1:], strength=0))
    assert np.array_equal(full, model.translate(CONTENT, style=style(model, 0)))
    assert np.abs(half - none).mean() < np.abs(full - none).mean()


def test_any_size_comes_back_as_it_was_and_rows_are_independent(model: AdaIN) -> None:
    made = model.translate(CONTENT, style=style(model, 0))
    assert made.shape == CONTENT.shape and made.dtype == np.uint8
    each = torch.cat([style(model, 0), style(model, 1)])
    assert np.array_equal(model.translate(CONTENT, style=each)[0], made[0])
    assert np.array_equal(model.translate(CONTENT, style=each)[1], model.translate(CONTENT, style=each[1:])[1])


def test_a_mask_restyles_what_it_covers(model: AdaIN) -> None:
    content = np.random.default_rng(3).integers(0, 256, (1, 96, 160, 3), np.uint8)
    mask = np.zeros((1, 96, 160), bool)
    mask[..., 80:] = True
    masked, plain = (
        model.translate(content, style=style(model, 1), mask=mask),
        model.stylise(content, STYLES, strength=0),
    )
    assert np.array_equal(masked[:, :, :48], plain[:, :, :48])  # the decoder mixes some pixels on either side
    assert not np.array_equal(masked[:, :, 112:], plain[:, :, 112:])
    everywhere = model.translate(content, style=style(model, 1), mask=np.ones_like(mask))
    assert np.abs(everywhere.astype(int) - model.translate(content, style=style(model, 1))).max() <= 1


def test_each_style_in_its_own_place(model: AdaIN) -> None:
    masks = np.zeros((2, 21, 30), bool)
    masks[0, :, :16], masks[1, :, 16:] = True, True
    both = model.stylise(CONTENT, STYLES, masks=masks)
    assert np.array_equal(both, model.stylise(CONTENT, STYLES[::-1], masks=masks[::-1]))
    assert not np.array_equal(both, model.stylise(CONTENT, STYLES[::-1], masks=masks))


def test_recolouring_gives_the_contents_colours() -> None:
    generator = torch_rng(0, "colours")
    content = torch.rand(1, 3, 60, 60, generator=generator) * torch.tensor([0.2, 0.5, 0.9]).view(3, 1, 1)
    content = content + 0.5 * content.roll(1, 1)  # channels that go together
    painted = recoloured(torch.rand(1, 3, 50, 70, generator=generator) * 2 - 1, content)
    assert torch.allclose(painted.mean((0, 2, 3)), content.mean((0, 2, 3)), atol=1e-5)
    wanted, found = (torch.corrcoef(p[0].flatten(1)) for p in (content, painted))
    assert torch.allclose(found, wanted, atol=1e-2)
    assert recoloured(torch.ones(1, 3, 9, 9), content).isfinite().all()


def test_keeping_colours_follows_each_picture(model: AdaIN) -> None:
    content = CONTENT.copy()
    content[1] //= 4
    kept = model.stylise(content, STYLES[:1], keep_colours=True)
    assert not np.array_equal(kept, model.stylise(content, STYLES[:1]))
    assert np.array_equal(kept[1:], model.stylise(content[1:], STYLES[:1], keep_colours=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.translate(CONTENT, style=torch.zeros(1, 2, 8)), r"codes \(1 or 2, 2, 64\)"),
        (lambda model: model.translate(CONTENT, style=torch.zeros(3, 2, 64)), r"codes \(1 or 2, 2, 64\)"),
        (lambda model: model.translate(CONTENT, style=torch.zeros(1, 2, 64), mask=np.ones((2, 3, 3), bool)), "mask"),
        (lambda model: model.style_of(CONTENT[:, :8]), "more than 8 pixels"),
        (lambda model: model.stylise(CONTENT, []), "0 styles"),
        (lambda model: model.stylise(CONTENT, STYLES, weights=[1]), "2 styles"),
        (lambda model: model.stylise(CONTENT, STYLES, weights=[0, 0]), "sum above 0"),
        (lambda model: model.stylise(CONTENT, STYLES, masks=np.ones((1, 21, 30), bool)), "masks"),
        (lambda model: model.stylise(CONTENT, STYLES, strength=1.5), "strength"),
    ],
)
def test_what_does_not_fit_is_refused(model: AdaIN, call, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        call(model)


def test_it_draws_no_styles(model: AdaIN) -> None:
    with pytest.raises(CannotDo, match="style_of"):
        model.random_style(0)


def test_published_files_open_with_or_without_a_decoder() -> None:
    """The file's VGG goes deeper than AdaIN looks; the rest must be there."""
    model, theirs = tiny(), {ours: name for name, ours in ENCODER_NAMES.items()}
    whole = Encoder("relu5_4", 8)
    whole.load_state_dict(whole.state_dict() | model.encoder.state_dict())
    vgg = {f"vgg.{theirs[name]}": value for name, value in whole.state_dict().items()}
    encoder = open_as("adain", vgg, "file", {})
    assert torch.equal(encoder.style_of(STYLES[0][None]), style(model, 0))
    names = {ours: name for name, ours in DECODER_NAMES.items()}
    decoder = {f"decoder.{names[name]}": value for name, value in model.decoder.state_dict().items()}
    opened = open_as("adain", vgg | decoder, "file", {"style": 5.0})
    assert opened.config == dataclasses.replace(TINY, style=5.0)
    assert np.array_equal(
        opened.translate(CONTENT, style=style(model, 0)), model.translate(CONTENT, style=style(model, 0))
    )
    with pytest.raises(BadCheckpoint, match="lacks"):
        open_as("adain", {name: value for name, value in vgg.items() if name != "vgg.0.bias"}, "file", {})


def test_a_preview_while_training_in_bf16(model: AdaIN) -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        sheet = model.preview(blotches(range(2)), Rng(0, [0, 1]))
    assert sheet.shape[0] == 6
    assert sheet.isfinite().all()
