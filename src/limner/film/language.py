"""What the film needs to know about languages: which one it is, its sentences, its words.

Everything here works on plain strings with the standard library: no model, no corpus, no download. Scripts that
write no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are compared by character pairs.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache


def word_set(text: str) -> frozenset[str]:
    """The words of a space-separated list."""
    return frozenset(text.split())


_SCRIPTS: dict[str, str] = {  # the script's letters -> the tag of the language most often written in it
    "ぁ-ヿ": "ja", "가-힣": "ko", "一-鿿㐀-䶿": "zh", "ก-๛": "th", "ກ-ໟ": "lo", "ក-៹": "km", "က-႟": "my",
    "א-ת": "he", "ء-ۿ": "ar", "Α-Ͽἀ-῾": "el", "Ѐ-ӿ": "ru", "ऀ-ॿ": "hi", "ঀ-৿": "bn", "஀-௿": "ta",
    "ఀ-౿": "te", "઀-૿": "gu", "਀-੿": "pa", "Ա-֏": "hy", "Ⴀ-ჿ": "ka", "ሀ-፿": "am",
}  # fmt: skip
_SCRIPT_PATTERNS = {tag: re.compile(f"[{letters}]") for letters, tag in _SCRIPTS.items()}
UNSPACED = "぀-ヿ一-鿿㐀-䶿豈-﫿々ก-๛ກ-ໟក-៹က-႟"
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")

# Letters that tell the languages of one script apart: (first guess, better guess, letters only the better one has).
_TELLING = (("ru", "uk", "іїєґ"), ("ar", "fa", "پچژگ"), ("ar", "ur", "ٹڈڑے"))  # fmt: skip

_STOP_WORDS: dict[str, frozenset[str]] = {
    tag: frozenset(words.split())
    for tag, words in {
        "en": "the and of to a in that it is was he for on are with as i his they be at this have from or had by but "
        "not what all were we when your can said there an which she do their if will so her him my them no me you out "
        "up then one into would could should been has who its than some our did upon now about over down very how "
        "where again more such these those went came come go shall may must am us",
        "de": "der die das und in zu den von mit sich des auf für ist im dem nicht ein eine als auch es an er hat aus "
        "sie nach wird bei einer um am sind noch wie einem über so zum war haben nur oder aber vor zur bis mehr durch "
        "man sein wurde ich du wir ihr da denn wenn doch sagte",
        "fr": "le la les de des du un une et à il elle en que qui dans pour ne pas sur se ce est au par plus je son sa "
        "ses avec tout nous vous mais ou où comme on lui leur était avait dit cette ces",
        "es": "el la los las de que y a en un una ser se no por con su para como estar lo pero más o este ya muy "
        "también me sin sobre hay cuando todo esta le era había dijo del al es yo ella él",
        "it": "il lo la i gli le di che e è un una in non per con su da si come ma più se mi ti ci o anche questo "
        "della del dei delle al alla nel nella era aveva disse sono io lui lei",
        "pt": "o a os as de que e em um uma não para com por se mais como mas foi ao ele ela das dos seu sua ou quando "
        "muito nos já eu também só pelo pela até isso era tinha disse do da no na",
        "nl": "de het een en van ik te dat die in is hij niet zijn op aan met als voor had er maar om hem dan zou of "
        "wat mijn men dit zo door over ze zich bij ook tot je mij uit der naar heb hoe was werd zei",
        "sv": "och det att i en jag hon som han på den med var sig för så till är men ett om hade de av icke mig du "
        "henne då sin nu har inte hans honom skulle när från sade",
        "da": "og i jeg det at en den til er som på de med han af for ikke der var mig sig men et har om vi min havde "
        "ham hun nu over da fra du ud sin dem os op man hans hvor eller hvad skal",
        "pl": "i w nie na się z do to że jest jak a o po co tak za ale od jego jej był była było już tylko dla przez "
        "czy ten ta kiedy gdy bardzo więc powiedział",
        "cs": "a se v na je že o s z do i to k ve pro za by ale si po jako který byl byla bylo jeho jsem tak co když "
        "už ho jen od řekl",
        "fi": "ja on ei se että oli hän en mutta ovat kun niin minä joka sen hänen kuin tai vain jo mitä nyt sitten "
        "mukaan sanoi ne myös",
        "tr": "ve bir bu da de için o ile çok ne gibi daha var ama kadar sonra diye ben sen değil olan her şey dedi "
        "ki mi onun",
        "hu": "a az és hogy nem is egy volt ez de meg csak ha már el még mint ki mondta van azt vagy ő aki minden",
        "ro": "și în de la a cu un o pe nu că se din este mai ce era pentru care lui dar fost sau ca au iar spuse",
        "la": "et in est non ad cum ut quod qui sed de ex si quae ab per esse hoc atque enim autem nec sunt",
        "eo": "la kaj de en ne estas al mi li ŝi ke por kun sur sed ĉiu kiu tiu estis diris",
    }.items()
}

_ABBREVIATIONS = word_set(
    "mr mrs ms dr st prof sr jr rev hon capt col gen lt sgt messrs mme mlle vs etc no vol pp fig ch cf esq viz ca "
    "hr fr nr bzw usw ca m sra ud vds núm pág"
)
_SPEECH = re.compile(
    r"\b(said|says|saith|quoth|cried|cries|asked|asks|answered|replied|exclaimed|shouted|whispered|called|sang|"
    r"muttered|growled|roared|thought|continued|added|begged|sighed|laughed|declared|returned|remarked|went on)\b"
)
_CLOSERS = "\"'”’»›)\\]}」』）】〟＂*_"
_END = re.compile(
    rf"(?:(?P<latin>[.!?…‽؟۔։।॥]+|\.(?:\s\.)+)(?P<close>[{_CLOSERS}]*)(?=\s|$)|[。！？｡．]+[{_CLOSERS}]*|\n\s*\n)"
)
_WORD = re.compile(r"[^\W_]+(?:['’‑-][^\W_]+)*")
_BEFORE_WORD = re.compile(r"\s*[\"'“‘«„(\[*_—–-]*")
_TAG = re.compile(r"\s*[^.!?;:\n\"“]{1,48}")
_LAST_WORD = re.compile(r"([^\W_]+(?:\.[^\W_])*)$")
_LONGEST_UNPUNCTUATED = 240  # characters; Thai and its neighbours mark phrases by spaces, and sentences not at all


def guess_language(text: str) -> str:
    """The BCP-47 primary tag that `text` is most likely in: by its script, then by its commonest words; `"und"`
    when there is nothing to tell by. Reads at most the first 40,000 characters."""
    sample = text[:40_000]
    letters = sum(character.isalpha() for character in sample)
    if not letters:
        return "und"
    counts = {tag: len(pattern.findall(sample)) for tag, pattern in _SCRIPT_PATTERNS.items()}
    if counts["ja"] * 10 > counts["zh"] and counts["ja"] + counts["zh"] > letters / 3:
        return "ja"  # kana beside the Han characters
    script = max(counts, key=lambda tag: counts[tag])
    if counts[script] > letters / 3:
        for first, better, telling in _TELLING:
            if script == first and sum(sample.count(letter) for letter in telling) > counts[script] / 200:
                return better
        return script
    frequency = Counter(_WORD.findall(sample.lower()))
    total = sum(frequency.values())
    score = {tag: sum(frequency[word] for word in stops) for tag, stops in _STOP_WORDS.items()}
    best = max(score, key=lambda tag: score[tag])
    return best if total and score[best] / total >= 0.12 else "und"


def sentences(text: str) -> list[tuple[int, int]]:
    """Offsets `(start, end)` of the sentences of `text`, in order, trimmed of space; every word lies in exactly one.

    A line break is no boundary (verse runs on), an empty line is. Abbreviations, initials, numbers, and the tag
    after direct speech (`"Stop!" cried Jack.`) don't end a sentence.
    """
    ends = [match.end() for match in _END.finditer(text) if _ends_sentence(text, match)]
    spans, start = [], 0
    for end in [*ends, len(text)]:
        first, last = _trim(text, start, end)
        if last > first:
            spans.extend(_by_phrases(text, first, last))
        start = end
    return spans


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    mark = match["latin"]
    if mark is None:
        return (
            not (match[0][-1] in _CLOSERS and text[match.end() : match.end() + 1] in "とってはが")
            or not match[0].strip()
        )
    after = _BEFORE_WORD.match(text, match.end())
    following = text[after.end() : after.end() + 1] if after else ""
    if following.islower():
        return False
    if match["close"]:
        tag = _TAG.match(text, match.end())
        if tag and (verb := _SPEECH.search(tag[0])) and len(tag[0][: verb.start()].split()) <= 3:
            return False
    if mark == ".":
        before = _LAST_WORD.search(text[max(0, match.start() - 20) : match.start()])
        if before:
            word = before[1]
            initial = (len(word) == 1 and word.isupper() and word != "I") or "." in word
            return not (word.lower() in _ABBREVIATIONS or initial) or not following
    return True


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def _by_phrases(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """One long unpunctuated span of an unspaced script, cut at its phrase spaces; anything else as it is."""
    if end - start <= _LONGEST_UNPUNCTUATED or not _UNSPACED_RUN.search(text, start, end):
        return [(start, end)]
    cuts, last = [start], start
    for space in re.compile(r"\s+").finditer(text, start, end):
        if space.start() - last >= _LONGEST_UNPUNCTUATED // 3:
            cuts.append(last := space.end())
    return [_trim(text, a, b) for a, b in zip(cuts, [*cuts[1:], end], strict=True)]


def words(text: str) -> list[str]:
    """The words of `text` as written; a run of an unspaced script counts as one."""
    return _WORD.findall(text)


def count_words(text: str) -> int:
    """How many words `text` speaks; in unspaced scripts two characters are about one word."""
    if not _UNSPACED_RUN.search(text):
        return len(_WORD.findall(text))
    unspaced = sum(len(run) for run in _UNSPACED_RUN.findall(text))
    return len(_WORD.findall(_UNSPACED_RUN.sub(" ", text))) + (unspaced + 1) // 2


def stop_words(language: str) -> frozenset[str]:
    """The commonest words of `language`, which say nothing about what a sentence is about; empty when unknown."""
    return _STOP_WORDS.get(language, frozenset())


def terms(text: str, language: str) -> list[str]:
    """What `text` is about, for comparing it with other texts: its content words, case and simple endings removed;
    character pairs in unspaced scripts."""
    stops = stop_words(language)
    found = [_stem(word, language) for word in _WORD.findall(_UNSPACED_RUN.sub(" ", text).lower()) if word not in stops]
    for run in _UNSPACED_RUN.findall(text):
        found.extend(run[i : i + 2] for i in range(max(1, len(run) - 1)))
    return found


@lru_cache(maxsize=1 << 15)
def _stem(word: str, language: str) -> str:
    """Cut the commonest English endings; other languages keep five letters, a rough stem that all of them survive."""
    if language != "en":
        return word[:5]
    word = re.sub(r"['’]s?$", "", word)
    for ending in ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
