"""The Sticker World's grammar as a writer of triplets: scenes, and edits of them, put into words. No model, no picture.

Two worlds: `stickers` is all of it; `storybook` is the part that the storybook can draw, whose things have no colours,
sizes or styles of their own, in fine summer weather. An edit that captions can't tell (where something stands, mostly)
is not written: the next one of the same seed and number is, until one differs in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from limner.edits.triplets import Source, Triplet, same
from limner.rng import derive
from limner.stickers.captions import caption
from limner.stickers.edits import EDITS, Edit, edit
from limner.stickers.source import simplified, storybook_scene
from limner.stickers.vocabulary import storybook_nouns
from limner.stickers.world import Draws, combination_is_held_out

World = Literal["stickers", "storybook"]
WORLDS: tuple[World, ...] = ("stickers", "storybook")
STORYBOOK_EDITS = ("add", "remove", "replace", "count", "time", "place")


@dataclass(frozen=True)
class Grammar:
    """Triplet `number` is a function of (seed, number)."""

    world: World = "storybook"
    seed: int = 0
    held_out: bool = False  # scenes that training never shows

    def triplet(self, number: int) -> Triplet:
        return self.told(number)[1]

    def told(self, number: int) -> tuple[Edit, Triplet]:
        """The edit, with both truths, and its triplet."""
        attempt = 0
        while True:
            made = self._edit(derive(self.seed, "triplet", self.held_out, number, attempt))
            attempt += 1
            if made is None:
                continue
            before, after = (caption(truth, styled=made.kind == "style") for truth in (made.before, made.after))
            held_out = any(map(combination_is_held_out, (made.before, made.after)))
            if held_out == self.held_out and not same(before, after):
                return made, Triplet(before, made.instruction, after)

    def _edit(self, number: int) -> Edit | None:
        if self.world == "stickers":
            return edit(self.seed, number)
        draws = Draws(self.seed, "storybook edit", number)
        kind = draws.pick(STORYBOOK_EDITS)
        change = EDITS[kind](storybook_scene(self.seed, number, held_out=self.held_out), draws, storybook_nouns())
        if change is None:
            return None
        before, instruction, after = change
        return Edit(kind, simplified(before), instruction, simplified(after))


class GrammarWriter:
    """The captions of a grammar's first triplets, each once, and the writer that knows what belongs to them."""

    def __init__(self, grammar: Grammar, count: int) -> None:
        self.known: dict[str, Triplet] = {}
        for number in range(count):
            triplet = grammar.triplet(number)
            self.known.setdefault(triplet.caption, triplet)

    @property
    def sources(self) -> list[Source]:
        return [Source(caption) for caption in self.known]

    def complete(self, captions: Sequence[str], numbers: Sequence[int], attempt: int) -> list[str]:
        return [self.known[caption].completion for caption in captions]
