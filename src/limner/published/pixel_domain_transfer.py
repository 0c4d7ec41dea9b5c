"""Pixel-level domain transfer under the names of its PyTorch re-implementation (xuehy/pytorch-PixelDTGAN).

Neither the authors nor those who wrote it again have released weights; these names open what is trained with that
program: one state dict a network, G, D and A, which is the domain discriminator. All are numbered as ours are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, opened, renamed
from limner.system import System

FILES = ("G", "D", "A")
NAMES: Rules = (
    (r"^G\.converter\.", "converter."),
    (r"^D\.discriminator\.", "discriminator."),
    (r"^A\.discriminator\.", "domain_discriminator."),
)


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    return renamed(tensors, by_rules(tensors, NAMES), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    named = ours(tensors, where)
    found = {"width": len(named["converter.0.weight"])}
    if "discriminator.0.weight" in named:
        found["discriminator_width"] = len(named["discriminator.0.weight"])
    return opened("pixel-domain-transfer", found | dict(changes), named, where)
