"""MUNIT's published weights: NVlabs/MUNIT (CC BY-NC-SA 4.0), edges to shoes and edges to handbags.

`gen_01000000.pt` holds the generators of both domains under `a` and `b`, and `dis_01000000.pt` the discriminators.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.nn.vgg import VGG
from limner.published.keys import Rules, by_rules, count, opened, renamed
from limner.system import System

FILES = ("gen", "dis")

UNUSED = re.compile(r".*\.norm\.running_(mean|var)$")
"""AdaIN's buffers, which nothing reads, and those that PyTorch 0.3 gave to every instance norm."""

ENCODER: Rules = (
    (r"\benc_content\.model\.(\d+)\.conv\.", r"content_encoder.layers.\1."),
    (r"\benc_content\.model\.\d+\.model\.(\d+)\.model\.0\.conv\.", r"content_encoder.blocks.\1.conv1."),
    (r"\benc_content\.model\.\d+\.model\.(\d+)\.model\.1\.conv\.", r"content_encoder.blocks.\1.conv2."),
)
STYLE: Rules = (
    (r"\benc_style\.model\.(\d+)\.conv\.", r"style_encoder.layers.\1."),
    (r"\benc_style\.model\.\d+\.(?=weight|bias)", "style_encoder.head."),
    (r"\bmlp\.model\.0\.fc\.", "mlp.0."),
    (r"\bmlp\.model\.1\.fc\.", "mlp.2."),
    (r"\bmlp\.model\.2\.fc\.", "mlp.4."),
)
DISCRIMINATOR: Rules = (
    (r"\bcnns\.(\d+)\.(\d+)\.conv\.", r"scales.\1.layers.\2."),
    (r"\bcnns\.(\d+)\.(\d+)\.(?=weight|bias)", r"scales.\1.layers.\2."),
)
FILE: Rules = (
    (r"^(?:gen\.)?([ab])\.(?=enc|dec|mlp)", r"generator_\1."),
    (r"^(?:dis\.)?([ab])\.(?=cnns)", r"discriminator_\1."),
)
VGG16 = {
    f"{layer}.{what}": f"features.{number}.{what}"
    for layer, number in VGG(16, "relu5_3").numbers.items()
    if layer.startswith("conv")
    for what in ("weight", "bias")
}
"""The perceptual loss' network, converted from Caffe."""


def decoder(downs: int) -> Rules:
    """An enlargement and a convolution for each of `downs` follow the residual blocks."""
    return (
        (r"\bdec\.model\.0\.model\.(\d+)\.model\.0\.conv\.", r"decoder.blocks.\1.conv1."),
        (r"\bdec\.model\.0\.model\.(\d+)\.model\.1\.conv\.", r"decoder.blocks.\1.conv2."),
        *((rf"\bdec\.model\.{2 * i + 2}\.conv\.", f"decoder.up.layers.{i}.") for i in range(downs)),
        *((rf"\bdec\.model\.{2 * i + 2}\.norm\.", f"decoder.up.norms.{i}.") for i in range(downs)),
        (rf"\bdec\.model\.{2 * downs + 1}\.conv\.", "decoder.up.head."),
    )


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Published tensors, of a whole file or of one of its networks, under our names."""
    used = {name: value for name, value in tensors.items() if not UNUSED.match(name)}
    downs = count(used, r".*enc_content\.model\.(\d+)\.conv\.") - 1
    return renamed(used, by_rules(used, FILE + ENCODER + STYLE + DISCRIMINATOR + decoder(downs)), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes; `dis` may be missing."""
    found = ours(tensors, where)
    style_width, deep = found["generator_a.style_encoder.head.weight"].shape[:2]
    options = {
        "width": deep // 4,
        "downs": count(found, r"generator_a\.content_encoder\.layers\.(\d+)\.") - 1,
        "blocks": count(found, r"generator_a\.content_encoder\.blocks\.(\d+)\."),
        "style_width": style_width,
        "mlp_width": len(found["generator_a.mlp.0.weight"]),
    } | discriminator_options(found)
    return opened("munit", options | dict(changes), found, where)


def discriminator_options(found: Mapping[str, Tensor]) -> dict[str, int]:
    """Options of the discriminators, where they are among tensors under our names."""
    scales = count(found, r"discriminator_a\.scales\.(\d+)\.")
    if not scales:
        return {}
    return {
        "discriminator_width": len(found["discriminator_a.scales.0.layers.0.weight"]),
        "discriminator_depth": count(found, r"discriminator_a\.scales\.0\.layers\.(\d+)\.") - 1,
        "scales": scales,
    }
