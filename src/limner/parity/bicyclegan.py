"""BicycleGAN's parity records: its networks, and one training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import Given, moves
from limner.parity.record import Network, Record
from limner.published import bicyclegan as published
from limner.published.keys import fill, under
from limner.systems.translation.bicyclegan import BicycleGAN

Outputs = Mapping[str, Any]

FIXED: Mapping[str, list[Any]] = {
    "norm": ["instance"],
    "nl": ["relu", "lrelu (the requested nl is overridden)"],
    "gan_mode": ["lsgan"],
    "no_encode": [False],
}
"""Published options that we have in one way only."""


@torch.no_grad()
def generator(record: Record) -> Outputs:
    ours = loaded(record, "G.").generator
    return {
        "out": ours(record.input("x"), record.input("z")),
        "n_params": count(ours.parameters()),
        "n_params_full": full_sizes(),
    }


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    ours = loaded(record, "D.").discriminator_vae
    scores = {f"scale{scale}": score for scale, score in enumerate(ours(record.input("x")))}
    return {**scores, "n_params": count(ours.parameters())}


@torch.no_grad()
def encoder(record: Record) -> Outputs:
    ours = loaded(record, "E.").encoder
    mean, log_variance = ours(record.input("x"))
    return {"mu": mean, "logvar": log_variance, "n_params": count(ours.parameters())}


def losses(record: Record) -> Outputs:
    ours = loaded(record)
    batch = Paired(record.input("A"), record.input("B"))
    noise, drawn = record.input("noise0", "x"), record.input("noise1", "x")
    played = moves(ours, batch, Given({"noise": noise, "style": drawn}))
    terms = played["generator"].losses
    with torch.no_grad():
        source = ours.seen(batch.source[: len(noise)])
        mean, log_variance = ours.encoder(batch.target[: len(noise)])
        repainted = ours.generator(source, mean + noise * (log_variance / 2).exp())
        painted = ours.generator(source, drawn)
    full = replace(ours.config, width=64)
    judged = played["discriminator_vae"].losses
    if ours.config.one_discriminator:
        drawn_judged, gradient = {term: judged[f"{term}_drawn"] for term in ("fake", "real")}, {}
    else:
        drawn_judged, gradient = played["discriminator"].losses, {"gradnorm_D2": played["discriminator"].norm()}
    return {
        "G_GAN": terms["adversarial_vae"],
        "G_GAN2": terms["adversarial"],
        "G_L1": terms["reconstruction"],
        "kl": terms["kl"],
        "z_L1": terms["latent"],
        "D": judged["fake"] + judged["real"],
        "D2": drawn_judged["fake"] + drawn_judged["real"],
        "fake_B_encoded": repainted,
        "fake_B_random": painted,
        "mu": mean,
        "logvar": log_variance,
        "gradnorm_G": played["generator"].norm(ours.generator),
        "gradnorm_E": played["generator"].norm(ours.encoder),
        "gradnorm_D": played["discriminator_vae"].norm(),
        **gradient,
        "n_params": sizes(full)["G"],
    }


NETWORKS = {
    **{
        f"unet{size}-{taken}{upsampling}{source}": Network(generator)
        for size in (128, 256)
        for taken in ("all", "input")
        for upsampling in ("", "-bilinear")
        for source in ("", "-gray")
    },
    **{f"d-multi-{size}": Network(discriminator) for size in (128, 256)},
    **{f"e-{kind}{size}": Network(encoder) for kind in ("resnet", "conv") for size in (128, 256)},
    "losses": Network(losses),
}


def config(record: Record) -> BicycleGAN.Config:
    """Our options from the published ones; what a record of a single network doesn't say stays as it is."""
    options = record.options
    for name, known in FIXED.items():
        if options.get(name, known[0]) not in known:
            raise BadInput(f"{record.path}: can't check {name} {options[name]!r}; there is {known[0]!r}")
    net_d, net_e = options.get("netD", "basic_256_multi"), options.get("netE", "resnet_256")
    if options.get("netD2", net_d) != net_d:
        raise BadInput(f"{record.path}: can't check two discriminators that differ; both should be {net_d}")
    return BicycleGAN.Config(
        style=options.get("nz", 8),
        depth={"unet_128": 7, "unet_256": 8}[options.get("netG", "unet_256")],
        encoder_depth=4 if net_e.endswith("128") else 5,
        width=options.get("ngf", 64),
        encoder_width=options.get("nef", 64),
        discriminator_width=options.get("ndf", 64),
        source_channels=options.get("input_nc", 3),
        style_at="input" if options.get("where_add") == "input" else "every level",
        upsampling="bilinear" if options.get("upsample") == "bilinear" else "transposed",
        encoder="residual" if net_e.startswith("resnet") else "plain",
        discriminator_layers=2 if "128" in net_d else 3,
        scales=options.get("num_Ds", 2),
        conditional=options.get("conditional_D", False),
        dropout=0.5 * options.get("use_dropout", False),
        one_discriminator=options.get("use_same_D", False),
        adversarial_vae=options.get("lambda_GAN", 1.0),
        l1=options.get("lambda_L1", 10.0),
        kl=options.get("lambda_kl", 0.01),
        adversarial=options.get("lambda_GAN2", 1.0),
        latent=options.get("lambda_z", 0.5),
    )


def loaded(record: Record, prefix: str = "") -> BicycleGAN:
    """BicycleGAN with those networks filled that the record holds; `prefix` says which one if it is one alone."""
    where = str(record.path)
    named = published.ours({f"{prefix}{name}": value for name, value in record.state().items()}, where)
    with torch.device("meta"):  # `fill` gives those networks their numbers; the others are not asked for
        model = BicycleGAN(config(record))
    for network in {name.partition(".")[0] for name in named}:
        fill(getattr(model, network), under(f"{network}.", named), where)
    return model


def sizes(config: BicycleGAN.Config) -> dict[str, int]:
    with torch.device("meta"):
        built = BicycleGAN(config)
    networks = {"G": built.generator, "D": built.discriminator, "E": built.encoder}
    return {name: count(network.parameters()) for name, network in networks.items()}


def full_sizes() -> dict[str, int]:
    """Parameters of all that is published, at its published width."""
    plain, small = BicycleGAN.Config(), BicycleGAN.Config(depth=7, encoder_depth=4)
    return {
        "G_all_256": sizes(plain)["G"],
        "G_all_256_gray": sizes(replace(plain, source_channels=1))["G"],
        "G_input_256": sizes(replace(plain, style_at="input"))["G"],
        "G_all_128": sizes(small)["G"],
        "D": sizes(plain)["D"],
        "E_resnet256": sizes(plain)["E"],
        "E_resnet128": sizes(small)["E"],
        "E_conv256": sizes(replace(plain, encoder="plain"))["E"],
    }
