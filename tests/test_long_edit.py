"""Editing long films window by window, against diffusers' own steps and on a stand-in for the network."""

import pytest
import torch

from limner import diffusion
from limner.errors import BadInput
from limner.rng import torch_rng
from limner.systems.diffusion.long_edit import edit_frames, edit_window, guided, spaced, windows

SCHEDULE = diffusion.scaled_linear()


def drawn(name, *shape):
    return torch.randn(shape, generator=torch_rng(0, name))


MIXING = drawn("mixing", 4, 8)


def network(latents, t, frames, text):
    """Frames hear of their neighbours, and of the words."""
    y = torch.einsum("oc,bfchw->bfohw", MIXING, torch.cat([latents, frames], 2))
    y = y + 0.3 * (y.roll(1, 1) + y.roll(-1, 1))
    return (y / 3 + (t / 1000 + text.mean((1, 2))).view(-1, 1, 1, 1, 1)).tanh()


TEXT, NULL = drawn("text", 1, 5, 6), drawn("null", 1, 5, 6)


@pytest.mark.parametrize("frames", [1, 3, 16, 17, 28, 29, 100])
def test_windows_are_full_and_leave_no_frame_out(frames):
    found, end = windows(frames), 0
    for number, (first, known) in enumerate(found):
        assert first + known == end and (known >= 4 if number else known == 0)
        end = first + 16
    assert end == 16 if frames <= 16 else end == frames


@pytest.mark.parametrize(("length", "references"), [(4, 4), (4, 0), (1, 1)])
def test_windows_that_get_nowhere_are_refused(length, references):
    with pytest.raises(BadInput):
        windows(10, length, references)


@pytest.mark.parametrize(("steps", "correction"), [(7, 0.5), (12, 0.25), (5, 0.0), (6, 1.0)])
def test_a_window_against_diffusers_steps(steps, correction):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        set_alpha_to_one=False, steps_offset=1, clip_sample=False,
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    frames, noise, finished = (
        drawn("frames", 1, 6, 4, 3, 2),
        drawn("noise", 1, 6, 4, 3, 2),
        drawn("done", 1, 2, 4, 3, 2),
    )
    model = guided(network, frames, TEXT, NULL, 5.0, 1.4)
    assert spaced(SCHEDULE, steps) == scheduler.timesteps.tolist()
    x = noise
    for step, t in enumerate(scheduler.timesteps):
        guess = model(x, t[None].float())
        if step < correction * steps:
            level = scheduler.alphas_cumprod[t]
            known = (x[:, :2] - level.sqrt() * finished) / (1 - level).sqrt()
            move = known - guess[:, :2]
            guess = torch.cat([known, guess[:, 2:] + move.mean(1, keepdim=True)], 1)
        x = scheduler.step(guess, t, x).prev_sample
    found = edit_window(model, SCHEDULE, noise, finished, steps=steps, correction=correction)
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)


def test_what_is_finished_stays_and_what_follows_fits_it():
    frames, noise = drawn("film", 1, 9, 4, 3, 2), drawn("film noise", 1, 9, 4, 3, 2)
    order = {"length": 5, "references": 2, "steps": 8, "guidance": 3.0}
    short = edit_frames(network, SCHEDULE, frames[:, :5], TEXT, NULL, noise[:, :5], **order)
    long = edit_frames(network, SCHEDULE, frames, TEXT, NULL, noise, **order)
    assert torch.equal(long[:, :5], short) and long.shape == noise.shape

    def drift(correction):
        """How far the second window takes its references from what they were."""
        model = guided(network, frames[:, 3:8], TEXT, NULL, 3.0)
        made = edit_window(model, SCHEDULE, noise[:, 3:8], long[:, 3:5], steps=8, correction=correction)
        return (made[:, :2] - long[:, 3:5]).abs().mean()

    assert drift(1.0) < drift(0.5) < drift(0.0)


def test_every_frame_needs_its_noise():
    with pytest.raises(BadInput, match="its own noise"):
        edit_frames(network, SCHEDULE, drawn("a", 1, 5, 4, 2, 2), TEXT, NULL, drawn("b", 1, 4, 4, 2, 2))
    with pytest.raises(BadInput, match="1 to 999"):
        spaced(SCHEDULE, 1000)
