"""Latent diffusion (CompVis' networks) against our system on diffusers' and transformers' classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.record import Network, Record
from limner.published import compvis, keys
from limner.systems.diffusion.latent import (
    Autoencoder,
    LatentDiffusion,
    TextTower,
    UNet,
    build_autoencoder,
    build_text_tower,
    build_unet,
)

Outputs = dict[str, Any]


def unet_config(options: Mapping[str, Any]) -> UNet:
    """Ours, from the published options of one U-Net."""
    multipliers = options["channel_mult"]
    return UNet(
        widths=tuple(options["model_channels"] * each for each in multipliers),
        attention=tuple(2**level in options["attention_resolutions"] for level in range(len(multipliers))),
        blocks=options["num_res_blocks"],
        heads=options["num_heads"],
    )


def autoencoder_config(options: Mapping[str, Any], scale: float = 0.18215) -> Autoencoder:
    """Ours, from the published options of one autoencoder."""
    return Autoencoder(
        widths=tuple(options["ch"] * each for each in options["ch_mult"]),
        blocks=options["num_res_blocks"],
        channels=options["z_channels"],
        scale=scale,
    )


def filled_unet(record: Record, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    model = build_unet(
        unet_config(options),
        Autoencoder(channels=options["out_channels"]),
        TextTower(width=options["context_dim"]),
        channels=options["in_channels"],
    )
    keys.fill(model, keys.renamed(state, compvis.unet_names(state), record.path.name), record.path.name)
    return model.eval()


def filled_autoencoder(record: Record, options: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    model = build_autoencoder(autoencoder_config(options))
    ours = keys.renamed(state, compvis.autoencoder_names(state), record.path.name)
    keys.fill(model, compvis.flattened_attention(ours), record.path.name)
    return model.eval()


@torch.inference_mode()
def unet(record: Record) -> Outputs:
    options = record.options
    model = filled_unet(record, options, record.state())
    t = torch.tensor(numbers(record.transform("timesteps")))
    with torch.device("meta"):
        latent = Autoencoder(channels=options["out_channels"])
        full = build_unet(UNet(), latent, TextTower(), channels=options["in_channels"])
    return {
        "timestep_embedding": model.time_proj(t),
        "eps": model(record.input("x"), t, record.input("context")).sample,
        "n_params": count(model.parameters()),
        "n_params_full": count(full.parameters()),
    }


@torch.inference_mode()
def autoencoder(record: Record) -> Outputs:
    model = filled_autoencoder(record, record.options["ddconfig"], record.state())
    posterior = model.encode(record.input("image")).latent_dist
    with torch.device("meta"):
        full = build_autoencoder(Autoencoder())
    return {
        "moments": posterior.parameters,
        "mode": posterior.mode(),
        "logvar_clamped": posterior.logvar,
        "kl_per_sample": posterior.kl(),
        "decode": model.decode(record.input("latent")).sample,
        "reconstruction_of_mode": model.decode(posterior.mode()).sample,
        "n_params": count(model.parameters()),
        "n_params_full": count(full.parameters()),
    }


@torch.inference_mode()
def text_encoder(record: Record) -> Outputs:
    options = record.options
    config = TextTower(
        vocabulary=options["vocab_size"],
        width=options["hidden_size"],
        depth=options["num_hidden_layers"],
        heads=options["num_attention_heads"],
        hidden=options["intermediate_size"],
        tokens=options["max_position_embeddings"],
    )
    model = build_text_tower(config).eval()
    state = compvis.without_position_ids(record.state())
    keys.fill(model, keys.renamed(state, compvis.text_names(state), record.path.name), record.path.name)
    with torch.device("meta"):
        full = build_text_tower(TextTower())
    return {
        "last_hidden_state": model(_token_ids(record)).last_hidden_state,
        "n_params": count(model.parameters()),
        "n_params_full": count(full.parameters()),
    }


def _token_ids(record: Record) -> Tensor:
    """Token ids by the record's sentence: "...; column 0 := 198; row i: columns from 9+i on := 199 ..."."""
    words = record.transform("token_ids")
    ids = record.input("token_ids").long()
    for column, token in re.findall(r"column (\d+) := (\d+)", words):
        ids[:, int(column)] = int(token)
    for first, token in re.findall(r"row i: columns from (\d+)\+i on := (\d+)", words):
        for i, row in enumerate(ids):
            row[int(first) + i :] = int(token)
    return ids


