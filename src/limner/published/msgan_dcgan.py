"""MSGAN's published DCGAN (HelenMao/MSGAN, no licence file): one file with both networks, `gen` and `dis`.

The optimisers' moments beside them, `gen_opt` and `dis_opt`, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.published.keys import opened, renamed
from limner.system import System
from limner.systems.translation.msgan_dcgan import CIFAR

LAYERS = {
    "gen.deconv1": "generator.0",
    "gen.deconv1_bn": "generator.1",
    "gen.deconv2": "generator.3",
    "gen.deconv2_bn": "generator.4",
    "gen.deconv3": "generator.6",
    "gen.deconv3_bn": "generator.7",
    "gen.deconv4": "generator.9",
    "dis.conv1": "discriminator.0",
    "dis.conv2": "discriminator.2",
    "dis.conv2_bn": "discriminator.3",
    "dis.conv3": "discriminator.5",
    "dis.conv3_bn": "discriminator.6",
    "dis.conv4": "discriminator.8",
}
ENTRIES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
NAMES = {f"{theirs}.{entry}": f"{ours}.{entry}" for theirs, ours in LAYERS.items() for entry in ENTRIES}


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The published classes are CIFAR-10's; for others, or in another order, --set classes."""
    weights = {name: value for name, value in tensors.items() if not name.startswith(("gen_opt.", "dis_opt."))}
    ours = renamed(weights, NAMES, where)
    for name in list(ours):  # PyTorch did not count batches yet
        if name.endswith(".running_var"):
            ours.setdefault(name.replace("running_var", "num_batches_tracked"), torch.zeros((), dtype=torch.int64))
    seen, width = ours["discriminator.0.weight"].shape[1], len(ours["discriminator.0.weight"])
    noise = ours["generator.0.weight"].shape[0] - (seen - 3)
    return opened("msgan-dcgan", {"classes": CIFAR, "noise": noise, "width": width} | dict(changes), ours, where)
