"""Randomness as a function of (seed, step, index), never of history.

Every random draw in limner comes from a generator made on the spot from integers and short names. Two
consequences: a resumed run is bit-identical to one that never stopped, and any sample, scene or picture can be
made again on its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch and numpy load only where a generator is made
    import numpy as np
    import torch

Key = int | str


def derive(seed: int, *keys: Key) -> int:
    """A 63-bit seed from `seed` and any number of integers or names; the same everywhere and always.

    `derive(1, "caption", 7)` and `derive(1, "noise", 7)` are unrelated streams.
    """
    text = "\x1f".join(f"{type(key).__name__[0]}{key}" for key in (int(seed), *keys))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def torch_rng(seed: int, *keys: Key) -> torch.Generator:
    """A CPU `torch.Generator` for `(seed, *keys)`."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *keys))


def numpy_rng(seed: int, *keys: Key) -> np.random.Generator:
    """A `numpy.random.Generator` (PCG64) for `(seed, *keys)`."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derive(seed, *keys)))


class Rng:
    """Random tensors for a batch: row i depends only on `(seed, name, numbers[i])`.

    numbers: the samples' numbers, counted over the whole training, so that the same sample gets the same draw
    whatever the batch, the process or the accumulation it falls into.
    step: the training step, from 0
    """

    def __init__(self, seed: int, numbers: Sequence[int], step: int = 0) -> None:
        self.seed = seed
        self.numbers = list(numbers)
        self.step = step

    def _rows(self, name: str, draw: Callable[[torch.Generator], torch.Tensor]) -> torch.Tensor:
        import torch

        return torch.stack([draw(torch_rng(self.seed, name, number)) for number in self.numbers])

    def normal(self, name: str, *shape: int) -> torch.Tensor:
        """Standard normal `(B, *shape)`, float32."""
        import torch

        return self._rows(name, lambda generator: torch.randn(shape, generator=generator))

    def uniform(self, name: str, *shape: int) -> torch.Tensor:
        """Uniform in [0, 1), `(B, *shape)`, float32."""
        import torch

        return self._rows(name, lambda generator: torch.rand(shape, generator=generator))

    def integers(self, name: str, low: int, high: int, *shape: int) -> torch.Tensor:
        """Integers in [low, high), `(B, *shape)`, int64."""
        import torch

        return self._rows(name, lambda generator: torch.randint(low, high, shape, generator=generator))
