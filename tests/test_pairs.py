from pathlib import Path

import pytest
import torch

from limner.errors import BadInput
from limner.parity.check import verdict
from limner.systems.diffusion import attention
from limner.systems.diffusion.attention import attending
from limner.systems.diffusion.pairs import GUIDANCE, INJECTED, draw_pairs, guidance_of, injected_of, is_injected
from small_diffusion import small_diffusion


def test_it_is_the_published_one():
    result = verdict(Path(__file__).parent / "parity" / "edit-dataset-pair.json")
    assert result.passed, "\n".join(result.lines)


@pytest.fixture(scope="module")
def model():
    return small_diffusion()


def states(model, *words):
    with torch.inference_mode():
        return model.encode_words(words)


@torch.inference_mode()
def test_watching_changes_nothing_and_sees_every_layer(model):
    """Attention written out by hand in every layer gives what the U-Net gives, and afterwards it is as it was."""
    latents, t, text = model.noise(0), torch.tensor([500.0]), states(model, "a fox")
    plain = model.predict(latents, t, text)
    seen = []

    def change(layer):
        seen.append(layer)
        return lambda q, k, v: attention.maps(q, k) @ v

    with attending(model.unet, change):
        by_hand = model.predict(latents, t, text)
    assert torch.allclose(by_hand, plain, atol=1e-5)
    # Two levels of one block down and two up, one in the middle: each attends to itself and to the words.
    assert [(layer.place, layer.tokens) for layer in seen if layer.crosses] == [
        ("down", 24), ("down", 6), ("mid", 6), ("up", 6), ("up", 6), ("up", 24), ("up", 24)
    ]  # fmt: skip
    assert sum(not layer.crosses for layer in seen) == 7
    with attending(model.unet, lambda layer: None):
        assert torch.equal(model.predict(latents, t, text), plain)
    assert torch.equal(model.predict(latents, t, text), plain)


@torch.inference_mode()
def test_attention_is_as_it_was_after_an_error(model):
    before = model.unet.attn_processors
    with pytest.raises(ZeroDivisionError), attending(model.unet, lambda layer: 1 / 0):
        model.predict(model.noise(0), torch.tensor([5.0]), states(model, "a fox"))
    assert model.unet.attn_processors == before


def test_the_same_caption_twice_gives_the_same_picture_twice(model):
    pairs = draw_pairs(model, "a red fox", "a red fox", [1, 2], steps=3)
    assert pairs.before.shape == (2, 3, 16, 24)
    assert torch.allclose(pairs.before, pairs.after, atol=1e-4)
    assert not torch.allclose(pairs.before[0], pairs.before[1], atol=0.01)


def test_injection_draws_the_after_picture_to_the_before_one(model):
    options = {"guidance": [7.5], "steps": 6}
    loose, tight = (draw_pairs(model, "a fox", "the snow", [3], injected=[share], **options) for share in (0.0, 1.01))
    assert torch.equal(loose.before, tight.before)
    assert not torch.allclose(loose.after, tight.after, atol=1e-4)


def test_a_sample_is_the_same_in_any_batch(model):
    """With its own share of injected steps and its own guidance, beside others."""
    together = draw_pairs(model, "a fox", "a hare", [7, 8], injected=[0.2, 0.9], guidance=[3.0, 9.0], steps=4)
    alone = draw_pairs(model, "a fox", "a hare", [8], injected=[0.9], guidance=[9.0], steps=4)
    assert torch.allclose(together.before[1], alone.before[0], atol=1e-4)
    assert torch.allclose(together.after[1], alone.after[0], atol=1e-4)


def test_shares_and_guidances_are_drawn_from_the_seed(model):
    pairs = draw_pairs(model, "a fox", "a hare", [4, 5], steps=1, size=(16, 16))
    assert pairs.injected == (injected_of(4), injected_of(5)) and pairs.guidance == (guidance_of(4), guidance_of(5))
    shares, guidances = [injected_of(seed) for seed in range(200)], [guidance_of(seed) for seed in range(200)]
    for values, (low, high) in ((shares, INJECTED), (guidances, GUIDANCE)):
        assert low < min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) < high


def test_the_last_step_counts_as_all_of_them():
    """Injected while p > i / (steps - 1), as published: 90 of 100 steps at p = 0.9, every step only above 1."""
    assert sum(is_injected(0.9, step, 100) for step in range(100)) == 90
    assert [is_injected(0.5, step, 5) for step in range(5)] == [True, True, False, False, False]
    assert is_injected(0.1, 0, 1)


def test_as_many_shares_as_seeds(model):
    with pytest.raises(BadInput, match="2 seeds, 1 shares"):
        draw_pairs(model, "a fox", "a hare", [1, 2], injected=[0.5], guidance=[2.0, 3.0])
    with pytest.raises(BadInput, match="one or more"):
        draw_pairs(model, "a fox", "a hare", [])
