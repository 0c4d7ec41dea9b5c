"""VQGAN's published weights: CompVis/taming-transformers (MIT), a Lightning checkpoint's `state_dict`.

The key map is `VQGAN_TAMING`, beside those of DALL-E mini, whose releases hold VQGANs too. The perceptual distance's
network, which the file carries along, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published.dalle_mini import VQGAN_TAMING, rename
from limner.published.keys import count, opened
from limner.system import System


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes. `beta` and `legacy`, which matter to training alone, leave no trace there."""
    ours = rename(tensors, VQGAN_TAMING, where)
    levels = range(count(ours, r"encoder\.levels\.(\d+)\."))
    width = len(ours["encoder.stem.weight"])
    codebook, code_width = ours["codes.weight"].shape
    found = {
        "width": width,
        "multipliers": tuple(len(ours[f"encoder.levels.{level}.blocks.0.conv1.weight"]) // width for level in levels),
        "blocks": count(ours, r"encoder\.levels\.0\.blocks\.(\d+)\."),
        "attention_levels": tuple(i for i in levels if f"encoder.levels.{i}.attention.0.norm.weight" in ours),
        "channels": len(ours["encoder.head.weight"]),
        "codebook": codebook,
        "code_width": code_width,
    }
    if "discriminator.0.weight" in ours:
        found["discriminator_width"] = len(ours["discriminator.0.weight"])
    return opened("vqgan", found | dict(changes), ours, where)
