"""The picture prompt of each scene, in the storybook's own words: "an owl and a cat in a boat on the sea by day".

At most three kinds of thing to a picture, the characters first; how they stand to one another if the text says so;
then the place, weather, season and time of day. The wording is that of the captions the picture model learnt from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from limner.film.cast import Reader, SceneCast, is_alive
from limner.film.lexicon import Lexicon, Mention, storybook_lexicon
from limner.film.setting import Setting, follow
from limner.film.story import Story
from limner.stickers.vocabulary import Noun

MOST_KINDS = 3
_CONTEXT = 4000  # characters: what a longer scene leaves out of its retelling isn't read for the picture either
_ALIVE, _RECURRING, _IN_TITLE, _NEW = 1.6, 1.4, 1.3, 1.3  # how much more these weigh
_LEAST = 0.3  # what weighs less is only touched upon
_ZONES = {
    "sea": {"water", "sky"}, "beach": {"ground", "water", "sky"}, "lake": {"ground", "water", "sky"},
    "underwater": {"deep"}, "room": {"indoor"}, "cave": {"ground"},
}  # fmt: skip
_INSIDE, _UNDER = {"in", "into", "inside", "within"}, {"under", "beneath", "underneath", "below"}
_ON = {"on", "upon", "onto", "up"}
_NUMBERS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Prompt:
    """`cast`: the recurring characters in the scene; `place`, `time`, `mood`: names of the vocabulary's terms;
    `recurring`: all the recurring characters of the story."""

    text: str
    cast: tuple[str, ...]
    place: str
    time: str
    mood: str
    recurring: tuple[str, ...] = ()


def picture_prompts(
    story: Story, originals: Sequence[str], narrations: Sequence[str], lexicon: Lexicon | None = None
) -> list[Prompt]:
    """One prompt for each scene of `story`, given its full text and the text that is spoken.

    Only English is understood; for other languages the prompts name a place and a time alone.
    """
    lexicon = lexicon or storybook_lexicon()
    if story.language not in ("en", "und"):
        plain = Setting()
        return [Prompt(plain.phrases().removeprefix("in "), (), plain.place, plain.time, plain.mood) for _ in originals]
    reader, setting = Reader(lexicon, story.text), Setting()
    scenes: list[tuple[SceneCast, Setting]] = []
    context = [
        text if len(text) <= _CONTEXT else narration for text, narration in zip(originals, narrations, strict=True)
    ]
    for text, narration in zip(context, narrations, strict=True):
        setting = follow(setting, text)
        scenes.append((reader.read(text, narration), setting))
    recurring = _recurring([cast for cast, _ in scenes], lexicon)
    titled = {mention.noun.name for mention in lexicon.mentions(story.title)}
    titled |= {noun.name for name, noun in reader.names.items() if name in story.title}
    prompts: list[Prompt] = []
    before: list[Mention] = []
    met: set[str] = set()
    for cast, where in scenes:
        for name in cast.weights.keys() - met:
            cast.weights[name] *= _NEW
        met.update(cast.weights)
        shown = _shown(cast, lexicon, recurring, titled, where.place)
        if not any(is_alive(mention.noun) for mention in shown):  # nobody is named: those of the last picture stay
            shown = [*(m for m in before if is_alive(m.noun) and not m.count > 2), *shown][:MOST_KINDS]
        names = tuple(m.noun.name for m in shown if m.noun.name in recurring)
        picture = f"{arrange(shown, where.place, lexicon)} {where.phrases()}".strip()
        prompts.append(Prompt(picture, names, where.place, where.time, where.mood, tuple(sorted(recurring))))
        before = shown
    return prompts


def _recurring(casts: Sequence[SceneCast], lexicon: Lexicon) -> frozenset[str]:
    """The characters of the story: alive, and in two scenes or more (all, where there is but one scene)."""
    scenes = Counter(name for cast in casts for name, weight in cast.weights.items() if weight >= 0.4)
    least = min(2, len(casts))
    return frozenset(name for name, count in scenes.items() if count >= least and is_alive(lexicon.nouns[name]))


def _shown(cast: SceneCast, lexicon: Lexicon, recurring: frozenset[str], titled: set[str], place: str) -> list[Mention]:
    """What the picture shows, one mention for each kind, characters first and then in the order of the text."""
    weights = {
        name: _weigh(lexicon.nouns[name], weight, recurring, titled)
        for name, weight in cast.weights.items()
        if belongs(lexicon.nouns[name], place) or _is_there(cast.mentions[name], name in titled)
    }
    worthy = sorted((name for name in weights if weights[name] >= _LEAST), key=lambda name: -weights[name])
    alive = [name for name in worthy if is_alive(lexicon.nouns[name])]
    things = [name for name in worthy if name not in alive]
    few = alive[:2] if things else alive  # with something to hold or stand by, two characters are company enough
    chosen = sorted([*few, *things], key=lambda name: -weights[name])[:MOST_KINDS]
    best = [_most_telling(cast.mentions[name]) for name in chosen]
    return sorted(best, key=lambda mention: (not is_alive(mention.noun), cast.mentions[mention.noun.name][0].start))


def _is_there(mentions: Sequence[Mention], titled: bool) -> bool:
    """Whether a character acts in the scene itself, wherever that is, and isn't only talked about; those whom the
    story is named after are there even so."""
    return any(is_alive(mention.noun) and (titled or not mention.spoken) for mention in mentions)


def _weigh(noun: Noun, weight: float, recurring: frozenset[str], titled: set[str]) -> float:
    if is_alive(noun):
        weight *= _ALIVE * (_RECURRING if noun.name in recurring else 1.0)
    return weight * (_IN_TITLE if noun.name in titled else 1.0)


def _most_telling(mentions: Sequence[Mention]) -> Mention:
    """The mention that says most: a number, a colour, a size, and told rather than spoken of."""
    return max(mentions, key=lambda m: (not m.spoken, (m.count > 1) + bool(m.colour) + bool(m.size)))


def belongs(noun: Noun, place: str) -> bool:
    """Whether a thing can stand, fly or float in a place: no house in a room, no tree on the sea."""
    return bool(noun.where & _ZONES.get(place, {"ground", "sky"}))


def arrange(shown: Sequence[Mention], place: str, lexicon: Lexicon) -> str:
    """The things as a caption names them: "a fox under a tree and a bunch of grapes"."""
    shown = _embark(list(shown), place, lexicon)
    if not shown:
        return ""
    phrases = {mention.noun.name: describe(mention) for mention in shown}
    parts: list[str] = []
    if relation := _relation(shown):
        subject, kind, target = relation
        parts.append(f"{phrases.pop(subject)} {kind} {phrases.pop(target)}")
    parts += phrases.values()
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _embark(shown: list[Mention], place: str, lexicon: Lexicon) -> list[Mention]:
    """At sea, those who live on land need a boat that they can sit in."""
    boats = [lexicon.nouns[name] for name in ("rowing boat", "boat") if name in lexicon.nouns]
    boat = next((noun for noun in boats if noun.holds > 0), None)
    land = any(is_alive(m.noun) and not m.noun.where & {"water", "deep"} for m in shown)
    if place != "sea" or boat is None or not land:
        return shown
    others = [m for m in shown if m.noun.name not in ("boat", "rowing boat", "ship")]
    return [*others[: MOST_KINDS - 1], Mention(boat, 0, 0, "place", spoken=False, preposition="in")]


def _relation(shown: Sequence[Mention]) -> tuple[str, str, str] | None:
    """Who stands how to what, where the text says so and the picture can show it: names and the caption's word."""
    alive = [m.noun for m in shown if is_alive(m.noun) and m.count == 1]
    for target in (m for m in shown if m.count == 1 and not (alive and m.noun == alive[0])):
        riders = [noun for noun in alive if noun != target.noun]
        landlubbers = [noun for noun in riders if "sky" not in noun.where]
        for word, prepositions, possible in (
            ("in", _INSIDE, target.noun.holds > 0),
            ("under", _UNDER, target.noun.shelter),
            ("on", _ON, target.noun.seat > 0 and target.noun.size in ("medium", "large")),
            ("behind", {"behind"}, target.noun.size == "large"),
        ):
            if riders and possible and target.preposition in prepositions:
                return (landlubbers or riders)[0].name, word, target.noun.name
    return None


def describe(mention: Mention) -> str:
    """ "a small red bird", "three pigs"."""
    noun = mention.noun
    words = [word for word in (mention.size, mention.colour) if word]
    if mention.count > 1:
        return " ".join([_NUMBERS.get(mention.count, "four"), *words, noun.plural])
    name = " ".join([*words, noun.name])
    article = ("an" if words[0][0] in "aeiou" else "a") if words else noun.article
    return f"{article} {name}"
