from pathlib import Path

import numpy as np
import pytest
import torch

from limner.errors import BadInput
from limner.parity.check import verdict
from limner.system import Edits
from limner.systems.diffusion.inversion import invert
from limner.systems.diffusion.prompt_to_prompt import (
    Caption,
    Control,
    LocalBlend,
    PromptToPrompt,
    Refine,
    Replace,
    Reweight,
    alignment,
    blend_grid,
    caption,
    replacement,
    windows,
)
from small_diffusion import small_diffusion

STEPS = 4


def test_it_is_the_published_one():
    result = verdict(Path(__file__).parent / "parity" / "prompt-to-prompt-attention-edit.json")
    assert result.passed, "\n".join(result.lines)


@pytest.fixture(scope="module")
def model():
    return small_diffusion()


def spelled(text, length=4):
    """A caption whose words are cut into pieces of `length` letters, numbered by what they say."""
    pieces = [word[at : at + length] for word in text.split(" ") for at in range(0, len(word), length)]
    return Caption(text, (0, *(2 + sum(map(ord, piece)) for piece in pieces), 1), tuple(pieces))


def test_a_word_has_the_tokens_that_spell_it():
    text = spelled("a cat sitting on a motorbike")
    assert text.positions("motorbike") == [7, 8, 9]
    assert text.positions("a") == [1, 6]
    assert text.positions(2) == text.positions("sitting") == [3, 4]
    assert text.positions("dog") == []


def test_captions_are_read_as_the_model_reads_them(model):
    read = caption("  a red   fox at sea ", model)
    assert read.words == ["a", "red", "fox", "at", "sea"]
    assert [read.positions(word) for word in read.words] == [[1], [2], [3], [4], [5, 6, 7]]  # "sea" is spelled out
    assert list(read.ids) == model.tokenizer("a red fox at sea").input_ids
    long = caption("fox " * 40, model)
    assert len(long.ids) == model.config.text.tokens


def test_published_replacement_is_misaligned_behind_words_of_other_lengths_and_aligned_isnt():
    source, target = spelled("a cat at night"), spelled("a dragonfly at night")  # 1 token, 3 tokens
    published, aligned = (replacement(source, target, 12, aligned=each) for each in (False, True))
    assert published[2, 2:5].tolist() == aligned[2, 2:5].tolist() == pytest.approx([1 / 3] * 3)
    assert published[:, 5].argmax() == 5 and aligned[:, 5].argmax() == 3  # "at"
    assert torch.equal(published[:2, :2], torch.eye(2))
    # Back again the target is shorter; every token of it has a source, the padding that of its end.
    back = replacement(target, source, 12, aligned=True)
    assert back[:, 3].argmax() == 5 and (back.sum(0) > 0).all()
    with pytest.raises(BadInput, match="has 3 and 'a fox at sea' 4"):
        replacement(spelled("a fox asleep"), spelled("a fox at sea"))


def test_alignment_finds_the_words_that_stay():
    found = alignment(spelled("a house on a hill"), spelled("a red house on a hill"), 12)
    assert found.tolist() == [0, 1, -1, 2, 3, 4, 5, 6, 7, 9, 10, 11]


def test_windows_are_of_one_step_more():
    table = windows([spelled("a red fox")], 10, {"default_": 0.8, "red": (0.2, 0.5)}, 8)[:, 0]
    assert table.shape == (11, 8)
    assert table[:, 1].sum() == 8 and table[:8, 1].all()  # int(0.8 * 11)
    assert table[:, 2].nonzero().flatten().tolist() == [2, 3, 4]
    assert torch.equal(windows([spelled("a fox")], 5, 1), torch.ones(6, 1, 77))
    with pytest.raises(BadInput, match="no 'sea' in 'a fox'"):
        windows([spelled("a fox")], 5, {"sea": 0.5})


def test_edits_of_maps():
    source, own = torch.rand(2, 5, 6), torch.rand(1, 2, 5, 6)
    assert torch.equal(Replace(torch.eye(6)[None])(source, own)[0], source)
    refined = Refine(torch.tensor([[0, -1, 1, 2, 3, 4]]))(source, own)
    assert torch.equal(refined[0, ..., 1], own[0, ..., 1]) and torch.equal(refined[0, ..., 2:], source[..., 1:5])
    factors = torch.tensor([[1.0, 1, -2, 1, 1, 1]])
    assert torch.equal(Reweight(factors)(source, own)[0, ..., 2], -2 * source[..., 2])
    chained = Reweight(factors, Refine(torch.tensor([[0, -1, 1, 2, 3, 4]])))(source, own)
    assert torch.equal(chained[..., 2], -2 * refined[..., 2]) and torch.equal(chained[..., 1], refined[..., 1])


