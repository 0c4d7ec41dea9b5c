"""Parity of editing long films: InsV2V's sampling loop, on a stand-in for its U-Net."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput
from limner.parity.record import Network, Record
from limner.systems.diffusion.long_edit import edit_window, guided

SCHEDULER = r"DDIM scaled_linear ([\d.]+)\.\.([\d.]+), steps_offset 1, set_alpha_to_one False, clip_sample False"


@torch.no_grad()
def long_video(record: Record) -> Mapping[str, Any]:
    options = record.options
    said = re.fullmatch(SCHEDULER, options["scheduler"])
    if said is None:
        raise BadInput(f"{record.path}: a scheduler that this check doesn't know: {options['scheduler']!r}")
    mixing = record.state()["toy.weight"]

    def stand_in(latents: Tensor, t: Tensor, frames: Tensor, text: Tensor) -> Tensor:
        """As the record's `patched` has it."""
        y = torch.einsum("oc,bfchw->bfohw", mixing, torch.cat([latents, frames], 2))
        y = y + 0.2 * (y.roll(1, 1) + y.roll(-1, 1))
        return (y + (t / 1000 + text.mean((1, 2))).view(-1, 1, 1, 1, 1)).tanh()

    schedule = diffusion.scaled_linear(float(said[1]), float(said[2]))
    references, steps = options["reference_frames"], options["ddim_steps"]

    def window(frames: Tensor, noise: Tensor, finished: Tensor | None) -> Tensor:
        text, null = record.input("text"), record.input("null_text")
        model = guided(stand_in, frames, text, null, options["text_cfg"], options["video_cfg"])
        return edit_window(model, schedule, noise, finished, steps=steps, correction=options["noise_correct_step"])

    def after(first: str, second: str) -> Tensor:
        """The first window's last frames, and the second's new ones."""
        return torch.cat([record.input(first)[:, -references:], record.input(second)], 1)

    begun = window(record.input("cond"), record.input("z"), None)
    known = begun[:, -references:]
    gone_on = window(after("cond", "cond2"), after("z", "z2"), known)
    return {
        "first_window": begun,
        "second_window_including_reference_frames": gone_on,
        "reference_drift": (gone_on[:, :references] - known).abs().mean(),
        "n_params": mixing.numel(),
    }


NETWORKS = {"insv2v-long-video": Network(long_video)}
