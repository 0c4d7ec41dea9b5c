"""Diffusion in pixels as published: the names of ermongroup/ddim, whose checkpoints SDEdit takes.

Repositories: ermongroup/SDEdit and ermongroup/ddim (MIT). A file is a state dict, or, from the training program, a list
of the weights, the optimiser, two counters and perhaps the weights' average.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from limner.published.compvis import flattened_attention
from limner.published.keys import Rules, by_rules, count, opened, renamed, under
from limner.system import System

BLOCKS: Rules = (
    (r"^module\.", ""),  # of a program on several devices
    (r"^temb\.dense\.0\.", "time_embedding.linear_1."),
    (r"^temb\.dense\.1\.", "time_embedding.linear_2."),
    (r"^down\.(\d+)\.", r"down_blocks.\1."),
    (r"^mid\.block_1\.", "mid_block.resnets.0."),
    (r"^mid\.attn_1\.", "mid_block.attentions.0."),
    (r"^mid\.block_2\.", "mid_block.resnets.1."),
    (r"\.block\.(\d+)\.", r".resnets.\1."),
    (r"\.attn\.(\d+)\.", r".attentions.\1."),
    (r"\.(down|up)sample\.conv\.", r".\1samplers.0.conv."),
    (r"\.temb_proj\.", ".time_emb_proj."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"(attentions\.\d+)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.\d+)\.([qkv])\.", r"\1.to_\2."),
    (r"(attentions\.\d+)\.proj_out\.", r"\1.to_out.0."),
    (r"^norm_out\.", "conv_norm_out."),
)


def unet_names(published: Iterable[str]) -> dict[str, str]:
    """`up.3.attn.0.q.weight` -> `up_blocks.0.attentions.0.to_q.weight`, and so on: ours are counted as they run."""
    published = list(published)
    levels = count(published, r"(?:module\.)?up\.(\d+)\.")
    turned = tuple((rf"^(module\.)?up\.{level}\.", f"up_blocks.{levels - 1 - level}.") for level in range(levels))
    return by_rules(published, turned + BLOCKS)


def unet_weights(published: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """A U-Net's tensors under our names and in our shapes."""
    return flattened_attention(renamed(published, unet_names(published), where))


def convert(tensors: Mapping[str, Tensor], where: str, changes: Mapping[str, Any]) -> System:
    """The average where the file has one. The size leaves no trace in the tensors: 256, unless `changes` say so."""
    tensors = under("4.", tensors) or under("0.", tensors) or tensors
    ours = unet_weights(tensors, where)
    widths = [
        ours[f"down_blocks.{level}.resnets.0.conv1.weight"].shape[0]
        for level in range(count(ours, r"down_blocks\.(\d+)\."))
    ]
    size, width = changes.get("size", 256), ours["conv_in.weight"].shape[0]
    found = {
        "size": size,
        "width": width,
        "multipliers": tuple(each // width for each in widths),
        "blocks": count(ours, r"down_blocks\.0\.resnets\.(\d+)\."),
        "attention": tuple(
            size >> level for level in range(len(widths)) if f"down_blocks.{level}.attentions.0.to_q.weight" in ours
        ),
    }
    ours = {f"unet.{name}": value for name, value in ours.items()}
    return opened("pixel-diffusion", found | dict(changes), ours, where)
