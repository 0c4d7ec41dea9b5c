"""Who and what each scene is about: names bound to nouns, pronouns resolved, everything weighed.

Scenes are read in order, sentence by sentence, the way a listener hears them: "an only son named Jack" makes Jack a
boy from there on; "he", "she" and "they" are the last character that fits.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from limner.film.language import word_set
from limner.film.lexicon import Lexicon, Mention, without_speech
from limner.stickers.vocabulary import Noun

_MALE = word_set(
    "boy man king prince guard farmer wizard troll ogre elf thief captain rooster ox rider clown snowman robot "
    "singer scholar doctor cook astronaut"
) | {"old man", "father christmas"}
_FEMALE = word_set("girl woman princess witch fairy mermaid bride cow hen") | {"old woman"}
_ROLE_WEIGHT = {"subject": 1.0, "object": 0.7, "place": 0.5}
_POSSESSIVES = word_set("his her hers their theirs")
_PRONOUN_WEIGHT, _POSSESSIVE_WEIGHT = 0.6, 0.25
_SPOKEN, _NOT_NARRATED = (
    0.25,
    0.4,
)  # how much less a thing weighs that is only talked about, or left out of the retelling
_NAMED = re.compile(r"(?:named|called|whose name was|by the name of|known as)\s+((?:[A-Z][\w’'-]*\s?){1,2})")
_NAME = re.compile(r"(?<![.!?\"“'‘\n]\s)(?<![\"“‘'\n])(?<!^)\b([A-Z][a-z]+(?:-[A-Za-z]+)?)\b")
_ENOUGH = 200_000  # characters that tell who is who; a name that first comes later stays unknown
_AND = re.compile(r",?\s+and\s+(?:(?:the|a|an|his|her|their)\s+)?(?:[a-z]+\s+)?", re.IGNORECASE)
_PRONOUN = re.compile(r"\b(he|him|himself|his|she|her|herself|hers|they|them|themselves|their|theirs)\b", re.IGNORECASE)


@dataclass
class SceneCast:
    """What one scene speaks of: weights by noun name, the mention that describes each best, and the order of entry."""

    weights: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    mentions: dict[str, list[Mention]] = field(default_factory=lambda: defaultdict(list))


class Reader:
    """Follows a story through its scenes; create one per story and call `read` for each scene in order."""

    def __init__(self, lexicon: Lexicon, story: str) -> None:
        self.lexicon = lexicon
        self.names: dict[str, Noun] = _names_by_pronoun(lexicon, story)
        self._recent: list[Mention] = []  # characters, the latest last
        self._pair: list[Mention] = []  # the last two named in one breath: "the Owl and the Pussy-cat"
        self._things: list[Mention] = []  # the last things that "them" could mean
        self._fuller: dict[str, Noun] = {}  # what "the man" is, once "an old man" has been met
        self._gender: dict[str, str] = {}  # of animals, once a pronoun has told

    def read(self, original: str, narration: str) -> SceneCast:
        """The cast of the scene whose full text is `original` and whose spoken text is `narration`."""
        cast = SceneCast()
        spoken_aloud = _squeeze(narration)
        told = without_speech(original)
        events: list[tuple[int, Mention | re.Match[str]]] = [(m.start, m) for m in self._bind(original)]
        events += [(match.start(), match) for match in _PRONOUN.finditer(told)]
        before: Mention | None = None
        for _, event in sorted(events, key=lambda pair: pair[0]):
            if isinstance(event, Mention):
                factor = _told(original, event.start, event.end, spoken_aloud)
                weight = _ROLE_WEIGHT[event.role] * (_SPOKEN if event.spoken else 1.0)
                self._enter(cast, event, factor * weight)
                self._remember(event, before, original)
                before = event
            else:
                weight = _POSSESSIVE_WEIGHT if event[0].lower() in _POSSESSIVES else _PRONOUN_WEIGHT
                weight *= _told(original, event.start(), event.end(), spoken_aloud)
                meant = self._meant(event[0].lower())
                for who in meant:
                    again = replace(
                        who, role="subject", spoken=False, preposition="", start=event.start(), end=event.end()
                    )
                    self._enter(cast, again, weight / len(meant))
        return cast

    def _enter(self, cast: SceneCast, mention: Mention, weight: float) -> None:
        cast.weights[mention.noun.name] += weight
        cast.mentions[mention.noun.name].append(mention)

    def _remember(self, mention: Mention, before: Mention | None, text: str) -> None:
        """Keeps what later pronouns may mean."""
        if not is_alive(mention.noun):
            self._things = [*self._things, mention][-2:] if not mention.spoken else self._things
            return
        if not mention.spoken or all(mention.noun != other.noun for other in self._recent[-3:]):
            self._recent = [*self._recent, mention][-12:]
        if (
            before
            and is_alive(before.noun)
            and before.noun != mention.noun
            and _AND.fullmatch(text[before.end : mention.start])
        ):
            self._pair = [before, mention]

    def _bind(self, text: str) -> list[Mention]:
        """The mentions in `text`, with names read as the nouns that they are."""
        mentions = self.lexicon.mentions(text)
        for match in _NAMED.finditer(text):
            before = [mention for mention in mentions if mention.end <= match.start() and is_alive(mention.noun)]
            if before:
                self.names[match[1].strip().rstrip("’'")] = before[-1].noun
        taken = [(mention.start, mention.end) for mention in mentions]
        for name, noun in self.names.items():
            for match in re.finditer(rf"\b{re.escape(name)}\b(?!['’]s\b)", text):
                if not any(start < match.end() and match.start() < end for start, end in taken):
                    mentions.append(self.lexicon.named(text, match.start(), match.end(), noun))
        return sorted((self._same_person(m, text) for m in mentions), key=lambda mention: mention.start)

    def _same_person(self, mention: Mention, sentence: str) -> Mention:
        """ "The man" after "an old man" is that old man; a man met before him stays a man."""
        name, word = mention.noun.name, sentence[mention.start : mention.end].lower()
        if not is_alive(mention.noun) or word not in (name, name.rpartition(" ")[2]) or mention.spoken:
            return mention
        known = self._fuller.setdefault(name.rpartition(" ")[2], mention.noun)
        return replace(mention, noun=known) if word != name or " " not in name else mention

    def _meant(self, pronoun: str) -> list[Mention]:
        """Whom a pronoun means: the last acting character that fits, before the last that fits at all."""
        if pronoun[0] == "t":
            many = [m for m in self._recent[-2:] if m.count > 1]
            if many or self._pair:
                return many[-1:] or self._pair
            both = list({m.noun.name: m for m in self._recent[-6:]}.values())[-2:]
            return both if (len(both) == 2 and pronoun == "they") or not self._things else self._things[-1:]
        gender = "f" if pronoun[0] == "s" or pronoun.startswith("her") else "m"
        fitting = [m for m in self._recent if self._fits(m.noun, gender)][-6:]
        merit = {
            i: 0.5 * i + 2 * (m.role == "subject") + 2 * (m.noun.category == "person") for i, m in enumerate(fitting)
        }
        chosen = [fitting[max(merit, key=lambda i: merit[i])]] if fitting else []
        for mention in chosen:
            self._gender.setdefault(mention.noun.name, gender)
        return chosen

    def _fits(self, noun: Noun, gender: str) -> bool:
        if noun.name in _MALE or noun.name in _FEMALE:
            return (noun.name in _MALE) == (gender == "m")
        return self._gender.get(noun.name, gender) == gender


def is_alive(noun: Noun) -> bool:
    """Whether the noun can be a character: a person or an animal."""
    return noun.category in ("person", "animal")


def _told(sentence: str, start: int, end: int, spoken_aloud: str) -> float:
    """1 if this place of the sentence is in the squeezed narration, less if the retelling leaves it out."""
    around = _squeeze(sentence[max(0, start - 12) : end + 12])
    return 1.0 if around in spoken_aloud else _NOT_NARRATED


def _squeeze(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


def _names_by_pronoun(lexicon: Lexicon, story: str) -> dict[str, Noun]:
    """Names that nothing introduces: capitals inside sentences, twice or more, never in lower case; "he" or "she"
    soon after tells whether the picture is a boy or a girl."""
    story = without_speech(story[:_ENOUGH])
    counts = Counter(match[1] for match in _NAME.finditer(story))
    names: dict[str, Noun] = {}
    for name, count in counts.items():
        if (
            count < 2
            or lexicon.get(name)
            or re.search(rf"\b{name.lower()}\b", story)
            or name in _NOT_NAMES
            or name.endswith("man")
        ):
            continue
        follow = [story[match.end() : match.end() + 120] for match in re.finditer(rf"\b{name}\b", story)]
        he = sum(len(re.findall(r"\b(?:he|his|him)\b", text)) for text in follow)
        she = sum(len(re.findall(r"\b(?:she|her)\b", text)) for text in follow)
        noun = lexicon.nouns.get("boy" if he > 2 * she else "girl" if she > 2 * he else "")
        if noun and he + she >= 2:
            names[name] = noun
    return names


_NOT_NAMES = word_set(
    "I O Oh Ah God Lord Sir Mr Mrs Miss Dr Christmas Easter Monday Tuesday Wednesday Thursday Friday Saturday "
    "Sunday January February April June July August September October November December England London English "
    "French"
)
