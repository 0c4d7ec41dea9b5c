"""Pairs of pictures that differ in what their captions differ in (Brooks et al., CVPR 2023, section 3.1.2).

Two captions are drawn from the same noise, and for the first part of the steps the "after" picture looks at itself
through the eyes of the "before" picture: in every self-attention layer, in both halves of the guidance, its scores
before the softmax are those of "before". (Prompt-to-Prompt changes the maps after it, of the worded half and of the
coarse layers.) Scores are queries times keys, so giving "after" the queries and keys of "before" is the same to the
bit and costs nothing.

How alike two pictures should be depends on the edit, and isn't known before. So many samples are drawn, each with a
share of injected steps and a guidance of its own, and a filter chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput
from limner.rng import torch_rng
from limner.systems.diffusion.attention import Attend, Layer, attending, fused
from limner.systems.diffusion.latent import LatentDiffusion

INJECTED = (0.1, 0.9)
"""The share of injected steps is uniform in between."""

GUIDANCE = (7.5, 15.0)
"""And so is the guidance; the code's, which the paper doesn't mention."""


@dataclass(frozen=True)
class Pairs:
    """k samples of one pair of captions.

    before, after: pictures (k, 3, H, W) in [-1, 1]
    seeds: what each sample is of
    injected: share of the steps with injected self-attention
    guidance: towards the captions
    """

    before: Tensor
    after: Tensor
    seeds: tuple[int, ...]
    injected: tuple[float, ...]
    guidance: tuple[float, ...]


@torch.inference_mode()
def draw_pairs(
    model: LatentDiffusion,
    before: str,
    after: str,
    seeds: Sequence[int],
    *,
    injected: Sequence[float] | None = None,
    guidance: Sequence[float] | None = None,
    steps: int = 100,
    size: tuple[int, int] | None = None,
) -> Pairs:
    """One pair of pictures for each seed, all in one batch of four rows a seed.

    `injected` and `guidance`, one for each seed, are drawn from it if not given. What is drawn at random depends on
    the seed alone, so that a sample is the same in any batch, but for the rounding of sums.
    """
    if not seeds:
        raise BadInput("Pairs are drawn for seeds: give one or more.")
    injected = [injected_of(seed) for seed in seeds] if injected is None else injected
    guidance = [guidance_of(seed) for seed in seeds] if guidance is None else guidance
    if not len(seeds) == len(injected) == len(guidance):
        raise BadInput(f"{len(seeds)} seeds, {len(injected)} shares and {len(guidance)} guidances: as many of each.")
    noise = torch.cat([model.noise(seed, size) for seed in seeds])

    def fresh(step: int) -> Tensor:
        draws = [torch.randn(noise.shape[1:], generator=torch_rng(seed, "step", step)) for seed in seeds]
        return torch.stack(draws).to(noise)

    states = model.encode_words([before, after, ""])
    texts = (states[:1], states[1:2], states[2:])
    latents = sample_pairs(model, texts, noise, fresh, injected, guidance, steps)
    # One by one: a decoder's memory is that of a batch of U-Net rows of many times the number.
    pictures = [torch.cat([model.decode(row[None]).clamp(-1, 1) for row in half]) for half in latents]
    return Pairs(pictures[0], pictures[1], tuple(seeds), tuple(injected), tuple(guidance))


def injected_of(seed: int) -> float:
    """The share of injected steps that a seed draws."""
    return _between(INJECTED, seed, "injected")


def guidance_of(seed: int, bounds: tuple[float, float] = GUIDANCE) -> float:
    """The guidance that a seed draws."""
    return _between(bounds, seed, "guidance")


def _between(bounds: tuple[float, float], seed: int, name: str) -> float:
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=torch_rng(seed, name)))


def is_injected(share: float, step: int, steps: int) -> bool:
    """Whether this step, from 0, is one of the first `share` of the steps; the last of them counts as 1."""
    return share > step / max(1, steps - 1)


def sample_pairs(
    model: LatentDiffusion,
    texts: tuple[Tensor, Tensor, Tensor],
    noise: Tensor,
    fresh: diffusion.Noise,
    injected: Sequence[float],
    guidance: Sequence[float],
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Latents (k, 4, h, w) of "before" and of "after" by Euler ancestral sampling.

    texts: states (1, 77, d) of both captions, and of what guidance leads away from
    noise: unit noise (k, 4, h, w) that both begin as; `fresh(step)`, of the same shape, is what both get after a step
    """
    k = len(noise)
    before, after, away = texts
    halves = torch.cat([each.expand(k, -1, -1) for each in (before, after)])
    states = torch.cat([away.expand(2 * k, -1, -1), halves])  # plain: before, after; worded: before, after
    scale = noise.new_tensor(guidance).repeat(2).view(-1, 1, 1, 1)
    number = count()

    def output(latents: Tensor, t: Tensor) -> Tensor:
        step = next(number)
        on = [is_injected(share, step, steps) for share in injected]
        with attending(model.unet, injection(on)):
            plain, worded = model.predict(latents.repeat(2, 1, 1, 1), t.repeat(2), states).chunk(2)
        return diffusion.guided(plain, worded, scale)

    sigmas = diffusion.uniform_sigmas(model.schedule, steps)
    latents = diffusion.euler_ancestral(
        diffusion.denoiser(output, model.schedule, model.config.prediction),
        sigmas[0] * noise.repeat(2, 1, 1, 1),
        model.schedule,
        sigmas,
        lambda step: fresh(step).repeat(2, 1, 1, 1),
    )
    return latents[:k], latents[k:]


def injection(on: Sequence[bool]) -> Callable[[Layer], Attend | None]:
    """Self-attention of rows (plain or worded, before or after, sample): where a sample is `on`, "after" takes the
    scores of "before"."""
    k = len(on)
    rows = torch.arange(4 * k).view(2, 2, k)
    rows[:, 1] = torch.where(torch.tensor(on), rows[:, 0], rows[:, 1])
    rows = rows.flatten()

    def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return fused(queries[rows], keys[rows], values)

    return lambda layer: None if layer.crosses or not any(on) else attend
