"""Scenes and edits as words and tokens: what the storybook's editor reads, and what it writes.

A scene is told to the editor's transformer in words, after the instruction: place, time, season, weather, style, then
every thing with its colour, its side and where it stands. What the transformer writes is a program: a few steps, each
of which changes something ("thing 2 is to go", "the picture is to be in the night") or puts something somewhere ("thing
2, eight cells further right", "a fox of six cells, here").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

NONE = 0  # the token of nothing
GONE, PUT = "gone", "put"
STEP = 6  # tokens: what is done, to or with what, its colour, side, left and bottom


@dataclass(frozen=True)
class Piece:
    """One thing: its square has `side` cells and stands on `bottom`, from `left`, counted from the upper left."""

    noun: str
    colour: str  # "": as it is by nature
    side: int
    left: int
    bottom: int

    def apart(self, other: Piece) -> float:
        """How far the middles of two squares are from each other, in cells."""
        across = self.left + self.side / 2 - other.left - other.side / 2
        down = self.bottom - self.side / 2 - other.bottom + other.side / 2
        return float((across**2 + down**2) ** 0.5)


@dataclass(frozen=True)
class Scene:
    """All that the editor knows about a picture. `things` in any order: that of its slots, which count from 1."""

    place: str
    time: str
    season: str
    weather: str
    style: str
    things: tuple[Piece, ...] = ()

    def words(self) -> str:
        """The scene as the transformer reads it."""
        told = [
            f"{piece.colour} {piece.noun} s{piece.side} x{piece.left} y{piece.bottom}".strip() for piece in self.things
        ]
        return " , ".join([f"{self.place} {self.time} {self.season} {self.weather} {self.style}", *told])


WHOLE = ("place", "time", "season", "weather", "style")
"""What there is to change about a picture as a whole."""


@dataclass(frozen=True)
class Step:
    """One step of a program.

    change: what something is to become, or `PUT`
    slot: the thing of the scene that is changed, or copied; 0 for the picture as a whole, or for something new
    piece: for `PUT`, what is put where
    """

    change: str
    slot: int = 0
    piece: Piece | None = None


def program(before: Scene, after: Scene, near: float = 0.0) -> tuple[Step, ...]:
    """The steps that lead from one scene to another. Things no more than `near` cells apart stand in the same spot."""
    steps = [Step(getattr(after, kind)) for kind in WHOLE if getattr(after, kind) != getattr(before, kind)]
    old, new = list(enumerate(before.things, 1)), list(after.things)

    def pairs(same: Sequence[str], nearness: float) -> list[tuple[int, Piece, Piece]]:
        """Takes the pairs off both lists, nearest first, that agree in these fields."""
        found = []
        for slot, one in list(old):
            fitting = [
                other
                for other in new
                if all(getattr(one, field) == getattr(other, field) for field in same) and one.apart(other) <= nearness
            ]
            if fitting:
                other = min(fitting, key=one.apart)
                old.remove((slot, one))
                new.remove(other)
                found.append((slot, one, other))
        return found

    pairs(("noun", "colour", "side"), near)
    steps += [Step(other.colour, slot) for slot, _, other in pairs(("noun", "side"), near) if other.colour]
    moved = pairs(("noun", "colour"), float("inf"))
    steps += [Step(GONE, slot) for slot, _ in old] + [Step(GONE, slot) for slot, _, _ in moved]
    steps += [Step(PUT, slot, other) for slot, _, other in moved]
    for piece in new:
        alike = (
            slot for slot, one in enumerate(before.things, 1) if (one.noun, one.colour) == (piece.noun, piece.colour)
        )
        steps.append(Step(PUT, next(alike, 0), piece))
    return tuple(steps)


@dataclass(frozen=True)
class Script:
    """Programs as tokens, and back; and what comes of them. The names of one kind are none of another's."""

    places: tuple[str, ...]
    times: tuple[str, ...]
    seasons: tuple[str, ...]
    weathers: tuple[str, ...]
    styles: tuple[str, ...]
    nouns: tuple[str, ...]
    colours: tuple[str, ...]
    grid: tuple[int, int] = (18, 32)  # rows and columns of cells
    largest: int = 12
    slots: int = 8
    most: int = 5  # steps

    @property
    def wholes(self) -> dict[str, str]:
        """What each name for a whole picture is one of: {"night": "time", ...}."""
        return {name: kind for kind in WHOLE for name in getattr(self, f"{kind}s")}

    @property
    def tokens(self) -> tuple[tuple[str, object], ...]:
        """Every token, as its kind and its value; the first is nothing."""
        kinds: list[tuple[str, Sequence[object]]] = [
            ("change", (PUT, GONE, *self.colours, *self.wholes)),
            ("slot", range(1, self.slots + 1)),
            ("noun", self.nouns),
            ("colour", self.colours),
            ("side", range(1, self.largest + 1)),
            ("left", range(self.grid[1])),
            ("bottom", range(self.grid[0] + 1)),
        ]
        return (("nothing", None), *((kind, value) for kind, values in kinds for value in values))

    @property
    def length(self) -> int:
        return STEP * self.most

    def write(self, steps: Sequence[Step]) -> list[int] | None:
        """The tokens of a program, padded; None for one that can't be written: too long, or a thing beyond the edge."""
        numbers = {token: number for number, token in enumerate(self.tokens)}
        row: list[int] = []
        try:
            for step in steps:
                found = [numbers["change", step.change], NONE, NONE, NONE, NONE, NONE]
                if step.slot:
                    found[1] = numbers["slot", step.slot]
                if (piece := step.piece) is not None:
                    if not step.slot:
                        found[1] = numbers["noun", piece.noun]
                        found[2] = numbers["colour", piece.colour] if piece.colour else NONE
                    found[3:] = (
                        numbers["side", piece.side],
                        numbers["left", piece.left],
                        numbers["bottom", piece.bottom],
                    )
                row += found
        except KeyError:
            return None
        return row + [NONE] * (self.length - len(row)) if len(row) <= self.length else None

    def read(self, row: Sequence[int], scene: Scene) -> tuple[Step, ...]:
        """The program of a row of tokens for a scene. What makes no sense is left out."""
        tokens, steps = self.tokens, []
        for start in range(0, len(row) - STEP + 1, STEP):
            told = [tokens[number] if number < len(tokens) else tokens[NONE] for number in row[start : start + STEP]]
            values = dict(told)
            change, slot = values.get("change"), values.get("slot", 0)
            if not isinstance(change, str) or not isinstance(slot, int) or slot > len(scene.things):
                continue
            if change == PUT:
                side, left, bottom = (values.get(kind) for kind in ("side", "left", "bottom"))
                like = scene.things[slot - 1] if slot else None
                noun = like.noun if like else values.get("noun")
                colour = like.colour if like else values.get("colour", "")
                if not (isinstance(noun, str) and isinstance(colour, str)):
                    continue
                if isinstance(side, int) and isinstance(left, int) and isinstance(bottom, int):
                    steps.append(Step(PUT, slot, Piece(noun, colour, side, left, bottom)))
            elif bool(slot) == (change == GONE or change in self.colours):
                steps.append(Step(change, slot))
        return tuple(steps)

    def followed(self, scene: Scene, steps: Sequence[Step]) -> Scene:
        """The scene that a program leads to; steps that don't fit it are passed over."""
        things, put, wholes = dict(enumerate(scene.things, 1)), [], self.wholes
        changed: dict[str, Any] = {}
        for step in steps:
            if step.piece is not None:
                put.append(step.piece)
            elif step.change in wholes:
                changed[wholes[step.change]] = step.change
            elif step.change == GONE:
                things.pop(step.slot, None)
            elif step.slot in things:
                things[step.slot] = replace(things[step.slot], colour=step.change)
        return replace(scene, things=(*things.values(), *put), **changed)
