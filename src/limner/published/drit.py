"""DRIT++'s published weights: HsinYingLee/DRIT (no licence), one checkpoint with all networks, such as `00999.pth`.

Its entries are `disA`, `disB`, `disA2`, `disB2`, `disContent`, `enc_c`, `enc_a` and `gen`, and each one's optimiser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, count, opened, renamed
from limner.system import System

OPTIMISERS = re.compile(r"(disA|disB|disA2|disB2|disContent|enc_c|enc_a|gen)_opt\.")

PLACES: Rules = (
    (r"^enc_c\.conv_share\.0\.", "shared_encoder."),
    (r"^gen\.dec_share\.0\.", "shared_decoder."),
    (r"^disContent\.model\.(\d+)\.model\.1\.", r"content_judge.layers.\1."),
    (r"^disContent\.model\.(\d+)\.(?=weight|bias)", r"content_judge.layers.\1."),
    (r"^dis([AB])2\.", r"random_judge_\1."),
    (r"^dis([AB])\.", r"judge_\1."),
    (r"\.Diss\.(\d+)\.", r".scales.\1."),  # several scales
    (r"^(\w*judge_[AB])\.model\.", r"\1.scales.0."),  # a single one
    (r"\.scales\.(\d+)\.(\d+)\.(?:model\.1\.)?(?=weight|bias)", r".scales.\1.layers.\2."),
)
ENCODERS: Rules = (
    (r"^enc_c\.conv([AB])\.", r"\1.content_encoder."),
    (r"^enc_a\.fc_([AB])\.0\.", r"\1.attribute_encoder.mean."),
    (r"^enc_a\.fcVar_([AB])\.0\.", r"\1.attribute_encoder.log_variance."),
    (r"^enc_a\.conv_([AB])\.1\.", r"\1.attribute_encoder.stem."),
    *((rf"^enc_a\.conv_([AB])\.{i + 2}\.", rf"\1.attribute_encoder.blocks.{i}.") for i in range(3)),
    (r"\.conv\.2\.", ".conv1."),
    (r"\.conv\.4\.1\.", ".conv2."),
    (r"\.shortcut\.1\.", ".shortcut."),
    *((rf"^enc_a\.model_([ab])\.{3 * i + 1}\.", rf"\1.attribute_encoder.layers.{i}.") for i in range(5)),
    (r"^enc_a\.model_([ab])\.16\.", r"\1.attribute_encoder.head."),
)
CONCAT: Rules = (
    (r"^gen\.dec([AB])1\.(?=\d)", r"\1.decoder.blocks."),
    *((rf"^gen\.dec([AB]){i + 2}\.0\.model\.", rf"\1.decoder.ups.{i}.") for i in range(2)),
    (r"^gen\.dec([AB])4\.0\.", r"\1.decoder.head."),
)
FILM: Rules = (
    (r"^gen\.mlp([AB])\.", r"\1.decoder.mlp."),
    (r"^gen\.dec([AB])5\.2\.", r"\1.decoder.head."),
    (r"^gen\.dec([AB])5\.(\d)\.model\.", r"\1.decoder.ups.\2."),
    *((rf"^gen\.dec([AB]){i + 1}\.", rf"\1.decoder.blocks.{i}.") for i in range(4)),
    (r"\.conv([12])\.0\.1\.", r".conv\1."),
    (r"\.blk([12])\.", r".mix\1."),
)
BLOCKS: Rules = (
    (r"\.ups\.(\d)\.0\.", r".ups.\1.conv."),
    (r"\.ups\.(\d)\.1\.", r".ups.\1.norm."),
    (r"\bmodel\.1\.", "conv1."),
    (r"\bmodel\.5\.", "conv2."),
    (r"^(\w*judge_)?A\.", r"\1a."),
    (r"^(\w*judge_)?B\.", r"\1b."),
)


def names(published: Iterable[str]) -> dict[str, str]:
    """Of a whole checkpoint, or of some of its networks. A block with a second convolution is a residual one."""
    published = list(published)
    film = any(name.startswith("gen.mlp") for name in published)
    residual = {name.partition(".model.5.")[0] for name in published if ".model.5." in name}
    found = by_rules(published, PLACES + ENCODERS + (FILM if film else CONCAT) + BLOCKS)
    for name, ours in found.items():
        if ".content_encoder." in ours and name.partition(".model.1.")[0] not in residual:
            found[name] = ours.replace(".conv1.", ".conv.")
    return found


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Published tensors under our names. What the optimisers remember is left out."""
    used = {name: value for name, value in tensors.items() if not OPTIMISERS.match(name)}
    return renamed(used, names(used), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes."""
    found = ours(tensors, where)
    film = "a.decoder.mlp.0.weight" in found
    head = "a.attribute_encoder.head.weight" if film else "a.attribute_encoder.mean.weight"
    options: dict[str, Any] = {
        "width": len(found["a.content_encoder.0.conv.weight"]),
        "attribute": "film" if film else "concat",
        "style_width": len(found[head]),
    }
    if scales := count(found, r"judge_a\.scales\.(\d+)\."):
        options |= {"scales": scales, "discriminator_width": len(found["judge_a.scales.0.layers.0.weight"])}
    if layers := count(found, r"content_judge\.layers\.(\d+)\."):
        options["content_depth"] = layers - 2
    return opened("drit", options | dict(changes), found, where)
