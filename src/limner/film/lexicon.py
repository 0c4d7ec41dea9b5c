"""Finds the things of the storybook's vocabulary in English sentences, and how each is spoken of.

A word is not enough: "he rose" names no flower, "as hungry as a hunter" brings no hunter, "no milk" no milk. Each
`Mention` says which noun, how many, which colour and size, and whether it acts, is acted on, or is only said.
"""

from __future__ import annotations

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from limner.film.language import word_set
from limner.stickers import vocabulary
from limner.stickers.vocabulary import Noun, plural_of

# Words of folk tales that the vocabulary doesn't have, by the noun that serves them best.
_MORE_WORDS = {
    "ogre": "ogress", "cow": "milker", "tree": "beanstalk, beech-tree, apple-tree, bush",
    "boy": "youngster, laddie, rogue, youth", "man": "chap, huntsman, woodsman, bridegroom, father",
    "woman": "mum, mamma, mama, goodwife", "girl": "little girl, little maid", "old man": "grandad, old beggar",
    "old woman": "gammer", "guitar": "harp, ukulele", "boat": "barque, bark boat, sail",
    "money bag": "bag of gold, sack of gold, purse of gold", "house": "doorstep, roof, hall door",
    "bed": "bedside, mattress", "egg": "golden egg", "duck": "ugly duckling, ducky", "pot": "copper lid, copper-lid",
    "castle": "royal palace", "wolf": "big bad wolf", "log": "sticks, wood pile",
    "sheaf of wheat": "bundle of straw, cornfield", "fire": "fireplace", "princess": "king's daughter",
    "prince": "king's son", "piece of cheese": "bread and cheese", "hen": "golden hen",
}  # fmt: skip

# What to draw for a noun that a picture model hasn't learnt: its nearest kin, which may have kin in turn.
_NEAREST = {
    "black cat": "cat", "ox": "cow", "boar": "pig", "rat": "mouse", "leopard": "lion", "tiger": "lion",
    "zebra": "horse", "unicorn": "horse", "camel": "horse", "panda": "bear", "chick": "hen", "dove": "bird",
    "eagle": "bird", "parrot": "bird", "peacock": "bird", "goose": "duck", "flamingo": "swan", "penguin": "bird",
    "whale": "fish", "dolphin": "fish", "shark": "fish", "seal": "fish", "crocodile": "dragon", "dinosaur": "dragon",
    "lizard": "frog", "badger": "bear", "otter": "mouse", "squirrel": "mouse", "beaver": "mouse", "hedgehog": "mouse",
    "beetle": "ant", "fly": "bee", "caterpillar": "snake", "worm": "snake", "baby": "boy", "guard": "man",
    "farmer": "man", "cook": "man", "captain": "man", "doctor": "man", "scholar": "man", "singer": "man",
    "rider": "man", "thief": "man", "elf": "old man", "bride": "princess", "angel": "fairy", "ogre": "troll",
    "troll": "man", "father christmas": "old man", "astronaut": "man", "tulip": "flower", "sunflower": "flower",
    "bunch of flowers": "flower", "rose": "flower", "pine tree": "tree", "palm tree": "tree", "pear": "apple",
    "peach": "apple", "orange": "apple", "bunch of cherries": "bunch of grapes", "money bag": "coin",
    "lantern": "candle", "oil lamp": "candle", "fiddle": "guitar", "rowing boat": "boat", "ship": "boat",
    "church": "castle", "temple": "castle", "hut": "house", "school": "house", "castle": "house", "pie": "cake",
    "pickaxe": "axe", "knife": "sword",
}  # fmt: skip

