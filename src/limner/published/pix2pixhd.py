"""pix2pixHD's published weights: one state dict a network, `latest_net_G.pth` and so on.

Repository: NVIDIA/pix2pixHD. Released: `label2city_1024p`, with one enhancer, for 2048 x 1024 (BSD since 2024; earlier
copies CC BY-NC-SA). Its layers are numbered with pads, norms and activations; discriminators are numbered backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from limner.published.keys import Rules, by_rules, count, opened, renamed, under
from limner.system import System

FILES = ("G", "D", "E")

BLOCKS: Rules = ((r"\.conv_block\.", ".layers."),)
ENCODER: Rules = ((r"^model\.", ""),)


def generator_names(published: Iterable[str]) -> dict[str, str]:
    """`model1_2.0.conv_block.1.weight` -> `enhancers.0.up.0.layers.1.weight`; the very last layer is the head."""
    published = list(published)
    enhancers = count(published, r"model(\d+)_1\.")
    outermost = f"model{enhancers}_2." if enhancers else "model."
    last = max(int(name.removeprefix(outermost).partition(".")[0]) for name in published if name.startswith(outermost))
    rules = (
        (rf"^{outermost.replace('.', '[.]')}{last}\.", "head.1."),
        (r"^model\.", "coarse."),
        *((rf"^model{n}_1\.", f"enhancers.{n - 1}.down.") for n in range(1, enhancers + 1)),
        *((rf"^model{n}_2\.", f"enhancers.{n - 1}.up.") for n in range(1, enhancers + 1)),
    )
    return by_rules(published, rules + BLOCKS)


def discriminator_names(published: Iterable[str]) -> dict[str, str]:
    """`scale1_layer0.0.weight` -> `0.0.0.weight` of two scales: theirs ends with full resolution."""
    published = list(published)
    scales = count(published, r"scale(\d+)_")
    return by_rules(published, tuple((rf"^scale{n}_layer(\d+)\.", rf"{scales - 1 - n}.\1.") for n in range(scales)))


def convert(published: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The sizes are read off the shapes. What the input channels are isn't told there: edges are taken to be among
    them, and features if there is an encoder or `changes` say so."""
    files = {name: under(f"{name}.", published) for name in FILES}
    ours = renamed(files["G"], generator_names(files["G"]), where)
    stem = ours["coarse.1.weight"]  # (width, channels, 7, 7)
    together = {f"generator.{name}": value for name, value in ours.items()}
    found: dict[str, Any] = {
        "width": len(stem),
        "downsamplings": (count(ours, r"coarse\.(\d+)\.weight") - 1) // 2,
        "blocks": count(ours, r"coarse\.(\d+)\.layers\."),
        "enhancers": count(ours, r"enhancers\.(\d+)\."),
    }
    if found["enhancers"]:
        found["enhancer_blocks"] = count(ours, r"enhancers\.0\.up\.(\d+)\.layers\.")
    if files["E"]:
        ours = renamed(files["E"], by_rules(files["E"], ENCODER), where)
        layers = sorted(int(name.partition(".")[0]) for name in ours if name.endswith(".weight"))
        found["encoder_width"] = len(ours[f"{layers[0]}.weight"])
        found["encoder_downsamplings"] = (len(layers) - 2) // 2
        found["features"] = len(ours[f"{layers[-1]}.weight"])
        together |= {f"encoder.{name}": value for name, value in ours.items()}
    if files["D"]:
        ours = renamed(files["D"], discriminator_names(files["D"]), where)
        found["discriminator_width"] = len(ours["0.0.0.weight"])
        found["discriminator_layers"] = count(ours, r"0\.(\d+)\.") - 2
        found["scales"] = count(ours, r"(\d+)\.")
        together |= {f"discriminator.{name}": value for name, value in ours.items()}
    found |= changes
    other = found.get("features", 0) + found.get("edges", True) + found.get("unknown", False)
    return opened("pix2pixhd", {"classes": stem.shape[1] - other} | found, together, where)
