"""Sound: the loudness meter against the standard and another meter, the limiter against an oversampled truth."""

import math
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import BadInput
from limner.film.sound import (
    Track,
    fade,
    loudness,
    master,
    master_into,
    place,
    place_into,
    read_audio,
    resample,
    true_peak,
    write_wav,
)


def sine(frequency: float, seconds: float, rate: int, peak: float = 1.0) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def exact_peak(samples: np.ndarray) -> float:
    """dB of the highest point of the waveform through `samples`, by Fourier interpolation to 16 times the rate."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    fine = np.fft.irfft(np.pad(spectrum, (0, 15 * len(samples) // 2 + 8)), 16 * len(samples)) * 16
    return 20 * math.log10(np.abs(fine).max())


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_a_full_scale_tone_reads_what_the_standard_says(rate: int) -> None:
    assert loudness(sine(997, 5, rate), rate) == pytest.approx(-3.01, abs=0.05)
    assert loudness(sine(997, 5, rate, 0.1), rate) == pytest.approx(-23.01, abs=0.05)
    both = np.stack([sine(997, 5, rate, 0.1)] * 2, axis=1)
    assert loudness(both, rate) == pytest.approx(-20.0, abs=0.05)


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (48000, 2)])
def test_agrees_with_another_meter(rate: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    loud = rng.normal(0, 0.1, (rate * 25, channels)) * (1 + np.sin(np.arange(rate * 25) / rate))[:, None]
    loud[rate * 3 : rate * 9] *= 0.001
    assert loudness(loud, rate) == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(loud), abs=0.1)


def test_silence_is_gated() -> None:
    tone = sine(500, 15, 22050, 0.2)
    padded = np.concatenate([np.zeros(22050 * 4, np.float32), tone, np.zeros(22050 * 30, np.float32)])
    assert loudness(padded, 22050) == pytest.approx(loudness(tone, 22050), abs=0.2)
    assert loudness(np.zeros(22050), 22050) == -math.inf
    assert loudness(np.zeros(0), 22050) == -math.inf
    assert loudness(tone[:2000], 22050) > -40


def test_true_peak_sees_between_the_samples() -> None:
    hidden = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4)  # every sample at 0.707, the wave at 1
    assert np.abs(hidden).max() < 0.71
    assert true_peak(hidden, 48000) == pytest.approx(0.0, abs=0.2)


def voice_like(rate: int, seconds: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    count = int(rate * seconds)
    bursts = np.repeat(rng.random(count // 2000 + 1) ** 4, 2000)[:count]
    spectrum = np.fft.rfft(rng.normal(0, 0.4, count) * bursts)
    spectrum[int(0.7 * len(spectrum)) :] = 0
    return np.fft.irfft(spectrum, count).astype(np.float32)


def test_master_reaches_the_loudness_and_keeps_the_ceiling(tmp_path: Path) -> None:
    rate = 22050
    rough = voice_like(rate, 12)
    rough[rate * 7 : rate * 7 + 40] += np.hanning(40)  # a click
    mastered = master(rough, rate)
    assert loudness(mastered, rate) == pytest.approx(-16.0, abs=0.2)
    assert true_peak(mastered, rate) <= -1.0
    assert exact_peak(mastered) < -0.8
    on_disk, mastered_on_disk = (Track(tmp_path / name, len(rough)) for name in ("rough", "mastered"))
    place_into(on_disk, [(0.0, rough)], rate)
    master_into(mastered_on_disk, on_disk, rate)
    assert np.array_equal(mastered_on_disk[:], mastered)


def test_quiet_places_keep_their_shape() -> None:
    rate = 22050
    rough = voice_like(rate, 12)
    mastered = master(rough, rate)
    quiet = np.abs(rough) < 0.02
    gain = np.median(mastered[quiet & (rough != 0)] / rough[quiet & (rough != 0)])
    assert np.corrcoef(rough * gain, mastered)[0, 1] > 0.97


def test_silence_stays_silence() -> None:
    assert not master(np.zeros(22050, np.float32), 22050).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4000), st.sampled_from([1e-9, 1e-3, 1.0]), st.booleans())
def test_mastering_never_passes_the_ceiling(seed: int, count: int, scale: float, sparse: bool) -> None:
    rng = np.random.default_rng(seed)
    samples = np.clip(rng.normal(0, scale, count), -1, 1)
    if sparse:
        samples *= rng.random(count) < 0.01
    mastered = master(samples.astype(np.float32), 8000)
    assert np.isfinite(mastered).all()
    assert true_peak(mastered, 8000) <= -1.0 + 1e-3


@pytest.mark.parametrize(("rate", "to"), [(22050, 48000), (48000, 16000), (44100, 22050), (16000, 22050)])
def test_resampling_keeps_tones_and_stops_aliases(rate: int, to: int) -> None:
    tone = resample(sine(1000, 1, rate), rate, to)
    assert len(tone) == to
    inner = slice(to // 10, -to // 10)
    assert np.abs(tone - sine(1000, 1, to))[inner].max() < 1e-3
    if to < rate:
        assert np.abs(resample(sine(0.55 * to, 1, rate), rate, to))[inner].max() < 2e-3


def test_parts_are_placed_by_time_and_cut_at_the_end() -> None:
    track = place([(0.5, np.ones(10)), (0.55, np.ones(10)), (0.95, np.ones(99))], 100, 1.0)
    assert np.flatnonzero(track).tolist() == list(range(50, 65)) + list(range(95, 100))
    assert track[55] == 2


def test_fades_begin_and_end_in_silence() -> None:
    faded = fade(np.ones(1000), 1000, into=0.1, out=0.2)
    assert faded[0] < 0.01 and faded[-1] < 0.01
    assert np.all(faded[100:800] == 1)
    assert np.all(np.diff(faded[:100]) > 0) and np.all(np.diff(faded[800:]) < 0)


def test_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    stereo = np.stack([sine(300, 0.5, 22050, 0.5), sine(400, 0.5, 22050, 0.25)], axis=1)
    write_wav(tmp_path / "ton ä.wav", stereo, 22050)
    samples, rate = read_audio(tmp_path / "ton ä.wav")
    assert rate == 22050
    assert np.abs(samples - stereo).max() < 1e-4


@pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00\x00\x00WAVE", b"\x00" * 5000])
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"broken\.wav"):
        read_audio(path)
    with pytest.raises(BadInput, match=r"gone\.wav"):
        read_audio(tmp_path / "gone.wav")
