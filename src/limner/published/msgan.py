"""MSGAN's published weights on pix2pix (HelenMao/MSGAN, no licence file): `<epoch>_net_G.pth`, a bare state dict.

The generator is BicycleGAN's, under the same names; the discriminator's networks are `model0` and `model1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from limner.published import bicyclegan
from limner.published.keys import Rules, by_rules, opened, renamed
from limner.system import System
from limner.systems.translation.msgan import MSGAN

FILES = ("G", "D")
LIKE_BICYCLEGAN: Rules = ((r"^D\.model(\d+)\.", r"D2.model_\1."), (r"^D\.", "D2."))

OPTIONS = {field.name for field in fields(MSGAN.Config)}


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """What the files hold, each behind its name in `FILES` and a dot, under our names."""
    return bicyclegan.ours(renamed(tensors, by_rules(tensors, LIKE_BICYCLEGAN), where), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    named = ours(tensors, where)
    found = {name: size for name, size in bicyclegan.sizes(named).items() if name in OPTIONS}
    return opened("msgan", found | dict(changes), named, where)
