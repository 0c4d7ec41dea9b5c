"""Voices: a sentence goes in, speech with the time of every word comes out.

Three kinds: eSpeak NG from its wheel (always there, offline, a draft voice in a hundred languages), a Piper voice
file, and the user's own recordings. Where an engine gives no word times, the words are aligned to eSpeak's
rendering of the same text.
"""

from __future__ import annotations

import difflib
import json
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from limner.errors import BadInput, MissingExtra
from limner.film import breaking
from limner.film.sound import Samples, read_audio

if TYPE_CHECKING:
    from collections.abc import Sequence

SILENCE = 0.5  # seconds that a text without anything to say takes
_PACE = 155  # words a minute: a reader's pace, below eSpeak's 175


@dataclass(frozen=True)
class Word:
    """A spoken word: seconds from the start of the speech, and its character offset in the spoken text."""

    text: str
    start: float
    end: float
    offset: int


@dataclass(frozen=True)
class Speech:
    """Mono `samples` (N,) float32 in [-1, 1] at `rate` Hz. `notes` are warnings about how the text was spoken."""

    samples: Samples
    rate: int
    words: tuple[Word, ...]
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


class Voice(Protocol):
    """`speak` is a pure function of its arguments. `scene` counts from 0; only recordings need it."""

    name: str

    def speak(self, text: str, *, scene: int = 0) -> Speech: ...


def open_voice(spec: str, language: str) -> Voice:
    """A voice by name: "espeak" (the story's language), "espeak:en-gb", "piper:FILE.onnx" or "recorded:FOLDER".

    Raises BadInput for an unknown kind, language or file, MissingExtra where the engine isn't installed.
    """
    kind, _, rest = spec.partition(":")
    if kind == "espeak":
        return EspeakVoice(rest or language)
    if kind == "piper":
        return PiperVoice(Path(rest), language)
    if kind == "recorded":
        return RecordedVoice(Path(rest), language)
    raise BadInput(f"Unknown voice {spec!r}. Use espeak, espeak:LANGUAGE, piper:FILE.onnx or recorded:FOLDER.")


class EspeakVoice:
    """eSpeak NG. `language` is a tag or a voice name ("en-gb", "pt-BR", "cmn"); "+f3" or the like picks a variant."""

    def __init__(self, language: str) -> None:
        wanted, _, variant = language.partition("+")
        self._guessed = wanted in ("", "und")  # what a story is whose language nobody could tell
        wanted = "en" if self._guessed else wanted
        self.language = wanted
        self._voice = find_espeak_voice(wanted) + (f"+{variant}" if variant else "")
        self.name = f"espeak:{self._voice}"

    def speak(self, text: str, *, scene: int = 0) -> Speech:
        spoken = _speakable(text)
        tokens = breaking.words(spoken, self.language)
        if not tokens:
            return Speech(np.zeros(int(SILENCE * 22050), np.float32), 22050, ())
        answer, sound = _espeak({"voice": self._voice, "text": spoken, "pace": _PACE})
        samples = np.frombuffer(sound, "<i2").astype(np.float32) / 32768
        rate = int(answer["rate"])
        words = _words_from_events(spoken, tokens, answer["events"], samples, rate)
        return Speech(samples, rate, words, self._notes(text))

    def _notes(self, text: str) -> tuple[str, ...]:
        notes = []
        if self._guessed:
            notes.append("The language was not recognised: read as English. Name it in the voice, as in espeak:de.")
        if self._voice.split("+")[0].endswith("/ja") and re.search(r"[\u3400-\u9fff々]", text):
            notes.append("eSpeak NG can't read kanji (it says 'Chinese letter'): write this narration in kana.")
        return tuple(notes)


class PiperVoice:
    """A Piper voice file (`NAME.onnx` with `NAME.onnx.json` beside it); word times by alignment."""

    def __init__(self, path: Path, language: str) -> None:
        self.path, self.name = path, f"piper:{path.name}"
        for needed in (path, path.with_name(path.name + ".json")):
            if not needed.is_file():
                raise BadInput(
                    f"The Piper voice {path} needs the file {needed.name} beside it: download both files of a voice."
                )
        try:
            from piper import PiperVoice as Engine
        except ImportError:
            raise MissingExtra("A Piper voice", "piper") from None
        try:
            self._engine = Engine.load(str(path))
        except Exception as problem:  # onnxruntime and json raise their own kinds
            raise BadInput(f"{path} is not a Piper voice that can be opened ({problem}).") from None
        self._guide = EspeakVoice(language)

    def speak(self, text: str, *, scene: int = 0) -> Speech:
        guide = self._guide.speak(text)
        if not guide.words:
            return guide
        chunks = list(self._engine.synthesize(_speakable(text)))
        samples = np.concatenate([np.asarray(chunk.audio_float_array, np.float32).reshape(-1) for chunk in chunks])
        return _with_words(np.clip(samples, -1, 1), int(chunks[0].sample_rate), guide)


class RecordedVoice:
    """The user's own recordings: a folder with one audio file a scene, numbered from 1 ("001.wav", "2 the owl.m4a",
    ...).
    """

    def __init__(self, folder: Path, language: str) -> None:
        self.folder, self.name = folder, f"recorded:{folder.name}"
        if not folder.is_dir():
            raise BadInput(
                f"There is no folder of recordings at {folder}. Record one file a scene: 001.wav, 002.wav, ..."
            )
        self._files: dict[int, Path] = {}
        for path in sorted(folder.iterdir()):
            number = re.search(r"\d+", path.stem)
            if number and path.is_file() and not path.name.startswith("."):
                self._files.setdefault(int(number.group()), path)
        if not self._files:
            raise BadInput(f"No numbered recordings in {folder}. Name the files by scene: 001.wav, 002.wav, ...")
        self._guide = EspeakVoice(language)

    def speak(self, text: str, *, scene: int = 0) -> Speech:
        path = self._files.get(scene + 1)
        if path is None:
            there = ", ".join(file.name for file in list(self._files.values())[:6])
            raise BadInput(
                f"Scene {scene + 1} has no recording in {self.folder} (found {there}). Add {scene + 1:03d}.wav."
            )
        samples, rate = read_audio(path)
        return _with_words(samples.mean(axis=1) if samples.ndim == 2 else samples, rate, self._guide.speak(text))


