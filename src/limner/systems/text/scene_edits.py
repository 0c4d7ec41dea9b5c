"""Scenes and edits as words and tokens: what the storybook's editor reads, and what it writes.

A scene is told to the editor's transformer in words, after the instruction: place, time, season, weather, style, then
every thing with its number, its colour, its side and where it stands. A program is a few steps, each of which changes
something ("thing 2 is to go", "the picture is to be in the night") or puts something somewhere ("thing 2, eight cells
further right", "a fox of six cells, here").

The transformer writes programs in a shorthand that says only what is new: "thing 2 moves, to left 22", "thing 1 stands
where thing 3 is", "thing 3 becomes what was named second". And it is told which words of the instruction name things,
and which things of the scene they name. So it has to point, and never to reckon or to know a noun by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

NONE = 0  # the token of nothing
GONE, PUT, MOVED = "gone", "put", "moved"
STEP = 6  # tokens: what is done, to or with what, its colour, side, left (or the thing whose middle it takes), bottom


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

    def meets(self, other: Piece) -> bool:
        """Whether two squares have cells in common."""
        across = self.left < other.left + other.side and other.left < self.left + self.side
        return across and self.bottom - self.side < other.bottom and other.bottom - other.side < self.bottom


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
            f"t{slot} {piece.colour} {piece.noun} s{piece.side} x{piece.left} y{piece.bottom}"
            for slot, piece in enumerate(self.things, 1)
        ]
        return " ".join([self.place, self.time, self.season, self.weather, self.style, *told])


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
    plurals: tuple[str, ...]  # of the nouns
    colours: tuple[str, ...]
    grid: tuple[int, int] = (18, 32)  # rows and columns of cells
    largest: int = 12
    slots: int = 8
    most: int = 5  # steps
    mentions: int = 4  # nouns that an instruction can name

    def ask(self, instruction: str, scene: Scene) -> str:
        """What the transformer reads. Every noun of the instruction, and every thing of it, is marked: n1, n2, ..."""
        words, named = instruction.split(), self.named(instruction)
        for start, noun in reversed(self._mentioned(instruction)):
            if noun in named:
                words.insert(start, f"n{1 + named.index(noun)}")
        things = tuple(
            replace(piece, noun=f"n{1 + named.index(piece.noun)} {piece.noun}") if piece.noun in named else piece
            for piece in scene.things
        )
        return f"{' '.join(words)} : {replace(scene, things=things).words()}"

    def named(self, instruction: str) -> list[str]:
        """The nouns that an instruction names, in order, each once."""
        return list(dict.fromkeys(noun for _, noun in self._mentioned(instruction)))[: self.mentions]

    def _mentioned(self, instruction: str) -> list[tuple[int, str]]:
        """Where a noun begins, and which, for all of them, singular or plural; the longest that fits."""
        words = [word.strip(",.;:!?").lower() for word in instruction.split()]
        found, at = [], 0
        while at < len(words):
            for length in (3, 2, 1):
                if noun := self._forms.get(" ".join(words[at : at + length])):
                    found.append((at, noun))
                    at += length
                    break
            else:
                at += 1
        return found

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Every form of every noun -> the noun."""
        return dict(zip(self.plurals, self.nouns, strict=True)) | {noun: noun for noun in self.nouns}

    @property
    def wholes(self) -> dict[str, str]:
        """What each name for a whole picture is one of: {"night": "time", ...}."""
        return {name: kind for kind in WHOLE for name in getattr(self, f"{kind}s")}

    @property
    def tokens(self) -> tuple[tuple[str, object], ...]:
        """Every token, as its kind and its value; the first is nothing."""
        kinds: list[tuple[str, Sequence[object]]] = [
            ("change", (PUT, GONE, MOVED, *self.colours, *self.wholes)),
            ("slot", range(1, self.slots + 1)),
            ("named", range(1, self.mentions + 1)),
            ("colour", self.colours),
            ("side", range(1, self.largest + 1)),
            ("left", range(self.grid[1])),
            ("where", range(1, self.slots + 1)),
            ("bottom", range(self.grid[0] + 1)),
        ]
        return (("nothing", None), *((kind, value) for kind, values in kinds for value in values))

    @property
    def length(self) -> int:
        return STEP * self.most

    def write(self, steps: Sequence[Step], scene: Scene, instruction: str) -> list[int] | None:
        """The tokens of a scene's program, padded; None for one that can't be written: too long, a thing beyond the
        edge, or one that the instruction doesn't name.

        What goes and is put elsewhere has moved; what goes while something new stands in its middle has become that.
        """
        numbers = {token: number for number, token in enumerate(self.tokens)}
        named = {noun: at for at, noun in enumerate(self.named(instruction), 1)}
        going = [step.slot for step in steps if step.change == GONE]
        put: list[list[tuple[str, object] | None]] = []
        for step in steps:
            if (piece := step.piece) is None:
                continue
            if step.slot in going:
                going.remove(step.slot)
                put.append([("change", MOVED), ("slot", step.slot), None, *self._told(piece, step.slot, scene)])
            elif step.slot:
                put.append([("change", PUT), ("slot", step.slot), None, *self._told(piece, step.slot, scene)[:1]])
                put[-1] += [("left", piece.left), ("bottom", piece.bottom)]
            elif stood := [slot for slot in going if not piece.colour and _alike(piece, scene.things[slot - 1])]:
                going.remove(stood[0])
                put.append(
                    [("named", named.get(piece.noun)), ("slot", stood[0]), None, *self._told(piece, stood[0], scene)]
                )
            else:
                colour = ("colour", piece.colour) if piece.colour else None
                square = ("side", piece.side), ("left", piece.left), ("bottom", piece.bottom)
                put.append([("change", PUT), ("named", named.get(piece.noun)), colour, *square])
        plain = [step for step in steps if step.piece is None and (step.change != GONE or step.slot in going)]
        told = [[("change", step.change), ("slot", step.slot) if step.slot else None] for step in plain] + put
        try:
            rows = [[numbers[token] if token else NONE for token in row] for row in told]
        except KeyError:
            return None
        row = [number for row in rows for number in row + [NONE] * (STEP - len(row))]
        return row + [NONE] * (self.length - len(row)) if len(row) <= self.length else None

    def _told(self, piece: Piece, slot: int, scene: Scene) -> list[tuple[str, object] | None]:
        """Side, left and bottom of what stands where a thing stood: what is as it was isn't told."""
        old = scene.things[slot - 1]
        side = ("side", piece.side) if piece.side != old.side else None
        left: tuple[str, object] | None = ("left", piece.left) if piece.left != _middled(piece.side, old) else None
        for other, there in enumerate(scene.things, 1):
            if left and other != slot and piece.left == _middled(piece.side, there):
                left = ("where", other)
        return [side, left, ("bottom", piece.bottom) if piece.bottom != old.bottom else None]

    def read(self, row: Sequence[int], scene: Scene, instruction: str) -> tuple[Step, ...]:
        """The program of a row of tokens for a scene. What makes no sense is left out, and so is what would change
        things that the instruction doesn't name."""
        tokens, named = self.tokens, self.named(instruction)
        steps: list[Step] = []
        going: list[Step] = []
        put: list[Step] = []
        for start in range(0, len(row) - STEP + 1, STEP):
            told = [tokens[number] if number < len(tokens) else tokens[NONE] for number in row[start : start + STEP]]
            values: dict[str, Any] = dict(told)
            change, slot, mention = values.get("change"), values.get("slot", 0), values.get("named", 0)
            if max(slot, values.get("where", 0)) > len(scene.things) or mention > len(named):
                continue
            if told[0][0] not in ("change", "named") or (slot and scene.things[slot - 1].noun not in named):
                continue
            if change in self.colours or change == GONE or change in self.wholes:
                if bool(slot) == (change not in self.wholes):
                    (going if change == GONE else steps).append(Step(change, slot))
            elif slot:
                there = self._there(values, scene, scene.things[slot - 1])
                if change == PUT:
                    put.append(Step(PUT, slot, there))
                elif change == MOVED:
                    going.append(Step(GONE, slot))
                    put.append(Step(PUT, slot, there))
                elif mention:
                    going.append(Step(GONE, slot))
                    put.append(Step(PUT, 0, replace(there, noun=named[mention - 1], colour="")))
            elif change == PUT and {"named", "side", "left", "bottom"} <= values.keys():
                square = values["side"], values["left"], values["bottom"]
                put.append(Step(PUT, 0, Piece(named[mention - 1], values.get("colour", ""), *square)))
        return (*steps, *going, *put)

    def _there(self, values: dict[str, Any], scene: Scene, old: Piece) -> Piece:
        """A thing with another side or elsewhere, as far as that is told."""
        side = values.get("side", old.side)
        at = scene.things[values["where"] - 1] if "where" in values else old
        left = values.get("left", min(max(_middled(side, at), 0), self.grid[1] - 1))
        return replace(old, side=side, left=left, bottom=values.get("bottom", old.bottom))

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


def _middled(side: int, there: Piece) -> int:
    """The left of a square of this side whose middle is that of another."""
    return there.left + (there.side - side) // 2


def _alike(one: Piece, other: Piece) -> bool:
    """Whether two things stand in the same middle."""
    return (one.left, one.bottom) == (_middled(one.side, other), other.bottom)
