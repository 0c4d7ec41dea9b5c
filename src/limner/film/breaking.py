"""Where a line may end, what counts as a word, and how a text is set into lines that look even.

Follows the parts of UAX #14 that stories need, with phrase breaks from BudouX for Chinese, Japanese and Thai and
the kinsoku rule for every script: no line starts with a closing mark or a small kana, none ends with an opening
one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

_NO_START = frozenset(
    "、。，．・：；？！)]}）」』】〉》〕｝〟’”ーァィゥェォッャュョヮヵヶぁぃぅぇぉっゃゅょゎ々ゝゞ…‥!?:;,.%‰℃۔،؛؟।॥ๆฯ་"
)
_NO_END = frozenset("([{（「『【〈《〔｛〝‘“¡¿«$£€#＃")
_BREAK_AFTER = frozenset("-‐–—/\u00ad\u200b")
_GLUE = frozenset("\u00a0\u202f\u2060\u2007\ufeff")
_CHINESE, _JAPANESE, _THAI = "zh", "ja", "th"


def breaks(text: str, language: str = "") -> list[int]:
    """Offsets in `text` where a line may end (a new line would start there), ascending, without 0 and the end."""
    phrase_starts = _phrase_starts(text, language)
    return [i for i in range(1, len(text)) if _may_break(text, i, phrase_starts)]


def clusters(text: str) -> list[tuple[int, int]]:
    """(start, end) of each base character with what follows it without standing alone: marks, joiners, selectors."""
    starts = [i for i in range(len(text)) if i == 0 or not _clings(text, i)]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def words(text: str, language: str = "") -> list[tuple[int, int]]:
    """(start, end) of each spoken word: no spaces or punctuation around it; phrases where a script writes no spaces."""
    cuts = [0, *breaks(text, language), len(text)]
    found = []
    for start, end in pairwise(cuts):
        while start < end and not _is_letter(text[start]):
            start += 1
        while end > start and not _is_letter(text[end - 1]):
            end -= 1
        if start < end:
            found.append((start, end))
    return found


def columns(text: str) -> float:
    """Width of `text` in Latin characters: an ideograph or kana counts 2.6 (16 of them read like a line of 42
    letters).
    """
    return sum(_columns(c) for c in text)


def wrap(
    text: str, limit: float, language: str = "", measure: Callable[[str], float] = columns
) -> list[tuple[int, int]]:
    """(start, end) of the lines of `text`, as few as fit in `limit` and as even as can be, without the spaces at
    their ends. A newline ends a line.

    A single unbreakable piece that is wider than `limit` is cut between characters.
    """
    lines, start = [], 0
    for part in text.split("\n"):
        lines += [(start + left, start + right) for left, right in _wrap(part, limit, language, measure)]
        start += len(part) + 1
    return lines


def _wrap(text: str, limit: float, language: str, measure: Callable[[str], float]) -> list[tuple[int, int]]:
    pieces = _pieces(text, limit, language, measure)
    if not pieces:
        return []
    count = len(pieces)
    width = lru_cache(maxsize=None)(lambda i, j: measure(text[pieces[i][0] : pieces[j - 1][1]].strip()))
    # fewest[i], cost[i]: lines needed for pieces i.. and the sum of squared free space, the last line's included
    best: list[tuple[int, float, int]] = [(0, 0.0, count)] * (count + 1)
    for i in range(count - 1, -1, -1):
        options = []
        for j in range(i + 1, count + 1):
            if width(i, j) > limit and j > i + 1:
                break
            free = max(0.0, 1 - width(i, j) / limit)
            options.append((best[j][0] + 1, best[j][1] + free * free, j))
        best[i] = min(options)
    lines, i = [], 0
    while i < count:
        j = best[i][2]
        lines.append(_trim(text, pieces[i][0], pieces[j - 1][1]))
        i = j
    return lines


def _pieces(text: str, limit: float, language: str, measure: Callable[[str], float]) -> list[tuple[int, int]]:
    """Unbreakable pieces of `text`, with pieces that are wider than a line cut up, and blank ones left out."""
    cuts = [0, *breaks(text, language), len(text)]
    pieces: list[tuple[int, int]] = []
    for start, end in pairwise(cuts):
        if not text[start:end].strip():
            continue
        if measure(text[start:end].strip()) <= limit:
            pieces.append((start, end))
            continue
        here = start
        for left, right in clusters(text[start:end]):
            if start + left > here and measure(text[here : start + right]) > limit:
                pieces.append((here, start + left))
                here = start + left
        pieces.append((here, end))
    return pieces


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))


def _may_break(text: str, i: int, phrase_starts: frozenset[int]) -> bool:
    before, after = text[i - 1], text[i]
    if after in _GLUE or before in _GLUE or after.isspace() or _clings(text, i):
        return False
    if before.isspace():
        # French sets a space before these; a mark that stands alone still belongs to the word in front of it
        lone_mark = after in "!?:;»…" and (i + 1 == len(text) or text[i + 1].isspace() or text[i + 1] in "!?»")
        opened = i >= 2 and text[i - 2] in _NO_END and not text[i - 2].isalnum()
        return not lone_mark and not opened
    if after in _NO_START or before in _NO_END or unicodedata.category(after) in ("Pe", "Pf"):
        return False
    if before in _BREAK_AFTER:
        inside_number = i >= 2 and text[i - 2].isdigit() and after.isdigit()
        return i >= 2 and not text[i - 2].isspace() and after not in _BREAK_AFTER and not inside_number
    if after == "—":
        return before != "—"
    if i in phrase_starts:
        return True
    if phrase_starts and _phrasal(before) and _phrasal(after):
        return False
    return (_wide(before) or _wide(after)) and not (_hangul(before) and _hangul(after))


def _clings(text: str, i: int) -> bool:
    """Whether character `i` belongs to the one in front of it."""
    category = unicodedata.category(text[i])
    joiner = text[i] == "\u200d" or text[i - 1] == "\u200d"
    thai_vowel = (
        text[i] in "ะาำๅຳະາ" or text[i - 1] in "เแโใไເແໂໃໄ"
    )  # written beside the consonant, part of its syllable
    selector = "\U0001f3fb" <= text[i] <= "\U0001f3ff" or "\ufe00" <= text[i] <= "\ufe0f"
    return category in ("Mn", "Me", "Mc") or joiner or thai_vowel or selector


def _phrase_starts(text: str, language: str) -> frozenset[int]:
    """Starts of phrases in runs of a script without spaces, by BudouX; empty where there are none."""
    found: set[int] = set()
    start = 0
    for i in range(len(text) + 1):
        if i < len(text) and _phrasal(text[i]):
            continue
        if i - start > 1:
            here = start
            for phrase in _parser(_phrase_language(text[start:i], language)).parse(text[start:i]):
                found.add(here)
                here += len(phrase)
        start = i + 1
    return frozenset(found)


def _phrase_language(run: str, language: str) -> str:
    if any("\u0e00" <= c <= "\u0e7f" for c in run):
        return _THAI
    if any("\u3040" <= c <= "\u30ff" for c in run) or language.startswith(_JAPANESE):
        return _JAPANESE
    return "zh-hant" if language.lower().replace("_", "-") in ("zh-hant", "zh-tw", "zh-hk", "yue") else "zh-hans"


@cache
def _parser(name: str) -> Any:
    from limner.errors import MissingExtra

    try:
        import budoux
    except ImportError:
        raise MissingExtra("Breaking lines of Chinese, Japanese and Thai", "film") from None
    load = {
        _JAPANESE: budoux.load_default_japanese_parser,
        _THAI: budoux.load_default_thai_parser,
        "zh-hans": budoux.load_default_simplified_chinese_parser,
        "zh-hant": budoux.load_default_traditional_chinese_parser,
    }[name]
    return load()


def _phrasal(c: str) -> bool:
    """Scripts written without spaces that BudouX knows: Han, kana, Thai."""
    return (
        "\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uf900" <= c <= "\ufaff" or c in "々〆〇"
        or "\U00020000" <= c <= "\U0003ffff" or "\u0e00" <= c <= "\u0e7f"
    )  # fmt: skip


def _wide(c: str) -> bool:
    return unicodedata.east_asian_width(c) in ("W", "F")


def _hangul(c: str) -> bool:
    return "\uac00" <= c <= "\ud7af"


def _is_letter(c: str) -> bool:
    return unicodedata.category(c)[0] in "LNM"


@lru_cache(maxsize=4096)
def _columns(c: str) -> float:
    if unicodedata.category(c) in ("Mn", "Me", "Cf", "Cc"):
        return 0.0
    return 2.6 if _wide(c) else 1.0
