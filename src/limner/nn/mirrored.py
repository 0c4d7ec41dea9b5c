"""A convolution whose borders are mirrored, quick under autocast.

Autocast on a CPU widens to float32 for the mirroring alone, though no number is computed there, and narrows again for
the convolution: two more copies of every map, forwards and backwards.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MirroredConv2d(nn.Conv2d):
    """`nn.Conv2d` with `padding_mode="reflect"`: the same numbers, and the input's type up to the convolution."""

    def __init__(
        self, incoming: int, outgoing: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(incoming, outgoing, kernel, stride, padding, bias=bias, padding_mode="reflect")
        self.border = padding

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x, (self.border,) * 4, mode="reflect")
        return F.conv2d(x, self.weight, self.bias, self.stride)
