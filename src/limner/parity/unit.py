"""UNIT's parity records, of both published programs: the autoencoder, the discriminators, and training steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import Given, moves
from limner.parity.munit import discriminator, discriminator_options, fill_training, generator_options, played
from limner.parity.record import Network, Record
from limner.published import unit as published
from limner.published import unit_digits as published_digits
from limner.published import unit_shared as published_shared
from limner.published.keys import fill, under
from limner.systems.translation.unit import UNIT, Autoencoder
from limner.systems.translation.unit_digits import CoupledAutoencoder, CoupledDiscriminator
from limner.systems.translation.unit_shared import (
    Generator,
    MultiScaleDiscriminator,
    SeparateDiscriminator,
    SharedDiscriminator,
    SharedUNIT,
)

Outputs = Mapping[str, Any]


@torch.no_grad()
def autoencoder(record: Record) -> Outputs:
    model = Autoencoder(UNIT.Config(**generator_options(record.options)))
    fill(model, published.ours(record.state(), str(record.path)), str(record.path))
    code = model.encode(record.input("x"))
    return {
        "hidden": code,
        "recon": model.decode(code),
        "recon_noise": model.decode(code + record.input("noise", "x")),
        "n_params": count(model.parameters()),
    }


TERMS = {
    "gen_recon_x": ("reconstruction", "picture"),
    "gen_recon_kl": ("kl", "kl"),
    "gen_cyc_x": ("cycle", "cycle"),
    "gen_recon_kl_cyc": ("cycle_kl", "cycle_kl"),
    "gen_adv": ("adversarial", "adversarial"),
    "gen_vgg": ("perceptual", "perceptual"),
}

WEIGHTS = {
    "adversarial": "gan_w",
    "picture": "recon_x_w",
    "kl": "recon_kl_w",
    "cycle": "recon_x_cyc_w",
    "cycle_kl": "recon_kl_cyc_w",
    "perceptual": "vgg_w",
}


def losses(record: Record) -> Outputs:
    """Both updates from the same weights. Each begins with the first of the recorded draws."""
    weights = {ours: float(record.options[theirs]) for ours, theirs in WEIGHTS.items()}
    options: dict[str, Any] = weights | generator_options(record.options["gen"])
    options |= discriminator_options(record.options["dis"])
    model = UNIT(UNIT.Config(**options))
    fill_training(model, record, published.ours)
    draws = [record.input(f"noise{i}", "x") for i in range(4)]
    names = ["to judge a", "to judge b"], ["a", "b", "b again", "a again"]
    given = Given({name: draw for group in names for name, draw in zip(group, draws, strict=False)})
    told = moves(model, Unpaired(record.input("A"), record.input("B")), given)
    found = played(told, TERMS, weights) | {"n_params": count(model.parameters())}
    return found | {f"gen_recon_kl_cyc_{way}": found[f"gen_recon_kl_cyc_{way[0]}"] for way in ("aba", "bab")}


def shared_config(options: Mapping[str, Any], **more: Any) -> SharedUNIT.Config:
    fronts = {options["n_enc_front_blk"], options["n_gen_front_blk"]}
    if len(fronts) > 1:
        raise BadInput("The encoder halves as often as the decoder doubles: n_enc_front_blk = n_gen_front_blk.")
    return SharedUNIT.Config(
        width=options["ch"],
        downs=fronts.pop() - 1,
        encoder_blocks=options["n_enc_res_blk"],
        shared_encoder_blocks=options["n_enc_shared_blk"],
        shared_decoder_blocks=options["n_gen_shared_blk"],
        decoder_blocks=options["n_gen_res_blk"],
        **more,
    )


@torch.no_grad()
def shared_generator(record: Record) -> Outputs:
    where = str(record.path)
    config = shared_config(record.options, norms=record.network == "nips-resgen")
    model = Generator(config)
    fill(model, under("generator.", published_shared.ours(record.state(), where)), where)
    a, b = record.input("a"), record.input("b")
    codes = model.encode_both(a, b)
    (own_a, fake_a), (fake_b, own_b) = model.decode_both(codes)
    return {
        "x_aa": own_a,
        "x_ba": fake_a,
        "x_ab": fake_b,
        "x_bb": own_b,
        "shared": codes,
        "forward_a2b": model.decode_b(model.encode_a(a)),
        "n_params": count(model.parameters()),
    }


@torch.no_grad()
def shared_discriminator(record: Record) -> Outputs:
    options, where = record.options, str(record.path)
    model: nn.Module
    match record.network:
        case "nips-dis":
            model = SeparateDiscriminator(options["ch"], options["n_layer"])
        case "nips-ms-dis":
            model = MultiScaleDiscriminator(options["ch"], options["n_layer"], square=True)
        case _:
            model = SharedDiscriminator(options["ch"], options["n_front_layer"], options["n_shared_layer"])
    fill(model, under("discriminator.", published_shared.ours(record.state(), where)), where)
    scores = zip("ab", model(record.input("da"), record.input("db")), strict=True)
    found = {f"{side}{scale}": map.flatten() for side, maps in scores for scale, map in enumerate(maps)}
    return found | {"n_params": count(model.parameters())}


def shared_losses(record: Record) -> Outputs:
    """Both updates from the same weights and translations, by the generator without norms (COCOResGen2)."""
    given = record.options["weights"]
    weights = {
        "adversarial": given["gan"],
        "picture": given["ll_direct"],
        "cycle": given["ll_cycle"],
        "kl": given["kl_direct"],
        "cycle_kl": given["kl_cycle"],
    }
    where, state = str(record.path), published_shared.ours(record.state(), str(record.path))
    sizes = published_shared.discriminator_options(state)
    model = SharedUNIT(
        shared_config(record.options, norms=False, **sizes, **{name: float(w) for name, w in weights.items()})
    )
    fill(model, state, where)

    joint = record.input("noise0", "x").chunk(2)
    names = ["a", "b", "b again", "a again", "to judge a", "to judge b"]
    draws = dict(zip(names, [*joint, record.input("noise1", "x"), record.input("noise2", "x"), *joint], strict=True))
    told = moves(model, Unpaired(record.input("A"), record.input("B")), Given(draws))
    judging, making = told["discriminator"], told["generator"]
    terms = {
        "ad_a": ("adversarial_a", "adversarial"),
        "ad_b": ("adversarial_b", "adversarial"),
        "ll_a": ("reconstruction_a", "picture"),
        "ll_b": ("reconstruction_b", "picture"),
        "ll_aba": ("cycle_a", "cycle"),
        "ll_bab": ("cycle_b", "cycle"),
        "enc_aba": ("cycle_kl_a", "cycle_kl"),
        "enc_bab": ("cycle_kl_b", "cycle_kl"),
    }
    return {theirs: making.losses[ours] / (weights[weight] or 1.0) for theirs, (ours, weight) in terms.items()} | {
        "enc": making.losses["kl"] / 2 / (weights["kl"] or 1.0),
        "total": making.loss,
        "dis": judging.loss,
        "gradnorm_gen": making.norm(),
        "gradnorm_dis": judging.norm(),
        "n_params": count(Generator(SharedUNIT.Config()).parameters()),
    }


@torch.no_grad()
def digits_generator(record: Record) -> Outputs:
    """Its inputs hold the channels of rows and columns already."""
    options, where = record.options, str(record.path)
    channels = options["output_dim_a"], options["output_dim_b"]
    if (options["input_dim_a"], options["input_dim_b"]) != (channels[0] + 2, channels[1] + 2):
        raise BadInput(
            f"{where}: pictures go in with two channels more, for rows and columns, than they come out with."
        )
    model = CoupledAutoencoder(options["ch"], channels).eval()
    fill(model, under("generator.", published_digits.ours(with_counters(record), where)), where)
    first = [layer(record.input(name, "x")) for layer, name in zip(model.first, ("a32", "b32"), strict=True)]
    mean, spread = model.latent(torch.cat(first))
    (own_a, fake_a), (fake_b, own_b) = model.decode(mean + spread * record.input("noise0", "x"))
    pictures = {"x_aa": own_a, "x_ba": fake_a, "x_ab": fake_b, "x_bb": own_b}
    return pictures | {"mu": mean, "sd": spread, "n_params": count(model.parameters())}


@torch.no_grad()
def digits_discriminator(record: Record) -> Outputs:
    options, where = record.options, str(record.path)
    channels = options["input_dim_a"], options["input_dim_b"]
    classes = record.content["state"]["conv_cl.weight"][0]
    model = CoupledDiscriminator(options["ch"], channels, classes).eval()
    fill(model, under("discriminator.", published_digits.ours(record.state(), where)), where)
    a, b = record.input("ia"), record.input("ib")
    seen = {"a": model.see(a, 0), "b": model.see(b, 1)}
    return {
        "real_fake": model(a, b),
        **{f"feat_{side}": features for side, features in seen.items()},
        **{f"class_{side}": model.classify(features) for side, features in seen.items()},
        "n_params": count(model.parameters()),
    }


def with_counters(record: Record) -> dict[str, Tensor]:
    """The filled state; batch norms' counters are integers, which a filling leaves alone."""
    names = record.content["state"]
    return record.state({name: torch.tensor(0) for name in names if name.endswith("num_batches_tracked")})


NETWORKS = {
    "vae": Network(autoencoder),
    "multiscale-d": Network(discriminator),
    "losses": Network(losses),
    "nips-resgen": Network(shared_generator),
    "nips-resgen2": Network(shared_generator),
    "nips-dis": Network(shared_discriminator),
    "nips-shared-dis": Network(shared_discriminator),
    "nips-ms-dis": Network(shared_discriminator),
    "nips-losses": Network(shared_losses),
    "nips-covae32": Network(digits_generator),
    "nips-codis32": Network(digits_discriminator),
}