# Common as a verb, an adjective or a turn of phrase: a thing only where the grammar says so ("the rose", "a ring").
_AMBIGUOUS = word_set(
    "rose roses bear bears fly flies duck ducks bat bats ring rings well wells seal seals watch watches kid rock "
    "rocks swallow swallows crane perch root page bill fire fires present presents pin case scale scales steps bow "
    "bows web net court seat bath cook cooks guard guards judge nurse coach train trains plane ship ships box ball "
    "key keys sow steer hind leaves leaf plant plants sweet date drum pipe pipes whistle crown crowns wheel bone "
    "star stars cloud clouds horn clog cap chest coat shell shells map chart brush book books letter gate bark ram "
    "doe roe hide cod nag sage weed bloom blossom blossoms flower log nest stump crust joint stew cup mug blade "
    "taper tower camp inn school balance house houses home top boot pan pike hart lark spider stone stones trunk "
    "bolt spring minstrel captain pilot ruler lord mantle ark nut mouse monkey worm lamp bag door pine palm basket "
    "bed light"
)
# These stand for something else far more often than for the thing.
_FIGURATIVE = word_set("heart hearts love death spirit spirits fool fortune wealth machine sweet asp roe sage")

_SINGULAR = {
    "calves": "calf", "wives": "wife", "midwives": "wife", "housewives": "wife", "ladies": "lady", "lads": "lad",
    "loaves": "loaf", "hooves": "horse", "kine": "cow", "brethren": "brother", "pennies": "penny", "pence": "penny",
}  # fmt: skip

_DETERMINERS = word_set(
    "a an the this that these those his her its their my your our some any every each another two three four five "
    "six seven eight nine ten one both all many several few of little old"
)
_VERBS = word_set(
    "is was were are had has did does stood sat saw came comes went goes ran said says lay fell took gave got made "
    "ate flew sang told thought began could would will can must may left kept found heard woke slept rode swam "
    "crept shook grew threw caught sprang leapt broke brought held lives lived loved looked"
)
_NUMBERS = {
    "one": 1, "two": 2, "both": 2, "couple": 2, "pair": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "dozen": 12,
}  # fmt: skip
_MANY = 3  # what a plural without a number is drawn as
_COLOURS = {
    "golden": "yellow", "gold": "yellow", "yellow": "yellow", "red": "red", "scarlet": "red", "crimson": "red",
    "green": "green", "blue": "blue", "azure": "blue", "purple": "purple", "violet": "purple", "pink": "pink",
    "rosy": "pink", "white": "white", "snow-white": "white", "milk-white": "white", "black": "black", "brown": "brown",
    "orange": "orange", "pea-green": "green", "blood-red": "red",
}  # fmt: skip
_SIZES = {
    **dict.fromkeys(("big", "great", "huge", "giant", "enormous", "large", "tall", "vast", "mighty"), "big"),
    **dict.fromkeys(("small", "little", "tiny", "wee", "teeny"), "small"),
}
_PREPOSITIONS = word_set(
    "in on at by from to into onto under beneath over above of with without through across behind beside near past "
    "upon for about against among between round around along towards toward after before inside outside up down off"
)
_FUNCTION_WORDS = frozenset(
    {
        *_DETERMINERS,
        *_NUMBERS,
        *_COLOURS,
        *_SIZES,
        *_PREPOSITIONS,
        "and",
        "or",
        "left",
        "right",
        "front",
        "top",
        "is",
        "are",
    }
)
_ADJECTIVE = re.compile(r"(?:ful|[^l]y|ing|ous|ed)$|^(?:lovely|ugly|lonely|silly|jolly|lively)$")
_NOT = re.compile(r"\b(?:no|not|never|without|n't|nor|neither|instead of|than|any)$|n['’]t$", re.IGNORECASE)
_SIMILE = re.compile(r"\b(?:as|like)\s+(?:an?|the|any)?\s*(?:[\w-]+\s+){0,2}$", re.IGNORECASE)
_SPEAKING = re.compile(
    r"\b(?:said|says|cried|asked|answered|replied|called|sang|quoth|growled|shouted)\s+(?:out\s+)?(?:an?|the|his|her|their)?\s*(?:\w+\s+)?$",
    re.I,
)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’‑-][^\W\d_]+)*|\d+")
_QUOTED = re.compile(  # up to the closing mark, or to the paragraph's end
    r"“(?:(?!\n\s*\n)[^”])*”?|\"(?:(?!\n\s*\n)[^\"])*\"?|«(?:(?!\n\s*\n)[^»])*»?|"
    r"(?<!\w)[‘'](?=\w)(?:(?!\n\s*\n)(?:[^‘’']|['’](?=\w)))*[,.!?;—][’'](?!\w)"
)


