"""First weights, as the published adversarial systems draw them.

Each function draws the weights of every convolution and linear layer inside `module` anew, from torch's global
generator, and sets their biases to 0. All of them share one convention for batch norm, introduced by DCGAN (Radford,
Metz and Chintala, 2016): scales are normal around 1 with standard deviation 0.02, shifts are 0. Norms without scales
and other layers stay as they are. A layer under a parametrisation (spectral norm) has its underlying weight drawn.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize


def normal(module: nn.Module, std: float = 0.02) -> None:
    """Normal around 0 (DCGAN; pix2pix, section 6.2; CycleGAN, section 4)."""
    _draw(module, lambda weight: nn.init.normal_(weight, 0, std))


def xavier(module: nn.Module, gain: float = 0.02) -> None:
    """Normal with standard deviation gain * sqrt(2 / (fan in + fan out)) (Glorot and Bengio, 2010)."""
    _draw(module, lambda weight: nn.init.xavier_normal_(weight, gain))


def kaiming(module: nn.Module) -> None:
    """Normal with standard deviation sqrt(2 / fan in): a chain of ReLUs keeps its scale (He et al., 2015)."""
    _draw(module, nn.init.kaiming_normal_)


def orthogonal(module: nn.Module, gain: float = 0.02) -> None:
    """Orthogonal rows or columns, scaled by `gain` (Saxe, McClelland and Ganguli, 2014)."""
    _draw(module, lambda weight: nn.init.orthogonal_(weight, gain))


def _draw(module: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    for layer in module.modules():
        if isinstance(layer, _ConvNd | nn.Linear):
            draw(_underlying(layer))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, _BatchNorm) and layer.affine:
            nn.init.normal_(layer.weight, 1, 0.02)
            nn.init.zeros_(layer.bias)


def _underlying(layer: nn.Module) -> Tensor:
    """The parameter that is trained: under a parametrisation, `layer.weight` is only computed from it."""
    if parametrize.is_parametrized(layer, "weight"):
        return layer.parametrizations.weight.original  # type: ignore[union-attr, return-value]  # torch types it loosely
    return layer.weight  # type: ignore[return-value]  # of any module
