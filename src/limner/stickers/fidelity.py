"""How faithfully pictures show what words asked for, read off by the sticker reader and held against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from limner.metrics import Result
from limner.stickers.world import SceneTruth
from limner.systems.reader import Reading, Sighting

POSITIONAL = ("left of", "right of", "above", "below", "on", "under", "behind", "in front of", "inside")


def fidelity(truths: Sequence[SceneTruth], readings: Sequence[Reading]) -> dict[str, Result]:
    """Shares in [0, 1] of what was asked and is there.

    things: named kinds that are seen at all; counts: kinds seen exactly as often as asked; place, time: as asked;
    relations: pairs of different kinds, both seen, that stand as asked.
    """
    hits: dict[str, list[bool]] = {"things": [], "counts": [], "place": [], "time": [], "relations": []}
    for truth, reading in zip(truths, readings, strict=True):
        for (noun, _, _), wanted in truth.counts.items():
            seen = reading.count(noun)
            hits["things"].append(seen > 0)
            hits["counts"].append(seen == wanted)
        hits["place"].append(reading.place == truth.place)
        hits["time"].append(reading.time == truth.time)
        for relation in truth.arranged:
            one, other = truth.things[relation.subject].noun, truth.things[relation.target].noun
            if one != other:
                pairs = [(a, b) for a in reading.things if a.noun == one for b in reading.things if b.noun == other]
                hits["relations"].append(any(stands(a, relation.kind, b) for a, b in pairs))
    return {name: _share(found, name) for name, found in hits.items()}


def stands(a: Sighting, kind: str, b: Sighting) -> bool:
    """Whether two centres stand as a relation says. Which is in front can't be read off centres: near must do."""
    across, down = a.x - b.x, a.y - b.y  # in widths and heights
    match kind:
        case "left of":
            return across < -0.03
        case "right of":
            return across > 0.03
        case "above":
            return down < -0.05
        case "below":
            return down > 0.05
        case "on":
            return down < -0.05 and abs(across) < 0.12
        case "inside":
            return abs(across) < 0.1 and abs(down) < 0.3
        case _:
            return abs(across) < 0.25 and abs(down) < 0.4


def _share(found: Sequence[bool], what: str) -> Result:
    n = len(found)
    share = sum(found) / n if n else math.nan
    return Result(
        share, n, f"share of {what} found by the sticker reader", math.sqrt(share * (1 - share) / n) if n else None
    )
