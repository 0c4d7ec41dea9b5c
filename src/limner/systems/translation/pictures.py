"""Pictures of any size for networks that want multiples of something, and back: what the translators share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limner.errors import BadInput
from limner.system import from_uint8


def mirrored(x: Tensor, multiple: int) -> Tensor:
    """(..., H, W) of any size -> (..., H', W'), the next multiples of `multiple`: what is lacking on the right and at
    the bottom is mirrored, more than once if need be. Cropping to [..., :H, :W] undoes it."""
    height, width = x.shape[-2:]
    rows, columns = _to_and_fro(height, -height % multiple), _to_and_fro(width, -width % multiple)
    return x[..., rows.to(x.device), :][..., columns.to(x.device)]


def _to_and_fro(length: int, more: int) -> Tensor:
    """0, 1, ..., length - 1, length - 2, ..., 0, 1, ...: `length + more` numbers; the turning points come once."""
    period = max(1, 2 * (length - 1))
    places = torch.arange(length + more) % period
    return torch.minimum(places, period - places)


def taken(pictures: np.ndarray, channels: int = 3, *, system: str) -> Tensor:
    """What `translate` was given: uint8 (N, H, W, channels) as float (N, channels, H, W) in [-1, 1]. Anything else is
    `BadInput`, which names the `system`."""
    if pictures.ndim != 4 or pictures.shape[-1] != channels or pictures.dtype != np.uint8 or not pictures.size:
        raise BadInput(
            f"{system} translates uint8 pictures of shape (N, H, W, {channels}), at least one, not {pictures.dtype} "
            f"{pictures.shape}."
        )
    return from_uint8(pictures)


def each_of(batch: Tensor) -> tuple[Tensor, ...]:
    """The rows of (N, ...), each as (1, ...): for what takes them one at a time, so that memory is bounded."""
    return batch.chunk(len(batch))
