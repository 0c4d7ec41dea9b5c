"""The sampler of InstructPix2Pix' training data against ours: two captions, shared noise, injected self-attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from limner import diffusion
from limner.parity.compare import count
from limner.parity.latent_diffusion import filled_model, numbered
from limner.parity.record import Network, Record
from limner.systems.diffusion.pairs import is_injected, sample_pairs


@torch.inference_mode()
def pair(record: Record) -> Mapping[str, Any]:
    options = record.options
    model = filled_model(record)
    steps, share = options["steps"], options["prompt2prompt_threshold"]
    sigmas = diffusion.uniform_sigmas(model.schedule, steps)
    texts = (record.input("before"), record.input("after"), record.input("null_text"))
    noise = record.input("z", record.transform("z").split(",")[0].replace("sigmas[0]*", ""))

    def drawn(share: float) -> tuple[torch.Tensor, torch.Tensor]:
        fresh = numbered(record, "noise")
        return sample_pairs(model, texts, noise, fresh, [share], [options["cfg_scale"]], steps)

    before, after = drawn(share)
    _, loose = drawn(0.0)
    return {
        "sigmas": sigmas,
        "injection_on": [is_injected(share, step, steps) for step in range(steps)],
        "latent_before": before,
        "latent_after": after,
        "latent_after_without_injection": loose,
        "mean_abs_difference_before_after": (before - after).abs().mean(),
        "mean_abs_difference_without_injection": (before - loose).abs().mean(),
        "n_params": count(model.unet.parameters()),
    }


NETWORKS = {"pair": Network(pair)}
