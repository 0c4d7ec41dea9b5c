"""A story cut into scenes: by hand, by stanza or paragraph, where the topic shifts, or by all of these together.

The story is first cut into atoms that are never torn: sentences of prose, lines of verse. Every gap between two
atoms has a strength (the end of a sentence, a paragraph, a rhyme, a topic). `auto` chooses the cuts by dynamic
programming: scenes of about equal length, cut at strong gaps.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from limner.errors import BadInput
from limner.film.language import count_words, sentences, terms
from limner.film.rhyme import rhymes
from limner.film.story import Block, Span, Story

How = Literal["auto", "stanza", "paragraph", "topic", "hand"]

_PARAGRAPH, _HEADING, _BREAK = 1.0, 3.0, 4.0  # strengths of gaps; the topic's depth adds up to 1
_TORN = 0.5  # the cost of cutting inside a sentence
_LONG_SENTENCE, _SHORT_CLAUSE = 32, 9  # words
_CLAUSE_END = re.compile(r"[;:]\s+|,\s+(?=(?:and|but|so)\s)")
_TOPIC_WORDS = 60  # how much text on either side of a gap is compared, as in TextTiling (Hearst, 1997)
_MOST_SCENES = 120  # that `auto` makes of its own accord; a longer story is told in broader strokes


@dataclass(frozen=True)
class SceneText:
    """One scene's part of the story: where it lies in `Story.text`, and its words."""

    span: Span
    original: str


@dataclass(frozen=True)
class _Atom:
    span: Span
    words: int
    gap: float  # strength of the boundary before it
    block: int


def split_scenes(story: Story, *, how: How = "auto", scenes: int | None = None) -> list[SceneText]:
    """Cuts `story` into scenes that follow one another and together hold every word of it.

    `stanza` and `paragraph` make a scene of each; `hand` cuts at the lines of `---`; `topic` where the words change;
    `auto` weighs all of these, with a number of scenes that suits the length. `scenes` asks for a number: the cuts
    nearest to the way asked for are merged or split until it is reached, or no sentence is left to part.

    Raises BadInput for `hand` when the story has no `---`, and when `scenes` is below one.
    """
    if scenes is not None and scenes < 1:
        raise BadInput(f"A film needs at least one scene, not {scenes}. Give a number from 1 on, or none.")
    atoms = _atoms(story)
    if how == "hand":
        if not any(block.kind == "break" for block in story.blocks):
            name = story.source or "the story"
            raise BadInput(f"There is no line of --- in {name} to cut at. Add such lines, or split by auto.")
        cuts = [i for i, atom in enumerate(atoms) if i and atom.gap >= _BREAK]
    elif how in ("stanza", "paragraph"):
        cuts = [i for i, atom in enumerate(atoms) if i and atom.block != atoms[i - 1].block and atom.gap >= _PARAGRAPH]
    elif how == "topic":
        cuts = _topic_cuts(atoms := _with_topics(atoms, story))
    else:
        total = sum(atom.words for atom in atoms)
        count = scenes or scenes_for(total)
        atoms = _with_topics(_glued(atoms, total / count / 12), story)
        cuts = _best_cuts(atoms, total / count)
    if scenes is not None or (how == "auto" and len(cuts) >= _MOST_SCENES):
        cuts = _fit(atoms, cuts, scenes or _MOST_SCENES)
    bounds = [0, *cuts, len(atoms)]
    spans = [Span(atoms[a].span.start, atoms[b - 1].span.end) for a, b in itertools.pairwise(bounds)]
    return [SceneText(span, span.of(story.text)) for span in spans]


def scenes_for(words: int) -> int:
    """How many scenes suit a story of so many words: one for every forty at first, ever longer ones later."""
    if words <= 400:
        return max(1, round(words / 40 + min(2, words / 60)))
    return min(_MOST_SCENES, round(12 * math.pow(words / 400, 0.45)))


