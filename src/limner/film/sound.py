"""Sound in numpy: reading, resampling, placing, loudness (ITU-R BS.1770-4) and mastering with a true-peak limiter.

Samples are float in [-1, 1], mono (N,) or (N, channels), at `rate` Hz. The long operations work through the film in
blocks and also take a `Track`, whose samples lie on disk, so that an hour needs no more memory than a minute.
"""

from __future__ import annotations

import math
import wave
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from limner.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.floating[Any]]"

_BLOCK = 10  # seconds worked on at a time
_MAX_SECONDS = 6 * 3600


def read_audio(path: Path) -> tuple[NDArray[np.float32], int]:
    """(samples (N, channels), rate) of the first audio stream of any file that FFmpeg reads. Raises BadInput."""
    try:
        import av
    except ImportError:
        raise MissingExtra("Reading sound files", "film") from None
    blocks = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise BadInput(f"{path} has no sound in it. Record it again, or name another file.")
            stream = container.streams.audio[0]
            rate = stream.rate
            resampler = av.AudioResampler(format="flt")
            length = 0
            for frame in container.decode(stream):
                for even in resampler.resample(frame):
                    block = even.to_ndarray().reshape(-1, len(even.layout.channels))
                    blocks.append(block)
                    length += len(block)
                if length > _MAX_SECONDS * rate:
                    raise BadInput(f"{path} is longer than six hours. Cut it into one file a scene.")
    except (av.FFmpegError, OSError, ValueError) as problem:
        raise BadInput(f"{path} can't be read as sound ({problem}). Use WAV, FLAC, MP3, M4A or Ogg.") from None
    if not blocks or not rate:
        raise BadInput(f"{path} holds no sound. Record it again, or name another file.")
    return np.nan_to_num(np.concatenate(blocks)).clip(-1, 1).astype(np.float32), int(rate)


