"""Where and when each scene plays: place, time, weather, season and mood, carried on until the text changes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from limner.film.language import sentences, word_set
from limner.film.lexicon import without_speech
from limner.stickers.vocabulary import PLACES, SEASONS, TIMES, WEATHERS, Term


@dataclass(frozen=True)
class Setting:
    """Names of the vocabulary's terms; weather and season are empty where the text names none."""

    place: str = "meadow"
    time: str = "day"
    weather: str = ""
    season: str = ""
    mood: str = "calm"

    def phrases(self) -> str:
        """As captions say it: "in a meadow by day in winter". Rooms have no weather, towns no season."""
        chosen = [(PLACES, self.place), (TIMES, self.time)]
        if self.place not in _SHELTERED:
            chosen += [(WEATHERS, self.weather)]
        if self.place not in _SHELTERED | _SEASONLESS:
            chosen += [(SEASONS, self.season)]
        return " ".join(term.phrases[0] for terms, name in chosen for term in terms if term.name == name)


_SHELTERED = frozenset({"room", "cave", "underwater", "space"})
_SEASONLESS = frozenset({"town", "desert", "beach", "sea", "snow"})
_PLACE_WORDS = {
    "sea": "sailed sailing sail voyage aboard sailors boat ship", "garden": "trellis vine vineyard beanstalk hedge",
    "room": "upstairs attic oven cupboard larder table copper fireside hearth cradle loft kitchen parlour",
    "forest": "bong-tree treetops woodcutter", "mountains": "sky-high precipice", "farm": "barn hayloft haystack",
    "village": "doorstep market", "lake": "riverbank millpond moat", "town": "palace castle king's",
}  # fmt: skip
_TIME_WORDS = {
    "night": "moon stars starlight moonlight midnight dreamt candle-light",
    "dusk": "supper supper-time dusk sunset",
    "day": "sunrise breakfast sunshine sun sunlight dinner woke awoke noon",
}  # fmt: skip
_WEATHER_WORDS = {
    "rain": "rained rainstorm", "snowfall": "snowflakes snowed"
}  # fmt: skip
_MOODS = {
    "joyful": "happy glad merry danced dance sang sing laughed laughing joy joyful wedding married cheerful rejoiced "
    "beautiful lovely charming delighted feast smiled sweet sweetly pretty rich",
    "sad": "sad sorry wept weeping cried tears poor lonely alone died grief sorrow lost mourned unhappy "
    "weary cold ugly miserable",
    "tense": "afraid fear feared frightened fled chased danger hid trembled tremble "
    "crept shook thump roar roared escaped rushed rushing fright thunder",
    "angry": "angry anger rage furious scolded struck beat fought fight shouted wrath fool idiot",
    "calm": "sleep slept quiet quietly gentle rest peaceful softly slowly still evening",
}  # fmt: skip
# Words with so many other senses that only a preposition makes places of them ("in the square", "on the hill"), and
# words that as a season or a weather are rarer than as something else.
_NEEDS_PREPOSITION = word_set(
    "hole bank plain plains hall ice capital square stable den strand waves peak water street road lane park hill "
    "hills court wood field yard market snow room space mine inside sand town garden farm village desert"
)
_NEVER = word_set("may fall wet fine fair bright mine clear clouds")
_INTO = re.compile(
    r"\b(?:in|on|into|onto|to|at|through|across|by|near|upon|along|inside|within|reached|entered|round)\s+"
    r"(?:(?!the\b|from\b)[\w'’-]+\s+)?(?:the\s+|an?\s+|his\s+|her\s+)?(?:[\w'’-]+\s+){0,2}(?:of\s+(?:the\s+)?)?$",
    re.I,
)
_OUT_OF = re.compile(r"\b(?:out of|from|off|left|than|like)\s+(?:[\w'’-]+\s+){0,2}$", re.IGNORECASE)
_ANOTHER_TIME = re.compile(
    r"(?:\b(?:good|by|every|each|yesterday|last|before|after|to-?morrow|until|till|not|never|over|a year and a|for a|"
    r"all|"
    r"many a|some)\s+|n['’]t\s+|over-)(?:the\s+)?$",
    re.IGNORECASE,
)
_BEFORE_THAT = re.compile(r"\s+(?:before|ago)\b", re.IGNORECASE)
_NOW_DARK = re.compile(r"\b(?:in the|grew|grows|got|getting|it was|into the)\s+$", re.IGNORECASE)
_THAT_DAY = re.compile(r"\b(?:next|that|one|following|same|fine|very|summer'?s)\s+$", re.IGNORECASE)
_WORDS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")

