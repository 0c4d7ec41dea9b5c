"""What the records of the systems that translate label maps have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.record import Record


def numbers(record: Record, name: str) -> Tensor:
    """Class or instance numbers (B, H, W): the formula, then "each cell repeated 8x8"."""
    cells = record.input(name)[:, 0].long()
    repeated = re.search(r"each cell repeated (\d+)x(\d+)", record.transform(name))
    down, across = (int(times) for times in repeated.groups()) if repeated else (1, 1)
    return cells.repeat_interleave(down, 1).repeat_interleave(across, 2)


def settled(record: Record, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state after `after_fill`: the vectors of every spectral norm from so many power iterations."""
    said = str(record.content.get("after_fill", ""))
    if not said:
        return state
    times = re.search(r"then (\d+) times", said)
    if "spectral-norm" not in said or times is None:
        raise BadInput(f"{record.path}: its after_fill is not the one that this check knows")
    state = dict(state)
    for name in [name.removesuffix("weight_orig") for name in state if name.endswith("weight_orig")]:
        weight, u = state[f"{name}weight_orig"], state[f"{name}weight_u"]
        matrix = (weight if len(weight) == len(u) else weight.transpose(0, 1)).flatten(1)
        u = u / u.norm().clamp(min=1e-12)
        for _ in range(int(times[1])):
            v = nn.functional.normalize(matrix.T @ u, dim=0, eps=1e-12)
            u = nn.functional.normalize(matrix @ v, dim=0, eps=1e-12)
        state[f"{name}weight_u"], state[f"{name}weight_v"] = u, v
    return state


def layers(found: list[list[Tensor]]) -> dict[str, Tensor]:
    """What a multi-scale discriminator gives, by the records' names: scale 0 is full resolution."""
    return {f"scale{i}_layer{j}": x for i, scale in enumerate(found) for j, x in enumerate(scale)}


def size(build: Callable[[], nn.Module]) -> int:
    """How many parameters a network would have."""
    with torch.device("meta"):
        return count(build().parameters())


def counted(record: Record, network: nn.Module, published: Collection[int]) -> int:
    """A record's `n_params` is what was built; records of smaller networks may give a published size in its place."""
    said = record.content.get("n_params")
    return next((number for number in published if number == said), count(network.parameters()))