def vocabulary_term(word: str) -> bool:
    """Whether a word is, or is part of, a caption's phrase for a place, time, weather or season."""
    return word in _term_words()


@cache
def _term_words() -> frozenset[str]:
    groups = (vocabulary.PLACES, vocabulary.TIMES, vocabulary.WEATHERS, vocabulary.SEASONS)
    return frozenset(w for terms in groups for t in terms for p in (t.name, *t.phrases, *t.synonyms) for w in p.split())


def _more(name: str) -> list[str]:
    return _MORE_WORDS[name].split(", ") if name in _MORE_WORDS else []


def without_speech(text: str) -> str:
    """`text` with everything inside quotation marks blanked, character for character."""
    return _QUOTED.sub(lambda match: re.sub(r"\S", " ", match[0]), text)


@dataclass(frozen=True)
class Token:
    text: str
    start: int
    end: int

    @property
    def lower(self) -> str:
        return self.text.lower().replace("’", "'").replace("‑", "-")


@dataclass(frozen=True)
class Mention:
    """One noun where the text speaks of it; `start` and `end` are offsets in the text that was searched.

    `role`: `subject` (acts), `object` (is acted on), `place` (after a preposition). `count` is at least 1.
    """

    noun: Noun
    start: int
    end: int
    role: str
    spoken: bool
    count: int = 1
    colour: str = ""
    size: str = ""
    preposition: str = ""


