"""pix2pix's published weights: one state dict a network, `<epoch>_net_G.pth` and `<epoch>_net_D.pth`.

Repository: junyanz/pytorch-CycleGAN-and-pix2pix (BSD). The U-Net is nested there, each level inside the one above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.keys import fill, renamed
from limner.published.read import tensors
from limner.systems.translation.pix2pix import Pix2Pix

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
    return 2 + max((name.count(".3.model") for name in published), default=0)


PATCH_NAMES = entries({f"model.{number}": f"{number}" for number in range(30)})
PIXEL_NAMES = entries({f"net.{number}": f"{number}" for number in range(6)})


def from_file(path: Path) -> Pix2Pix:
    """A published generator (`latest_net_G.pth`), as a system whose discriminator is still untrained.

    Sizes and norm follow from the tensors. What is no U-Net of pix2pix is `BadCheckpoint`.
    """
    published = tensors(path)
    names = unet_names(unet_depth(published))
    ours = renamed(published, names, str(path))
    system = Pix2Pix(config_of(ours, str(path)))
    fill(system.generator, ours, str(path))
    return system.eval()


def config_of(ours: Mapping[str, Tensor], where: str) -> Pix2Pix.Config:
    """The config of a U-Net whose entries, under our names, are these."""
    depth = sum(name.startswith("downs.") and name.endswith((".0.weight", ".1.weight")) for name in ours)
    try:
        width, source = ours["downs.0.0.weight"].shape[:2]
        target = ours[f"ups.{depth - 1}.1.weight"].shape[1]
    except (KeyError, IndexError, ValueError):
        raise BadCheckpoint(f"{where}: this is no generator of pix2pix.") from None
    norm = "batch" if "downs.1.2.weight" in ours else "instance"
    return Pix2Pix.Config(source_channels=source, target_channels=target, width=width, depth=depth, norm=norm)
