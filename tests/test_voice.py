"""Voices: what is said, when each word is said, and what happens with text and files that no engine likes."""

import sys
import types
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from limner.errors import BadInput, MissingExtra
from limner.film.align import align, warp
from limner.film.sound import resample, write_wav
from limner.film.voice import EspeakVoice, Speech, open_voice

SENTENCE = "The quick brown fox looked at the grapes that hung high upon the vine, and said that they must be sour."


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", SENTENCE, 21),
        ("ar", "رأى الثعلب العنب.", 3),
        ("hi", "लोमड़ी ने अंगूर देखा।", 4),
        ("zh", "狐狸看見了葡萄。", 4),
        ("de-AT", "Der Fuchs — müde — schlief.", 4),
    ],
)
def test_every_word_has_its_place_and_its_time(language: str, text: str, words: int) -> None:
    speech = open_voice("espeak", language).speak(text)
    assert len(speech.words) == words
    assert all(text[word.offset : word.offset + len(word.text)] == word.text for word in speech.words)
    times = [time for word in speech.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= speech.seconds
    assert all(word.end > word.start for word in speech.words)
    loud = np.abs(speech.samples) > 0.05
    in_words = np.zeros(len(loud), bool)
    for word in speech.words:
        in_words[int(word.start * speech.rate) : int(word.end * speech.rate) + 1] = True
    assert loud[in_words].sum() > 0.98 * loud.sum()


def test_pauses_do_not_belong_to_words() -> None:
    words = open_voice("espeak", "en").speak("Wait. Then go.").words
    assert words[1].start - words[0].end > 0.2


@pytest.mark.parametrize("text", ["", "   ", "...", "\x00\x01\x02", "🙂 — ★", "\ud800"])
def test_text_with_nothing_to_say_is_a_short_silence(text: str) -> None:
    speech = open_voice("espeak", "en").speak(text)
    assert speech.words == ()
    assert 0.2 < speech.seconds < 1
    assert not speech.samples.any()


def test_commands_and_markup_in_the_text_are_not_obeyed() -> None:
    voice = open_voice("espeak", "en")
    plain = voice.speak("so the old fox went home again")
    length = plain.words[-1].end - plain.words[0].start
    for trap in ("\x0130S", '<prosody rate="x-slow">', "[[h@loU]]", "\x01+10P <break time='9s'/>"):
        words = voice.speak(f"{trap} so the old fox went home again").words[-7:]
        assert [word.text for word in words] == [word.text for word in plain.words]
        assert abs((words[-1].end - words[0].start) - length) < 0.25


def test_the_same_words_are_the_same_sound_even_at_the_same_time() -> None:
    texts = [SENTENCE, "A short one.", SENTENCE, "A short one."]
    with ThreadPoolExecutor(4) as pool:
        first, second, third, fourth = pool.map(EspeakVoice("en").speak, texts)
    assert np.array_equal(first.samples, third.samples) and first.words == third.words
    assert np.array_equal(second.samples, fourth.samples) and second.words == fourth.words


def test_unknown_voices_are_refused_with_advice() -> None:
    with pytest.raises(BadInput, match=r"no voice for the language 'englsh'.*en"):
        open_voice("espeak:englsh", "en")
    with pytest.raises(BadInput, match="espeak:LANGUAGE"):
        open_voice("robot", "en")
    assert open_voice("espeak", "en-NZ").name == open_voice("espeak", "en").name
    assert open_voice("espeak:en-us+f3", "de").name.endswith("+f3")


def test_kanji_are_warned_of() -> None:
    voice = open_voice("espeak", "ja")
    assert "kana" in voice.speak("狐は葡萄を見た。").notes[0]
    assert voice.speak("きつねは ぶどうを みた。").notes == ()


def test_an_unrecognised_language_is_read_as_english_and_said_so() -> None:
    speech = open_voice("espeak", "und").speak("The fox went home.")
    assert "espeak:de" in speech.notes[0]
    assert np.array_equal(speech.samples, open_voice("espeak", "en").speak("The fox went home.").samples)


def test_warping_finds_the_way_that_was_taken() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 8))
    stretched = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    path = warp(a, a[stretched] + rng.normal(scale=0.01, size=(len(stretched), 8)))
    assert tuple(path[0]) == (0, 0)
    assert tuple(path[-1]) == (59, len(stretched) - 1)
    assert np.all(stretched[path[:, 1]] == path[:, 0])


