"""MSGAN's parity records: a training step on DCGAN, and one on pix2pix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from limner.data.kinds import Captioned, Paired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import Given, moves
from limner.parity.record import Network, Record
from limner.published import msgan as published
from limner.published.keys import by_rules, fill, renamed
from limner.published.msgan_dcgan import NAMES
from limner.systems.translation.msgan import MSGAN
from limner.systems.translation.msgan_dcgan import MSGANDCGAN

Outputs = Mapping[str, Any]

FIXED: Mapping[str, list[Any]] = {"norm": ["instance"], "nl": ["relu"], "gan_mode": ["lsgan"]}
"""Published options that we have in one way only."""


def dcgan(record: Record) -> Outputs:
    options, where = record.options, str(record.path)
    names = tuple(f"class {number}" for number in range(options["class_num"]))
    ours = MSGANDCGAN(MSGANDCGAN.Config(classes=names, noise=options["nz"], width=options["d"]))
    state = record.state()
    published_names = by_rules(state, ((r"^G\.", "gen."), (r"^D\.", "dis.")))
    fill(ours, renamed(renamed(state, published_names, where), NAMES, where), where)
    pictures = record.input("x")
    labels = torch.arange(len(pictures)) % len(names)
    noise = {"code": record.input("noise0", "x"), "other code": record.input("noise1", "x")}
    ours.eval()
    with torch.no_grad():
        drawn = ours(record.input("z", "x"), labels)
        scores = ours.judge(pictures, labels).sigmoid()
    ours.train()
    captions = tuple(names[label] for label in labels.tolist())
    played = moves(ours, Captioned(pictures, captions), Given(noise))
    with torch.no_grad():
        fake, other = ours(torch.cat(list(noise.values())), torch.cat([labels, labels])).chunk(2)
    terms = played["generator"].losses
    with torch.device("meta"):
        full = MSGANDCGAN()
    return {
        "G": drawn,
        "D": scores,
        "loss_D": played["discriminator"].loss,
        "gradnorm_D": played["discriminator"].gradient,
        "loss_G_GAN": terms["adversarial"],
        "loss_lz": terms["mode_seeking"],
        "gradnorm_G": played["generator"].gradient,
        "fake1": fake,
        "fake2": other,
        "n_params": count(ours.parameters()),
        "n_params_full": {"G": count(full.generator.parameters()), "D": count(full.discriminator.parameters())},
    }


def pix2pix(record: Record) -> Outputs:
    options, where = record.options, str(record.path)
    for name, known in FIXED.items():
        if options.get(name, known[0]) not in known:
            raise BadInput(f"{where}: can't check {name} {options[name]!r}; there is {known[0]!r}")
    ours = MSGAN(
        MSGAN.Config(
            style=options["nz"],
            depth={"unet_128": 7, "unet_256": 8}[options["netG"]],
            width=options["ngf"],
            style_at="input" if options["where_add"] == "input" else "every level",
            upsampling="bilinear" if options["upsample"] == "bilinear" else "transposed",
            discriminator_width=options["ndf"],
            discriminator_layers=2 if "128" in options["netD"] else 3,
            scales=options["num_Ds"],
            adversarial=options["lambda_GAN"],
            l1=options["lambda_L1"],
        )
    )
    fill(ours, published.ours(record.state(), where), where)
    batch = Paired(record.input("A", "x"), record.input("B", "x"))
    noise = {"style": record.input("noise0", "x"), "other style": record.input("noise1", "x")}
    played = moves(ours, batch, Given(noise))
    terms = played["generator"].losses
    with torch.no_grad():
        fake, other = (ours(batch.source, code) for code in noise.values())
    return {
        "G": played["generator"].loss,
        "G_GAN": terms["adversarial"],
        "G_L1": terms["reconstruction"],
        "lz": terms["mode_seeking"],
        "D": played["discriminator"].loss,
        "fake1": fake,
        "fake2": other,
        "gradnorm_G": played["generator"].gradient,
        "gradnorm_D": played["discriminator"].gradient,
        "n_params": count(ours.parameters()),
    }


NETWORKS = {"dcgan-cifar10": Network(dcgan), "pix2pix-losses": Network(pix2pix)}
