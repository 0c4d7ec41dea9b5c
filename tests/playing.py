"""Training without a trainer, for tests that only ask whether a system learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from limner.rng import Rng
from limner.system import System


def learn(system: System, take: Callable[[Sequence[int]], Any], *, steps: int, rate: float, batch: int = 4) -> None:
    """Play `steps` steps on batches of `take`, every player with Adam at a rate of its own for the test."""
    system.train()
    sides = {name: torch.optim.Adam(player.parameters(), rate) for name, player in system.players.items()}
    for step in range(steps):
        numbers = range(batch * step, batch * (step + 1))
        for name, losses in system.play(take(numbers), Rng(0, numbers, step)):
            sides[name].zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            sides[name].step()
