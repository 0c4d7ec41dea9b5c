"""UNIT's weights as the paper's program saved them: mingyuliutw/UNIT, branch version_02 (CC BY-NC-SA 4.0).

`NAME_gen_00500000.pkl` and `NAME_dis_00500000.pkl`: one state dict each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, count, opened, renamed
from limner.system import System

FILES = ("gen", "dis")

NETWORKS: Rules = (
    (r"^(?:gen\.)?encode_A\.", "generator.encoder_a."),
    (r"^(?:gen\.)?encode_B\.", "generator.encoder_b."),
    (r"^(?:gen\.)?enc_shared\.", "generator.shared_encoder."),
    (r"^(?:gen\.)?dec_shared\.", "generator.shared_decoder."),
    (r"^(?:gen\.)?decode_A\.", "generator.decoder_a."),
    (r"^(?:gen\.)?decode_B\.", "generator.decoder_b."),
    (r"^(?:dis\.)?model_A\.", "discriminator.a."),
    (r"^(?:dis\.)?model_B\.", "discriminator.b."),
    (r"^(?:dis\.)?model_S\.", "discriminator.shared."),
    *(
        (rf"^(?:dis\.)?model_{2**scale}_{side.upper()}\.", f"discriminator.{side}.{scale}.")
        for scale in range(3)
        for side in "ab"
    ),
)


def names(published: Iterable[str]) -> dict[str, str]:
    """Of a whole file, or of one network. A block with a second convolution is a residual one."""
    published = list(published)
    residual = {name.partition(".model.3.")[0] for name in published if ".model.3." in name}
    found = by_rules(published, NETWORKS)
    for name, ours in found.items():
        first = "conv1" if name.partition(".model.0.")[0] in residual else "conv"
        found[name] = ours.replace(".model.0.", f".{first}.").replace(".model.3.", ".conv2.")
    return found


def ours(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    return renamed(tensors, names(tensors), where)


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes; `dis` may be missing. The faces' generator, COCOResGen2, has the shapes of the
    others' and lacks their instance norms: open it with norms=False."""
    found = ours(tensors, where)
    options: dict[str, Any] = {
        "width": len(found["generator.encoder_a.0.conv.weight"]),
        "downs": count(found, r"generator\.encoder_a\.(\d+)\.conv\.") - 1,
        "encoder_blocks": count(found, r"generator\.encoder_a\.(\d+)\.conv1\."),
        "shared_encoder_blocks": count(found, r"generator\.shared_encoder\.(\d+)\."),
        "shared_decoder_blocks": count(found, r"generator\.shared_decoder\.(\d+)\."),
        "decoder_blocks": count(found, r"generator\.decoder_a\.(\d+)\.conv1\."),
    }
    return opened("unit-shared", options | discriminator_options(found) | dict(changes), found, where)


def discriminator_options(found: Mapping[str, Tensor]) -> dict[str, Any]:
    """Options of the discriminator, where there is one among tensors under our names."""
    if "discriminator.a.0.0.conv.weight" in found:
        kind, first = "multi-scale", "discriminator.a.0."
    elif "discriminator.a.0.conv.weight" in found:
        kind = "shared" if count(found, r"discriminator\.(shared)\.") else "separate"
        first = "discriminator.a."
    else:
        return {}
    return {
        "discriminator": kind,
        "discriminator_width": len(found[f"{first}0.conv.weight"]),
        "own_layers": count(found, rf"{first}(\d+)\.conv\."),
        "shared_layers": count(found, r"discriminator\.shared\.(\d+)\.conv\."),
    }
