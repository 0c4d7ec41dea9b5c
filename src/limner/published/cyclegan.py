"""CycleGAN's published weights: one state dict a network, `latest_net_G.pth` of one direction each.

Repository: junyanz/pytorch-CycleGAN-and-pix2pix (BSD). `G_A` there translates from A to B, and `D_A` judges B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import count, opened, renamed, under
from limner.published.pix2pix import PATCH_NAMES, entries
from limner.system import System

FILES = ("G_A", "G_B", "D_A", "D_B")
NETWORKS = {"G_A": "a_to_b", "G_B": "b_to_a", "D_A": "judge_b", "D_B": "judge_a"}


def resnet_blocks(published: Iterable[str]) -> int:
    """Residual blocks of a generator with these published names."""
    return count(published, r"model\.(\d+)\.conv_block\.")


def resnet_names(published: Iterable[str]) -> dict[str, str]:
    """`model.10.conv_block.1.weight` -> `3.first.weight`, and so on: pads, norms and activations count there, and in a
    block with dropout so does that."""
    published = list(published)
    blocks = resnet_blocks(published)
    dropout = not any(".conv_block.5." in name for name in published)
    stages = {1: 0, 4: 1, 7: 2, 10 + blocks: 3 + blocks, 13 + blocks: 4 + blocks, 17 + blocks: 5 + blocks}
    modules: dict[str, str] = {}
    for theirs, ours in stages.items():
        modules |= {f"model.{theirs}": f"{ours}.0", f"model.{theirs + 1}": f"{ours}.1"}
    for block in range(blocks):
        theirs_in_block = {1: "first", 2: "first_norm", 5 + dropout: "second", 6 + dropout: "second_norm"}
        modules |= {f"model.{10 + block}.conv_block.{i}": f"{3 + block}.{name}" for i, name in theirs_in_block.items()}
    return entries(modules)


def without_statistics(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the running statistics that PyTorch before 0.4 saved for instance norms, which never used them."""
    statistics = (".running_mean", ".running_var", ".num_batches_tracked")
    return {
        name: value
        for name, value in published.items()
        if not name.endswith(statistics) or f"{name.rpartition('.')[0]}.weight" in published
    }


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """Any of the four networks, mostly the generator of one direction: the others keep their first weights."""
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
    return opened("cyclegan", found | dict(changes), together, where)