class Lexicon:
    """The words that mean each of `nouns`; by default the ones that the storybook model draws."""

    def __init__(self, nouns: Iterable[Noun] | None = None) -> None:
        chosen = vocabulary.storybook_nouns() if nouns is None else nouns
        self.nouns = {noun.name: noun for noun in chosen if noun.category != "feeling"}
        self._words: dict[str, tuple[Noun, bool]] = {}  # a word or phrase -> what it means, whether it is a plural
        for noun in self.nouns.values():  # a noun's own name wins over another's synonym
            self._add(noun, noun.name)
        for noun in self.nouns.values():
            for word in (*noun.synonyms, *_more(noun.name)):
                self._add(noun, word)
        for other in vocabulary.nouns():
            if kin := self._nearest(other.name):
                for word in (other.name, *other.synonyms, *_more(other.name)):
                    self._add(kin, word)
        self._longest: dict[str, int] = {}  # by first word, how many words a phrase may have
        for word in self._words:
            first, *rest = word.split()
            self._longest[first] = max(self._longest.get(first, 1), 1 + len(rest))

    def _nearest(self, name: str) -> Noun | None:
        """The noun to draw for one that isn't among these, if any comes near."""
        while name not in self.nouns and name in _NEAREST:
            name = _NEAREST[name]
        return self.nouns.get(name)

    def _add(self, noun: Noun, word: str) -> None:
        self._words.setdefault(word, (noun, False))
        self._words.setdefault(plural_of(word), (noun, True))

    def get(self, phrase: str) -> tuple[Noun, bool] | None:
        """The noun that a word or short phrase means, with or without hyphens, and whether it is a plural."""
        phrase = phrase.lower()
        parts = [] if " " in phrase else phrase.split("-")[::-1]
        for form in (phrase, phrase.replace("-", " "), phrase.replace("-", ""), *parts):
            if form in _FIGURATIVE:
                continue
            if form in self._words:
                return self._words[form]
            if (singular := _SINGULAR.get(form)) in self._words:
                return self._words[singular][0], True
        return None

    def mentions(self, text: str) -> list[Mention]:
        """The nouns of the vocabulary in `text`, in order."""
        tokens = _tokens(text)
        found: list[Mention] = []
        i = 0
        while i < len(tokens):
            length, mention = self._at(text, tokens, i)
            if mention:
                found.append(mention)
            i += length
        return found

    def unknown(self, phrase: str) -> list[str]:
        """The words of a picture's description that mean nothing to this lexicon, in order, in lower case."""
        known = [(mention.start, mention.end) for mention in self.mentions(phrase)]
        rest = [t for t in _tokens(phrase) if not any(start <= t.start < end for start, end in known)]
        return [t.lower for t in rest if t.lower not in _FUNCTION_WORDS and not vocabulary_term(t.lower)]

    def named(self, text: str, start: int, end: int, noun: Noun) -> Mention:
        """The mention of a character by its name, at `start` to `end` of `text`."""
        tokens = _tokens(text)
        at = bisect_right(tokens, start, key=lambda token: token.end)
        role, _ = _role(text, tokens, at, 1)
        return Mention(noun, start, end, role, _is_spoken(text, start))

    def _at(self, text: str, tokens: Sequence[Token], i: int) -> tuple[int, Mention | None]:
        longest = self._longest.get(tokens[i].lower, 1)
        for length in range(min(longest, len(tokens) - i), 0, -1):
            group = tokens[i : i + length]
            gaps = [text[a.end : b.start] for a, b in itertools.pairwise(group)]
            if any(gap.strip(" \n") for gap in gaps):
                continue
            phrase = " ".join(token.lower for token in group)
            meaning = self.get(phrase)
            if meaning is None:
                continue
            if not self._is_a_thing(text, tokens, i, length, phrase):
                return length, None
            return length, self._describe(text, tokens, i, length, meaning, phrase)
        return 1, None

    def _is_a_thing(self, text: str, tokens: Sequence[Token], i: int, length: int, phrase: str) -> bool:
        first, last = tokens[i], tokens[i + length - 1]
        before = text[max(0, first.start - 40) : first.start]
        previous = tokens[i - 1].lower if i and not text[tokens[i - 1].end : first.start].strip(" \n") else ""
        clause = re.split(r"[.!?;:,—]", before)[-1]
        if _SIMILE.search(clause) and not re.search(r"\blooked? like\b|\bwould like\b|\bliked?\s+the\b", clause):
            return False
        if any(_NOT.search(part) for part in _leading(clause.split())):
            return False
        following = tokens[i + length].lower if i + length < len(tokens) else ""
        if "you" in (previous, tokens[i - 2].lower if i > 1 else "") or (
            length == 1 and following and self._next_is_head(text, last, tokens, i + length)
        ):
            return False
        if phrase in _AMBIGUOUS:
            adjective = (
                previous in _COLOURS
                or previous in _SIZES
                or (_ADJECTIVE.search(previous) is not None and previous not in self._words)
            )
            capital = first.text[0].isupper() and bool(previous)
            return previous in _DETERMINERS or adjective or capital or previous.endswith(("'s", "s'"))
        return True

    def _next_is_head(self, text: str, last: Token, tokens: Sequence[Token], i: int) -> bool:
        """ "apple" in "apple pie": the second of two bare nouns side by side is the thing spoken of."""
        following = tokens[i]
        return (
            text[last.end : following.start] == " "
            and following.lower not in _AMBIGUOUS
            and following.lower in self._words
        )

    def _describe(
        self,
        text: str,
        tokens: Sequence[Token],
        i: int,
        length: int,
        meaning: tuple[Noun, bool],
        phrase: str,
    ) -> Mention | None:
        (noun, plural), last = meaning, tokens[i + length - 1]
        if text[last.end : last.end + 2] in ("'s", "’s") or phrase.endswith(("'s", "s'")):
            return None
        spoken = _is_spoken(text, tokens[i].start)
        several = plural and not spoken and not noun.name.startswith("bunch of")
        count, colour, size, start = (_MANY if several else 1), "", "", i
        while start and not text[tokens[start - 1].end : tokens[start].start].strip(" ,\n") and i - start < 5:
            word = tokens[start - 1].lower
            if word in _NUMBERS or word.isdigit():
                if plural:
                    count = _NUMBERS.get(word, int(word) if word.isdigit() and len(word) < 4 else 1) or 1
            elif word in _COLOURS:
                colour = _COLOURS[word] if _COLOURS[word] in noun.colours else colour
            elif word in _SIZES:
                size = _SIZES[word]
            elif word in _PREPOSITIONS and word != "of":
                break
            elif word in _DETERMINERS and word not in ("of", "little", "old"):
                start -= 1
                break
            start -= 1
        role, preposition = _role(text, tokens, i, length)
        return Mention(noun, tokens[i].start, last.end, role, spoken, max(1, count), colour, size, preposition)