def _atoms(story: Story) -> list[_Atom]:
    atoms: list[_Atom] = []
    strength, owner = 0.0, 0
    for block in story.blocks:
        if block.kind == "break":
            strength = _BREAK
            continue
        if strength >= 0:  # what a heading heads stays with it
            strength = max(strength, _HEADING if block.kind == "heading" else _PARAGRAPH)
        for i, (span, gap) in enumerate(_pieces(block, story.text)):
            atoms.append(_Atom(span, count_words(span.of(story.text)), gap if i else strength, owner))
        strength = -_BREAK if block.kind == "heading" else 0.0
        owner += 1
    return atoms


def _pieces(block: Block, text: str) -> list[tuple[Span, float]]:
    """The atoms of one block, each with the strength of the gap before it inside the block."""
    if block.kind != "stanza":
        spans = [Span(block.span.start + a, block.span.start + b) for a, b in sentences(block.span.of(text))]
        return [
            (part, _speech_gap(text, part) - (_TORN if i else 0.0))
            for span in spans
            for i, part in enumerate(_clauses(text, span))
        ]
    lines = [line.of(text) for line in block.lines]
    return [(line, _line_gap(lines, i) if i else 0.0) for i, line in enumerate(block.lines)]


def _clauses(text: str, span: Span) -> list[Span]:
    """A long sentence in parts: after its semicolons and colons, and before ", and", ", but" or ", so"."""
    if count_words(span.of(text)) <= _LONG_SENTENCE:
        return [span]
    parts, start = [], span.start
    for match in _CLAUSE_END.finditer(text, span.start, span.end):
        inside = text[span.start : match.start()]
        quoted = inside.count('"') % 2 or inside.count("“") > inside.count("”")
        long = count_words(text[start : match.start()]) >= _SHORT_CLAUSE <= count_words(text[match.end() : span.end])
        if long and not quoted:
            parts.append(Span(start, match.start() + 1))
            start = match.end()
    return [*parts, Span(start, span.end)]


def _speech_gap(text: str, span: Span) -> float:
    """Inside a paragraph: 0, or less where direct speech runs on across the gap."""
    before = text[max(0, span.start - 400) : span.start]
    open_speech = before.count("“") > before.count("”") or before.rsplit("\n", 1)[-1].count('"') % 2 == 1
    return -1.0 if open_speech else 0.0


def _line_gap(lines: Sequence[str], i: int) -> float:
    """Between the lines of a stanza: better after a sentence than a clause, worse inside a pair of rhymes."""
    before = lines[i - 1].rstrip("\"'”’» ")
    gap = 0.5 if re.search(r"[.!?…。！？]$", before) else 0.0 if re.search(r"[;:—]$", before) else -0.7
    if rhymes(lines[i - 1], lines[i]) or (i + 1 < len(lines) and i >= 2 and rhymes(lines[i - 2], lines[i])):
        gap -= 0.5
    if "".join(lines[:i]).count('"') % 2:
        gap -= 0.2
    return gap


def _glued(atoms: list[_Atom], least: float) -> list[_Atom]:
    """Neighbours of one block put together until each has `least` words, so that long books stay quick to cut."""
    glued: list[_Atom] = []
    for atom in atoms:
        last = glued[-1] if glued else None
        if last and last.words < least and atom.gap < _HEADING:
            glued[-1] = replace(last, span=Span(last.span.start, atom.span.end), words=last.words + atom.words)
        else:
            glued.append(atom)
    return glued


def _with_topics(atoms: list[_Atom], story: Story) -> list[_Atom]:
    """Adds to each gap how deep the likeness of the text on both sides dips there, from 0 to 1."""
    depths = _depths(
        [Counter(terms(atom.span.of(story.text), story.language)) for atom in atoms], [a.words for a in atoms]
    )
    return [replace(atom, gap=atom.gap + depth) for atom, depth in zip(atoms, depths, strict=True)]


def _depths(bags: list[Counter[str]], words: list[int]) -> list[float]:
    """TextTiling's depth score before each bag: the dip of likeness below the nearest peaks, scaled to [0, 1]."""
    if len(bags) < 3:
        return [0.0] * len(bags)
    around = max(1, round(_TOPIC_WORDS / max(1.0, statistics.mean(words))))
    likeness = [1.0]
    for gap in range(1, len(bags)):
        likeness.append(_cosine(_together(bags[max(0, gap - around) : gap]), _together(bags[gap : gap + around])))
    depths = [0.0]
    for gap in range(1, len(bags)):
        depths.append(_climb(likeness, gap, -1) + _climb(likeness, gap, +1) - 2 * likeness[gap])
    highest = max(depths)
    return [depth / highest if highest > 0 else 0.0 for depth in depths]