Table = dict[str, tuple[str, bool]]  # a word or phrase -> the term it tells of, and whether it tells so by itself


def _table(terms: tuple[Term, ...], hints: dict[str, str]) -> Table:
    table = {word: (term.name, False) for term in reversed(terms) for word in (*term.synonyms, term.name)}
    table.update((hint, (name, True)) for name, words in hints.items() for hint in words.split())
    return {word: meaning for word, meaning in table.items() if word not in _NEVER}


_PLACE_TABLE, _TIME_TABLE = _table(PLACES, _PLACE_WORDS), _table(TIMES, _TIME_WORDS)
_WEATHER_TABLE, _SEASON_TABLE = _table(WEATHERS, _WEATHER_WORDS), _table(SEASONS, {})
MOODS = tuple(_MOODS)
_MOOD_OF = {word: mood for mood, words in _MOODS.items() for word in words.split()}


def follow(setting: Setting, text: str) -> Setting:
    """The setting after `text`, which begins in `setting`. What people say inside quotation marks moves nothing."""
    told = without_speech(text)
    place = _strongest(told, _PLACE_TABLE, _place_weight)
    time = _strongest(told, _TIME_TABLE, _time_weight)
    weather = _strongest(told, _WEATHER_TABLE, _always)
    moved = place not in ("", setting.place) or time not in ("", setting.time)
    moods = Counter(_MOOD_OF[word] for word in _WORDS.findall(text.lower()) if word in _MOOD_OF)
    return Setting(
        place=place or setting.place,
        time=time or setting.time,
        weather=weather or ("" if moved else setting.weather),
        season=_strongest(told, _SEASON_TABLE, _season_weight) or setting.season,
        mood=moods.most_common(1)[0][0] if moods else setting.mood,
    )


def _strongest(text: str, table: Table, weigh: Callable[[str, str, bool], float]) -> str:
    """The term that `text` gives the strongest evidence for, the latest of equals; empty when there is none."""
    best, strongest = "", 0.0
    for start, end in sentences(text):
        sentence = text[start:end]
        found = list(_WORDS.finditer(sentence))
        for i, match in enumerate(found):
            for last in found[i : i + 3][::-1]:
                phrase = sentence[match.start() : last.end()].lower().replace("’", "'").removesuffix("'s")
                if phrase in table:
                    name, telling = table[phrase]
                    elsewhere = _BEFORE_THAT.match(sentence, last.end())
                    weight = 0.0 if elsewhere else weigh(phrase, sentence[: match.start()], telling)
                    if weight > 0 and weight >= strongest:
                        best, strongest = name, weight
                    break
    return best


def _place_weight(phrase: str, before: str, telling: bool) -> float:
    if _OUT_OF.search(before):
        return 0.0
    if _INTO.search(before):
        return 2.0
    return 1.0 if telling else 0.0 if phrase in _NEEDS_PREPOSITION else 0.5


def _time_weight(phrase: str, before: str, telling: bool) -> float:
    if _ANOTHER_TIME.search(before):
        return 0.0
    if telling:
        return 0.6
    if phrase == "day":
        return 1.0 if _THAT_DAY.search(before) else 0.0
    if phrase in ("dark", "darkness"):
        return 1.0 if _NOW_DARK.search(before) else 0.0
    return 1.0


def _season_weight(phrase: str, before: str, telling: bool) -> float:
    if re.search(r"\bwhen\s+(?:the\s+)?$", before, re.IGNORECASE):
        return 2.0
    return 1.0 if re.search(r"\b(?:in|the|that|all|of|one|cold|this|during)\s+$", before, re.IGNORECASE) else 0.0


def _always(phrase: str, before: str, telling: bool) -> float:
    return 1.0
