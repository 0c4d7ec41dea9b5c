"""SPADE's published weights: one state dict a network, `latest_net_G.pth` and so on.

Repository: NVlabs/SPADE (CC BY-NC-SA 4.0). Released: generators for COCO-Stuff, ADE20K and Cityscapes. Their spectral
norms are PyTorch's older ones; those saved by PyTorch 1.0 lack `weight_v`, which follows from `weight_u`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import normalize

from limner.published.keys import Rules, by_rules, count, opened, renamed, under
from limner.system import System

FILES = ("G", "D", "E")

SPECTRAL: Rules = (
    (r"\.weight_orig$", ".parametrizations.weight.original"),
    (r"\.weight_(u|v)$", r".parametrizations.weight.0._\1"),
)
LADDER: Rules = (
    (r"^fc\.", "first."),
    (r"^head_0\.", "blocks.0."),
    (r"^G_middle_0\.", "blocks.1."),
    (r"^G_middle_1\.", "blocks.2."),
    *((rf"^up_{number}\.", f"blocks.{3 + number}.") for number in range(5)),
    (r"^conv_img\.", "head."),
    (r"\.conv_0\.", ".conv1."),
    (r"\.conv_1\.", ".conv2."),
    (r"\.conv_s\.", ".shortcut."),
)
"""The generator's blocks and convolutions, which SEAN has too."""
MODULATION: Rules = ((r"\bmlp_shared\.0\.", "shared."), (r"\bmlp_gamma\.", "scale."), (r"\bmlp_beta\.", "shift."))
NORMS: Rules = (
    (r"\.norm_0\.", ".norm1."),
    (r"\.norm_1\.", ".norm2."),
    (r"\.norm_s\.", ".shortcut_norm."),
    (r"\.param_free_norm\.", ".norm."),
    (r"\.(?=mlp_)", ".modulation."),
)
GENERATOR: Rules = (*LADDER, *NORMS, *MODULATION, *SPECTRAL)
DISCRIMINATOR: Rules = (
    (r"^discriminator_(\d+)\.model(\d+)\.0\.0\.", r"\1.\2.0."),
    (r"^discriminator_(\d+)\.model(\d+)\.", r"\1.\2."),
    *SPECTRAL,
)
ENCODER: Rules = (
    *((rf"^layer{number}\.", f"layers.{number - 1}.") for number in range(1, 7)),
    (r"^fc_mu\.", "mean."),
    (r"^fc_var\.", "logvar."),
    *SPECTRAL,
)


RELEASED: dict[int, dict[str, Any]] = {
    184: {"classes": 182},
    151: {"classes": 150, "edges": False},
    36: {"classes": 35, "unknown": False, "doublings": 6, "size": (256, 512)},
}
"""COCO-Stuff, ADE20K and Cityscapes, by the channels of their label maps."""


def ours(published: Mapping[str, Tensor], rules: Rules, where: str) -> dict[str, Tensor]:
    """A network's published tensors under our names, the `weight_v` that are lacking added."""
    whole = dict(published)
    for name in [name.removesuffix("weight_orig") for name in published if name.endswith(".weight_orig")]:
        if f"{name}weight_v" not in whole:
            matrix = published[f"{name}weight_orig"].flatten(1)
            whole[f"{name}weight_v"] = normalize(matrix.T @ published[f"{name}weight_u"], dim=0, eps=1e-12)
    return renamed(whole, by_rules(whole, rules), where)


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """Widths are read off the shapes. What they don't tell: which channels the classes are (without `changes`, those of
    COCO-Stuff, ADE20K and Cityscapes are known by their number), and the size (256 x 256, and 512 x 256 for
    Cityscapes)."""
    files = {name: under(f"{name}.", published) for name in FILES}
    generator = ours(files["G"], GENERATOR, where)
    together = {f"generator.{name}": value for name, value in generator.items()}
    channels = generator["blocks.0.norm1.modulation.shared.weight"].shape[1]
    width = len(generator["blocks.6.conv2.bias"])
    vae = generator["first.weight"].ndim == 2
    found: dict[str, Any] = {"width": width, "vae": vae, "doublings": 7 if "blocks.7.conv1.bias" in generator else 5}
    if vae:
        found["style"] = generator["first.weight"].shape[1]
    found |= RELEASED.get(channels, {})
    if files["E"]:
        encoder = ours(files["E"], ENCODER, where)
        found |= {"encoder_width": len(encoder["layers.0.0.parametrizations.weight.0._u"])}
        together |= {f"encoder.{name}": value for name, value in encoder.items()}
    if files["D"]:
        judges = ours(files["D"], DISCRIMINATOR, where)
        found["discriminator_width"] = len(judges["0.0.0.weight"])
        found["discriminator_layers"] = count(judges, r"0\.(\d+)\.") - 1
        found["scales"] = count(judges, r"(\d+)\.")
        together |= {f"discriminator.{name}": value for name, value in judges.items()}
    found |= changes
    other = found.get("edges", True) + found.get("unknown", True)
    return opened("spade", {"classes": channels - other} | found, together, where)
