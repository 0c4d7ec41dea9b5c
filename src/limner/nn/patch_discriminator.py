"""The PatchGAN (Isola et al., CVPR 2017), which judges patch by patch: of pix2pix, CycleGAN, VQGAN and others."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from limner.errors import BadInput
from limner.nn.instance_norm import InstanceNorm

Norm = Literal["batch", "instance"]
"""Batch norm with scales and shifts, or instance norm without; a layer before a batch norm has no bias."""


class PatchDiscriminator(nn.Sequential):
    """The PatchGAN: (B, channels, H, W) -> raw scores (B, 1, h, w), each of one patch (section 3.2.2)."""

    def __init__(self, channels: int = 3, width: int = 64, layers: int = 3, norm: Norm = "batch") -> None:
        widths = [width * min(2**layer, 8) for layer in range(layers + 1)]
        stages: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for layer, (before, after) in enumerate(pairwise(widths), 1):
            stride = 2 if layer < layers else 1
            stages.append(nn.Conv2d(before, after, 4, stride, 1, bias=norm == "instance"))
            stages += [normalisation(norm, after), nn.LeakyReLU(0.2)]
        super().__init__(*stages, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.least = 3 * 2**layers  # pixels a side that leave one score

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[-2:]
        if min(height, width) < self.least:
            raise BadInput(
                f"This PatchGAN judges pictures of at least {self.least} pixels a side, not {width}x{height}. "
                "Train on larger pictures, or let it see a smaller field (fewer layers)."
            )
        for layer in self:
            pictures = layer(pictures)
        return pictures


def normalisation(norm: Norm, width: int) -> nn.Module:
    return nn.BatchNorm2d(width) if norm == "batch" else InstanceNorm()
