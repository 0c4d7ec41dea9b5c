"""GcGAN's published weights: one state dict a network, `<epoch>_net_G_AB.pth` and so on.

Repository: hufu6371/GcGAN ("only for research purposes", no licence). The networks are CycleGAN's. Files of a "cross"
model hold its first generator twice, once under the second one's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published.cyclegan import resnet_blocks, resnet_names, without_statistics
from limner.published.keys import opened, renamed, under
from limner.published.pix2pix import PATCH_NAMES
from limner.system import System

FILES = ("G_AB", "G_gc_AB", "D_B", "D_gc_B")
NETWORKS = {"G_AB": "generator", "G_gc_AB": "generator_turned", "D_B": "judge", "D_gc_B": "judge_turned"}


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The generator, and any of the others that were kept. Which geometry it was leaves no trace: set it."""
    together: dict[str, Tensor] = {}
    found: dict[str, Any] = {}
    for theirs, ours in NETWORKS.items():
        network = without_statistics(under(f"{theirs}.", published))
        if not network:
            continue
        if theirs.startswith("G"):
            found |= {"width": len(network["model.1.weight"]), "blocks": resnet_blocks(network)}
        else:
            found["discriminator_width"] = len(network["model.0.weight"])
        names = resnet_names(network) if theirs.startswith("G") else PATCH_NAMES
        together |= {f"{ours}.{name}": value for name, value in renamed(network, names, where).items()}
    found["shared"] = not any(name.startswith("generator_turned.") for name in together)
    return opened("gcgan", found | dict(changes), together, where)
