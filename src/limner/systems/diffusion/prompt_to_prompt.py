"""Prompt-to-Prompt: change the words and keep the picture, through cross-attention (Hertz et al., ICLR 2023).

A picture and its edits are drawn together from the same noise. Where a place of the picture looks at the words decides
what is drawn where; so the edits take these maps from the picture as it is (the source, always the first row), and only
what the words say is new. Which map goes where depends on how the captions differ: a word is swapped (`Replace`), words
are added or taken away (`Refine`), or words count for more or less (`Reweight`, alone or on top of the others). Taking
over how places look at each other holds the layout even tighter, and `LocalBlend` keeps what is changed to the places
that look at the word in question.

A real picture needs its noise first (`inversion.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput
from limner.rng import torch_rng
from limner.system import Drawing, to_uint8
from limner.systems.diffusion.attention import Attend, Layer, attending, fused, maps
from limner.systems.diffusion.inversion import ddim_step, invert, moves, null_text
from limner.systems.diffusion.latent import LatentDiffusion
from limner.systems.diffusion.pictures import fitted, refitted

Window = float | tuple[float, float]
"""A share of the steps: the first so many, or from one share to another."""

Inversion = Literal["null-text", "negative-prompt", "direct", "ddim"]

NULL_TEXT_ROWS = 3 * 10 + 2
"""What a step of null-text inversion costs at most, in evaluations of the U-Net for one row; a gradient takes three."""
DRAWN_ROWS = 4
"""What a step of drawing costs: source and edit, each with guidance."""

# ------------------------------------------------------------------------------------------- words and their tokens


@dataclass(frozen=True)
class Caption:
    """A text and its tokens.

    ids: the tokens, with the one that begins a text and the one that ends it
    pieces: what each token in between says
    """

    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return self.text.split(" ")

    def positions(self, word: str | int) -> list[int]:
        """The tokens of a word, which is told by its number or is every one like it; the first token of all is 1.

        A word has as many tokens as it takes to be as long as the word.
        """
        wanted = [word] if isinstance(word, int) else [at for at, each in enumerate(self.words) if each == word]
        found, at, length = [], 0, 0
        for token, piece in enumerate(self.pieces, 1):
            if at in wanted:
                found.append(token)
            length += len(piece)
            if at < len(self.words) and length >= len(self.words[at]):
                at, length = at + 1, 0
        return found

    def marked(self, words: str, length: int) -> Tensor:
        """(length,), 1 at the tokens of these words, one or more."""
        mark = torch.zeros(length)
        for word in words.split():
            if not (found := self.positions(word)):
                raise BadInput(f"There is no {word!r} in {self.text!r}: name one of its words as they are written.")
            mark[found] = 1
        return mark


def caption(text: str, model: LatentDiffusion) -> Caption:
    """A text as the model reads it: as many tokens as fit."""
    plain = " ".join(text.split())
    tokenizer = model.tokenizer
    if tokenizer is None or not plain:
        model.encode_words([text])  # says what is lacking
        raise BadInput("Prompt-to-Prompt goes by captions: of the picture as it is, and of the edited one.")
    inner = tokenizer(plain, add_special_tokens=False, verbose=False).input_ids[: model.config.text.tokens - 2]
    pieces = tuple(tokenizer.decode([token]).strip("# ") for token in inner)
    return Caption(plain, (tokenizer.bos_token_id, *inner, tokenizer.eos_token_id), pieces)


def replacement(source: Caption, target: Caption, length: int = 77, *, aligned: bool = False) -> Tensor:
    """(length, length): which share of the map of a source token goes to a target token, for captions of as many words.

    The tokens of a swapped word share its maps. Behind the last swapped word the published map is the diagonal, which
    is wrong where the two words have different numbers of tokens; `aligned` follows the tokens.
    """
    if len(source.words) != len(target.words):
        raise BadInput(
            f"Words are swapped one for one, but {source.text!r} has {len(source.words)} and {target.text!r} "
            f"{len(target.words)}."
        )
    shares = torch.zeros(length, length)
    row = column = 0
    for number, (old, new) in enumerate(zip(source.words, target.words, strict=True)):
        rows, columns = source.positions(number), target.positions(number)
        if old == new or not rows or not columns:  # unchanged, or beyond what fits
            continue
        same = torch.arange(rows[0] - row)
        shares[row + same, column + same] = 1
        block = torch.eye(len(rows)) if len(rows) == len(columns) else torch.full((1, 1), 1 / len(columns))
        shares[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = block
        row, column = rows[-1] + 1, columns[-1] + 1
    if aligned:
        rest = torch.arange(column, length)
        shares[(rest - column + row).clamp(max=length - 1), rest] = 1
    else:
        rest = torch.arange(column, length - max(0, row - column))
        shares[rest, rest] = 1
    return shares


def alignment(source: Caption, target: Caption, length: int = 77) -> Tensor:
    """(length,): the source token that each target token is, or -1: the longest common subsequence of tokens.

    Needleman-Wunsch with gap 0, match 1, mismatch -1. Of equally long ones it prefers, from the end on, to leave a
    target token alone. Behind the target's tokens are those of the same places.
    """
    old, new = source.ids, target.ids
    score = torch.zeros(len(old) + 1, len(new) + 1, dtype=torch.long).tolist()
    for i, a in enumerate(old, 1):
        for j, b in enumerate(new, 1):
            score[i][j] = max(score[i][j - 1], score[i - 1][j], score[i - 1][j - 1] + (1 if a == b else -1))
    found = torch.arange(length)
    i, j = len(old), len(new)
    while j:
        if score[i][j] == score[i][j - 1]:
            j -= 1
            found[j] = -1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            found[j] = i
    return found


def windows(targets: Sequence[Caption], steps: int, cross: Window | Mapping[str, Window], length: int = 77) -> Tensor:
    """(steps + 1, captions, length), 1 where a target token's map is the edited one.

    `cross` is a share of the steps, or one for each of some words, with `default_` for the others (all steps if it
    lacks). Shares are of steps + 1, as published.
    """
    given = cross if isinstance(cross, Mapping) else {"default_": cross}
    table = torch.zeros(steps + 1, len(targets), length)
    for word, window in {"default_": 1.0, **given}.items():
        first, last = _steps(window, steps + 1)
        places = [range(length) if word == "default_" else target.positions(word) for target in targets]
        if not any(places):
            raise BadInput(f"There is no {word!r} in {', '.join(repr(target.text) for target in targets)}.")
        for row, tokens in enumerate(places):
            table[:, row, list(tokens)] = 0
            table[first:last, row, list(tokens)] = 1
    return table


def _steps(window: Window, steps: int) -> tuple[int, int]:
    low, high = window if isinstance(window, tuple) else (0.0, window)
    return int(low * steps), int(high * steps)


# ------------------------------------------------------------------------------------------- what is done to the maps

MapEdit = Callable[[Tensor, Tensor], Tensor]
"""Cross-attention maps of the source (heads, places, tokens) and of k edits (k, heads, places, tokens) -> those that
the edits get."""


@dataclass(frozen=True)
class Replace:
    """A swapped word appears where the old one was. shares: (k, tokens, tokens), `replacement`."""

    shares: Tensor

    def __call__(self, source: Tensor, own: Tensor) -> Tensor:
        return torch.einsum("hps,kst->khpt", source, self.shares.to(source))


@dataclass(frozen=True)
class Refine:
    """Words that were there stay where they are, new ones find their place. origins: (k, tokens), `alignment`."""

    origins: Tensor

    def __call__(self, source: Tensor, own: Tensor) -> Tensor:
        origins = self.origins.to(source.device)
        taken = source[:, :, origins.clamp(min=0)].permute(2, 0, 1, 3)
        return torch.where((origins < 0)[:, None, None], own, taken)


@dataclass(frozen=True)
class Reweight:
    """Words count for more or less, -2 to 5 in practice. factors: (k, tokens); after: what is done before, if any."""

    factors: Tensor
    after: MapEdit | None = None

    def __call__(self, source: Tensor, own: Tensor) -> Tensor:
        edited = source[None] if self.after is None else self.after(source, own)
        return edited * self.factors.to(source)[:, None, None]


@dataclass(frozen=True)
class LocalBlend:
    """Outside of the places that look at some words, the edits are the source.

    words: (captions, tokens), 1 at the words in question, the source's row first
    subtract: the same for words whose places stay out of it
    thresholds: of `words` and of `subtract`, as shares of the most looked-at place
    """

    words: Tensor
    subtract: Tensor | None = None
    thresholds: tuple[float, float] = (0.3, 0.3)

    def looks(self, attention: Tensor) -> Tensor:
        """Cross-attention maps (captions, heads, h, w, tokens) -> (captions, 1 or 2, h, w), how much each place looks
        at `words` and at `subtract`. May be summed over layers and steps: only the shape matters."""
        marks = [each for each in (self.words, self.subtract) if each is not None]
        return torch.einsum("nahwt,nkt->nkhw", attention, torch.stack(marks, 1).to(attention)) / attention.shape[1]

    def mask(self, looks: Tensor, size: Sequence[int]) -> Tensor:
        """(captions, 1, *size), True where an edit may differ: where it or the source looks at the words."""

        def above(looks: Tensor, threshold: float) -> Tensor:
            resized = F.interpolate(looks, size=tuple(size))
            over = resized / resized.amax((2, 3), keepdim=True) > threshold
            return over | over[:1]

        spread = F.max_pool2d(looks[:, :1], 3, stride=1, padding=1)
        mask = above(spread, self.thresholds[0])
        return mask if self.subtract is None else mask & ~above(looks[:, 1:], self.thresholds[1])

    def blend(self, latents: Tensor, looks: Tensor) -> Tensor:
        """Latents (captions, 4, h, w), the source's first, with the source in the place of what isn't masked."""
        return torch.where(self.mask(looks, latents.shape[2:]), latents, latents[:1])


# ------------------------------------------------------------------------------------------------------- the method


@dataclass(frozen=True)
class Control:
    """How the source holds its edits.

    cross: for which steps the maps of the words are edited, or which for which word (`windows`)
    own: for which steps self-attention is the source's
    own_tokens: in layers of at most so many places; 256 is 16x16
    weights: words of the edit, and how much more they count
    blend: words of the source, and of the edit, to which places the change keeps (`LocalBlend`)
    subtract: the same, for places that stay out of it
    blend_from: share of the steps without it
    aligned: see `replacement`
    """

    cross: Window | Mapping[str, Window] = 0.8
    own: Window = 0.4
    own_tokens: int = 256
    weights: Mapping[str, float] = field(default_factory=dict)
    blend: tuple[str, str] | None = None
    subtract: tuple[str, str] | None = None
    thresholds: tuple[float, float] = (0.3, 0.3)
    blend_from: float = 0.2
    aligned: bool = False

    def map_edit(self, source: Caption, targets: Sequence[Caption], length: int) -> MapEdit:
        """Swapped where all captions have as many words, else refined; reweighted on top."""
        edit: MapEdit
        if all(len(target.words) == len(source.words) for target in targets):
            edit = Replace(torch.stack([replacement(source, each, length, aligned=self.aligned) for each in targets]))
        else:
            edit = Refine(torch.stack([alignment(source, each, length) for each in targets]))
        if not self.weights:
            return edit
        factors = torch.ones(len(targets), length)
        for word, weight in self.weights.items():
            for row, target in zip(factors, targets, strict=True):
                row[target.marked(word, length) > 0] = weight
        return Reweight(factors, edit)

    def local_blend(self, source: Caption, targets: Sequence[Caption], length: int) -> LocalBlend | None:
        def marks(words: tuple[str, str]) -> Tensor:
            return torch.stack([source.marked(words[0], length), *(each.marked(words[1], length) for each in targets)])

        if self.blend is None:
            return None
        return LocalBlend(marks(self.blend), None if self.subtract is None else marks(self.subtract), self.thresholds)


class PromptToPrompt:
    """Edits of pictures of words, on any latent diffusion model."""

    def __init__(self, model: LatentDiffusion) -> None:
        self.model = model

    @torch.inference_mode()
    def draw(
        self,
        captions: Sequence[str],
        *,
        seed: int = 0,
        steps: int = 50,
        guidance: float = 7.5,
        size: tuple[int, int] | None = None,
        control: Control | None = None,
    ) -> np.ndarray:
        """uint8 (captions, H, W, 3): what the seed draws of the first caption, and its edits by the others."""
        away = self.model.encode_words([""])[None].expand(steps, -1, -1, -1)
        noise = self.model.noise(seed, size)
        latents = self.sample(noise, captions, away, guidance, control or Control())
        return to_uint8(torch.cat([self.model.decode(each[None]) for each in latents]))

    def edit(
        self,
        picture: np.ndarray,
        words: str,
        *,
        before: str = "",
        count: int = 1,
        seed: int = 0,
        steps: int = 50,
        guidance: float = 7.5,
        control: Control | None = None,
        inversion: Inversion = "null-text",
        fixed_points: int = 0,
        progress: diffusion.Progress | None = None,
    ) -> Drawing:
        """A picture that `before` describes, edited to be what `words` describe: inverted, and drawn again.

        Nothing here is left to chance. Where no `control` says otherwise, each seed draws for how many steps the words'
        maps (0.4 to all of them) and self-attention (0.2 to 0.8) are the source's: the more, the more stays.

        inversion: null-text, as published, takes up to six times as long as all the rest; negative-prompt; direct,
            which puts the source back on the inverted latents at each step (Ju et al. 2023); or ddim alone
        fixed_points: `again` of `invert`
        progress: hears `(done, total)`, evaluations of the U-Net for one row, at the start and as it goes
        """
        model = self.model
        unknown = model.unknown(words)
        found = steps * (1 + fixed_points)
        optimised = found + steps * NULL_TEXT_ROWS * (inversion == "null-text")
        total = optimised + count * steps * DRAWN_ROWS

        def came_to(done: int) -> None:
            if progress:
                progress(done, total)

        came_to(0)
        texts = [caption(each, model).text for each in (before, words)]
        with torch.no_grad():
            clean = model.encode(fitted(picture, model))
            text, nothing = model.encode_words(texts[:1]), model.encode_words([""])
        step_done = lambda step, _: came_to((step + 1) * (1 + fixed_points))
        path = invert(model, clean, text, steps, again=fixed_points, watch=step_done)
        if inversion == "null-text":
            iteration_done = lambda step, iteration: came_to(found + step * NULL_TEXT_ROWS + 3 * (iteration + 1))
            away = null_text(model, path, text, nothing, guidance, watch=iteration_done)
        else:
            away = (text if inversion == "negative-prompt" else nothing).expand(steps, 1, -1, -1)
        seeds = tuple(range(seed, seed + count))
        edited = []
        with torch.no_grad():
            for number, each in enumerate(seeds):
                held = path if inversion == "direct" else None
                first = optimised + number * steps * DRAWN_ROWS
                drawn = lambda step, _, first=first: came_to(first + (step + 1) * DRAWN_ROWS)
                latents = self.sample(path[-1], texts, away, guidance, control or drawn_control(each), held, drawn)
                edited.append(model.decode(latents[1:]))
        return Drawing(refitted(torch.cat(edited), picture), None, seeds, (*unknown, *model.unread(words)))

    def sample(
        self,
        noise: Tensor,
        captions: Sequence[str],
        away: Tensor,
        guidance: float,
        control: Control,
        path: Tensor | None = None,
        watch: diffusion.Watch | None = None,
    ) -> Tensor:
        """Latents (captions, 4, h, w) by DDIM from `noise` (1, 4, h, w).

        away: states (steps, 1, 77, d) that guidance leads away from at each step
        path: latents (steps + 1, 1, 4, h, w) of an inversion, on which the source is put back after each step
        watch: sees `(step, latents)` after every step
        """
        model, steps, length = self.model, len(away), self.model.config.text.tokens
        source, *targets = [caption(each, model) for each in captions]
        edit = control.map_edit(source, targets, length)
        edited = windows(targets, steps, control.cross, length).to(noise)[:, :, None, None]
        injected = range(*_steps(control.own, steps))
        blend = control.local_blend(source, targets, length)
        grid = blend_grid(model, (noise.shape[2], noise.shape[3]))
        looks = noise.new_zeros(())

        def change(layer: Layer, step: int) -> Attend | None:
            def self_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
                # Maps are made of queries and keys; only the last rows, those with words, are edited.
                rows = torch.arange(len(queries))
                rows[-len(targets) :] = len(queries) - len(captions)
                return fused(queries[rows], keys[rows], values)

            def cross_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
                nonlocal looks
                attention = maps(queries, keys)
                worded = attention[-len(captions) :]
                worded[1:] = torch.lerp(worded[1:], edit(worded[0], worded[1:]), edited[step])
                if blend is not None and layer.place != "mid" and layer.tokens == math.prod(grid):
                    looks = looks + blend.looks(worded.unflatten(2, grid))
                return attention @ values

            if layer.crosses:
                return cross_attention
            return self_attention if step in injected and layer.tokens <= control.own_tokens else None

        text = model.encode_words([each.text for each in (source, *targets)])
        latents = noise.expand(len(captions), -1, -1, -1)
        for step, (now, after) in enumerate(moves(model, steps)):
            t = latents.new_full((len(latents),), now, dtype=torch.float32)
            with attending(model.unet, partial(change, step=step)):
                output = model.guided(text, away[step], guidance)(latents, t)
            latents = ddim_step(model, latents, output, now, after)
            if path is not None:
                latents = torch.cat([path[-2 - step], latents[1:]])
            if blend is not None and step >= int(control.blend_from * steps):
                latents = blend.blend(latents, looks)
            if watch:
                watch(step, latents)
        return latents


def drawn_control(seed: int) -> Control:
    """Shares of the steps from the ranges that the paper recommends, drawn from a seed."""
    cross, own = torch.rand(2, generator=torch_rng(seed, "control"), dtype=torch.float64).tolist()
    return replace(Control(), cross=0.4 + 0.6 * cross, own=0.2 + 0.6 * own)


def blend_grid(model: LatentDiffusion, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the maps that a blend looks at: of the level whose number of places is nearest to 16x16."""
    grids, (height, width) = [], size
    for attends in model.config.unet.attention:
        if attends:
            grids.append((height, width))
        height, width = -(-height // 2), -(-width // 2)
    return min(grids, key=lambda grid: abs(math.log(math.prod(grid) / 256)))
