"""PG2 under the names of its authors' TensorFlow checkpoints (charliememory/Pose-Guided-Person-Image-Generation).

Convolutions are numbered as they are computed. TensorFlow keeps kernels as (height, width, in, out) and matrices as
(in, out).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from limner.published.keys import count, opened, renamed
from limner.system import System

LEFT_OUT = re.compile(r"/?Adam(_\d+)?$|beta\d_power|^step$|^[gd]_lr$|\.moving_(mean|variance)$")
"""What training goes on from; and the discriminator's running statistics, which nothing ever updates or reads."""


def integrator(blocks: int) -> list[str]:
    """Our names of stage I's convolutions, in the order in which they are computed."""
    inner = range(blocks)
    there = [name for k in inner for name in [f"down.{k - 1}"] * (k > 0) + [f"encoder.{k}.0", f"encoder.{k}.2"]]
    back = [name for k in inner for name in [f"up.{k - 1}"] * (k > 0) + [f"decoder.{k}.0", f"decoder.{k}.2"]]
    return ["first", *there, *back, "last"]


def refiner(blocks: int) -> list[str]:
    """Those of stage II, whose way back enlarges without convolutions."""
    return [name for name in integrator(blocks) if not name.startswith("up.")]


def names(published: Sequence[str]) -> dict[str, str]:
    """Every published name -> ours."""
    blocks = count(published, r"Pose_AE/G/(Conv\w*)/weights") // 6
    stages = {"Pose_AE": ("integrator", integrator(blocks)), "UAEnoFC": ("refiner", refiner(blocks - 2))}
    table = {
        f"{scope}/G/Conv{f'_{number}' if number else ''}": f"{network}.{layer}"
        for scope, (network, layers) in stages.items()
        for number, layer in enumerate(layers)
    }
    table |= {"Pose_AE/G/fully_connected": "integrator.squeeze", "Pose_AE/G/fully_connected_1": "integrator.expand"}
    found = {f"{scope}/{theirs}": f"{layer}.{ours}" for scope, layer in table.items()
             for theirs, ours in (("weights", "weight"), ("biases", "bias"))}  # fmt: skip
    for layer in range(count(published, r"Discriminator\.(\d+)\.Filters")):
        place = max(0, 3 * layer - 1)  # a convolution, its norm (but for the first), its activation
        found[f"Discriminator.{layer + 1}.Filters"] = f"discriminator.layers.{place}.weight"
        found[f"Discriminator.{layer + 1}.Biases"] = f"discriminator.layers.{place}.bias"
        found[f"Discriminator.BN{layer + 1}.scale"] = f"discriminator.layers.{place + 1}.weight"
        found[f"Discriminator.BN{layer + 1}.offset"] = f"discriminator.layers.{place + 1}.bias"
    return found | {
        "Discriminator.Output.W": "discriminator.score.weight",
        "Discriminator.Output.b": "discriminator.score.bias",
    }


def turned(tensor: Tensor) -> Tensor:
    """A kernel (height, width, in, out) as (out, in, height, width), a matrix (in, out) as (out, in)."""
    return tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T if tensor.ndim == 2 else tensor


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    kept = {name: turned(value).contiguous() for name, value in tensors.items() if not LEFT_OUT.search(name)}
    return renamed(kept, names(list(kept)), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    named = ours(tensors, where)
    blocks = count(named, r"integrator\.encoder\.(\d+)\.")
    width = len(named["integrator.first.weight"])
    cells = len(named["integrator.expand.bias"]) // width
    rows = 8  # where stage I is narrowest, in both published programs
    last = named[f"refiner.decoder.{blocks - 3}.0.weight"]
    found: dict[str, Any] = {
        "program": "deepfashion" if last.shape[1] > width else "market",
        "size": (rows << (blocks - 1), cells // rows << (blocks - 1)),
        "width": width,
        "code": len(named["integrator.squeeze.bias"]),
    }
    if "discriminator.layers.0.weight" in named:
        found["discriminator_width"] = len(named["discriminator.layers.0.weight"])
    return opened("pg2", found | dict(changes), named, where)
