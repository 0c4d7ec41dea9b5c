"""pix2pix's published weights: one state dict a network, `<epoch>_net_G.pth` and `<epoch>_net_D.pth`.

Repository: junyanz/pytorch-CycleGAN-and-pix2pix (BSD). The U-Net is nested there, each level inside the one above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import count, opened, renamed, under
from limner.system import System
from limner.systems.translation.pix2pix import LAYERS

FILES = ("G", "D")
ENTRIES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def entries(modules: Mapping[str, str]) -> dict[str, str]:
    """A map of modules' names as a map of everything that they may hold."""
    return {f"{theirs}.{entry}": f"{ours}.{entry}" for theirs, ours in modules.items() for entry in ENTRIES}


def unet_names(depth: int) -> dict[str, str]:
    """`model.model.1.model.3.model.1.weight` -> `downs.2.1.weight`, and so on."""
    modules = {"model.model.0": "downs.0.0", "model.model.3": f"ups.{depth - 1}.1"}
    for level in range(1, depth):
        block = "model.model.1.model" + ".3.model" * (level - 1)
        up = f"ups.{depth - 1 - level}"
        modules[f"{block}.1"] = f"downs.{level}.1"
        if level < depth - 1:
            modules |= {f"{block}.2": f"downs.{level}.2", f"{block}.5": f"{up}.1", f"{block}.6": f"{up}.2"}
        else:
            modules |= {f"{block}.3": f"{up}.1", f"{block}.4": f"{up}.2"}
    return entries(modules)


def unet_depth(published: Iterable[str]) -> int:
    """Of a U-Net with these published names: as many levels as there are blocks inside one another, and two."""
    return 2 + max(name.count(".3.model") for name in published)


PATCH_NAMES = entries({f"model.{number}": f"{number}" for number in range(30)})
PIXEL_NAMES = entries({f"net.{number}": f"{number}" for number in range(6)})


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """A generator and, where it was kept, its discriminator. How much dropout there was leaves no trace."""
    generator, judge = under("G.", published), under("D.", published)
    depth = unet_depth(generator)
    ours = renamed(generator, unet_names(depth), where)
    found: dict[str, Any] = {
        "width": len(ours["downs.0.0.weight"]),
        "source_channels": ours["downs.0.0.weight"].shape[1],
        "target_channels": ours[f"ups.{depth - 1}.1.weight"].shape[1],
        "depth": depth,
        "norm": "batch" if "ups.0.2.weight" in ours else "instance",
    }
    together = {f"generator.{name}": value for name, value in ours.items()}
    if judge:
        judge = renamed(judge, PATCH_NAMES | PIXEL_NAMES, where)
        layers = count((name for name, value in judge.items() if value.ndim == 4), r"(\d+)") - 2
        small = judge["0.weight"].shape[-1] == 1
        found |= {
            "field": 1 if small else next(field for field, number in LAYERS.items() if number == layers),
            "discriminator_width": len(judge["0.weight"]),
            "conditional": judge["0.weight"].shape[1] > found["target_channels"],
        }
        together |= {f"discriminator.{name}": value for name, value in judge.items()}
    return opened("pix2pix", found | dict(changes), together, where)
