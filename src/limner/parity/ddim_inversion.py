"""DDIM inversion and null-text optimisation of the published notebook against ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limner.parity.compare import count
from limner.parity.latent_diffusion import filled_model
from limner.parity.record import Network, Record
from limner.systems.diffusion.inversion import invert, null_text, redraw, visited


def inversion(record: Record) -> Mapping[str, Any]:
    options = record.options
    model = filled_model(record)
    steps, guidance = options["num_ddim_steps"], options["guidance_scale"]
    text, away = record.input("text"), record.input("null_text")
    path = invert(model, record.input("latent"), text, steps)
    states = null_text(
        model,
        path,
        text,
        away,
        guidance,
        iterations=options["num_inner_steps"],
        enough=options["early_stop_epsilon"],
    )
    found = redraw(model, path[-1], text, states, guidance)
    plain = redraw(model, path[-1], text, away.expand(steps, 1, -1, -1), guidance)
    return {
        "timesteps": visited(model, steps),
        "inversion": {str(step): latents for step, latents in enumerate(path)},
        "null_embeddings": {str(step): each for step, each in enumerate(states)},
        "reconstruction": found,
        "reconstruction_mse": (found - path[0]).square().mean(),
        "reconstruction_mse_without_null_text": (plain - path[0]).square().mean(),
        "n_params": count(model.unet.parameters()),
    }


NETWORKS = {
    "null-text": Network(
        inversion,
        5e-3,
        "Adam's first steps divide a gradient by its own size, so that where it is nearly zero rounding decides: ours "
        "in float32 and in float64 are as far apart",
    )
}
