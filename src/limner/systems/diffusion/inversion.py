"""Pictures back to the noise that a latent diffusion model draws them from.

Without chance DDIM (Song et al., ICLR 2021) is an equation that can be run in either direction, so a picture has a
noise. Two errors are in the way. Going up, the noise in the next latent is guessed from this one (`invert`). And what
is drawn with guidance isn't what was inverted without; null-text inversion (Mokady et al., CVPR 2023) therefore
optimises, at each step, the states that guidance leads away from, until drawing goes through the latents of the
inversion (`null_text`). Cheaper: lead away from the caption itself, so that guidance does nothing to the picture as it
is (negative-prompt inversion, Miyake et al. 2023), which is `text` in the place of those states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from limner import diffusion
from limner.system import frozen
from limner.systems.diffusion.latent import LatentDiffusion


def visited(model: LatentDiffusion, steps: int) -> list[int]:
    """The timesteps of DDIM sampling, falling: 981, ..., 21, 1 for 50 of 1000; always `steps` of them."""
    if model.config.zero_terminal_snr:
        return diffusion.trailing_timesteps(model.schedule, steps)
    return diffusion.leading_timesteps(model.schedule, steps)[-steps:]


def moves(model: LatentDiffusion, steps: int) -> Iterator[tuple[int, int]]:
    """(timestep, next timestep) of each DDIM step; the last goes to 0, where the published sampler ends."""
    return pairwise([*visited(model, steps), 0])


def ddim_step(model: LatentDiffusion, latents: Tensor, output: Tensor, now: int, after: int) -> Tensor:
    """x_now -> x_after by what the U-Net returned (Song et al., eq. 12 with sigma = 0)."""
    clean, noise = model.schedule.split(output, latents, timestep(now, latents), model.config.prediction)
    return model.schedule.noised(clean, noise, timestep(after, latents))


def timestep(t: int, like: Tensor) -> Tensor:
    """(1,), beside `like`."""
    return torch.tensor([t], device=like.device)


def predict(model: LatentDiffusion, latents: Tensor, t: int, text: Tensor) -> Tensor:
    """What the U-Net says of latents that are all of one timestep."""
    return model.predict(latents, latents.new_full((len(latents),), t, dtype=torch.float32), text)


@torch.no_grad()
def invert(
    model: LatentDiffusion,
    clean: Tensor,
    text: Tensor,
    steps: int = 50,
    *,
    again: int = 0,
    watch: diffusion.Watch | None = None,
) -> Tensor:
    """Latents (steps + 1, B, 4, h, w), from the picture's to its noise, without guidance.

    clean: the picture's scaled latent (B, 4, h, w), `model.encode`
    text: states of the caption (1 or B, 77, d)
    again: how often each step is repeated with the noise that the U-Net sees in the step's own result, instead of in
        its start: a fixed-point iteration, which lowers the error of the first kind (Pan et al., ICCV 2023)
    watch: sees `(step, latents)` after every step
    """
    schedule = model.schedule
    text = text.expand(len(clean), -1, -1)
    path = [clean]
    for step, (after, now) in enumerate(reversed(list(moves(model, steps)))):
        low, high = timestep(now, clean), timestep(after, clean)
        guess = path[-1]
        for _ in range(1 + again):
            # The network is asked about the step's end, for which the start has to stand in the first time.
            output = predict(model, guess, after, text)
            noise = schedule.split(output, guess, high, model.config.prediction).noise
            guess = schedule.noised(schedule.split(noise, path[-1], low, "epsilon").clean, noise, high)
        path.append(guess)
        if watch:
            watch(step, guess)
    return torch.stack(path)


@torch.no_grad()
def null_text(
    model: LatentDiffusion,
    path: Tensor,
    text: Tensor,
    away: Tensor,
    guidance: float = 7.5,
    *,
    iterations: int = 10,
    enough: float = 1e-5,
    learning_rate: float = 0.01,
    watch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """States (steps, 1, 77, d) to lead away from, one for each step from the noise on, so that drawing with `guidance`
    goes through `path`, the inversion (steps + 1, 1, 4, h, w) of one picture (Mokady et al., eq. 3).

    text, away: states (1, 77, d) of the caption and of no words, where the first step starts
    iterations: of Adam in each step, fewer once the squared error is below `enough`, and later below a little more
    learning_rate: falls by a hundredth of itself with each step, to that hundredth
    watch: hears `(step, iteration)` after every iteration

    For float32 weights: half precision spoils the optimisation.
    """
    states = []
    latents = path[-1]
    for step, (now, after) in enumerate(moves(model, len(path) - 1)):
        target = path[-2 - step]
        worded = predict(model, latents, now, text)
        away = away.clone().requires_grad_()
        optimiser = torch.optim.Adam([away], learning_rate * max(0.01, 1 - step / 100))  # its moments start anew
        for iteration in range(iterations):
            with torch.enable_grad(), frozen(model.unet):
                loss = F.mse_loss(led_step(model, latents, worded, away, guidance, now, after), target)
                (away.grad,) = torch.autograd.grad(loss, away)
            optimiser.step()
            if watch:
                watch(step, iteration)
            if loss < enough + 2e-5 * step:  # of before the update, which is kept
                break
        away = away.detach()
        latents = led_step(model, latents, worded, away, guidance, now, after)
        states.append(away)
    return torch.stack(states)


def led_step(
    model: LatentDiffusion, latents: Tensor, worded: Tensor, away: Tensor, guidance: float, now: int, after: int
) -> Tensor:
    """A DDIM step with guidance, where what the U-Net says of the words is known."""
    output = diffusion.guided(predict(model, latents, now, away), worded, guidance)
    return ddim_step(model, latents, output, now, after)


@torch.no_grad()
def redraw(model: LatentDiffusion, noise: Tensor, text: Tensor, away: Tensor, guidance: float = 7.5) -> Tensor:
    """The latent (B, 4, h, w) that DDIM draws from `noise`, leading away from another state at each step: `away` is
    (steps, 1, 77, d)."""
    latents = noise
    for states, (now, after) in zip(away, moves(model, len(away)), strict=True):
        t = latents.new_full((len(latents),), now, dtype=torch.float32)
        latents = ddim_step(model, latents, model.guided(text, states, guidance)(latents, t), now, after)
    return latents