class Track:
    """Mono float32 samples in a file of its own, read and written by slices like an array: `length` silent ones, or
    those that are in the file already.

    A memory map would do the same, but its pages count as the program's memory.
    """

    ndim = 1

    def __init__(self, path: Path, length: int | None = None) -> None:
        self.path = path
        if length is not None:
            with path.open("wb") as file:
                file.truncate(4 * length)
        self.shape = (path.stat().st_size // 4,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice) -> NDArray[np.float32]:
        start, stop, _ = where.indices(len(self))
        return np.fromfile(self.path, np.float32, max(0, stop - start), offset=4 * start)

    def __setitem__(self, where: slice, samples: Samples) -> None:
        with self.path.open("rb+") as file:
            file.seek(4 * where.indices(len(self))[0])
            file.write(np.ascontiguousarray(samples, np.float32).data)


Sound: TypeAlias = "Samples | Track"


def write_wav(path: Path, samples: Sound, rate: int) -> None:
    """Write 16-bit PCM, rounded."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        for block in blocks(samples, rate * _BLOCK):
            file.writeframesraw(to_int16(block).tobytes())


def to_int16(samples: Samples) -> NDArray[np.int16]:
    return np.clip(np.rint(np.asarray(samples) * 32767), -32768, 32767).astype("<i2")


def blocks(samples: Sound, size: int) -> Iterator[Samples]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def resample(samples: Samples, rate: int, to: int) -> Samples:
    """Band-limited resampling: a Kaiser-windowed sinc (stop band below -80 dB), 32 zero crossings."""
    if rate == to or len(samples) == 0:
        return samples
    if samples.ndim == 2:
        return np.stack([resample(channel, rate, to) for channel in samples.T], axis=1)
    common = math.gcd(rate, to)
    up, down = to // common, rate // common
    taps = _resampling_taps(up, down)
    half = taps.shape[1] // 2
    count = math.ceil(len(samples) * up / down)
    padded = np.pad(np.asarray(samples, np.float64), (half, half + 1))
    out = np.empty(count, np.float32)
    step = max(1, 2**22 // taps.shape[1])
    for first in range(0, count, step):
        n = np.arange(first, min(first + step, count))
        where, phase = np.divmod(n * down, up)
        windows = np.lib.stride_tricks.sliding_window_view(padded, taps.shape[1])[where]
        out[n] = np.einsum("ij,ij->i", windows, taps[phase])
    return out


@lru_cache(maxsize=8)
def _resampling_taps(up: int, down: int) -> NDArray[np.float64]:
    """(up, taps): the filter for each phase; cut off at the lower of the two Nyquist frequencies."""
    cutoff = 0.96 * min(1.0, up / down)
    half = math.ceil(32 / cutoff)
    distance = np.arange(-half, half + 1)[None, :] - np.arange(up)[:, None] / up
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (distance / (half + 1)) ** 2, 0, 1))) / np.i0(8.0)
    taps = cutoff * np.sinc(cutoff * distance) * window
    return np.asarray(taps / taps.sum(axis=1, keepdims=True))


def fade(samples: Samples, rate: int, *, into: float = 0.0, out: float = 0.0) -> Samples:
    """Raised-cosine fades of `into` and `out` seconds at the ends."""
    result = np.array(samples, np.float32)
    for seconds, end in ((into, False), (out, True)):
        count = min(int(seconds * rate), len(result))
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))
        ramp = ramp.reshape(-1, *[1] * (result.ndim - 1))
        if end and count:
            result[-count:] *= ramp[::-1]
        elif count:
            result[:count] *= ramp
    return result


def place(parts: Iterable[tuple[float, Samples]], rate: int, seconds: float) -> NDArray[np.float32]:
    """A mono track of `seconds`, silent but for `parts` that begin at their times (seconds); overlaps add up."""
    track = np.zeros(round(seconds * rate), np.float32)
    place_into(track, parts, rate)
    return track


def place_into(track: Sound, parts: Iterable[tuple[float, Samples]], rate: int) -> None:
    """Add `parts` to `track` at their times (seconds); what lies beyond its end is cut off."""
    for start, samples in parts:
        first = max(0, round(start * rate))
        piece = samples[: max(0, len(track) - first)]
        track[first : first + len(piece)] = track[first : first + len(piece)] + piece


def loudness(samples: Sound, rate: int) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4: K-weighting, 400 ms blocks, absolute and relative gates).

    Minus infinity for silence. Sound shorter than one block is measured as one block.
    """
    powers = _block_powers(samples, rate)
    levels = -0.691 + 10 * np.log10(np.maximum(powers, 1e-12))
    loud = powers[levels > -70.0]
    if not len(loud):
        return -math.inf
    relative = -0.691 + 10 * math.log10(loud.mean()) - 10.0
    kept = powers[(levels > -70.0) & (levels > relative)]
    return -0.691 + 10 * math.log10(kept.mean())


def true_peak(samples: Sound, rate: int) -> float:
    """Peak of the waveform between the samples in dBTP, by four-fold oversampling (BS.1770-4, annex 2)."""
    highest = max((float(_envelope(block).max(initial=0.0)) for block in _overlapping(samples, rate)), default=0.0)
    return 20 * math.log10(highest) if highest > 0 else -math.inf


def master(
    samples: Samples,
    rate: int,
    target: float = -16.0,
    peak: float = -1.0,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Bring `samples` to `target` LUFS with no true peak above `peak` dBTP; silence stays silence.

    The result is a new array, or `out`.
    """
    out = np.empty(samples.shape, np.float32) if out is None else out
    master_into(out, samples, rate, target, peak)
    return out


def master_into(out: Sound, samples: Sound, rate: int, target: float = -16.0, peak: float = -1.0) -> None:
    """`master` with the result in `out`, of the same length.

    Gain first, then a limiter that sees 5 ms ahead; what the limiter takes away is given back by a second pass.
    """
    before = loudness(samples, rate)
    wanted = 0.0 if before == -math.inf else target - before
    gain = 0.0
    for _ in range(3):
        gain += wanted
        _limit(samples, rate, 10 ** (gain / 20), 10 ** (peak / 20), out)
        wanted = target - loudness(out, rate)
        if abs(wanted) < 0.05 or wanted == math.inf:
            break
    over = true_peak(out, rate) - peak
    if over > 0:
        for start in range(0, len(out), rate * _BLOCK):
            where = slice(start, start + rate * _BLOCK)
            out[where] = out[where] * 10 ** (-(over + 0.01) / 20)


def _limit(samples: Sound, rate: int, gain: float, ceiling: float, out: Sound) -> None:
    """`samples` * `gain`, turned down smoothly around every place where the true peak would pass `ceiling`."""
    reach = max(1, int(0.005 * rate))
    margin = 2 * reach + 16
    for start in range(0, len(samples), rate * _BLOCK):
        stop = min(start + rate * _BLOCK, len(samples))
        left, right = max(0, start - margin), min(len(samples), stop + margin)
        piece = np.asarray(samples[left:right], np.float64) * gain
        need = np.minimum(1.0, ceiling / np.maximum(_envelope(piece), 1e-9))
        if need.min() < 1.0:
            # the lowest need within reach, then smoothed over less than that reach: never above the need itself
            held = _running_min(np.pad(need, reach, constant_values=1.0), 2 * reach + 1)
            half = reach // 2
            smooth = _running_mean(_running_mean(np.pad(held, 2 * half, mode="edge"), 2 * half + 1), 2 * half + 1)
            piece *= smooth.reshape(-1, *[1] * (piece.ndim - 1))
        out[start:stop] = piece[start - left : stop - left]


def _running_min(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Minimum of every `window` neighbours, (N - window + 1,), by doubling."""
    width = 1
    while 2 * width <= window:
        values = np.minimum(values[:-width], values[width:])
        width *= 2
    rest = window - width
    return np.minimum(values[: len(values) - rest], values[rest:])


def _running_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    total = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray((total[window:] - total[:-window]) / window)


def _envelope(samples: Samples) -> NDArray[np.float64]:
    """(N,) the largest absolute value at or just after each sample, over channels, at four times the rate."""
    flat = np.asarray(samples, np.float64).reshape(len(samples), -1)
    taps = _resampling_taps_short()
    half = taps.shape[1] // 2
    highest = np.abs(flat).max(axis=1, initial=0.0)
    for channel in flat.T:
        padded = np.pad(channel, half)
        for phase in taps:
            highest = np.maximum(highest, np.abs(np.convolve(padded, phase[::-1], mode="valid")[: len(channel)]))
    return np.asarray(highest)


@lru_cache(maxsize=1)
def _resampling_taps_short() -> NDArray[np.float64]:
    """(3, 25): the three phases between samples of a four-fold interpolator."""
    distance = np.arange(-12, 13)[None, :] - np.arange(1, 4)[:, None] / 4
    taps = np.sinc(distance) * np.cos(np.pi * distance / 26) ** 2
    return np.asarray(taps / taps.sum(axis=1, keepdims=True))


def _overlapping(samples: Sound, rate: int) -> Iterator[Samples]:
    for start in range(0, len(samples), rate * _BLOCK):
        yield samples[max(0, start - 16) : start + rate * _BLOCK + 16]


def _block_powers(samples: Sound, rate: int) -> NDArray[np.float64]:
    """K-weighted power of each 400 ms block (75 % overlap), summed over channels with weight 1 (mono and stereo)."""
    if len(samples) == 0:
        return np.zeros(0)
    hop = round(0.1 * rate)
    hops = max(len(samples) // hop, 1)
    energy = np.zeros(hops)
    tail = len(_k_weighting(rate)) - 1
    size = 1 << math.ceil(math.log2(rate * _BLOCK + 2 * tail))
    step = max(1, (size - 2 * tail) // hop) * hop  # as much as one transform of that size can filter
    for start in range(0, hops * hop, step):
        stop = min(start + step, hops * hop)
        piece = np.asarray(samples[max(0, start - tail) : stop], np.float64).reshape(-1, *samples.shape[1:])
        piece = piece.reshape(len(piece), -1)
        lead = start - max(0, start - tail)
        length = 1 << (len(piece) + tail - 1).bit_length()  # less for the last piece
        spectrum = np.fft.rfft(piece, length, axis=0) * _k_spectrum(rate, length)[:, None]
        weighted = np.fft.irfft(spectrum, length, axis=0)[lead : len(piece)]
        squares = np.square(weighted).sum(axis=1)
        squares = np.pad(squares, (0, -len(squares) % hop)).reshape(-1, hop)
        energy[start // hop : start // hop + len(squares)] = squares.sum(axis=1)
    if hops < 4:
        return np.array([energy.sum() / max(len(samples[: hops * hop]), 1)])
    return np.asarray(np.convolve(energy, np.ones(4), mode="valid") / (4 * hop))


@lru_cache(maxsize=2)
def _k_spectrum(rate: int, length: int) -> NDArray[np.complex128]:
    return np.asarray(np.fft.rfft(_k_weighting(rate), length))


@lru_cache(maxsize=8)
def _k_weighting(rate: int) -> NDArray[np.float64]:
    """Impulse response of the K filter at `rate`: a high shelf, then a high pass (BS.1770-4, tables 1 and 2).

    The recommendation gives coefficients for 48 kHz only; these are its analogue prototypes, bilinearly transformed.
    """
    shelf_f, shelf_q, shelf_gain = 1681.974450955533, 0.7071752369554196, 3.999843853973347
    pass_f, pass_q = 38.13547087602444, 0.5003270373238773
    size = 1 << math.ceil(math.log2(rate))  # one second and more: the high pass has died away by then
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    k = math.tan(math.pi * shelf_f / rate)
    high, band = 10 ** (shelf_gain / 20), (10 ** (shelf_gain / 20)) ** 0.4996667741545416
    shelf = (
        (high + band * k / shelf_q + k * k) + 2 * (k * k - high) * z + (high - band * k / shelf_q + k * k) * z**2
    ) / ((1 + k / shelf_q + k * k) + 2 * (k * k - 1) * z + (1 - k / shelf_q + k * k) * z**2)
    k = math.tan(math.pi * pass_f / rate)
    norm = 1 + k / pass_q + k * k
    low_cut = (1 - 2 * z + z**2) / (1 + 2 * (k * k - 1) / norm * z + (1 - k / pass_q + k * k) / norm * z**2)
    response = np.fft.irfft(shelf * low_cut, size)
    return np.asarray(response[: rate // 2])
