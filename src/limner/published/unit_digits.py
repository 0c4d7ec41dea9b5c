"""The names of UNIT's networks for digits: mingyuliutw/UNIT, branch version_02 (CC BY-NC-SA 4.0).

`NAME_gen_00200000.pkl` and `NAME_dis_00200000.pkl`: one state dict each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, opened, renamed
from limner.system import System

FILES = ("gen", "dis")

RULES: Rules = (
    (r"^(?:gen\.|dis\.)?", ""),
    *((rf"^g_en_conv0_{side}\.", f"generator.first.{i}.") for i, side in enumerate("ab")),
    *((rf"^g_en_conv{i}\.", f"generator.encoder.{i - 1}.") for i in range(1, 4)),
    (r"^g_vae\.en_mu\.", "generator.mean."),
    (r"^g_vae\.en_sigma\.", "generator.spread."),
    *((rf"^g_de_conv{i}\.", f"generator.decoder.{i}.") for i in range(3)),
    *((rf"^g_de_conv3_{side}\.", f"generator.last.{i}.") for i, side in enumerate("ab")),
    *((rf"^de_conv4_{side}\.", f"generator.heads.{i}.") for i, side in enumerate("ab")),
    (r"\.model\.0\.", ".conv."),
    (r"\.model\.1\.", ".norm."),
    (r"\.model\.2\.bias", ".bias"),
    *((rf"^conv0_{side}\.", f"discriminator.first.{i}.") for i, side in enumerate("ab")),
    *((rf"^conv{i}\.", f"discriminator.shared.{i - 1}.") for i in range(1, 4)),
    (r"^conv4\.", "discriminator.score."),
    (r"^conv_cl\.", "discriminator.classifier."),
)


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    return renamed(tensors, by_rules(tensors, RULES), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes; `dis` may be missing."""
    found = ours(tensors, where)
    options: dict[str, Any] = {
        "channels": tuple(found[f"generator.heads.{domain}.weight"].shape[1] for domain in range(2)),
        "width": len(found["generator.first.0.conv.weight"]),
    }
    if "discriminator.score.weight" in found:
        options["discriminator_width"] = len(found["discriminator.first.0.0.weight"])
        options["classes"] = len(found["discriminator.classifier.weight"])
    return opened("unit-digits", options | dict(changes), found, where)
