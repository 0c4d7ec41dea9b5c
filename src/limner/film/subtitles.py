"""Subtitles: the spoken words cut into cues that a person can read, and the files that carry them (SRT, WebVTT).

The limits are those of broadcasters: two lines of 42 letters (16 for ideographs), cues of one to seven seconds, a
gap of two frames between them, breaks where the sentence breaks.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from limner.film.breaking import breaks, columns, wrap
from limner.film.fonts import clean
from limner.film.voice import Speech, Word

_SHORTEST, _LONGEST = 1.0, 7.0  # seconds
_LINGER = 0.6  # seconds that a cue stays after its last word
_GAP = 1 / 12  # seconds between cues: two frames of film
_SENTENCE_END = frozenset(".!?…。！？।॥؟۔")
_CLAUSE_END = frozenset(",;:—–、，；：،؛")
_CLOSING = "\"'”’»)]」』）"


@dataclass(frozen=True)
class Cue:
    """A subtitle from `start` to `end` (seconds of film). `words` have film times and offsets into `text`.

    `text` is one line but for verse, whose lines end with newlines; `breaks` are the offsets where its second and later
    lines begin.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    breaks: tuple[int, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        edges = (0, *self.breaks, len(self.text))
        return tuple(self.text[i:j].strip() for i, j in pairwise(edges))


def make_cues(
    speech: Speech, text: str, *, start: float, language: str, max_chars: int = 42, lines: int = 2
) -> list[Cue]:
    """Cues for `text` as spoken in `speech`, which begins `start` seconds into the film.

    No cue has more than `lines` lines of `max_chars` (an ideograph counts as 2.6). Cues follow each other without
    overlap.
    """
    text = clean(text, lines=True)
    pieces = _pieces(text, language, max_chars)
    if not pieces or not text.strip():
        return []
    spans = _best_cuts(text, pieces, _piece_times(pieces, speech), language, max_chars, lines)
    cues = [_cue(text, span, speech, start, language, max_chars) for span in spans]
    return _timed(cues, start + speech.seconds)


def write_srt(path: Path, cues: Sequence[Cue]) -> None:
    """Write SubRip, UTF-8."""
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues, 1)
    ]
    path.write_text("\n".join(blocks), encoding="utf-8", newline="\n")


def write_vtt(path: Path, cues: Sequence[Cue]) -> None:
    """Write WebVTT, UTF-8; what would be read as markup is escaped."""
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n" + html.escape("\n".join(cue.lines), quote=False) + "\n"
        for cue in cues
    ]
    path.write_text("\n".join(["WEBVTT\n", *blocks]), encoding="utf-8", newline="\n")


def _pieces(text: str, language: str, max_chars: int) -> list[tuple[int, int]]:
    """Pieces that stay together: between places where a line may break, none longer than a line."""
    edges = [0, *breaks(text, language), len(text)]
    pieces = []
    for left, right in pairwise(edges):
        if columns(text[left:right].strip()) <= max_chars:
            pieces.append((left, right))
        else:
            cut = [left + i for i, _ in wrap(text[left:right], max_chars, language)] or [left]
            pieces.extend(zip([left, *cut[1:]], [*cut[1:], right], strict=True))
    return pieces


def _piece_times(pieces: Sequence[tuple[int, int]], speech: Speech) -> list[tuple[float, float]]:
    """(start, end) of each piece in the speech: from its words, or from its neighbours where it has none."""
    times = []
    last, word = 0.0, 0
    for _, right in pieces:
        begin = None
        while word < len(speech.words) and speech.words[word].offset < right:
            begin = speech.words[word].start if begin is None else begin
            last = max(last, speech.words[word].end)
            word += 1
        times.append((last if begin is None else begin, last))
    if not speech.words:
        share = [right / max(pieces[-1][1], 1) * speech.seconds for _, right in pieces]
        times = list(zip([0.0, *share[:-1]], share, strict=True))
    return times


def _best_cuts(
    text: str,
    pieces: Sequence[tuple[int, int]],
    times: Sequence[tuple[float, float]],
    language: str,
    max_chars: int,
    lines: int,
) -> list[tuple[int, int]]:
    """Text spans of the cues: the cheapest way to cut, where cutting inside a sentence and odd lengths cost."""
    count = len(pieces)
    best: list[tuple[float, int]] = [(0.0, count)] * (count + 1)
    room = lines * max_chars
    for i in range(count - 1, -1, -1):
        options: list[tuple[float, int]] = []
        for j in range(i + 1, count + 1):
            content = text[pieces[i][0] : pieces[j - 1][1]].strip()
            seconds = times[j - 1][1] - times[i][0]
            width = columns(content)
            fits = width <= room and (
                (width <= max_chars and "\n" not in content) or len(wrap(content, max_chars, language)) <= lines
            )
            if j > i + 1 and not (fits and seconds <= _LONGEST):
                break
            hurried = max(0.0, _SHORTEST - seconds) * 3
            sentences = sum(_ends(text, pieces[k][1], _SENTENCE_END) for k in range(i, j - 1))
            empty = 1 - width / room
            cost = 1.0 + _cut_cost(text, pieces[j - 1][1]) + hurried + 1.5 * sentences + 0.5 * empty * empty
            options.append((best[j][0] + cost, j))
        best[i] = min(options)
    spans, i = [], 0
    while i < count:
        j = best[i][1]
        spans.append((pieces[i][0], pieces[j - 1][1]))
        i = j
    return [span for span in spans if text[span[0] : span[1]].strip()]


def _cut_cost(text: str, at: int) -> float:
    """The price of a cue that ends at offset `at`."""
    if at == len(text) or _ends(text, at, _SENTENCE_END):
        return 0.0
    if "\n" in text[len(text[:at].rstrip()) : at]:  # the end of a line of verse
        return 0.3
    return 0.8 if _ends(text, at, _CLAUSE_END) else 2.5


def _ends(text: str, at: int, marks: frozenset[str]) -> bool:
    """Whether the last mark before `at`, closing quotes and brackets apart, is one of `marks`."""
    return text[max(0, at - 12) : at].rstrip().rstrip(_CLOSING)[-1:] in marks


def _cue(text: str, span: tuple[int, int], speech: Speech, start: float, language: str, max_chars: int) -> Cue:
    left = span[0] + len(text[span[0] : span[1]]) - len(text[span[0] : span[1]].lstrip())
    content = text[left : span[1]].rstrip()
    words = tuple(
        replace(word, start=word.start + start, end=word.end + start, offset=word.offset - left)
        for word in speech.words
        if left <= word.offset < left + len(content)
    )
    set_lines = wrap(content, max_chars, language)
    begin = words[0].start if words else start
    finish = words[-1].end if words else start + speech.seconds
    return Cue(begin, max(finish, begin), content, words, tuple(first for first, _ in set_lines[1:]))


def _timed(cues: list[Cue], end: float) -> list[Cue]:
    """Let each cue linger so that it can be read, without touching the next one or passing `end` by more than that."""
    timed = []
    for i, cue in enumerate(cues):
        limit = cues[i + 1].start - _GAP if i + 1 < len(cues) else max(end, cue.end) + _LINGER
        finish = min(max(cue.end + _LINGER, cue.start + _SHORTEST), limit)
        timed.append(replace(cue, end=max(finish, min(cue.end, limit), cue.start + 0.04)))
    return timed


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{point}{rest % 1000:03d}"
