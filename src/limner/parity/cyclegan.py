"""CycleGAN's parity records: the generators, the discriminator, and the losses of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published import cyclegan as published
from limner.published.keys import fill, renamed, under
from limner.published.pix2pix import PATCH_NAMES
from limner.rng import Rng
from limner.systems.translation.cyclegan import CycleGAN, ResNetGenerator

Outputs = Mapping[str, Any]


@torch.no_grad()
def generator(record: Record) -> Outputs:
    options, state, where = record.options, record.state(), str(record.path)
    if options.get("padding", "reflect") != "reflect":
        raise BadInput(f"{where}: CycleGAN's generator mirrors its borders; {options['padding']} was never published.")
    incoming = record.shape("x")[1]
    blocks = published.resnet_blocks(state)
    network = ResNetGenerator(incoming, options.get("output_nc", 3), options["ngf"], blocks, options["norm"])
    fill(network, renamed(state, published.resnet_names(state), where), where)
    return {"out": network.eval()(record.input("x")), "n_params": count(network.parameters())}


def narrow_generator(record: Record) -> Outputs:
    """Built narrower than published; the parameters that the record counts are those of the full width."""
    with torch.device("meta"):
        full = ResNetGenerator(blocks=published.resnet_blocks(record.content["state"]), norm=record.options["norm"])
    return {**generator(record), "n_params": count(full.parameters())}


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    options, where = record.options, str(record.path)
    network = PatchDiscriminator(record.shape("x")[1], options["ndf"], options["n_layers_D"], options["norm"])
    fill(network, renamed(record.state(), PATCH_NAMES, where), where)
    return {"out": network.eval()(record.input("x")), "n_params": count(network.parameters())}


def losses(record: Record) -> Outputs:
    options, state, where = record.options, record.state(), str(record.path)
    a, b = record.input("A"), record.input("B")
    system = CycleGAN(
        CycleGAN.Config(
            size=(a.shape[2], a.shape[3]),
            width=options["ngf"],
            blocks=published.resnet_blocks(under("G_A.", state)),
            discriminator_width=options["ndf"],
            cycle=(options["lambda_A"], options["lambda_B"]),
            identity=options["lambda_identity"],
        )
    )
    for theirs, ours in published.NETWORKS.items():
        network = under(f"{theirs}.", state)
        names = published.resnet_names(network) if theirs.startswith("G") else PATCH_NAMES
        fill(getattr(system, ours), renamed(network, names, where), where)
    told = moves(system, Unpaired(a, b), Rng(0, range(len(a))))
    generators, judges = told["generators"].losses, told["discriminators"].losses
    with torch.no_grad():
        fake_a, fake_b = system.b_to_a(b), system.a_to_b(a)
        back_a, back_b = system.b_to_a(fake_b), system.a_to_b(fake_a)
    return {
        "fake_B": fake_b,
        "rec_A": back_a,
        "fake_A": fake_a,
        "rec_B": back_b,
        "G_A": generators["adversarial_b"],
        "G_B": generators["adversarial_a"],
        "cycle_A": generators["cycle_a"],
        "cycle_B": generators["cycle_b"],
        "idt_A": generators.get("identity_b", torch.zeros(())),
        "idt_B": generators.get("identity_a", torch.zeros(())),
        "D_A": judges["real_b"] + judges["fake_b"],
        "D_B": judges["real_a"] + judges["fake_a"],
        "gradnorm_G": told["generators"].gradient,
        "gradnorm_D": told["discriminators"].gradient,
        "n_params": count(system.parameters()),
    }


NETWORKS = {
    "resnet-9blocks": Network(generator),
    "resnet-6blocks": Network(generator),
    "resnet-9blocks-batch-dropout": Network(narrow_generator),
    "patchgan-70": Network(discriminator),
    "losses": Network(losses),
}
