"""BicycleGAN's published weights (junyanz/BicycleGAN, BSD): `<epoch>_net_{G,E,D,D2}.pth`, a bare state dict each.

G nests: what lies below a level is its `submodule`, or among its `model`s in the variant that takes the style code at
the input only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limner.errors import BadCheckpoint
from limner.published.keys import Rules, by_rules, count, opened, renamed, under
from limner.system import System

FILES = ("G", "E", "D", "D2")
NETWORKS = {"G": "generator", "E": "encoder", "D": "discriminator_vae", "D2": "discriminator"}

DEEPEST = 16  # levels that the rules below know; the published networks have 8

GENERATOR: Rules = tuple(
    (rf"^model\.(?:submodule\.){{{level}}}{theirs}\.\d\.", f"{ours}.{level}.")
    for level in range(DEEPEST)
    for theirs, ours in (("down", "downs"), ("up", "ups"))
)

GENERATOR_AT_INPUT: Rules = (
    (r"^model\.model\.0\.", "downs.0."),
    (r"^model\.model\.[2-9]\.", "ups.0."),
    *(
        (rf"^model\.model\.1\.(?:model\.3\.){{{level - 1}}}model\.{theirs}\.(?!model)", f"{ours}.{level}.")
        for level in range(1, DEEPEST)
        for theirs, ours in (("1", "downs"), ("[3-9]", "ups"))
    ),
)

CODE: Rules = ((r"^fc\.0\.", "mean."), (r"^fcVar\.0\.", "log_variance."))
RESIDUAL_ENCODER: Rules = (
    *CODE,
    (r"^conv\.0\.", "stem."),
    *((rf"^conv\.{block + 1}\.", f"blocks.{block}.") for block in range(DEEPEST)),
    (r"\.conv\.2\.", ".first."),
    (r"\.conv\.5\.0\.", ".second."),
    (r"\.shortcut\.1\.", ".shortcut."),
)
PLAIN_ENCODER: Rules = (*CODE, (r"^conv\.", "layers."))

DISCRIMINATOR: Rules = ((r"^model_(\d+)\.", r"scales.\1."), (r"^model\.", "scales.0."))


def rules(file: str, names: Mapping[str, Tensor]) -> Rules:
    """Those of one of `FILES` that holds these names."""
    if file == "G":
        return GENERATOR_AT_INPUT if "model.model.0.weight" in names else GENERATOR
    if file == "E":
        return RESIDUAL_ENCODER if "conv.1.shortcut.1.weight" in names else PLAIN_ENCODER
    return DISCRIMINATOR


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """What the files hold, each behind its name in `FILES` and a dot, under our names."""
    found: dict[str, Tensor] = {}
    for file, network in NETWORKS.items():
        held = under(f"{file}.", tensors)
        named = renamed(held, by_rules(held, rules(file, held)), where)
        found |= {f"{network}.{name}": value for name, value in named.items()}
    if len(found) != len(tensors):
        raise BadCheckpoint(f"{where}: BicycleGAN's files are {', '.join(FILES)}; some entries belong to none of them")
    return found


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes; whether there was dropout, and weights of losses, leave no trace there. The
    style code's size, too, where G takes it at the input alone: without E it is then 8 as published, or --set."""
    named = ours(tensors, where)
    return opened("bicyclegan", sizes(named) | dict(changes), named, where)


def sizes(named: Mapping[str, Tensor]) -> dict[str, Any]:
    """BicycleGAN's options that follow from the shapes."""
    width, incoming = named["generator.downs.0.weight"].shape[:2]
    everywhere = named["generator.downs.1.weight"].shape[1] > width
    style = 8
    if everywhere:
        style = named["generator.downs.1.weight"].shape[1] - width
    elif "encoder.mean.weight" in named:
        style = len(named["encoder.mean.weight"])
    found: dict[str, Any] = {
        "style": style,
        "width": width,
        "depth": count(named, r"generator\.downs\.(\d+)\."),
        "source_channels": incoming - style,
        "style_at": "every level" if everywhere else "input",
        "upsampling": "bilinear" if named["generator.ups.1.weight"].shape[-1] == 3 else "transposed",
    }
    if "encoder.stem.weight" in named:
        found |= {"encoder": "residual", "encoder_width": len(named["encoder.stem.weight"])}
        found["encoder_depth"] = 1 + count(named, r"encoder\.blocks\.(\d+)\.")
    elif "encoder.layers.0.weight" in named:
        found |= {"encoder": "plain", "encoder_width": len(named["encoder.layers.0.weight"])}
        found["encoder_depth"] = count(named, r"encoder\.layers\.(\d+)\.")
    judge = next(
        (name for name in ("discriminator", "discriminator_vae") if f"{name}.scales.0.0.weight" in named), None
    )
    if judge:
        found["discriminator_width"], seen = named[f"{judge}.scales.0.0.weight"].shape[:2]
        found |= {"conditional": seen > 3, "scales": count(named, rf"{judge}\.scales\.(\d+)\.")}
        found["discriminator_layers"] = count(named, rf"{judge}\.scales\.0\.(\d+)\.") - 2
    return found
