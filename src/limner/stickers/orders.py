"""What the storybook's editor learns from: instructions with scenes and programs, and pictures with one change each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from limner.data.kinds import Retouched
from limner.rng import derive, numpy_rng
from limner.stickers.edits import Edit, edit, without, words
from limner.stickers.kinds import to_tensor
from limner.stickers.source import READABLE
from limner.stickers.vocabulary import COLOURS, Noun, storybook_nouns
from limner.stickers.world import COLUMNS, ROWS, SceneTruth, Thing, combination_is_held_out, compose, render
from limner.systems.text.dalle_mini import Tokens
from limner.systems.text.retoucher import around
from limner.systems.text.scene_edits import GONE, Piece, Scene, Script, program
from limner.systems.text.words import WordTokeniser

TEXT_LENGTH = 80  # an instruction and eight things
CELL = 8  # pixels
WIDTH = 128  # of what the retoucher sees of a picture at a time
EYES = 0.15  # how often a thing is not quite seen where it is


def script() -> Script:
    """The programs of edits of scenes with the storybook's nouns."""
    return Script(
        READABLE["place"], READABLE["time"], READABLE["season"], READABLE["weather"], READABLE["style"],
        tuple(what.name for what in storybook_nouns()), tuple(what.plural for what in storybook_nouns()), COLOURS,
    )  # fmt: skip


def scene_of(truth: SceneTruth) -> Scene:
    """A truth as the editor knows it."""
    return Scene(truth.place, truth.time, truth.season, truth.weather, truth.style, tuple(map(piece_of, truth.things)))


def piece_of(thing: Thing) -> Piece:
    return Piece(thing.noun, thing.colour or "", thing.side, round(thing.left), round(thing.bottom))


def numbers_of() -> tuple[str, ...]:
    """The words in which scenes tell which thing, how large and where, and what an instruction names."""
    return (
        *(f"n{mention}" for mention in range(1, 5)),
        *(f"t{slot}" for slot in range(1, 9)), *(f"s{side}" for side in range(1, 13)),
        *(f"x{left}" for left in range(COLUMNS)), *(f"y{bottom}" for bottom in range(ROWS + 1)),
    )  # fmt: skip


def trained_edit(
    seed: int, number: int, *, kind: str | None = None, held_out: bool = False, nouns: Sequence[Noun] | None = None
) -> Edit:
    """Edit `number` with the storybook's nouns, or some of them: on the training side neither of its scenes is a
    held-out combination, on the other at least one is."""
    pool = storybook_nouns() if nouns is None else nouns
    attempt = 0
    while True:
        made = edit(seed, derive(seed, "order", held_out, number, attempt), kind=kind, nouns=pool)
        wanted = kind is None or made.kind == kind
        if wanted and any(map(combination_is_held_out, (made.before, made.after))) == held_out:
            return made
        attempt += 1


class Orders:
    """Endless instructions, each with the scene that it is about and the program that obeys it."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.script = seed, script()
        vocabulary = (*words(), *numbers_of(), *(name for names in READABLE.values() for name in names))
        self.tokenise = WordTokeniser(dict.fromkeys(vocabulary), TEXT_LENGTH)

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options."""
        text = {"text_vocabulary": len(self.tokenise), "text_length": TEXT_LENGTH, "words": self.tokenise.words}
        return text | {"grid": (1, self.script.length), "image_vocabulary": len(self.script.tokens), "vqgan": None}

    def told(self, number: int) -> tuple[str, list[int]]:
        """What the transformer reads of a sample, and what it is to write."""
        draw, attempt = numpy_rng(self.seed, "told", number), 0
        while True:
            made = trained_edit(self.seed, derive(self.seed, number, attempt))
            before, after = scene_of(made.before), scene_of(made.after)
            order = draw.permutation(len(before.things))
            before = replace(before, things=tuple(before.things[k] for k in order))
            row = self.script.write(program(before, after), before, made.instruction)
            if row is not None:
                return self.script.ask(made.instruction, _as_seen(before, draw)), row
            attempt += 1

    def take(self, numbers: Sequence[int]) -> Tokens:
        told = [self.told(number) for number in numbers]
        return Tokens(self.tokenise([words for words, _ in told]), torch.tensor([row for _, row in told]))


