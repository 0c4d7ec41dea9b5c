"""VGG's weights as torchvision publishes them: `vgg16-397923af.pth` and `vgg19-dcbb9e9d.pth` (BSD-3-Clause).

Their names are ours (`features.0.weight`, ...). A perceptual loss needs the first layers only: the deeper ones and the
classifier are left out.
"""

from __future__ import annotations

from pathlib import Path

from limner.nn.vgg import VGG
from limner.published.keys import Rules, fill
from limner.published.read import tensors

SLICES: Rules = ((r"^slice\d+\.", "features."),)
"""The perceptual losses that pix2pixHD began cut it into slices, but keep the numbers."""


def give(vgg: VGG, path: Path | str) -> None:
    """Fill the VGG of a system's perceptual loss (`system.vgg`) from a file. It is saved with the run from then on, so
    that resuming needs no file. A file of another network is a `BadCheckpoint`."""
    path = Path(path)
    wanted = vgg.state_dict()
    fill(vgg, {name: value for name, value in tensors(path).items() if name in wanted}, str(path))
