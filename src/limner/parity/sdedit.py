"""SDEdit against ours: in pixels (the network and the masked loop), and the published script in latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from limner import diffusion
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.latent_diffusion import filled_model, numbered, numbers
from limner.parity.record import Network, Record
from limner.published import keys
from limner.published.pixel_diffusion import unet_weights
from limner.systems.diffusion.pixel import PixelDiffusion
from limner.systems.diffusion.sdedit import published_img2img


def pixel_config(options: Mapping[str, Any]) -> PixelDiffusion.Config:
    if options["var_type"] != "fixedsmall":
        raise BadInput(f"SDEdit's variance is 'fixedsmall', not {options['var_type']!r}")
    return PixelDiffusion.Config(
        size=options["image_size"],
        width=options["ch"],
        multipliers=tuple(options["ch_mult"]),
        blocks=options["num_res_blocks"],
        attention=tuple(options["attn_resolutions"]),
        beta=tuple(options["beta"]),
        timesteps=options["timesteps"],
    )


@torch.inference_mode()
def pixel(record: Record) -> Mapping[str, Any]:
    options = record.options
    model = PixelDiffusion(pixel_config(options)).eval()
    keys.fill(model.unet, unet_weights(record.state(), record.path.name), record.path.name)
    with torch.device("meta"):
        full = PixelDiffusion()
    noise, draws = numbered(record, "noise"), iter(range(10**9))
    clean = 2 * record.input("image") - 1
    keep = (record.input("mask", "make_input('mask')") > 0).float()
    edited = model.repeated(clean, keep, options["t"], options["sample_step"], lambda: noise(next(draws)))
    steps = options["timesteps"]
    return {
        "eps": model.predict(record.input("x"), torch.tensor(numbers(record.transform("timesteps")))),
        "samples": {str(repeat): each for repeat, each in enumerate(edited)},
        "logvar": model.log_variance[[0, 1, 10, steps // 2, steps - 1]],
        "n_params": count(model.parameters()),
        "n_params_full": count(full.parameters()),
    }


@torch.inference_mode()
def latent(record: Record) -> Mapping[str, Any]:
    options = record.options
    model = filled_model(record)
    steps, last = options["ddim_steps"], options["t_enc"]
    visited = diffusion.leading_timesteps(model.schedule, steps)[::-1]
    clean, noise, text, away = (record.input(name) for name in ("init_latent", "noise", "text", "null_text"))
    noised, final = published_img2img(model, clean, noise, text, away, last, steps, options["scale"])
    return {
        "ddim_timesteps": visited,
        "noised_latent": noised,
        "noise_level_timestep": visited[last],
        "first_decode_timestep": visited[last - 1],
        "final_latent": final,
        "n_params": count(model.unet.parameters()),
    }


NETWORKS = {"pixel": Network(pixel), "latent": Network(latent)}
