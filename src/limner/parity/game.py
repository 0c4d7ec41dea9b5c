"""One training step of a system on a record's numbers: its losses and gradients, and nothing is stepped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from limner.rng import Rng
from limner.system import System


class Given(Rng):
    """Draws that a record gives: the name that the system draws under -> what it gets."""

    def __init__(self, draws: Mapping[str, Tensor]) -> None:
        super().__init__(0, range(max((len(rows) for rows in draws.values()), default=0)))
        self.draws = draws

    def normal(self, name: str, *shape: int) -> Tensor:
        return self.draws[name]

    uniform = integers = normal  # type: ignore[assignment]  # the record says what is drawn, and how


@dataclass(frozen=True)
class Move:
    """A player's weighted losses, and their sum's gradient for each of the player's parameters."""

    losses: dict[str, Tensor]
    gradients: dict[nn.Parameter, Tensor]

    @property
    def loss(self) -> Tensor:
        return torch.stack(list(self.losses.values())).sum()

    @property
    def gradient(self) -> Tensor:
        """Norm of the gradient in everything that the player owns."""
        return self.norm()

    def norm(self, *modules: nn.Module) -> Tensor:
        """Norm of the gradient in `modules`, or in everything that the player owns."""
        wanted = {parameter for module in modules for parameter in module.parameters()} or self.gradients.keys()
        each = [torch.linalg.vector_norm(self.gradients[p], dtype=torch.float64) for p in wanted]  # millions of squares
        norm: Tensor = torch.linalg.vector_norm(torch.stack(each))
        return norm


def moves(system: System, batch: Any, rng: Rng | None = None) -> dict[str, Move]:
    """What each player of `system.play` would descend along, in the step's order; `rng` where the step draws."""
    found = {}
    for player, losses in system.play(batch, rng or Given({})):
        parameters = system.players[player].parameters()
        loss = torch.stack(list(losses.values())).sum()
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        detached = {term: value.detach() for term, value in losses.items()}
        found[player] = Move(detached, dict(zip(parameters, gradients, strict=True)))
    return found
