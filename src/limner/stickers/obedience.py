"""How well pictures obey edits whose truth is known: was it done, and is everything else as it was?

What was asked is read off by the sticker reader; what was not, is compared pixel by pixel outside of whatever the edit
changes, and thing by thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limner.stickers.edits import Edit
from limner.stickers.fidelity import stands
from limner.stickers.world import ROWS, SceneTruth, Thing, render
from limner.systems.reader import Reading, Sighting

WHOLE = ("time", "season", "weather", "place", "style")
"""The kinds of edits that change a picture as a whole."""

CLOSE = 2.0
"""Cells that a thing may stand away from where it was sent."""

ALIKE = 8
"""Levels (of 255) by which a pixel may differ and still count as kept."""

LEAST = 0.01
"""Where an edit leaves less than this share of a picture alone, there are no pixels to keep."""


@dataclass(frozen=True)
class Obedience:
    """One edit's verdict.

    done: what was asked is there
    rest: so is everything else that the reader sees in the true picture
    kept: share of the untouched pixels that are as they were, to `ALIKE` levels; None if the edit changes all
    error: how far they are from what they were, mean absolute difference in levels; None likewise
    """

    done: bool
    rest: bool
    kept: float | None
    error: float | None


def obedience(edit: Edit, after: np.ndarray, reading: Reading, best: Reading) -> Obedience:
    """Of an edited picture (H, W, 3), uint8, what the sticker reader sees in it, and in the true one."""
    height, width = after.shape[:2]
    before = render(edit.before, width, height)
    untouched = ~_touched(edit, reading, before, render(edit.after, width, height))
    apart = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(-1)[untouched]
    some = untouched.mean() >= LEAST
    return Obedience(
        done(edit, reading),
        _rest(edit, reading, best),
        float((apart <= ALIKE).mean()) if some else None,
        float(apart.mean()) if some else None,
    )


def done(edit: Edit, reading: Reading) -> bool:
    """Whether what was asked is there."""
    truth = edit.after
    if edit.kind in WHOLE:
        return bool(getattr(reading, edit.kind) == getattr(truth, edit.kind))
    old, new = changed(edit)
    counts = Counter(thing.noun for thing in truth.things)
    if any(reading.count(noun) != counts[noun] for noun in {thing.noun for thing in (*old, *new)}):
        return False
    match edit.kind:
        case "recolour":
            return all(_nearest(thing, truth, reading).colour == (thing.colour or "") for thing in new)
        case "resize":
            seen = [_nearest(thing, truth, reading).side for thing in new]
            return all(abs(s - t.side) < abs(s - o.side) for s, t, o in zip(seen, new, old, strict=True))
        case "move" | "swap":
            return all(_apart(thing, truth, _nearest(thing, truth, reading)) <= CLOSE for thing in new)
        case "add":
            painted = all(
                sum(s.noun == t.noun and s.colour == t.colour for s in reading.things)
                >= sum(other.noun == t.noun and other.colour == t.colour for other in truth.things)
                for t in new
                if t.colour
            )
            return painted and _related(edit, new, reading)
        case _:
            return True


def changed(edit: Edit) -> tuple[list[Thing], list[Thing]]:
    """The things that only the scene before has, and those that only the one after has."""
    before, after = Counter(edit.before.things), Counter(edit.after.things)
    return list((before - after).elements()), list((after - before).elements())


def _related(edit: Edit, new: Sequence[Thing], reading: Reading) -> bool:
    """Whether what is new stands as the words said."""
    truth = edit.after
    for relation in truth.arranged:
        one, other = truth.things[relation.subject], truth.things[relation.target]
        if one in new and one.noun != other.noun:
            pairs = [
                (a, b) for a in reading.things if a.noun == one.noun for b in reading.things if b.noun == other.noun
            ]
            if not any(stands(a, relation.kind, b) for a, b in pairs):
                return False
    return True


def _rest(edit: Edit, reading: Reading, best: Reading) -> bool:
    asked = {thing.noun for things in changed(edit) for thing in things} if edit.kind not in WHOLE else set()
    wanted, seen = (Counter(thing.noun for thing in each.things if thing.noun not in asked) for each in (best, reading))
    kinds = [kind for kind in WHOLE if kind != edit.kind]
    return wanted == seen and all(getattr(reading, kind) == getattr(best, kind) for kind in kinds)


def _apart(thing: Thing, truth: SceneTruth, seen: Sighting) -> float:
    """Cells between where a thing is to be and where something is seen, across or down, whichever is more."""
    across = thing.centre - seen.x * truth.columns
    down = thing.bottom - thing.side / 2 - seen.y * ROWS
    return max(abs(across), abs(down))


def _nearest(thing: Thing, truth: SceneTruth, reading: Reading) -> Sighting:
    return min(
        (seen for seen in reading.things if seen.noun == thing.noun), key=lambda seen: _apart(thing, truth, seen)
    )


def _touched(edit: Edit, reading: Reading, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the edit has a right to change pixels (H, W): where the truth does, and, since an order to add a thing
    seldom says where, around things of its nouns wherever they are seen."""
    height, width = before.shape[:2]
    touched: np.ndarray = (before != after).any(-1)
    if edit.kind in WHOLE:
        return touched
    cell = height / ROWS
    old, new = changed(edit)
    sides = {thing.noun: thing.side for thing in (*old, *new)}
    for seen in reading.things:
        if seen.noun in sides:
            reach = 0.75 * sides[seen.noun] * cell  # a square, its shadow, and a cell's error
            x, y = seen.x * width, seen.y * height
            top, left = (max(0, round(at - reach)) for at in (y, x))
            touched[top : round(y + reach), left : round(x + reach)] = True
    return touched
