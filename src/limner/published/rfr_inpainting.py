"""RFR's published weights: jingyuanli001/RFR-Inpainting (MIT), Paris StreetView and CelebA.

A checkpoint holds the state dict under `generator` beside the optimiser's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, opened, renamed
from limner.system import System

OPTIMISER = re.compile(r"optimizer_G\.")

RULES: Rules = (
    (r"^generator\.", ""),
    (r"^Pconv1\.", "conv1.conv."),
    (r"^Pconv2\.", "conv2.conv."),
    (r"^Pconv21\.", "close1.conv."),
    (r"^Pconv22\.", "close2.conv."),
    (r"^tail1\.", "tail.conv."),
    (r"^tail2\.bn(\d)\.", r"bottleneck.norm\1."),
    (r"^tail2\.", "bottleneck."),
    (r"^bn1\.", "norm1."),
    (r"^bn20\.", "norm2."),
    (r"^bn2\.", "close_norm."),
    (r"^bn3\.", "up_norm."),
    (r"^Tconv\.", "up."),
    (r"^RFRModule\.att\.att\.ratio$", "reason.attention.ratio"),
    (r"^RFRModule\.att\.combiner\.", "reason.attention.combine."),
    *((rf"^RFRModule\.enc_{i}\.", f"reason.encoder.{i - 1}.") for i in range(1, 7)),
    *((rf"^RFRModule\.dec_{i}\.", f"reason.decoder.{5 - i}.") for i in range(1, 6)),
    (r"^", "network."),
)


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Published tensors under our names. What the optimiser remembers is left out."""
    used = {name: value for name, value in tensors.items() if not OPTIMISER.match(name)}
    return renamed(used, by_rules(used, RULES), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The number of iterations leaves no trace in the tensors; it is 6."""
    found = ours(tensors, where)
    return opened("rfr-inpainting", sizes(found) | dict(changes), found, where)


def sizes(found: Mapping[str, Tensor]) -> dict[str, int]:
    """Options that tensors under our names show."""
    width, _, kernel, _ = found["network.conv2.conv.weight"].shape
    return {"width": width, "kernel": kernel}
