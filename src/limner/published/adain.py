"""AdaIN's published weights: `vgg_normalised.pth` and `decoder.pth` (or `decoder_iter_N.pth.tar`), one state dict each.

Repository: naoto0804/pytorch-AdaIN (MIT), converted from the authors' xunhuang1995/AdaIN-style (MIT). Both networks are
flat there, pads, activations, pools and enlargements counted; the VGG begins with the layer that prepares colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.nn.vgg import DEPTHS
from limner.published.keys import fill, opened, renamed, under
from limner.published.pix2pix import entries
from limner.published.read import tensors
from limner.system import System
from limner.systems.translation.adain import Encoder

FILES = ("vgg", "decoder")
DECODER_NAMES = entries(
    {"1": "0", "5": "3", "8": "5", "11": "7", "14": "9", "18": "12", "21": "14", "25": "17", "28": "19"}
)


def encoder_names() -> dict[str, str]:
    """`5.weight` -> `vgg.features.2.weight`, and so on: three modules a convolution there, two here."""
    modules, theirs, ours = {"0": "colours"}, 2, 0
    for convolutions in DEPTHS[19]:
        for _ in range(convolutions):
            modules[str(theirs)] = f"vgg.features.{ours}"
            theirs, ours = theirs + 3, ours + 2
        theirs, ours = theirs + 1, ours + 1  # the pool
    return entries(modules)


ENCODER_NAMES = encoder_names()


def needed(encoder: Encoder, vgg: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """What an encoder takes of the published VGG, under our names."""
    wanted = encoder.state_dict().keys()
    return {name: value for name, value in renamed(vgg, ENCODER_NAMES, where).items() if name in wanted}


def give(encoder: Encoder, path: Path | str) -> None:
    """Fill a system's encoder from the published VGG's file. Another network's file is a `BadCheckpoint`."""
    path = Path(path)
    fill(encoder, needed(encoder, tensors(path), str(path)), str(path))


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """Encoder, decoder or both. The file's VGG goes on to relu5_4; what comes after relu4_1 is left out."""
    together: dict[str, Tensor] = {}
    found: dict[str, Any] = {}
    if vgg := under("vgg.", published):
        with torch.device("meta"):
            ours = needed(Encoder(), vgg, where)
        together |= {f"encoder.{name}": value for name, value in ours.items()}
        found["width"] = len(vgg["2.weight"])
    if decoder := under("decoder.", published):
        ours = renamed(decoder, DECODER_NAMES, where)
        together |= {f"decoder.{name}": value for name, value in ours.items()}
        found["width"] = len(decoder["25.weight"])
    return opened("adain", found | dict(changes), together, where)
