"""SEAN's published weights: one state dict a network, `latest_net_G.pth`, which holds the style encoder too.

Repository: ZPdesu/SEAN (CC BY-NC-SA 4.0). Released: CelebAMask-HQ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, count, opened, renamed, under
from limner.published.spade import DISCRIMINATOR, LADDER, MODULATION, SPECTRAL, ours
from limner.system import System

FILES = ("G", "D")

UNUSED = re.compile(r".*\.Spade\.param_free_norm\.")
"""Buffers of a batch norm that is built inside each region norm, and never run."""

GENERATOR: Rules = (
    *LADDER,
    (r"\.ace_0\.", ".norm1."),
    (r"\.ace_1\.", ".norm2."),
    (r"\.ace_s\.", ".shortcut_norm."),
    (r"\.param_free_norm\.", ".norm."),
    (r"\.noise_var$", ".noise_scale"),
    (r"\.blending_gamma$", ".scale_blend"),
    (r"\.blending_beta$", ".shift_blend"),
    (r"\.fc_mu(\d+)\.", r".projections.\1."),
    (r"\.conv_gamma\.", ".scale."),
    (r"\.conv_beta\.", ".shift."),
    (r"\.Spade\.", ".modulation."),
    *MODULATION,
    *SPECTRAL,
)
ENCODER: Rules = ((r"^model\.", "layers."),)


def networks(published: Mapping[str, Tensor], where: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The generator's and the encoder's tensors, under our names, of a published generator's."""
    used = {name: value for name, value in published.items() if not UNUSED.match(name)}
    encoder = under("Zencoder.", used)
    generator = {name: value for name, value in used.items() if not name.startswith("Zencoder.")}
    return ours(generator, GENERATOR, where), renamed(encoder, by_rules(encoder, ENCODER), where)


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes, but for that of the pictures. There are no mean codes in the file."""
    generator, encoder = networks(under("G.", published), where)
    together = {f"generator.{name}": value for name, value in generator.items()}
    together |= {f"encoder.{name}": value for name, value in encoder.items()}
    width, kinds = len(generator["head.weight"][0]), generator["first.weight"].shape[1]
    found: dict[str, Any] = {"width": width, "encoder_width": len(encoder["layers.1.bias"])}
    found["code"] = len(encoder["layers.14.bias"])
    if judges := ours(under("D.", published), DISCRIMINATOR, where):
        found["discriminator_width"] = len(judges["0.0.0.weight"])
        found["discriminator_layers"] = count(judges, r"0\.(\d+)\.") - 1
        found["scales"] = count(judges, r"(\d+)\.")
        together |= {f"discriminator.{name}": value for name, value in judges.items()}
    found |= changes
    return opened("sean", {"classes": kinds - found.get("unknown", False)} | found, together, where)
