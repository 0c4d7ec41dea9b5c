"""Whether two lines of verse rhyme, judged by spelling: a rough ear, good enough to keep couplets together."""

from __future__ import annotations

import re

_SAME_SOUND = (  # English spellings that sound alike at a line's end, in this order
    (r"igh(?=t|$)", "y"), (r"^([^aeiou]{1,2})e$", r"\1i"), (r"(?<=[^aeiou])e(?=$)", ""), (r"oa|ow(?=[ns]?$)|oe", "o"),
    (r"ea|ee|ie(?=[^t])|ei", "i"), (r"ai|ay|ey(?=$)", "a"), (r"ue|ew|oo|ou(?=$)", "u"), (r"ck|c(?=$)", "k"),
    (r"ll", "l"), (r"ss|ce|se", "s"), (r"y", "i"),
)  # fmt: skip
_VOWELS = "aeiouyàáâäåæèéêëìíîïòóôöøùúûüœаеёиоуыэюяαεηιουω"


def rhymes(a: str, b: str) -> bool:
    """True when the last words of lines `a` and `b` end in the same sound, and aren't the same short word."""
    first, second = _ending(a), _ending(b)
    return bool(first) and first == second


def _ending(line: str) -> str:
    """The last word of `line` from its last vowel on, in a rough phonetic spelling; empty when there is none."""
    found = re.findall(r"[^\W\d_]+", line.lower())
    if not found:
        return ""
    word = found[-1]
    for spelling, sound in _SAME_SOUND:
        word = re.sub(spelling, sound, word)
    tail = re.search(rf"[{_VOWELS}]+[^{_VOWELS}]*$", word)
    return tail[0] if tail else word
