"""InstructPix2Pix (the authors' programs on CompVis' networks) against our system."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from limner import diffusion
from limner.data.kinds import Edits
from limner.errors import BadInput
from limner.parity import latent_diffusion
from limner.parity.compare import count
from limner.parity.fill import make_input
from limner.parity.game import Given, moves
from limner.parity.latent_diffusion import autoencoder_config, bound_weights, numbers, unet_config
from limner.parity.record import Network, Record
from limner.published import compvis, keys
from limner.system import Player, adamw
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import TextTower

Outputs = dict[str, Any]


def editor(record: Record, kind: type[InstructPix2Pix] = InstructPix2Pix) -> InstructPix2Pix:
    """Our system by a record's options, with the record's numbers in the networks that it has."""
    options, where = record.options, record.path.name
    schedule = options["schedule"]
    if schedule["kind"] != "scaled linear":
        raise BadInput(f"{record.path}: a {schedule['kind']!r} noise schedule; this check knows the scaled linear one")
    if options["unet"]["in_channels"] != 2 * options["vae"]["z_channels"]:
        raise BadInput(f"{record.path}: its U-Net takes {options['unet']['in_channels']} channels: no editor's")
    model = kind(
        InstructPix2Pix.Config(
            autoencoder=autoencoder_config(options["vae"], options["scale_factor"]),
            text=TextTower(vocabulary=2, width=options["unet"]["context_dim"], depth=1, heads=1),  # a stand-in
            unet=unet_config(options["unet"]),
            beta=(schedule["linear_start"], schedule["linear_end"]),
            timesteps=schedule["timesteps"],
        )
    ).eval()
    state = record.state()
    published = keys.under("model.diffusion_model.", state)
    pictures = keys.under("first_stage_model.", state)
    if len(published) + len(pictures) != len(state):
        raise BadInput(f"{record.path}: there is more in its state than a U-Net, an autoencoder and what is skipped")
    keys.fill(model.unet, keys.renamed(published, compvis.unet_names(published), where), where)
    if pictures:
        ours = keys.renamed(pictures, compvis.autoencoder_names(pictures), where)
        keys.fill(model.autoencoder, compvis.flattened_attention(ours), where)
    return model


def seed_of(record: Record, name: str) -> int:
    """The seed of an input that is made in more than one piece."""
    seed = record.content["inputs"][name].get("seed")
    return record.seed if seed is None else int(seed)


def noise_of(record: Record) -> Callable[[int], Tensor]:
    """The noise of step i, by the formula within the record's sentence."""
    formula = re.search(r"[\w().*/+-]*make_input\('noise%d' % i\)", record.transform("noise"))
    if formula is None:
        raise BadInput(f"{record.path}: no formula for the noise of step i")
    return lambda step: record.input("noise", formula[0].replace("'noise%d' % i", f"'noise{step}'"))


def start_of(record: Record, sigmas: Tensor) -> Tensor:
    """The noise to begin with, as large as the first level."""
    return record.input("z", record.transform("z").replace("sigmas[0]", repr(sigmas[0].item())))


def guided(record: Record, model: InstructPix2Pix, picture: Tensor) -> diffusion.Denoise:
    options = record.options
    output = model.guided(
        picture, record.input("text"), record.input("null_text"), options["text_cfg_scale"], options["image_cfg_scale"]
    )
    return diffusion.denoiser(output, model.schedule, model.config.prediction)


@torch.inference_mode()
def sampler(record: Record, *, ancestral: bool) -> Outputs:
    """Every step's latents and estimates, as far as the record has them."""
    model, picture = editor(record), record.input("image_latent")
    schedule = model.schedule
    sigmas = diffusion.uniform_sigmas(schedule, record.options["steps"])
    start = start_of(record, sigmas)
    denoise, clean, states = guided(record, model, picture), dict[str, Tensor](), {"0": start}

    def watched(x: Tensor, t: Tensor) -> diffusion.Denoised:
        found = denoise(x, t)
        clean[str(len(clean))] = found.clean
        return found

    def watch(step: int, x: Tensor) -> None:
        states[str(step + 1)] = x

    if ancestral:
        final = diffusion.euler_ancestral(watched, start, schedule, sigmas, noise_of(record), watch=watch)
    else:
        final = diffusion.euler(watched, start, schedule, sigmas, watch=watch)

    timesteps = schedule.timestep_at(sigmas[:-1])
    nothing = torch.zeros_like(picture)
    text, null = (record.input(name).expand(len(picture), -1, -1) for name in ("text", "null_text"))
    first = model.predict(
        (start / (sigmas[0] ** 2 + 1).sqrt()).repeat(3, 1, 1, 1),
        timesteps[:1].repeat(3 * len(picture)),
        torch.cat([picture, picture, nothing]),
        torch.cat([text, null, null]),
    )
    return {
        "sigmas": sigmas,
        "timesteps": timesteps,
        "first_call_eps": first,
        "sigma_down_up": [list(diffusion.ancestral_levels(*pair)) for pair in pairwise(sigmas.tolist())],
        "x_before_step": states,
        "denoised": clean,
        "final_latent": final,
        "n_params": count(model.unet.parameters()),
    }