def bound_weights(beta: Tensor) -> Tensor:
    """The variational bound's weights on the epsilon loss (Ho et al. 2020, eq. 12), with the posterior's variance; at
    t = 0 that is nothing, and the published code repeats the next weight."""
    alpha_bar = (1 - beta).cumprod(0)
    bound = beta[1:] / (2 * (1 - beta[1:]) * (1 - alpha_bar[:-1]))
    return torch.cat([bound[:1], bound])


def schedule(record: Record) -> Outputs:
    options = record.options
    beta_range = (options["linear_start"], options["linear_end"], options["timesteps"])
    made, beta = diffusion.scaled_linear(*beta_range), diffusion.scaled_linear_beta(*beta_range)
    alpha_bar = made.alpha_bar
    sigmas = diffusion.uniform_sigmas(made, options["k_steps"])
    visited = diffusion.leading_timesteps(made, options["ddim_steps"])[::-1]
    now = alpha_bar[visited]
    after = alpha_bar[[0, *visited[:-1]]]
    return {
        "betas": beta,
        "alphas_cumprod": alpha_bar,
        "sigma_min": made.sigmas[0],
        "sigma_max": made.sigmas[-1],
        "model_sigmas": made.sigmas,
        "k_sigmas": sigmas,
        "k_timesteps": made.timestep_at(sigmas[:-1]),
        "ddim_timesteps": visited,
        "ddim_alphas": now,
        "ddim_alphas_prev": after,
        "ddim_sigmas": options["ddim_eta"] * ((1 - after) / (1 - now) * (1 - now / after)).sqrt(),
        "lvlb_weights": bound_weights(beta),
        "karras_rho7_sigmas_for_contrast": diffusion.karras_sigmas(made, options["k_steps"]),
        "n_params": 0,
    }


def filled_model(record: Record) -> LatentDiffusion:
    """A model with the record's schedule and U-Net; its text tower and, unless given, its autoencoder are stand-ins."""
    options = record.options
    schedule = options.get("schedule", {"kind": "scaled linear"})
    if schedule["kind"] != "scaled linear":
        raise BadInput(f"{record.path}: a {schedule['kind']!r} noise schedule; this check knows the scaled linear one")
    small = Autoencoder(widths=(32,), blocks=1, channels=options["unet"]["out_channels"])
    model = LatentDiffusion(
        LatentDiffusion.Config(
            autoencoder=autoencoder_config(options["vae"], options["scale_factor"]) if "vae" in options else small,
            text=TextTower(vocabulary=2, width=options["unet"]["context_dim"], depth=1, heads=1),
            unet=unet_config(options["unet"]),
            beta=(schedule.get("linear_start", 0.00085), schedule.get("linear_end", 0.012)),
            timesteps=schedule.get("timesteps", 1000),
        )
    ).eval()
    state = record.state()
    published = keys.under("model.diffusion_model.", state)
    if len(published) != len(state):
        raise BadInput(f"{record.path}: there is more in its state than a U-Net and what is skipped")
    keys.fill(model.unet, keys.renamed(published, compvis.unet_names(published), record.path.name), record.path.name)
    return model


def numbered(record: Record, name: str) -> diffusion.Noise:
    """`noise(step)` of an input whose formula has `make_input('NAME%d' % ...)` in it."""
    pattern = r"make_input\('(\w+)%d' % \w+\)"
    formula = re.search(rf"[\w().*/+-]*{pattern}", record.transform(name))
    if formula is None:
        raise BadInput(f"{record.path}: no formula for the {name} of step i")
    return lambda step: record.input(name, re.sub(pattern, rf"make_input('\g<1>{step}')", formula[0]))


@torch.inference_mode()
def ddim(record: Record) -> Outputs:
    options = record.options
    model = filled_model(record)
    visited = diffusion.leading_timesteps(model.schedule, options["ddim_steps"])
    guided = model.guided(record.input("text"), record.input("null_text"), options["scale"])
    final = diffusion.ddim(
        diffusion.denoiser(guided, model.schedule, model.config.prediction),
        record.input("z"),
        model.schedule,
        visited,
        eta=options["ddim_eta"],
        noise=numbered(record, "noise"),
    )
    return {"ddim_timesteps": visited[::-1], "final_latent": final, "n_params": count(model.unet.parameters())}


def numbers(words: str) -> list[float]:
    """The numbers in the brackets of a sentence: "values [0.01, 0.2]"."""
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", words[words.index("[") :])]


NETWORKS = {
    "unet": Network(unet),
    "vae": Network(autoencoder),
    "vae-full": Network(autoencoder),
    "text-encoder": Network(text_encoder),
    "schedule": Network(schedule),
    "ddim": Network(ddim),
}