def _together(bags: Sequence[Counter[str]]) -> Counter[str]:
    if len(bags) == 1:
        return bags[0]
    total: Counter[str] = Counter()
    for bag in bags:
        total.update(bag)
    return total


def _climb(likeness: list[float], gap: int, step: int) -> float:
    """The height of the nearest peak on one side."""
    at, last = gap, len(likeness) - 1
    while 1 <= at + step <= last and likeness[at + step] >= likeness[at]:
        at += step
    return likeness[at]


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    if len(a) > len(b):
        a, b = b, a
    product = sum(count * b[term] for term, count in a.items() if term in b)
    norms = math.sqrt(sum(c * c for c in a.values()) * sum(c * c for c in b.values()))
    return product / norms if norms else 0.0


def _topic_cuts(atoms: list[_Atom]) -> list[int]:
    """Gaps deeper than most: above the mean by half a deviation (Hearst's conservative threshold)."""
    if len(atoms) < 3:
        return []
    gaps = [atom.gap for atom in atoms[1:]]
    threshold = statistics.mean(gaps) + statistics.pstdev(gaps) / 2
    return [i for i, atom in enumerate(atoms) if i and atom.gap > max(threshold, 0.3)]


def _best_cuts(atoms: list[_Atom], target: float) -> list[int]:
    """The cuts with the least total of (length / target - 1)^2 - 0.4 (strength - 1), by dynamic programming."""
    upto = [0]
    for atom in atoms:
        upto.append(upto[-1] + atom.words)
    best, came = [0.0], [0]
    for end in range(1, len(atoms) + 1):
        least, start_of = math.inf, end - 1
        for start in range(end - 1, -1, -1):
            length = (upto[end] - upto[start]) / target
            if length > 2.5 and start < end - 1:
                break
            strength = min(atoms[start].gap, _BREAK) if start else 0.0
            cost = best[start] + (length - 1) ** 2 - 0.4 * (strength - 1)
            if cost < least:
                least, start_of = cost, start
            if start and atoms[start].gap >= _HEADING:
                break  # nothing reaches over a chapter's or a hand's break
        best.append(least)
        came.append(start_of)
    cuts, end = [], len(atoms)
    while end:
        end = came[end]
        cuts.append(end)
    return sorted(cuts)[1:]


def _fit(atoms: list[_Atom], cuts: list[int], count: int) -> list[int]:
    """Merges the scenes that are shortest and most weakly parted, or parts the longest, until there are `count`."""
    cuts = list(cuts)
    upto = [0]
    for atom in atoms:
        upto.append(upto[-1] + atom.words)
    target = max(1.0, upto[-1] / count)
    if len(cuts) > 12 * count:  # very many: first in twelfths of what is asked for
        kept, last = [], 0
        for cut in cuts:
            if upto[cut] - upto[last] >= target / 12:
                kept.append(last := cut)
        cuts = kept
    while len(cuts) + 1 > count:
        bounds = [0, *cuts, len(atoms)]
        joined = [(upto[bounds[i + 2]] - upto[bounds[i]]) / target + atoms[cut].gap for i, cut in enumerate(cuts)]
        cuts.pop(joined.index(min(joined)))
    while len(cuts) + 1 < count:
        bounds = [0, *cuts, len(atoms)]
        partable = [(upto[b] - upto[a], a, b) for a, b in itertools.pairwise(bounds) if b - a > 1]
        if not partable:
            break
        _, a, b = max(partable)
        middle = (upto[a] + upto[b]) / 2
        half = max(1.0, (upto[b] - upto[a]) / 2)
        cuts.append(max(range(a + 1, b), key=lambda i: max(atoms[i].gap, -2) - 2 * abs(upto[i] - middle) / half))
        cuts.sort()
    return cuts
