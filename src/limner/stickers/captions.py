"""Puts scenes into words: only what is true, in several wordings, each a pure function of (scene, wording)."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from limner.stickers.backdrop import STAGES
from limner.stickers.vocabulary import COLOURS, PLACES, SEASONS, TIMES, WEATHERS, Term, article, noun, nouns
from limner.stickers.world import Draws, Relation, SceneTruth, Thing

NUMBERS = ("", "one", "two", "three", "four", "five")
_SIZE_WORDS = {"small": ("small", "little"), "big": ("big", "large"), "normal": ("",)}
_RELATION_WORDS = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "on": ("on", "on top of"),
    "under": ("under", "beneath"),
    "behind": ("behind",),
    "in front of": ("in front of",),
    "inside": ("in", "inside"),
}
_STYLE_WORDS = {"fluent": "flat picture", "line": "line drawing", "noto": "shaded picture"}


def caption(truth: SceneTruth, wording: int = 0, *, styled: bool = False) -> str:
    """One caption of a scene. Wording 0 is the canonical one and leaves nothing out; any other number is some other
    wording, which may leave out time, weather, season or even the place. `styled` names the art style too."""
    draws = Draws(wording, "caption")
    full = wording == 0
    subjects = _subjects(truth, draws, full)
    setting = []
    if full or draws.chance(0.9):
        setting.append(_phrase(PLACES, truth.place, draws, full))
    if truth.place != "space" and truth.style != "line" and (full or draws.chance(0.8 if truth.time != "day" else 0.5)):
        setting.append(_phrase(TIMES, truth.time, draws, full))
    if (
        STAGES[truth.place].weather
        and truth.style != "line"
        and (
            (truth.weather != "clear" and (full or draws.chance(0.85)))
            or (truth.weather == "clear" and not full and draws.chance(0.08))
        )
    ):
        setting.append(_phrase(WEATHERS, truth.weather, draws, full))
    if STAGES[truth.place].seasonal and truth.style != "line" and (full or draws.chance(0.5)):
        setting.append(_phrase(SEASONS, truth.season, draws, full))
    style = f"{_STYLE_WORDS[truth.style]}: " if styled else ""
    form = 0 if full else int(draws.uniform() * 4)
    if form == 3 and setting:
        return f"{style}{_in_a_row(setting)}: {subjects}"
    if form == 2 and len(setting) > 1:
        return f"{style}{subjects}, {', '.join(setting)}"
    return f"{style}{subjects} {' '.join(setting)}".strip()


def _in_a_row(setting: list[str]) -> str:
    return " ".join(sorted(setting, key=len))


def _phrase(terms: tuple[Term, ...], name: str, draws: Draws, full: bool) -> str:
    term = next(term for term in terms if term.name == name)
    return term.phrases[0] if full else draws.pick(term.phrases)


def _subjects(truth: SceneTruth, draws: Draws, full: bool) -> str:
    """All the things, joined with "and", one relation put into words."""
    counts = truth.counts
    first = {thing.kind: k for k, thing in reversed(list(enumerate(truth.things)))}
    painted = truth.style != "line"  # a line drawing shows no colours
    said = {
        k: describe(truth.things[k] if painted else replace(truth.things[k], colour=None), counts[kind], draws, full)
        for kind, k in first.items()
    }
    parts: list[str] = []
    relations = truth.arranged or truth.relations
    if relations and (
        (truth.arranged and (full or draws.chance(0.85))) or (not truth.arranged and not full and draws.chance(0.5))
    ):
        relation = (
            relations[0]
            if full
            else draws.pick([r for r in truth.relations if r in relations or _mirrors(r, relations)])
        )
        words = _RELATION_WORDS[relation.kind]
        link = words[0] if full else draws.pick(words)
        together = [r.subject for r in truth.relations if (r.kind, r.target) == (relation.kind, relation.target)]
        who = [said.pop(k) for k in (together if relation in truth.arranged else [relation.subject])]
        parts.append(f"{' and '.join(who)} {link} {said.pop(relation.target)}")
    rest = list(said.values())
    if not full and len(rest) > 1 and draws.chance(0.5):
        rest.reverse()
    parts += rest
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _mirrors(relation: Relation, among: tuple[Relation, ...]) -> bool:
    return any((r.subject, r.target) == (relation.target, relation.subject) for r in among)


def describe(thing: Thing, count: int = 1, draws: Draws | None = None, full: bool = True) -> str:
    """The noun phrase of so many things: "a small red boat", "three apples"."""
    what = noun(thing.noun)
    words = _SIZE_WORDS[thing.size]
    size = words[0] if full or draws is None else draws.pick(words)
    adjectives = " ".join(word for word in (size, thing.colour or "") if word)
    if count > 1:
        return " ".join(word for word in (NUMBERS[count], adjectives, what.plural) if word)
    name = f"{adjectives} {what.name}".strip()
    return f"{article(name)} {name}"


def the(thing: Thing, count: int = 1) -> str:
    """The noun phrase of things that were spoken of: "the small red boat", "the three apples"."""
    phrase = describe(thing, count)
    return f"the {phrase if count > 1 else phrase.partition(' ')[2]}"


@cache
def words() -> tuple[str, ...]:
    """Every word that a caption can contain, sorted, with the comma and the colon."""
    phrases = [phrase for terms in (PLACES, TIMES, WEATHERS, SEASONS) for term in terms for phrase in term.phrases]
    phrases += [form for n in nouns() for form in (n.name, n.plural)]
    phrases += [word for group in (*_SIZE_WORDS.values(), *_RELATION_WORDS.values()) for word in group]
    phrases += [*COLOURS, *NUMBERS, *_STYLE_WORDS.values(), "a", "an", "and"]
    return tuple(sorted({word for phrase in phrases for word in split(phrase)} | {",", ":"}))


def split(text: str) -> list[str]:
    """A caption's words and marks, in lower case."""
    return re.findall(r"[a-z0-9'-]+|[,:]", text.lower())