@lru_cache(maxsize=8)
def _tokens(text: str) -> tuple[Token, ...]:
    return tuple(Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(text))


@lru_cache(maxsize=8)
def _speeches(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(match.span() for match in _QUOTED.finditer(text))


def _is_spoken(text: str, at: int) -> bool:
    speeches = _speeches(text)
    i = bisect_right(speeches, (at, len(text))) - 1
    return i >= 0 and at < speeches[i][1]


def _role(text: str, tokens: Sequence[Token], i: int, length: int) -> tuple[str, str]:
    """The role of the noun at `i`, and the preposition that governs it."""
    preposition = _preposition_before(text, tokens, i)
    said_by = _SPEAKING.search(text[max(0, tokens[i].start - 40) : tokens[i].start])
    if said_by or _leads(text, tokens, i) or _acts(text, tokens, i + length, preposition):
        return "subject", preposition
    return ("place" if preposition else "object"), preposition


def _leading(words: list[str]) -> Iterator[str]:
    """The words just before a noun, up to three back, nearest first, while they may still belong to it."""
    for word in reversed(words[-3:]):
        yield word
        if word.lower() in _PREPOSITIONS or word.lower() in ("the", "and", "or", "but"):
            return


def _preposition_before(text: str, tokens: Sequence[Token], i: int) -> str:
    """The preposition that governs the noun at `i`: right before it, but for adjectives and one article."""
    article = False
    for back in range(i - 1, max(-1, i - 6), -1):
        word = tokens[back].lower
        if text[tokens[back].end : tokens[back + 1].start].strip(" \n"):
            return ""
        if word in _PREPOSITIONS and word != "of":
            return word
        if article or word in ("and", "who", "that", "which"):
            return ""
        article = (word in _DETERMINERS and word not in ("of", "little", "old", "all", "both")) or word.endswith("'s")
    return ""


def _acts(text: str, tokens: Sequence[Token], following: int, preposition: str) -> bool:
    """Whether a verb comes right after the noun, or "who" and a verb."""
    if following >= len(tokens) or text[tokens[following - 1].end : tokens[following].start].strip(" \n"):
        return False
    word = tokens[following].lower
    return word == "who" or (not preposition and (word in _VERBS or (word.endswith("ed") and len(word) > 4)))


def _leads(text: str, tokens: Sequence[Token], i: int) -> bool:
    """Whether the noun at `i` opens its clause: after a stop, or after "and", "then" and the like."""
    for back in range(i - 1, max(-1, i - 6), -1):
        if text[tokens[back].end : tokens[back + 1].start].strip(" \n\"'“‘”’"):
            return True
        word = tokens[back].lower
        if word in _PREPOSITIONS and word != "of":
            return False
        if word in (
            "so",
            "then",
            "but",
            "when",
            "till",
            "until",
            "as",
            "that",
            "while",
            "where",
            "because",
            "if",
            "and",
            "or",
        ):
            return True
        if not (
            word in _DETERMINERS
            or word in _SIZES
            or word in _COLOURS
            or word in ("once", "there", "was", "lived", "upon", "time", "dear", "now", "well", "o")
            or word.endswith(("y", "ful", "ing", "ed", "'s", "or", "er"))
        ):
            return False
    return True


@cache
def storybook_lexicon() -> Lexicon:
    """The lexicon of the nouns that the `storybook` model draws."""
    return Lexicon()


@cache
def whole_lexicon() -> Lexicon:
    """The lexicon of every noun, for illustrators that were taught by more than stickers."""
    return Lexicon(vocabulary.nouns())