def _as_seen(scene: Scene, draw: np.random.Generator) -> Scene:
    """The scene as eyes may see it, a cell off here and there."""

    def seen(piece: Piece) -> Piece:
        if draw.random() >= EYES:
            return piece
        left, bottom = (at + int(draw.integers(-1, 2)) for at in (piece.left, piece.bottom))
        return replace(piece, left=min(max(left, 0), COLUMNS - 1), bottom=min(max(bottom, 0), ROWS))

    return replace(scene, things=tuple(map(seen, scene.things)))


CHANGES = (GONE, *COLOURS, *(name for kind in ("time", "season", "weather", "style") for name in READABLE[kind]))
"""What the retoucher can do to a thing, or to a picture."""


class Retouches:
    """Endless pictures with one change each: every other one has a thing that goes. Strips of them are shown, (3, 144,
    128): whatever changes can be told from as much, at half the cost."""

    KINDS = ("recolour", "recolour", "time", "season", "weather", "style")  # of the others

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.nouns = [what.name for what in storybook_nouns()]

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options."""
        return {"changes": CHANGES, "nouns": tuple(self.nouns)}

    def changed(self, number: int) -> tuple[SceneTruth, Thing | None, str, SceneTruth]:
        """Before, what changes (None: the picture as a whole), into what, and after."""
        draw = numpy_rng(self.seed, "retouch", number)
        attempt = 0
        while number % 2:
            truth = compose(self.seed, derive(self.seed, "gone", number, attempt), nouns=storybook_nouns())
            carriers = {relation.target for relation in truth.arranged}
            loose = [k for k in range(len(truth.things)) if k not in carriers]
            if loose:
                k = loose[int(draw.integers(len(loose)))]
                after = without(truth, {k})
                if not any(map(combination_is_held_out, (truth, after))):
                    return truth, truth.things[k], GONE, after
            attempt += 1
        kind = self.KINDS[int(draw.integers(len(self.KINDS)))]
        made = trained_edit(self.seed, derive(self.seed, "whole", number), kind=kind)
        if kind != "recolour":
            return made.before, None, getattr(made.after, kind), made.after
        pairs = zip(made.before.things, made.after.things, strict=True)
        old, new = next((old, new) for old, new in pairs if old != new)
        return made.before, old, str(new.colour), made.after

    def take(self, numbers: Sequence[int]) -> Retouched:
        found = [self.changed(number) for number in numbers]
        lefts, regions = zip(
            *(self._seen(number, each[1]) for number, each in zip(numbers, found, strict=True)), strict=True
        )

        def shown(truths: Sequence[SceneTruth]) -> torch.Tensor:
            pairs = zip(truths, lefts, strict=True)
            return to_tensor([render(truth, 256, 144)[:, left : left + WIDTH] for truth, left in pairs])

        return Retouched(
            shown([before for before, _, _, _ in found]),
            torch.stack(regions),
            torch.tensor([1 + self.nouns.index(thing.noun) if thing else 0 for _, thing, _, _ in found]),
            torch.tensor([CHANGES.index(change) for _, _, change, _ in found]),
            shown([after for _, _, _, after in found]),
        )

    def _seen(self, number: int, thing: Thing | None) -> tuple[int, torch.Tensor]:
        """Where the strip begins that is shown of a picture, and what is to change in it (1, 144, WIDTH), bool: a
        thing's square with some room around it, or everything."""
        draw = numpy_rng(self.seed, "region", number)
        if thing is None:
            return int(draw.integers(256 - WIDTH + 1)), torch.ones(1, 144, WIDTH, dtype=torch.bool)
        off = draw.integers(-CELL // 2, CELL // 2 + 1, 2)
        first, bottom = CELL * thing.left + int(off[0]), CELL * thing.bottom + int(off[1])
        middle = CELL * thing.centre + int(draw.integers(-WIDTH // 4, WIDTH // 4 + 1))
        left = min(max(0, round(middle) - WIDTH // 2), 256 - WIDTH)
        return left, around(first, bottom, CELL * thing.side, (144, 256))[..., left : left + WIDTH]