@torch.inference_mode()
def edit(record: Record) -> Outputs:
    """From picture to picture."""
    model = editor(record)
    picture = model.encode_picture(record.input("image"))
    sigmas = diffusion.uniform_sigmas(model.schedule, record.options["steps"])
    denoise, start = guided(record, model, picture), start_of(record, sigmas)
    final = diffusion.euler_ancestral(denoise, start, model.schedule, sigmas, noise_of(record))
    decoded = model.decode(final)
    clamped = ((decoded + 1) / 2).clamp(0, 1)
    return {
        "c_concat": picture,
        "final_latent": final,
        "decoded": decoded,
        "clamped01": clamped,
        "uint8_mean": (255 * clamped).byte().double().mean(),  # they truncate where limner's own pictures are rounded
        "uint8_note": record.expected.get("uint8_note"),
        "n_params": count([*model.unet.parameters(), *model.autoencoder.parameters()]),
    }


def loss(record: Record) -> Outputs:
    """A training step: what is dropped, the loss, gradients, and the loss after a step of AdamW."""

    class Recorded(InstructPix2Pix):
        read: Tensor

        def encode_words(self, words: Sequence[str]) -> Tensor:
            shape = (1, record.content["outputs"]["c_crossattn"]["shape"][1], record.options["unet"]["context_dim"])
            self.read = torch.cat([make_input(f"text:{each}", shape, seed_of(record, "texts")) for each in words])
            return self.read

    model = editor(record, Recorded)
    assert isinstance(model, Recorded)
    before, after = record.input("input"), record.input("edited")
    words = tuple(f"edit{row}" for row in range(len(before)))
    draws = {
        "posterior": record.input("posterior_noise"),
        "dropout": torch.tensor(numbers(record.transform("dropout_draw"))),
        "timestep": torch.tensor(numbers(record.transform("timesteps"))).long(),
        "noise": record.input("noise"),
    }
    batch, rng = Edits(before, words, after, words, words), Given(draws)
    played = moves(model, batch, rng)["unet"]

    without_words, without_picture = model.dropped(draws["dropout"])
    with torch.no_grad():
        picture = model.encode_picture(before).masked_fill(without_picture[:, None, None, None], 0)
        clean = model.encode(after, draws["posterior"])
        noised = model.schedule.noised(clean, draws["noise"], draws["timestep"])
        text = model.encode_words(["" if drop else each for each, drop in zip(words, without_words, strict=True)])
        error = (model.predict(noised, draws["timestep"], picture, text) - draws["noise"]).square().mean((1, 2, 3))

    beta = diffusion.scaled_linear_beta(*model.config.beta, model.config.timesteps)
    parameters = dict(model.unet.named_parameters())
    names = compvis.unet_names(record.expected["gradients"])
    gradients = {theirs: played.gradients[parameters[ours]] for theirs, ours in names.items()}
    found = {
        "z": clean,
        "c_concat": picture,
        "c_crossattn": text,
        "text_dropped": without_words.tolist(),
        "image_dropped": without_picture.tolist(),
        "loss": played.loss,
        "loss_simple": played.loss,
        "loss_vlb": (bound_weights(beta)[draws["timestep"]] * error).mean(),
        "gradients": gradients,
        "n_params": count(model.unet.parameters()),
    }
    rate = re.search(r"loss_after_one_adamw_step_lr_(\d+)e(\d+)", " ".join(record.expected))
    if rate is not None:
        optimiser = adamw(float(f"{rate[1]}e-{rate[2]}"))(parameters.values())
        for parameter in parameters.values():
            parameter.grad = played.gradients[parameter]
        optimiser.step()
        found[rate[0]] = next(model.play(batch, rng))[1]["denoising"].detach()
    return found


@torch.inference_mode()
def ema(record: Record) -> Outputs:
    """The moving average of a model that a record changes before each update, updated as our trainer does it."""
    options, state = record.options, record.state()
    if not options["updates"]:
        raise BadInput(f"{record.path}: an average that is never updated")
    player = Player(tuple(nn.Parameter(value) for value in state.values()), adamw(0.0), ema=options["decay"])
    growth = re.search(r"([\d.]+)\*make_input\('step%d:%s' % \(i,k\)\)", record.transform("step"))
    if growth is None:
        raise BadInput(f"{record.path}: no formula for how the parameters grow")
    average = {name.replace(".", ""): value.clone() for name, value in state.items()}
    for update in range(options["updates"]):
        for (name, value), kept in zip(state.items(), average.values(), strict=True):
            value += float(growth[1]) * make_input(f"step{update}:{name}", tuple(value.shape), seed_of(record, "step"))
            kept.lerp_(value, 1 - player.kept(update))
    return {
        "effective_decay": [player.kept(update) for update in range(options["updates"])],
        "shadow_names": ["decay", "num_updates", *average],
        "shadow": {name: value.flatten() for name, value in average.items()},
        "num_updates": options["updates"],
        "n_params": count(state.values()),
    }


NETWORKS = {
    "unet": Network(latent_diffusion.unet),
    "unet-full": Network(latent_diffusion.unet),
    "euler": Network(partial(sampler, ancestral=False)),
    "euler-ancestral": Network(partial(sampler, ancestral=True)),
    "edit": Network(edit),
    "loss": Network(loss),
    "ema": Network(ema),
}
