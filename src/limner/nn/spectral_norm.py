"""Spectral normalisation: a weight over its largest singular value (Miyato et al., ICLR 2018, algorithm 1).

As published, and as PyTorch had it when the published programs were written: the vectors begin as noise, and each
forward pass in training takes one power iteration from `u`, so the singular value is estimated with the `v` that comes
of the `u` before. PyTorch's present `torch.nn.utils.parametrizations.spectral_norm` begins with fifteen iterations and
is half an iteration ahead: other numbers in training, the same ones at test time.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

M = TypeVar("M", bound=nn.Module)


class SpectralNorm(nn.Module):
    """Weight (outgoing, ...) -> the same, over its largest singular value as a matrix (outgoing, everything else)."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        for name, length in zip(("_u", "_v"), matrix.shape, strict=True):
            self.register_buffer(name, F.normalize(matrix.new_empty(length).normal_(), dim=0, eps=1e-12))

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)  # torch.mv and torch.dot stay in float32 under autocast, which @ does not
        if self.training:
            with torch.no_grad():
                self._v.copy_(F.normalize(torch.mv(matrix.T, self._u), dim=0, eps=1e-12))
                self._u.copy_(F.normalize(torch.mv(matrix, self._v), dim=0, eps=1e-12))
        # The next pass overwrites the vectors, which this one's backward still needs.
        return weight / torch.dot(self._u.clone(), torch.mv(matrix, self._v.clone()))


def spectral_norm(layer: M) -> M:
    """The layer, its `weight` normalised whenever it is used."""
    register_parametrization(layer, "weight", SpectralNorm(layer.get_parameter("weight")))
    return layer
