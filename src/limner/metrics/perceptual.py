"""LPIPS, the perceptual distance of Zhang et al. (2018): differences of features, weighed by what people see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from limner.errors import BadInput
from limner.metrics.similarity import Pairs
from limner.nn.vgg import VGG
from limner.published.feature_networks import Trunk
from limner.system import from_uint8

BATCH = 8

TAPS: dict[Trunk, tuple[int, ...]] = {"alexnet": (1, 4, 7, 9, 11), "vgg16": (3, 8, 15, 22, 29)}
"""Layers whose outputs are compared: the last ReLU before each change of size, or of width."""

WIDTHS: dict[Trunk, tuple[int, ...]] = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}


class Judge(Protocol):
    """A network that tells how different two pictures look."""

    @property
    def look(self) -> str:
        """What it is, for the protocol."""

    def distance(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        """Pictures uint8 (N, H, W, 3), pair by pair -> (N,), 0 for equal ones."""


class PerceptualDistance(Pairs):
    """The mean perceptual distance of pairs, from 0, less is more alike.

    Between several outputs for one input, given as `made` and `real`, it is the diversity of BicycleGAN and MUNIT.
    """

    name = "lpips"

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge
        self.protocol = f"perceptual distance, {judge.look}"

    def each(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        return self.judge.distance(made, real)


class LPIPS(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1], twice -> their distances (B,): version 0.1 of the published program.

    The heads are ones until the published ones are loaded: then all channels weigh the same, the paper's uncalibrated
    distance.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk: Trunk = trunk
        layers = VGG(16, "relu5_3").features if trunk == "vgg16" else alexnet_features()
        self.features = nn.Sequential(*list(layers)[: TAPS[trunk][-1] + 1])
        self.heads = nn.ParameterList([torch.ones(1, width, 1, 1) for width in WIDTHS[trunk]])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        return layers_apart(self.maps(made), self.maps(real), list(self.heads))

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """The compared layers' outputs, the finest first."""
        x, found = (pictures - self.shift) / self.scale, []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in TAPS[self.trunk]:
                found.append(x)
        return found

    @property
    def look(self) -> str:
        calibrated = any(bool((head != 1).any()) for head in self.heads)
        return f"LPIPS 0.1 of {self.trunk}" + ("" if calibrated else ", uncalibrated")

    @torch.inference_mode()
    def distance(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        """As `Judge.distance`."""
        if min(made.shape[1:3]) < 32:
            height, width = made.shape[1:3]
            raise BadInput(f"LPIPS needs pictures of 32 pixels a side or more; these are {width}x{height}.")
        found = []
        for i in range(0, len(made), BATCH):
            a, b = (from_uint8(side[i : i + BATCH]).to(self.shift.device) for side in (made, real))
            found.append(self(a, b))
        return torch.cat(found).double().cpu().numpy()


def layers_apart(made: Sequence[Tensor], real: Sequence[Tensor], heads: Sequence[Tensor] | None = None) -> Tensor:
    """Eq. 1: squared differences of features scaled to unit length, weighed by channel, averaged over positions, summed
    over layers. Maps (B, C, H, W) a layer, heads (1, C, 1, 1) -> (B,)."""
    total = torch.zeros(len(made[0]), device=made[0].device)
    for k, (a, b) in enumerate(zip(made, real, strict=True)):
        gap = (_unit(a) - _unit(b)) ** 2
        total = total + (gap if heads is None else gap * heads[k]).sum(1).mean((1, 2))
    return total


def _unit(x: Tensor) -> Tensor:
    length: Tensor = x.square().sum(1, keepdim=True).sqrt()
    return x / (length + 1e-10)


def alexnet_features() -> nn.Sequential:
    """The convolutions of AlexNet (Krizhevsky, 2014), in torchvision's numbering."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
