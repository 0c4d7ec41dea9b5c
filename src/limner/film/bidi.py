"""The order of mixed-direction text: embedding levels by the Unicode Bidirectional Algorithm (UAX #9, revision 48).

For single lines without explicit embeddings: such marks are ignored, while the implicit ones (LRM, RLM, ALM) work. The
rule numbers of the standard stand beside the code.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

_NEUTRAL = frozenset(("B", "S", "WS", "ON"))
_REMOVED = frozenset(("BN", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
_ANY_RIGHT = frozenset(("R", "EN", "AN"))  # numbers count as right-to-left for the neutrals beside them


def right_to_left(text: str) -> bool:
    """Whether a paragraph reads from right to left: its first strong character decides (P2, P3)."""
    first = next((kind for c in text if (kind := unicodedata.bidirectional(c)) in ("L", "R", "AL")), "L")
    return first != "L"


@lru_cache(maxsize=256)
def levels(text: str) -> tuple[int, ...]:
    """The embedding level of each character; odd levels run from right to left."""
    base = int(right_to_left(text))
    kept = [i for i, c in enumerate(text) if unicodedata.bidirectional(c) not in _REMOVED]  # X9
    kinds = [unicodedata.bidirectional(text[i]) or "L" for i in kept]
    own = "R" if base else "L"
    marks = [kind == "NSM" for kind in kinds]
    _resolve_weak(kinds, own)
    _resolve_brackets([text[i] for i in kept], kinds, marks, own)
    _resolve_neutrals(kinds, own)
    step = {"L": 1, "EN": 1, "AN": 1, "R": 0} if base else {"R": 1, "EN": 2, "AN": 2, "L": 0}  # I1, I2
    found = dict(zip(kept, (base + step[kind] for kind in kinds), strict=True))
    result, level = [], base
    for i in range(len(text)):
        level = found.get(i, level)
        result.append(level)
    trailing = len(text) - len(text.rstrip())  # L1
    return tuple(result[: len(text) - trailing] + [base] * trailing)


def _resolve_weak(kinds: list[str], own: str) -> None:
    before, strong = own, own
    for i, kind in enumerate(kinds):  # W1, W2
        kind = before if kind == "NSM" else kind
        strong = kind if kind in ("L", "R", "AL") else strong
        kinds[i] = before = kind
        if kind == "EN" and strong == "AL":
            kinds[i] = "AN"
            before = "AN"
    kinds[:] = ["R" if kind == "AL" else kind for kind in kinds]  # W3
    for i in range(1, len(kinds) - 1):  # W4
        left, kind, right = kinds[i - 1 : i + 2]
        if left == right and ((left == "EN" and kind in ("ES", "CS")) or (left == "AN" and kind == "CS")):
            kinds[i] = left
    for start, stop in _runs(kinds, ("ET",)):  # W5
        if "EN" in (kinds[start - 1] if start else "", kinds[stop] if stop < len(kinds) else ""):
            kinds[start:stop] = ["EN"] * (stop - start)
    strong = own
    for i, kind in enumerate(kinds):
        strong = kind if kind in ("L", "R") else strong
        if kind in ("ES", "ET", "CS"):  # W6
            kinds[i] = "ON"
        elif kind == "EN" and strong == "L":  # W7
            kinds[i] = "L"


def _resolve_brackets(characters: Sequence[str], kinds: list[str], marks: Sequence[bool], own: str) -> None:
    for opening, closing in _pairs(characters, kinds):  # N0
        inside = {_direction(kind) for kind in kinds[opening + 1 : closing]} - {""}
        if own in inside:
            chosen = own
        elif inside:
            earlier = next((d for kind in reversed(kinds[:opening]) if (d := _direction(kind))), own)
            chosen = earlier
        else:
            continue
        for at in (opening, closing):
            kinds[at] = chosen
            for i in range(at + 1, len(kinds)):
                if not marks[i]:
                    break
                kinds[i] = chosen


def _pairs(characters: Sequence[str], kinds: Sequence[str]) -> list[tuple[int, int]]:
    """Matching brackets, by the place of the opening one (BD16)."""
    pairs: list[tuple[int, int]] = []
    waiting: list[tuple[str, int]] = []
    for i, character in enumerate(characters):
        if kinds[i] != "ON":
            continue
        closing = _closing(character)
        if closing:
            if len(waiting) == 63:
                return []
            waiting.append((closing, i))
        elif unicodedata.category(character) == "Pe":
            same = unicodedata.normalize("NFC", character)  # two code points stand for the angle brackets
            for depth in range(len(waiting) - 1, -1, -1):
                if waiting[depth][0] == same:
                    pairs.append((waiting[depth][1], i))
                    del waiting[depth:]
                    break
    return sorted(pairs)


@lru_cache(maxsize=512)
def _closing(character: str) -> str:
    """The bracket that closes `character`, or nothing: in Unicode it follows one or two code points later."""
    if unicodedata.category(character) != "Ps" or not unicodedata.mirrored(character):
        return ""
    at = ord(unicodedata.normalize("NFC", character))
    return next((chr(at + n) for n in (1, 2) if unicodedata.category(chr(at + n)) == "Pe"), "")


def _resolve_neutrals(kinds: list[str], own: str) -> None:
    for start, stop in _runs(kinds, tuple(_NEUTRAL)):  # N1, N2
        before = _direction(kinds[start - 1]) if start else own
        after = _direction(kinds[stop]) if stop < len(kinds) else own
        kinds[start:stop] = [before if before == after else own] * (stop - start)


def _runs(kinds: Sequence[str], wanted: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    start = 0
    for match, run in groupby(list(kinds), key=lambda kind: kind in wanted):
        stop = start + len(list(run))
        if match:
            yield start, stop
        start = stop


def _direction(kind: str) -> str:
    return "L" if kind == "L" else "R" if kind in _ANY_RIGHT else ""
