"""VGG (Simonyan and Zisserman, 2015): the feature network of the perceptual losses.

The layers have torchvision's numbers (`features.0.weight`, ...), so that its published ImageNet weights load as they
are. Layers are asked for by the papers' names: `relu3_1` is what follows the first convolution of the third block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from limner.errors import BadInput

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's colours, in [0, 1]: what torchvision's weights were trained with."""


class VGG(nn.Module):
    """The convolutional part of VGG-16 or VGG-19, without batch norm. Weights are drawn; load the published ones."""

    def __init__(
        self,
        depth: Literal[16, 19] = 19,
        last: str = "relu5_1",
        padding: Literal["zeros", "reflect"] = "zeros",
        width: int = WIDTHS[0],
    ) -> None:
        """last: the deepest layer that will be asked for; what comes after it is not built
        padding: of the convolutions, as `nn.Conv2d` names it ("reflect" in style transfer)
        width: channels of the first block; only the published 64 takes published weights"""
        super().__init__()
        self.features = nn.Sequential()
        self.numbers: dict[str, int] = {}
        incoming = 3
        widths = [width * channels // WIDTHS[0] for channels in WIDTHS]
        for block, (outgoing, convolutions) in enumerate(zip(widths, DEPTHS[depth], strict=True), 1):
            for number in range(1, convolutions + 1):
                self.features.append(nn.Conv2d(incoming, outgoing, 3, padding=1, padding_mode=padding))
                self.numbers[f"conv{block}_{number}"] = len(self.features) - 1
                self.features.append(nn.ReLU())
                self.numbers[f"relu{block}_{number}"] = len(self.features) - 1
                incoming = outgoing
                if f"relu{block}_{number}" == last:
                    return
            self.features.append(nn.MaxPool2d(2))
            self.numbers[f"pool{block}"] = len(self.features) - 1
            if f"pool{block}" == last:
                return
        if last not in self.numbers:
            raise BadInput(f"VGG-{depth} has no layer {last}; it has {', '.join(self.numbers)}.")

    def forward(self, pictures: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """Normalised pictures (B, 3, H, W) -> the named layers' outputs, in the order asked for."""
        wanted = {self.numbers[name]: name for name in layers}
        found: dict[str, Tensor] = {}
        x = pictures
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in wanted:
                found[wanted[number]] = x
            if len(found) == len(wanted):
                break
        return [found[name] for name in layers]


def imagenet(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] -> normalised by ImageNet's mean and standard deviation."""
    mean, std = (torch.tensor(values).to(pictures).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((pictures + 1) / 2 - mean) / std


LADDER = {"relu1_1": 1 / 32, "relu2_1": 1 / 16, "relu3_1": 1 / 8, "relu4_1": 1 / 4, "relu5_1": 1.0}


def waiting(depth: Literal[16, 19] = 19, last: str = "relu5_1") -> VGG:
    """A VGG for a training loss: never trained, and all zeros until `limner.published.vgg.give` fills it."""
    vgg = VGG(depth, last).requires_grad_(False)
    for parameter in vgg.parameters():
        parameter.zero_()
    return vgg


def require_weights(vgg: VGG, name: str) -> None:
    """`BadInput`, which says the system's `name`, while a VGG is still `waiting` for its weights."""
    if not bool(next(vgg.parameters()).any()):
        raise BadInput(
            f"{name}: the perceptual loss needs VGG's published weights, which limner doesn't ship. Begin the training "
            "with limner train --vgg FILE (from Python: limner.published.vgg.give(system.vgg, FILE)), or without that "
            "loss: perceptual=0."
        )


def perceptual(vgg: VGG, pictures: Tensor, truth: Tensor) -> Tensor:
    """How far pictures are from the truth, both (B, 3, H, W) in [-1, 1], in VGG-19's features: the mean absolute
    difference of five layers, the finest weighing 1/32, each next one twice as much (pix2pixHD, section 3.3 and its
    program, whose numbers SPADE, SEAN and vid2vid keep). As published, without ImageNet's normalisation."""
    with torch.no_grad():
        wanted = vgg(truth, tuple(LADDER))
    given = vgg(pictures, tuple(LADDER))
    terms = [weight * (a - b).abs().mean() for weight, a, b in zip(LADDER.values(), given, wanted, strict=True)]
    return torch.stack(terms).sum()
