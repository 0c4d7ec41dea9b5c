"""Editing long films by instruction: InsV2V's windows, whose noise is corrected (Cheng, Xiao and He, ICLR 2024).

A network that edits some 16 frames at a time edits more of them window by window. A window begins with frames that are
finished already, its references, from the same noise as before. What the network says of their noise is then known to
be wrong by so much; the references are put right, and all other frames by the mean of that (section 3.4, LVSC without
optical flow).

The network is a function, so that any U-Net of frames serves: what is here is the sampling. Frames lie before
channels: (B, F, C, h, w).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput

Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Noisy frames (B, F, C, h, w), timesteps (B,), the frames as they are (B, F, C', h, w), text states (B, n, width) ->
the noise in them."""

Model = Callable[[Tensor, Tensor], Tensor]
"""The same, where the last two are settled."""


def windows(frames: int, length: int = 16, references: int = 4) -> list[tuple[int, int]]:
    """Of each window: its first frame, and how many of its frames are finished when it begins.

    The last one is as long as the others: it reaches farther back, and has more references.
    """
    if not 0 < references < length:
        raise BadInput(f"Windows of {length} frames with {references} references: from 1, and fewer than the frames.")
    found, end = [(0, 0)], length
    while end < frames:
        first = min(end - references, frames - length)
        found.append((first, end - first))
        end = first + length
    return found


def edit_frames(
    predict: Predict,
    schedule: diffusion.Schedule,
    frames: Tensor,
    text: Tensor,
    null: Tensor,
    noise: Tensor,
    *,
    length: int = 16,
    references: int = 4,
    steps: int = 20,
    guidance: float = 7.5,
    video_guidance: float = 1.5,
    correction: float = 0.5,
) -> Tensor:
    """Latents (B, F, C, h, w) of any number of edited frames, from those of the given frames and unit noise.

    text, null: states (1 or B, n, width) of the instruction, and of no words
    video_guidance: 1.2 keeps little of the film, 1.8 much
    correction: share of the steps, from the first, in which the noise is corrected
    """
    if frames.shape[:2] != noise.shape[:2] or not frames.shape[1]:
        raise BadInput(f"Each frame has its own noise: got {tuple(frames.shape)} and {tuple(noise.shape)}.")
    finished = torch.empty_like(noise)
    for first, known in windows(frames.shape[1], length, references):
        part, new = slice(first, first + length), first + known
        model = guided(predict, frames[:, part], text, null, guidance, video_guidance)
        done = finished[:, first:new]
        made = edit_window(model, schedule, noise[:, part], done, steps=steps, correction=correction)
        finished[:, new : first + length] = made[:, known:]  # the references stay as they were
    return finished


def edit_window(
    model: Model,
    schedule: diffusion.Schedule,
    noise: Tensor,
    finished: Tensor | None = None,
    *,
    steps: int = 20,
    correction: float = 0.5,
) -> Tensor:
    """One window by DDIM, from its noise (B, F, C, h, w). `finished` (B, R, C, h, w) are its first R frames."""
    timesteps = spaced(schedule, steps)
    many = math.ceil(correction * steps)
    if finished is not None and finished.shape[1] and many:
        model = corrected(model, schedule, finished, timesteps[many - 1])
    return diffusion.ddim(diffusion.denoiser(model, schedule, "epsilon"), noise, schedule, timesteps)


def spaced(schedule: diffusion.Schedule, steps: int) -> Sequence[int]:
    """`steps` timesteps, falling to 1, a whole number apart: diffusers' "leading" ones with an offset of 1, of which
    there are as many as asked for."""
    if not 1 <= steps < schedule.steps:
        raise BadInput(f"{steps} sampling steps: ask for 1 to {schedule.steps - 1}")
    return [number * (schedule.steps // steps) + 1 for number in reversed(range(steps))]


def guided(
    predict: Predict, frames: Tensor, text: Tensor, null: Tensor, guidance: float = 7.5, video_guidance: float = 1.5
) -> Model:
    """InstructPix2Pix' guidance of two scales (Brooks et al., 2023, equation 3), for frames."""
    count = len(frames)
    seen = torch.cat([torch.zeros_like(frames), frames, frames])
    texts = torch.cat([states.expand(count, -1, -1) for states in (null, null, text)])

    def model(latents: Tensor, t: Tensor) -> Tensor:
        rows = predict(latents.repeat(3, 1, 1, 1, 1), t.repeat(3), seen, texts)
        plain, filmed, asked = rows.chunk(3)
        return plain + video_guidance * (filmed - plain) + guidance * (asked - filmed)

    return model


def corrected(model: Model, schedule: diffusion.Schedule, finished: Tensor, until: float) -> Model:
    """The model's noise, put right by what is known of the finished frames (B, R, C, h, w), at timesteps >= `until`."""
    count = finished.shape[1]

    def right(latents: Tensor, t: Tensor) -> Tensor:
        guess = model(latents, t)
        if t[0] < until:
            return guess
        level = schedule.alpha_bar_at(t).view(-1, 1, 1, 1, 1)
        true = (latents[:, :count] - level.sqrt() * finished) / (1 - level).sqrt()
        gap = true - guess[:, :count]
        return guess + torch.cat([gap, gap.mean(1, keepdim=True).expand_as(guess[:, count:])], 1)

    return right
