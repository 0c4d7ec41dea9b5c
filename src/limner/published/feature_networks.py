"""The networks that metrics look through, as their authors publish them.

- `pt_inception-2015-12-05-6726825d.pth` (mseitzer/pytorch-fid, Apache-2.0; torch-fidelity has the same): TensorFlow's
  Inception graph of the FID. Its names are ours.
- `alexnet-owt-7be5be79.pth`, `vgg16-397923af.pth` (torchvision, BSD-3-Clause): trunks, `features.N` and `classifier.N`.
- `alex.pth`, `vgg.pth`, version 0.1 (richzhang/PerceptualSimilarity, BSD-2-Clause): LPIPS' heads,
  `linK.model.1.weight`.
- The weights of a whole `lpips.LPIPS` module: trunk in slices, heads, colours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.keys import Rules

Part = Literal["inception", "trunk", "heads", "lpips"]
Trunk = Literal["alexnet", "vgg16"]

LPIPS: Rules = (
    (r"^net\.slice\d+\.(\d+)\.", r"features.\1."),
    (r"^lin(\d)\.model\.1\.weight$", r"heads.\1"),
    (r"^scaling_layer\.", ""),
)

TWICE = re.compile(r"^lins\.\d\.")
"""The heads again: the published module lists them a second time."""

UNUSED = re.compile(r".*\.num_batches_tracked$")

INCEPTION = "Conv2d_1a_3x3.conv.weight"

FIRST: dict[str, Part] = {
    "net.slice1.0.weight": "lpips",
    "lin1.model.1.weight": "heads",
    "features.0.weight": "trunk",
}
TRUNKS: dict[tuple[int, ...], Trunk] = {
    (64, 3, 11, 11): "alexnet",
    (64, 3, 3, 3): "vgg16",
    (1, 192, 1, 1): "alexnet",
    (1, 128, 1, 1): "vgg16",
}
"""By the shape of a part's `FIRST` entry."""


def kind_of(weights: Mapping[str, Tensor], where: str) -> tuple[Part, Trunk | None]:
    """Which network this is, and of which trunk. Others are refused."""
    if INCEPTION in weights:
        if "fc.weight" not in weights or weights["fc.weight"].shape[:1] != (1008,):
            raise BadCheckpoint(
                f"{where}: an Inception, but not the FID's, which has 1008 classes: scores by this one can't be "
                "compared with published ones. The FID's is pt_inception-2015-12-05-6726825d.pth of pytorch-fid."
            )
        return "inception", None
    for name, part in FIRST.items():
        if name in weights:
            trunk = TRUNKS.get(tuple(weights[name].shape))
            if trunk is None or (part == "trunk" and trunk == "vgg16" and "features.17.weight" not in weights):
                break  # another depth of VGG has its convolutions elsewhere
            return part, trunk
    raise BadCheckpoint(
        f"{where}: no network for metrics. There are: the FID's Inception, torchvision's AlexNet and VGG-16, and LPIPS."
    )
