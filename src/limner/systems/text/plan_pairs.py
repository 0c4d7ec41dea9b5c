"""Pairs of storybook pictures that differ in what their captions differ in: Prompt-to-Prompt's idea, for plans.

A latent diffusion model that draws two captions from one noise, and lends the first picture's self-attention to the
second, keeps the layout where the captions agree (Hertz et al., 2022; Brooks et al., 2023, section 3.1.2). The
storybook has no attention of pixels to pixels: its layout is a row of tokens, which the planner writes one by one. So

- both plans are written with the same chances, token by token: common random numbers, in place of common noise;
- a thing of the "after" plan that stands in the "before" plan, too (the same noun, each taken once), is put where it
  stands there, without asking the planner; what it is, is always the planner's own choice. This holds for the first
  `injected` of the things, back to front, as attention is injected for the first of the steps.

With 0.1 the thing at the back stays where it is; with 0.9 nearly all do. It is an analogue and no more: what is lent is
a decision about where things stand and not a distribution over it, and pictures of equal plans are equal to the pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.rng import torch_rng
from limner.systems.text.dalle_mini import Reader, empty_caption, pick, probabilities
from limner.systems.text.layout_painter import NONE
from limner.systems.text.storybook import Storybook, one_thread
from limner.systems.text.words import PAD, UNKNOWN

GUIDANCE = (1.0, 3.0)
"""Uniform in between; 1.5 is what the storybook draws with."""

Lend = Callable[[int, Tensor], Tensor]


@torch.inference_mode()
def draw_plan_pairs(
    model: Storybook,
    before: str,
    after: str,
    seeds: Sequence[int],
    injected: Sequence[float],
    guidance: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Pictures (k, 3, 144, 256) in [-1, 1] of "before" and of "after", one of each for a seed, a share and a guidance.

    A sample depends on its own seed, share and guidance alone, but for the rounding of sums.
    """
    if not len(seeds) == len(injected) == len(guidance):
        raise BadInput(f"{len(seeds)} seeds, {len(injected)} shares and {len(guidance)} guidances: as many of each.")
    texts = model.tokenise([before, after])
    for text, words in zip(texts, (before, after), strict=True):
        if not bool((text > UNKNOWN).any()):
            raise BadInput(f"The storybook knows none of the words in {words!r}.")
    first = plan(model, texts[:1], seeds, guidance)
    second = plan(model, texts[1:], seeds, guidance, lending(model, first, injected))
    return model.paint(first), model.paint(second)


def plan(
    model: Storybook, text: Tensor, seeds: Sequence[int], guidance: Sequence[float], lend: Lend | None = None
) -> Tensor:
    """Plans (k, length) for the text (1, L), as the storybook's planner samples them.

    lend: `(position, tokens so far) -> tokens` (k,) that are put there without asking; below 0, the planner is asked
    """
    planner, k = model.planner, len(seeds)
    texts = torch.cat([empty_caption(text), text]).repeat_interleave(k, 0)
    scale = torch.tensor(guidance, device=text.device)[:, None]
    length = planner.config.image_length
    chance = torch.stack(
        [torch.rand(length, generator=torch_rng(seed, "draw"), dtype=torch.float64) for seed in seeds]
    ).to(text.device)
    tokens = torch.full((k, length + 1), planner.config.start, device=text.device)
    with one_thread():
        reader = Reader(planner.decoder, planner.encoder(texts), texts != PAD)
        for position in range(length):
            logits = reader.step(tokens[:, position : position + 1].repeat(2, 1))[:, : planner.config.codebook]
            plain, worded = logits.chunk(2)
            logits = plain + scale * (worded - plain)
            choice = probabilities(logits, top_k=model.config.top_k, temperature=model.config.temperature)
            own = pick(choice, chance[:, position])
            if lend is not None:
                lent = lend(position, tokens[:, 1:])
                own = torch.where(lent >= 0, lent, own)
            tokens[:, position + 1] = own
    return tokens[:, 1:]


def lending(model: Storybook, before: Tensor, injected: Sequence[float]) -> Lend:
    """Where things stand in plans `before` (k, length), for the plans that are written after them."""
    things = model.config.painter.things
    slots = before[:, 2:].reshape(len(before), things, 3).tolist()  # noun, left, bottom
    left = [set(range(things)) for _ in slots]  # what no thing was matched with yet
    match: list[list[int] | None] = [None for _ in slots]

    def lend(position: int, tokens: Tensor) -> Tensor:
        lent = torch.full((len(tokens),), -1, device=tokens.device)
        if position < 2:
            return lent
        slot, part = divmod(position - 2, 3)
        for row, share in enumerate(injected):
            if part == 1:
                noun = int(tokens[row, position - 1])
                same = [j for j in sorted(left[row]) if slots[row][j][0] == noun]
                match[row] = slots[row][same[0]] if same and noun != NONE else None
                left[row] -= set(same[:1])
            found = match[row]
            if part and found is not None and share > slot / max(1, things - 1):
                lent[row] = found[part]
        return lent

    return lend


def guidance_of(seed: int, bounds: tuple[float, float] = GUIDANCE) -> float:
    """The guidance that a seed draws."""
    low, high = bounds
    return low + (high - low) * float(torch.rand((), generator=torch_rng(seed, "guidance")))
