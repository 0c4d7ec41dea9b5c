"""Word times for speech that came without them: dynamic time warping onto eSpeak's rendering, whose word times are
known.

The features are mel cepstra; no model and no network. Method: aeneas and others; MFCC after Davis and Mermelstein
(1980), warping after Sakoe and Chiba (1978).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from limner.film.sound import Samples, resample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limner.film.voice import Speech, Word

_RATE, _HOP, _WINDOW = 16000, 160, 512  # Hz, samples, samples
_MELS, _CEPSTRA = 40, 13
_MOST_CELLS = 2**24  # of the warping table; longer speech is aligned on coarser frames


def align(guide: Speech, samples: Samples, rate: int) -> tuple[Word, ...]:
    """The words of `guide` with their times in `samples` (N,) mono at `rate`, another rendering of the same text."""
    from limner.film.voice import Word

    if not guide.words or not len(samples):
        return ()
    ours, first, last = _voiced(resample(samples, rate, _RATE))
    theirs, guide_first, guide_last = _voiced(resample(guide.samples, guide.rate, _RATE))
    coarse = max(1, math.ceil(math.sqrt(len(ours) * len(theirs) / _MOST_CELLS)))
    path = warp(_averaged(theirs, coarse), _averaged(ours, coarse))
    frames = _HOP * coarse / _RATE  # seconds a step
    end = len(samples) / rate
    guide_times = np.concatenate([[0.0], guide_first + (path[:, 0] + 0.5) * frames, [max(guide_last, guide.seconds)]])
    times = np.concatenate([[0.0 if guide_first > 0 else first], first + (path[:, 1] + 0.5) * frames, [last]])

    def moved(seconds: float) -> float:
        return float(min(max(np.interp(seconds, guide_times, times), first), end))

    return tuple(Word(w.text, moved(w.start), max(moved(w.end), moved(w.start)), w.offset) for w in guide.words)


def mfcc(samples: Samples) -> NDArray[np.float64]:
    """(frames, 26): mel cepstra without the energy term, and their slopes, each of mean 0 and variance 1; 16 kHz in."""
    padded = np.pad(np.asarray(samples, np.float64), (_WINDOW // 2, _WINDOW // 2))
    padded = np.append(padded[0], padded[1:] - 0.97 * padded[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    cepstra = np.log(power @ _mel_filters().T + 1e-8) @ _cosines().T
    slopes = np.gradient(cepstra, axis=0) if len(cepstra) > 1 else np.zeros_like(cepstra)
    features = np.concatenate([cepstra, slopes], axis=1)
    return np.asarray((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6))


def warp(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int64]:
    """(steps, 2): the cheapest monotonic path through the distances of the rows of `a` and `b`, from corner to corner.

    A step is one ahead in a, in b, or in both; computed by anti-diagonals, which have no order among themselves.
    """
    n, m = len(a), len(b)
    a, b = a.astype(np.float32), b.astype(np.float32)
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    costs = np.sqrt(np.maximum(squares - 2 * a @ b.T, 0.0)).ravel()
    choice = np.zeros((n + m - 1, n), np.uint8)  # per anti-diagonal and row of a: 0 both, 1 in a, 2 in b
    before = np.full(n + 1, np.inf)  # cost on the last diagonal, at row + 1
    earlier = before.copy()  # and on the one before it
    earlier[0] = 0.0
    for diagonal in range(n + m - 1):
        low, high = max(0, diagonal - m + 1), min(n, diagonal + 1)
        options = np.stack([earlier[low:high], before[low:high], before[low + 1 : high + 1]])
        taken = options.argmin(axis=0)
        now = np.full(n + 1, np.inf)
        cells = np.arange(low, high) * (m - 1) + diagonal  # row * m + (diagonal - row)
        now[low + 1 : high + 1] = options.min(axis=0) + costs[cells]
        choice[diagonal, low:high] = taken
        earlier, before = before, now
    path = [(n - 1, m - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        step = choice[i + j, i]
        path.append((i - (step != 2), j - (step != 1)))
    return np.array(path[::-1])


def _voiced(samples: Samples) -> tuple[NDArray[np.float64], float, float]:
    """Features of `samples` between the first and the last sound, and the seconds where these lie."""
    count = max(1, len(samples) // _HOP)
    level = np.sqrt(np.mean(np.square(np.resize(samples, count * _HOP).reshape(count, _HOP)), axis=1))
    loud = np.flatnonzero(level > 0.03 * level.max(initial=0.0))
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, count)
    return mfcc(samples[first * _HOP : last * _HOP]), first * _HOP / _RATE, last * _HOP / _RATE


def _averaged(features: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    count = max(1, len(features) // by)
    return (
        features if by == 1 else np.asarray(features[: count * by].reshape(count, -1, features.shape[1]).mean(axis=1))
    )


@lru_cache(maxsize=1)
def _mel_filters() -> NDArray[np.float64]:
    """(mels, bins) triangles between 80 Hz and 7600 Hz, evenly spaced in mel."""
    mel = np.linspace(2595 * math.log10(1 + 80 / 700), 2595 * math.log10(1 + 7600 / 700), _MELS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(_WINDOW // 2 + 1) * _RATE / _WINDOW
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """(cepstra, mels): DCT-II rows 1 to 13; row 0, the loudness, is left out."""
    rows = np.arange(1, _CEPSTRA + 1)[:, None]
    return np.asarray(np.cos(np.pi * rows * (np.arange(_MELS) + 0.5) / _MELS))
