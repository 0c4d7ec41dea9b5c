"""The parity record of pixel-level domain transfer: its three networks and a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.data.kinds import Paired
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published import pixel_domain_transfer as published
from limner.published.keys import fill
from limner.systems.translation.pixel_domain_transfer import PixelDomainTransfer


def networks_and_losses(record: Record) -> Mapping[str, Any]:
    class Recorded(PixelDomainTransfer):
        def unrelated(self, targets: Tensor) -> Tensor:
            return record.input("unrelated")

    options, where = record.options, str(record.path)
    source, target = record.input("source"), record.input("target")
    sizes = {"width": options["ngf"], "discriminator_width": options["ndf"], "size": source.shape[-1]}
    ours = Recorded(PixelDomainTransfer.Config(**sizes))
    fill(ours, published.ours(record.state(), where), where)
    ours.eval()
    with torch.no_grad():
        converted = ours(source)
        real, pair = ours.discriminator(target), ours.belong(source, target)
    ours.train()
    played = moves(ours, Paired(source, target))
    with torch.no_grad():
        trained = ours(source)
    judged, paired, told = (played[name] for name in ("discriminator", "domain_discriminator", "converter"))
    with torch.device("meta"):
        full = PixelDomainTransfer()
    return {
        "G": converted,
        "D": real.flatten(1).sigmoid(),
        "A": pair.flatten(1).sigmoid(),
        "D_real_associated": 3 * judged.losses["associated"],
        "D_real_unrelated": 3 * judged.losses["unrelated"],
        "D_fake": 3 * judged.losses["fake"],
        "A_associated": 3 * paired.losses["associated"],
        "A_unrelated": 3 * paired.losses["unrelated"],
        "A_fake": 3 * paired.losses["fake"],
        "G_D": 2 * told.losses["real"],
        "G_A": 2 * told.losses["pair"],
        "gradnorm_G_of_sum": 2 * told.gradient,
        "fake_train": trained,
        "n_params": count(ours.parameters()),
        "n_params_full": {
            "G": count(full.converter.parameters()),
            "D": count(full.discriminator.parameters()),
            "A": count(full.domain_discriminator.parameters()),
        },
    }


NETWORKS = {"networks-losses": Network(networks_and_losses)}
