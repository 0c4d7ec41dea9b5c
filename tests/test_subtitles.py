"""Cues that can be read, and the files that carry them."""

from pathlib import Path

import numpy as np
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.film.breaking import columns, words
from limner.film.fonts import clean
from limner.film.subtitles import Cue, make_cues, write_srt, write_vtt
from limner.film.voice import Speech, Word

FABLE = (
    "One hot summer's day a Fox was strolling through an orchard till he came to a bunch of Grapes just ripening on a "
    "vine which had been trained over a lofty branch. “Just the thing to quench my thirst,” quoth he. Drawing back a "
    "few paces, he took a run and a jump, and just missed the bunch. Oh! It is easy to despise what you cannot get."
)
CHINESE = (
    "在一个炎热的夏日，一只狐狸走过果园，来到一串刚刚成熟的葡萄前，葡萄藤高高地挂在树枝上。"
    "“正好解渴，”它说。它后退几步，跳了起来。"
)


def spoken(text: str, language: str, pace: float = 0.35) -> Speech:
    """Every word takes `pace` seconds, after a pause where a sentence ended."""
    found, at = [], 0.2
    for start, end in words(text, language):
        if text[max(0, start - 2) : start].strip() in {".", "!", "?"}:
            at += 0.4
        found.append(Word(text[start:end], at, at + 0.9 * pace, start))
        at += pace
    return Speech(np.zeros(int((at + 0.3) * 100), np.float32), 100, tuple(found))


def check(cues: list[Cue], speech: Speech, start: float, most: float, lines: int = 2) -> None:
    for cue, following in zip(cues, [*cues[1:], None], strict=False):
        assert cue.start < cue.end
        assert following is None or cue.end <= following.start
        assert len(cue.lines) <= lines
        assert all(columns(line) <= most for line in cue.lines)
        assert cue.text == cue.text.strip()
        assert all(cue.text[w.offset : w.offset + len(w.text)] == w.text for w in cue.words)
        assert all(cue.start <= word.start + 1e-9 for word in cue.words)
    assert sum(len(cue.words) for cue in cues) == len(speech.words)


@pytest.mark.parametrize(("text", "language"), [(FABLE, "en"), (CHINESE, "zh")])
def test_cues_obey_the_limits(text: str, language: str) -> None:
    speech = spoken(text, language)
    cues = make_cues(speech, text, start=10.0, language=language)
    check(cues, speech, 10.0, 42)
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == text.replace(" ", "")
    assert all(1.0 <= cue.end - cue.start <= 8 for cue in cues[:-1])
    assert cues[0].start == pytest.approx(10.2)


def test_lines_of_verse_stay_lines() -> None:
    verse = "The Owl and the Pussy-cat went to sea\nIn a beautiful pea-green boat,\nThey took some honey"
    cues = make_cues(spoken(verse, "en"), verse, start=0, language="en")
    assert [line for cue in cues for line in cue.lines] == verse.split("\n")
    narrow = make_cues(spoken(verse, "en"), verse, start=0, language="en", max_chars=26)
    check(narrow, spoken(verse, "en"), 0, 26)
    ends = {line for cue in narrow for line in cue.lines}
    assert all(any(end.endswith(line.split()[-1]) for end in ends) for line in verse.split("\n"))


def test_cues_end_where_the_sense_ends() -> None:
    cues = make_cues(spoken(FABLE, "en"), FABLE, start=0, language="en")
    ends = [cue.text[-1] for cue in cues]
    assert sum(end in ".,!”" for end in ends) >= len(ends) - 1
    assert cues[-1].text.endswith("It is easy to despise what you cannot get.")


def test_lines_are_even() -> None:
    cue = make_cues(spoken(FABLE, "en"), FABLE, start=0, language="en")[0]
    first, second = cue.lines
    assert abs(len(first) - len(second)) < 12


def test_a_text_without_words_still_has_its_cue() -> None:
    silence = Speech(np.zeros(50, np.float32), 100, ())
    assert make_cues(silence, "* * *", start=3.0, language="en")[0].text == "* * *"
    assert make_cues(silence, "  \n ", start=3.0, language="en") == []


def test_files_are_read_by_others(tmp_path: Path) -> None:
    cues = [*make_cues(spoken(FABLE, "en"), FABLE, start=3600.5, language="en"), Cue(3700, 3701, "a <b> & --> c", ())]
    write_srt(tmp_path / "a.srt", cues)
    write_vtt(tmp_path / "a.vtt", cues)
    for name in ("a.srt", "a.vtt"):
        events = pysubs2.load(str(tmp_path / name), encoding="utf-8").events
        assert [(e.start, e.end) for e in events] == [(round(c.start * 1000), round(c.end * 1000)) for c in cues]
        plain = [
            event.plaintext.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for event in events[:-1]
        ]
        assert plain == ["\n".join(cue.lines) for cue in cues[:-1]]
    assert "a &lt;b&gt; &amp; --&gt; c" in (tmp_path / "a.vtt").read_text(encoding="utf-8")
    assert "01:00:00,700 --> " in (tmp_path / "a.srt").read_text(encoding="utf-8")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=220), st.sampled_from(["en", "ja", "th", "ar", ""]), st.floats(0.02, 3))
def test_any_text_makes_cues_within_the_limits(text: str, language: str, pace: float) -> None:
    text = clean(text)  # as a voice reads it
    speech = spoken(text, language, pace)
    check(make_cues(speech, text, start=1.0, language=language), speech, 1.0, 42)