def _with_words(samples: Samples, rate: int, guide: Speech) -> Speech:
    from limner.film.align import align

    return Speech(samples, rate, align(guide, samples, rate))


def espeak_languages() -> tuple[str, ...]:
    """The language tags that eSpeak NG speaks, sorted."""
    return tuple(sorted({tag for voice in _espeak_voices() for _, tag in voice["languages"]}))


def find_espeak_voice(language: str) -> str:
    """The file name of the eSpeak voice for a language tag or voice name. Raises BadInput naming close ones."""
    wanted = _ALIASES.get(language.lower().replace("_", "-"), language.lower().replace("_", "-"))
    ranked: list[tuple[int, str]] = []
    for voice in _espeak_voices():
        for priority, tag in voice["languages"]:
            if wanted in (tag.lower(), voice["name"].lower()):
                ranked.append((priority, voice["file"]))
    if not ranked and "-" in wanted:
        return find_espeak_voice(wanted.rsplit("-", 1)[0])
    if not ranked:
        known = espeak_languages()
        names = {voice["name"].lower(): voice["languages"][0][1] for voice in _espeak_voices()}
        near = difflib.get_close_matches(wanted, [*known, *names], n=5, cutoff=0.4)
        close = ", ".join(str(names.get(name, name)) for name in near) or "en, de, fr, es, cmn"
        raise BadInput(
            f"eSpeak NG has no voice for the language {language!r}. Close ones: {close}. There are {len(known)} in all."
        )
    return str(min(ranked)[1])


_ALIASES = {
    "zh": "cmn", "zh-cn": "cmn", "zh-tw": "cmn", "zh-hans": "cmn", "zh-hant": "cmn", "zh-hk": "yue",
    "no": "nb", "iw": "he", "tl": "fil",
}  # fmt: skip


def _speakable(text: str) -> str:
    """`text` at the same length without what the engine would obey: control characters are its embedded commands."""
    return "".join(
        " " if ord(c) < 32 or 127 <= ord(c) < 160 else "\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text
    )


def _words_from_events(
    text: str, tokens: Sequence[tuple[int, int]], events: Sequence[Sequence[int]], samples: Samples, rate: int
) -> tuple[Word, ...]:
    """Word times from eSpeak's events [position, sample]; words that it merged with a neighbour share the time by
    length.
    """
    anchors: dict[int, float] = {}
    for position, sample in events:
        if position not in anchors and sample / rate >= max(anchors.values(), default=0.0):
            anchors[position] = sample / rate
    end = len(samples) / rate
    places = np.array([*anchors, len(text)] if len(text) not in anchors else [*anchors], dtype=float)
    times = np.array([*anchors.values(), end] if len(text) not in anchors else [*anchors.values()])
    order = np.argsort(places, kind="stable")
    places, times = places[order], np.maximum.accumulate(times[order])
    starts = []
    for left, right in tokens:
        inside = places[(places >= left) & (places < right)]
        starts.append(float(np.interp(inside[0] if len(inside) else left, places, times)))
    starts = list(np.maximum.accumulate(np.minimum(starts, end)))
    level = _loudness_curve(samples, rate)
    words = []
    for (left, right), (start, following) in zip(tokens, pairwise([*starts, end]), strict=True):
        words.append(Word(text[left:right], float(start), _voiced_end(level, float(start), float(following)), left))
    return tuple(words)


_HOP = 0.01  # seconds


def _loudness_curve(samples: Samples, rate: int) -> Samples:
    hop = max(1, int(_HOP * rate))
    count = max(1, len(samples) // hop)
    return np.asarray(np.sqrt(np.mean(np.square(np.resize(samples, count * hop).reshape(count, hop)), axis=1)))


def _voiced_end(level: Samples, start: float, following: float) -> float:
    """The end of a word that starts at `start`: the pause before the next word is not part of it."""
    first, last = int(start / _HOP), int(following / _HOP)
    loud = np.flatnonzero(level[first:last] > 0.02 * level.max(initial=0.0))
    end = start + (int(loud[-1]) + 1) * _HOP if len(loud) else following
    return min(max(end, start + min(0.05, following - start)), following)


def shifted(speech: Speech, seconds: float) -> tuple[Word, ...]:
    """The words of `speech` when it begins `seconds` into a film."""
    return tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in speech.words)


@cache
def _espeak_voices() -> tuple[dict[str, Any], ...]:
    return tuple(_espeak({"list": True})[0]["voices"])


def _espeak(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Ask eSpeak NG in a process of its own: the library keeps global state, and a crash in it must not end the
    film.
    """
    try:
        import espeakng_loader
    except ImportError:
        raise MissingExtra("The eSpeak NG voice", "film") from None
    request = {**request, "library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path()}
    child = Path(__file__).with_name("espeak.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(child)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadInput("eSpeak NG did not finish within five minutes. Use shorter scenes or another voice.") from None
    head, _, sound = done.stdout.partition(b"\n")
    if done.returncode != 0 or not head:
        detail = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise BadInput(f"eSpeak NG could not speak this text ({detail[0]}). Try another voice, or record it.")
    return json.loads(head), sound