def test_outside_of_a_blend_the_edit_is_the_source_to_the_bit():
    """Words at token 1 are looked at on the left by the source, at the top by the edit."""
    attention = torch.full((2, 3, 8, 8, 4), 0.01)
    attention[0, :, :, 0, 1] = attention[1, :, 0, :, 1] = 1
    attention[0, :, 7, 7, 2] = attention[1, :, 0, 7, 2] = 1
    words, away = torch.zeros(2, 4), torch.zeros(2, 4)
    words[:, 1] = away[:, 2] = 1
    latents = torch.randn(2, 4, 16, 16)
    mask = LocalBlend(words).mask(LocalBlend(words).looks(attention), (16, 16))[:, 0]
    inside = torch.zeros(2, 16, 16, dtype=torch.bool)
    inside[:, :, :4] = inside[1, :4] = True  # one place more around, each of 2x2
    assert torch.equal(mask, inside)
    blended = LocalBlend(words).blend(latents, LocalBlend(words).looks(attention))
    assert torch.equal(blended[1], torch.where(inside[1], latents[1], latents[0]))
    assert torch.equal(blended[0], latents[0])
    # Places of the words to subtract stay out.
    blend = LocalBlend(words, away)
    inside[1, :2, 14:] = False
    assert torch.equal(blend.mask(blend.looks(attention), (16, 16))[1, 0], inside[1])


def test_the_same_caption_draws_the_same_picture(model):
    source, same, other = PromptToPrompt(model).draw(["a fox", "a fox", "a red hare"], steps=STEPS, seed=3)
    assert np.abs(source.astype(int) - same).max() <= 1
    assert not np.array_equal(source, other)


def latents(model, captions, control, guidance=7.5):
    with torch.no_grad():
        away = model.encode_words([""])[None].expand(STEPS, -1, -1, -1)
        return PromptToPrompt(model).sample(model.noise(1), captions, away, guidance, control)


def test_the_source_is_what_is_drawn_without_edits(model):
    drawn = model.draw("a fox", seed=1, steps=STEPS).pictures[0]
    source = PromptToPrompt(model).draw(["a fox", "a hare"], seed=1, steps=STEPS)[0]
    assert np.abs(drawn.astype(int) - source).max() <= 1


@pytest.mark.parametrize("guidance", [7.5, 1])
def test_maps_hold_the_edit_to_the_source(model, guidance):
    """With cross-attention and self-attention injected less and less is left of the edit's own picture."""
    loose = latents(model, ["a fox", "a hare"], Control(0.0, 0.0), guidance)
    crossed = latents(model, ["a fox", "a hare"], Control(1.0, 0.0), guidance)
    tight = latents(model, ["a fox", "a hare"], Control(1.0, 1.0), guidance)
    assert torch.allclose(loose[0], tight[0], atol=1e-5)
    assert not torch.allclose(loose[1], crossed[1], atol=1e-4)
    assert not torch.allclose(crossed[1], tight[1], atol=1e-6)


def test_weights_make_words_count(model):
    plain, more = (latents(model, ["a fox", "a red fox"], Control(weights=w))[1] for w in ({}, {"red": 5.0}))
    assert not torch.allclose(plain, more, atol=1e-4)
    with pytest.raises(BadInput, match="no 'hare' in 'a red fox'"):
        latents(model, ["a fox", "a red fox"], Control(weights={"hare": 5.0}))


def test_a_blend_that_nothing_passes_gives_the_source(model):
    control = Control(blend=("fox", "hare"), blend_from=0.0)
    source, edit = latents(model, ["a fox", "a hare"], control)
    assert not torch.equal(source, edit)
    blocked = Control(blend=("fox", "hare"), blend_from=0.0, thresholds=(1.0, 0.3))
    source, edit = latents(model, ["a fox", "a hare"], blocked)
    assert torch.equal(source, edit)


def test_blends_look_at_the_level_of_about_sixteen_by_sixteen_places(model):
    assert blend_grid(model, (64, 64)) == (32, 32)  # the coarsest of two levels
    assert blend_grid(model, (17, 12)) == (17, 12)
    assert blend_grid(model, (33, 31)) == (17, 16)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)


@pytest.mark.parametrize("inversion", ["null-text", "negative-prompt", "direct", "ddim"])
def test_editing_a_picture(model, picture, inversion):
    method = PromptToPrompt(model)
    assert isinstance(method, Edits)
    steps = 1 if inversion == "null-text" else 2  # which takes gradients
    options = {"before": "a fox", "steps": steps, "inversion": inversion}
    two = method.edit(picture, "a hare", count=2, seed=4, **options)
    one = method.edit(picture, "a hare", seed=5, **options)
    assert two.pictures.shape == (2, 30, 50, 3) and two.seeds == (4, 5)
    assert np.array_equal(two.pictures[1], one.pictures[0])
    assert steps == 1 or not np.array_equal(*two.pictures)


@torch.no_grad()
def test_direct_inversion_keeps_the_source_on_the_picture(model):
    clean, text, away = torch.randn(1, 4, 4, 6), model.encode_words(["a fox"]), model.encode_words([""])
    path = invert(model, clean, text, STEPS)
    states = away.expand(STEPS, 1, -1, -1)
    found = PromptToPrompt(model).sample(path[-1], ["a fox", "a hare"], states, 7.5, Control(), path)
    assert torch.equal(found[:1], clean)


def test_captions_are_needed(model, picture):
    with pytest.raises(BadInput, match="goes by captions"):
        PromptToPrompt(model).edit(picture, "a hare", steps=1)
