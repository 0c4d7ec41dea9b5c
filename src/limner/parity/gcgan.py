"""GcGAN's parity records: the losses of a training step, for both geometries, with one generator and with two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published.cyclegan import resnet_blocks, resnet_names
from limner.published.gcgan import NETWORKS as PUBLISHED
from limner.published.keys import fill, renamed, under
from limner.published.pix2pix import PATCH_NAMES
from limner.rng import Rng
from limner.systems.translation.gcgan import GcGAN


def losses(record: Record) -> Mapping[str, Any]:
    options, state, where = record.options, record.state(), str(record.path)
    a, b = record.input("A"), record.input("B")
    cross = any(name.startswith("G_gc_AB.") for name in state)
    system = GcGAN(
        GcGAN.Config(
            size=(a.shape[2], a.shape[3]),
            geometry="rotation" if options["geometry"] == "rot" else "flip",
            shared=not cross,
            width=_width(record, "netG"),
            blocks=resnet_blocks(under("G_AB.", state)),
            discriminator_width=_width(record, "netD"),
            adversarial=options["lambda_G"],
            consistency=options["lambda_AB"] * options["lambda_gc"],
            identity=options["lambda_AB"] * options["identity"],
        )
    )
    for theirs, ours in PUBLISHED.items():
        network = under(f"{theirs}.", state)
        if network:
            names = resnet_names(network) if theirs.startswith("G") else PATCH_NAMES
            fill(getattr(system, ours), renamed(network, names, where), where)
    told = moves(system, Unpaired(a, b), Rng(0, range(len(a))))
    with torch.no_grad():
        turned = system.turn(a)
        fake, fake_turned = system.generator(a), system.paint_turned(turned)
    term = told["generator"].losses
    return {
        "G_AB": term["adversarial"][None],
        "G_gc_AB": term["adversarial_turned"][None],
        "gc": term["consistency"][None],
        "idt": term.get("identity", torch.zeros(()))[None],
        "idt_gc": term.get("identity_turned", torch.zeros(()))[None],
        "D": told["discriminators"].loss[None],
        "fake_B": fake,
        "fake_gc_B": fake_turned,
        "real_gc_A": turned,
        "gradnorm_G": told["generator"].gradient,
        "gradnorm_D": told["discriminators"].gradient,
        "n_params": count(system.parameters()),
    }


def _width(record: Record, network: str) -> int:
    """Of "resnet_6blocks ngf 8" or "basic ndf 8"."""
    found = re.search(r"n[gd]f (\d+)", record.options[network])
    if found is None:
        raise BadInput(f"{record.path}: can't tell the width of {network} from {record.options[network]!r}")
    return int(found[1])


NETWORKS = {f"losses-{kind}-{geometry}": Network(losses) for kind in ("share", "cross") for geometry in ("rot", "vf")}
