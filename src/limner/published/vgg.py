"""VGG's weights as torchvision publishes them: `vgg16-397923af.pth` and `vgg19-dcbb9e9d.pth` (BSD-3-Clause).

Their names are ours (`features.0.weight`, ...). A perceptual loss needs the first layers only: the deeper ones and the
classifier are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.nn.vgg import VGG
from limner.published import adain
from limner.published.keys import Rules, fill
from limner.published.read import tensors
from limner.system import System
from limner.systems import find
from limner.systems.translation.adain import Encoder

SLICES: Rules = ((r"^slice\d+\.", "features."),)
"""The perceptual losses that pix2pixHD began cut it into slices, but keep the numbers."""

TORCHVISION_16, TORCHVISION_19 = "torchvision's vgg16-397923af.pth", "torchvision's vgg19-dcbb9e9d.pth"
CAFFE_16 = "Caffe's VGG-16 for PyTorch, vgg16-00b39a1b.pth"


@dataclass(frozen=True)
class Use:
    """How a system's published training looks through VGG: through whose weights, by which `losses`.

    losses: options that are 0 as long as nobody gives the weights -> their published values
    without: what becomes of a training without them, as the end of a sentence; empty where the published one has none
    """

    weights: str
    losses: Mapping[str, float] = field(default_factory=dict)
    without: str = ""


PERCEPTUAL = Use(
    TORCHVISION_19, {"perceptual": 10.0}, "it trains without its perceptual loss (published: perceptual=10)"
)

USES = {
    "adain": Use(
        "vgg_normalised.pth of naoto0804/pytorch-AdaIN",
        without="its encoder keeps random weights, and styles are what they see",
    ),
    "munit": Use(CAFFE_16, {"perceptual": 1.0}),
    "pix2pixhd": PERCEPTUAL,
    "pixelnn": Use(TORCHVISION_16, without="its networks begin with random weights instead of ImageNet's"),
    "rfr-inpainting": Use(
        TORCHVISION_16,
        {"perceptual": 0.05, "style": 120.0},
        "it trains without its perceptual and style losses (published: perceptual=0.05, style=120)",
    ),
    "sean": PERCEPTUAL,
    "spade": PERCEPTUAL,
    "unit": Use(CAFFE_16, {"perceptual": 1.0}),
}
"""The systems that look through VGG, by their names in the table."""


def give(vgg: VGG, path: Path | str) -> None:
    """Fill the VGG of a system's perceptual loss (`system.vgg`) from a file. It is saved with the run from then on, so
    that resuming needs no file. A file of another network is a `BadCheckpoint`."""
    path = Path(path)
    wanted = vgg.state_dict()
    fill(vgg, {name: value for name, value in tensors(path).items() if name in wanted}, str(path))


def give_all(name: str, system: System, path: Path | str) -> None:
    """Fill every VGG in a system of this name from a file, as `limner train --vgg` does: those of its losses, AdaIN's
    encoder, both of PixelNN's.

    A system without any is `CannotDo`, one whose options turn them off `BadInput`, another network's file
    `BadCheckpoint`.
    """
    use = use_of(name)
    networks = [module for module in system.modules() if isinstance(module, Encoder | VGG)]
    networks = [each for each in networks if not any(each in other.children() for other in networks)]
    if not networks:
        options = " ".join(f"--set {option}={value:g}" for option, value in use.losses.items())
        raise BadInput(f"With these options {name} looks through no VGG: leave --vgg out, or give {options}.")
    for network in networks:
        try:
            adain.give(network, path) if isinstance(network, Encoder) else give(network, path)
        except BadCheckpoint as error:
            raise BadCheckpoint(f"--vgg wants {use.weights} for {name}. {error}") from error


def use_of(name: str) -> Use:
    """How the system of this name looks through VGG; `CannotDo` if it doesn't, `BadInput` if there is none."""
    find(name)
    if name not in USES:
        raise CannotDo(f"{name} looks through no VGG: leave --vgg out. Systems that do: {', '.join(USES)}.")
    return USES[name]
