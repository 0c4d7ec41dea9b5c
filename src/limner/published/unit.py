"""UNIT's later published weights: mingyuliutw/UNIT, branch master (CC BY-NC-SA 4.0).

`gen_00500000.pt` and `dis_00500000.pt`, as in MUNIT's release, whose layers and names these are but for the styles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published import munit
from limner.published.keys import Rules, by_rules, count, opened, renamed
from limner.published.munit import FILES as FILES
from limner.system import System

TO_MUNIT: Rules = ((r"\benc\.", "enc_content."),)
FROM_MUNIT: Rules = ((r"\bcontent_encoder\.", "encoder."), (r"\bdecoder\.(blocks|up)\.", r"\1."))


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Published tensors, of a whole file or of one of its networks, under our names."""
    found = munit.ours(renamed(tensors, by_rules(tensors, TO_MUNIT), where), where)
    return renamed(found, by_rules(found, FROM_MUNIT), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes; `dis` may be missing."""
    found = ours(tensors, where)
    options = {
        "width": len(found["generator_a.encoder.layers.0.weight"]),
        "downs": count(found, r"generator_a\.encoder\.layers\.(\d+)\.") - 1,
        "blocks": count(found, r"generator_a\.encoder\.blocks\.(\d+)\."),
    } | munit.discriminator_options(found)
    return opened("unit", options | dict(changes), found, where)