@pytest.fixture(scope="module")
def guide() -> Speech:
    return open_voice("espeak:en", "en").speak(SENTENCE)


@pytest.mark.parametrize("other", ["en-us+f3", "en-gb-scotland+m3", "en-us+whisper"])
def test_alignment_to_another_voice(guide: Speech, other: str) -> None:
    speech = open_voice(f"espeak:{other}", "en").speak(SENTENCE)
    quiet = np.zeros(speech.rate)
    samples = np.concatenate([quiet, speech.samples, quiet, quiet]).astype(np.float32)
    words = align(guide, resample(samples, speech.rate, 44100), 44100)
    errors = [abs(found.start - 1 - true.start) for found, true in zip(words, speech.words, strict=True)]
    assert np.median(errors) < 0.02
    assert max(errors) < 0.12


def test_recordings_are_found_by_number_and_aligned(tmp_path: Path) -> None:
    folder = tmp_path / "my voice ü"
    folder.mkdir()
    speech = open_voice("espeak:en-us+f3", "en").speak(SENTENCE)
    stereo = np.stack([speech.samples, speech.samples], axis=1)
    write_wav(folder / "002 the fox.wav", stereo, speech.rate)
    (folder / "001.wav").write_bytes(b"RIFF not a recording")
    (folder / "notes.txt").write_text("none")
    voice = open_voice(f"recorded:{folder}", "en")
    spoken = voice.speak(SENTENCE, scene=1)
    assert spoken.samples.shape == speech.samples.shape
    assert np.median([abs(a.start - b.start) for a, b in zip(spoken.words, speech.words, strict=True)]) < 0.03
    with pytest.raises(BadInput, match=r"001\.wav can't be read as sound"):
        voice.speak(SENTENCE, scene=0)
    with pytest.raises(BadInput, match=r"Scene 3 has no recording.*003\.wav"):
        voice.speak(SENTENCE, scene=2)
    with pytest.raises(BadInput, match="no folder of recordings"):
        open_voice(f"recorded:{tmp_path / 'nowhere'}", "en")


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "001.wav"), "wb") as file:
        file.setparams((1, 2, 22050, 0, "NONE", ""))
    with pytest.raises(BadInput, match=r"001\.wav"):
        open_voice(f"recorded:{tmp_path}", "en").speak("Hello.")


def test_piper_files_are_checked_before_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "amy.onnx"
    with pytest.raises(BadInput, match=r"amy\.onnx"):
        open_voice(f"piper:{model}", "en")
    model.touch()
    model.with_name("amy.onnx.json").touch()
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(MissingExtra, match="piper"):
        open_voice(f"piper:{model}", "en")


def test_piper_sentences_are_joined_and_aligned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is replaced by one with Piper's interface that speaks in another of eSpeak's voices."""
    other = EspeakVoice("en-us+f3")

    class Engine:
        @classmethod
        def load(cls, path: str) -> "Engine":
            return cls()

        def synthesize(self, text: str) -> list[types.SimpleNamespace]:
            parts = [other.speak(part + ".") for part in text.split(".") if part.strip()]
            return [types.SimpleNamespace(audio_float_array=part.samples, sample_rate=part.rate) for part in parts]

    monkeypatch.setitem(sys.modules, "piper", types.SimpleNamespace(PiperVoice=Engine))
    model = tmp_path / "amy.onnx"
    model.touch()
    model.with_name("amy.onnx.json").touch()
    speech = open_voice(f"piper:{model}", "en").speak("The fox saw grapes. They hung too high.")
    first = other.speak("The fox saw grapes.")
    assert [word.text for word in speech.words] == ["The", "fox", "saw", "grapes", "They", "hung", "too", "high"]
    assert abs(speech.words[4].start - first.seconds) < 0.1
