"""Watching and changing attention inside a conditional U-Net while it runs.

    with attending(model.unet, change):
        model.predict(latents, t, text)

`change` is asked in every attention layer of every call, in the order in which the U-Net runs them. It answers None,
and the layer does what it always does; or it answers a function of the layer's queries, keys and values, which then
stands for the layer. What is done to the scores before the softmax by giving rows the queries and keys of other rows
(`fused` on them) never makes a map; a map as such is made only by whoever calls `maps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch.nn.functional as F
from torch import Tensor

from limner.errors import CannotDo

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


@dataclass(frozen=True)
class Layer:
    """One attention layer as it is called.

    name: of the module in the U-Net, `down_blocks.0.attentions.0.transformer_blocks.0.attn1`
    place: which part of the U-Net it is in
    crosses: attends to the words; otherwise to the picture itself
    tokens: how many places of the picture attend
    """

    name: str
    place: Literal["down", "mid", "up"]
    crosses: bool
    tokens: int


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries (B, heads, tokens, d), keys and values (B, heads, tokens or words, d) -> (B, heads, tokens, d)."""

Change = Callable[[Layer], Attend | None]


def fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v by torch's kernel, which keeps no map."""
    return F.scaled_dot_product_attention(queries, keys, values)


def maps(queries: Tensor, keys: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)): (B, heads, tokens, tokens or words), each row sums to 1."""
    scores: Tensor = queries @ keys.mT * queries.shape[-1] ** -0.5
    return scores.softmax(-1)


@contextmanager
def attending(unet: UNet2DConditionModel, change: Change) -> Iterator[None]:
    """Inside, the attention layers of `unet` ask `change` what to do."""
    before = unet.attn_processors
    unet.set_attn_processor({name: _Asking(name, processor, change) for name, processor in before.items()})
    try:
        yield
    finally:
        unet.set_attn_processor(before)


class _Asking:
    """An attention processor, as diffusers calls the part of a layer that can be taken out."""

    def __init__(self, name: str, processor: Any, change: Change) -> None:
        self.name = name.removesuffix(".processor")
        self.processor = processor
        self.change = change

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **rest: Any
    ) -> Tensor:
        place: Literal["down", "mid", "up"]
        place = "down" if self.name.startswith("down") else "up" if self.name.startswith("up") else "mid"
        attend = self.change(Layer(self.name, place, encoder_hidden_states is not None, hidden_states.shape[1]))
        if attend is None:
            plain: Tensor = self.processor(attn, hidden_states, encoder_hidden_states, **rest)
            return plain
        if any(value is not None for value in rest.values()) or attn.group_norm is not None or hidden_states.ndim != 3:
            raise CannotDo(f"Attention can't be changed in {self.name}: it is more than plain attention.")
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(states: Tensor) -> Tensor:
            split: Tensor = states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            return split

        attended = attend(heads(attn.to_q(hidden_states)), heads(attn.to_k(context)), heads(attn.to_v(context)))
        projected: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(2))
        return projected
