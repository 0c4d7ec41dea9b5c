"""H.264 segments, and films joined from them by copying packets: every frame is compressed once.

Segments are closed groups of pictures with the same settings, so that a body and a dissolve that were encoded on
different days join without a seam. A film is written under a temporary name, synced, and renamed: an old film stays
until the new one is whole.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from limner.errors import BadInput, DiskFull, MissingExtra
from limner.film.planes import Frame, size_of, to_i420, to_rgb

if TYPE_CHECKING:
    from limner.film.sound import Sound
    from limner.film.subtitles import Cue

Quality = Literal["draft", "final"]

_PRESETS: dict[Quality, dict[str, str]] = {
    "draft": {"preset": "superfast", "crf": "24"},
    "final": {"preset": "veryfast", "tune": "animation", "crf": "17"},
}
# On flat art under a slow camera this is smaller and nearer to the picture than the default preset with crf 20, at a
# fifth of its time: motion is so even that the nearest guess is right, and needs no refining.
_SEARCH: dict[Quality, str] = {"draft": "", "final": ":me=dia:subme=1"}
_AUDIO_RATE = 48000
_AAC = {"aac_coder": "fast"}  # half the time of the default search; at 128 kbit/s a voice has bits to spare
_AUDIO_BLOCK = 1024 * 64  # samples handed to the encoder at a time
_BT709 = 1  # the code of its primaries, transfer and matrix (ITU-T H.273)
_LIMITED = 1
# An ASS header has to be there before a text track opens, although the text itself is plain
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,16

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
_ISO_639_2 = {
    "ar": "ara", "cs": "ces", "da": "dan", "de": "deu", "el": "ell", "en": "eng", "es": "spa", "fa": "fas", "fi": "fin",
    "fr": "fra", "he": "heb", "hi": "hin", "hu": "hun", "it": "ita", "ja": "jpn", "ko": "kor", "la": "lat", "nl": "nld",
    "no": "nor", "pl": "pol", "pt": "por", "ro": "ron", "ru": "rus", "sv": "swe", "th": "tha", "tr": "tur", "uk": "ukr",
    "vi": "vie", "zh": "zho",
}  # fmt: skip


def encode_segment(
    frames: Iterable[Frame],
    path: Path,
    *,
    size: tuple[int, int],
    fps: int | Fraction,
    quality: Quality = "final",
    threads: int = 2,
) -> int:
    """Encode frames (RGB or I420, see `planes`) to an H.264 file at `path`; returns how many there were.

    yuv420p, BT.709 tagged, closed groups of at most one second. `threads` is fixed because the bits depend on it.
    Raises BadInput for odd sizes, for frames of another size and for no frames; DiskFull.
    """
    av = _av()
    width, height = size
    if width % 2 or height % 2 or min(size) < 16:
        raise BadInput(f"A film of {width}x{height} pixels can't be encoded: both sides must be even and at least 16.")
    count = 0
    with _replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        codec = stream.codec_context
        codec.thread_count = threads
        codec.time_base = 1 / Fraction(fps)
        codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
        codec.color_range = _LIMITED
        second = max(1, round(Fraction(fps)))
        codec.options = {
            **_PRESETS[quality],
            "profile": "high",
            "x264-params": f"open-gop=0:keyint={second}:min-keyint={second}:scenecut=0:stitchable=1{_SEARCH[quality]}",
        }
        for number, picture in enumerate(frames):
            if size_of(picture) != size:
                raise BadInput(f"Frame {number} is {size_of(picture)} pixels, but the film is {size}. Make them equal.")
            # shares the array's memory; x264 takes its own copy when it is handed the frame
            frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(to_i420(picture)), format="yuv420p")
            frame.pts, frame.time_base = number, codec.time_base
            container.mux(stream.encode(frame))
            count += 1
        if not count:
            raise BadInput(f"No frames for the segment {path.name}: a shot must last at least one frame.")
        container.mux(stream.encode(None))
    return count


def join_film(
    path: Path,
    segments: Sequence[Path],
    *,
    sound: tuple[Sound, int],
    fps: int | Fraction,
    chapters: Sequence[tuple[float, str]] = (),
    subtitles: Sequence[Cue] = (),
    language: str = "",
    metadata: dict[str, str] | None = None,
) -> None:
    """Join segments, sound, subtitles and chapters into one MP4 with fast start.

    The video packets are copied, one segment at a time; `sound` is (samples, rate), float, mono (N,) or stereo (N,
    2), and may lie on disk. `chapters` are (seconds, title). `metadata`: title, artist, comment, description, ...
    as MP4 knows them. Raises BadInput (segments that don't fit together), DiskFull.
    """
    if not segments:
        raise BadInput("A film needs at least one scene.")
    av = _av()
    samples, rate = sound
    with (
        _replacing(path) as temporary,
        av.open(str(segments[0])) as first,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as film,
    ):
        model = first.streams.video[0]
        video = film.add_stream_from_template(model)
        video.time_base = model.time_base
        audio = film.add_stream("aac", rate=_AUDIO_RATE, layout="mono" if samples.ndim == 1 else "stereo", options=_AAC)
        audio.bit_rate = 128_000
        text = _subtitle_stream(film, language) if subtitles else None
        tag = _ISO_639_2.get(language.split("-")[0].lower(), "")
        if tag:
            audio.metadata["language"] = tag
        film.metadata.update(metadata or {})
        sounds = _audio_packets(audio, samples, rate)
        texts = _subtitle_packets(text, subtitles)
        shape = (model.width, model.height, model.codec_context.extradata)
        lengths = [_frames(segment) / Fraction(fps) for segment in segments]
        film.set_chapters(_chapters(chapters, sum(lengths, Fraction(0))))
        begin = Fraction(0)
        for segment, length in zip(segments, lengths, strict=True):
            for packet, time in _video_packets(segment, shape, video, begin, Fraction(fps)):
                # everything up to here first: the muxer then has no need to hold packets back
                _mux_until(film, sounds, time)
                _mux_until(film, texts, time)
                film.mux(packet)
            begin += length
        _mux_until(film, sounds, None)
        _mux_until(film, texts, None)


def frame_from(path: Path, seconds: float) -> Frame:
    """The RGB frame that a film shows at `seconds` (the last one, if it is shorter)."""
    shown = None
    av = _av()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(max(0, int(seconds / stream.time_base)), stream=stream)
        for frame in container.decode(stream):
            if shown is not None and frame.time > seconds + 1e-6:
                break
            shown = frame
    if shown is None:
        raise BadInput(f"{path} has no picture at {seconds:.2f} s.")
    return to_rgb(np.asarray(shown.to_ndarray(format="yuv420p")))


def _video_packets(
    segment: Path, shape: tuple[Any, ...], stream: Any, begin: Fraction, fps: Fraction
) -> Iterator[tuple[Any, float]]:
    """The packets of a segment, moved to `begin` in the film, with the time of each in seconds."""
    with _av().open(str(segment)) as container:
        source = container.streams.video[0]
        if (source.width, source.height, source.codec_context.extradata) != shape:
            raise BadInput(
                f"The segment {segment.name} was encoded with other settings than the first. Encode both again."
            )
        shift = round(begin / source.time_base)
        for packet in container.demux(source):
            if packet.size == 0:
                continue
            packet.pts += shift
            packet.dts += shift
            packet.stream = stream
            yield packet, float(packet.dts * source.time_base)


def _frames(segment: Path) -> int:
    with _av().open(str(segment)) as container:
        return int(container.streams.video[0].frames)


def _audio_packets(stream: Any, samples: Sound, rate: int) -> Iterator[tuple[Any, float]]:
    av = _av()
    layout = "mono" if samples.ndim == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=_AUDIO_RATE, frame_size=1024)
    position = 0

    def packets(frame: Any) -> Iterator[tuple[Any, float]]:
        for even in resampler.resample(frame):
            for packet in stream.encode(even):
                yield packet, float(packet.pts * packet.time_base)

    for start in range(0, len(samples), _AUDIO_BLOCK):
        block = np.asarray(samples[start : start + _AUDIO_BLOCK], np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.reshape(1, -1)), format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
        position += len(block)
        yield from packets(frame)
    yield from packets(None)
    for packet in stream.encode(None):
        yield packet, float(packet.pts * packet.time_base)


def _subtitle_stream(film: Any, language: str) -> Any:
    stream = film.add_stream("mov_text")
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.time_base = Fraction(1, 1000)
    tag = _ISO_639_2.get(language.split("-")[0].lower(), "")
    if tag:
        stream.metadata["language"] = tag
    return stream


def _subtitle_packets(stream: Any, cues: Sequence[Cue]) -> Iterator[tuple[Any, float]]:
    """A packet per cue: its length in two bytes and its text; players clear the screen at its end."""
    av = _av()
    for cue in cues:
        text = "\n".join(cue.lines).encode("utf-8", "replace")[:65535]
        packet = av.Packet(len(text).to_bytes(2, "big") + text)
        packet.stream, packet.time_base = stream, Fraction(1, 1000)
        packet.pts = packet.dts = round(cue.start * 1000)
        packet.duration = max(1, round(cue.end * 1000) - packet.pts)
        yield packet, cue.start


def _mux_until(film: Any, packets: Iterator[tuple[Any, float]], time: float | None) -> None:
    """Write packets that are due by `time`; the first one that isn't is written with them and ends the turn."""
    for packet, at in packets:
        film.mux(packet)
        if time is not None and at >= time:
            return


def _chapters(chapters: Sequence[tuple[float, str]], end: Fraction) -> list[dict[str, Any]]:
    starts = [round(seconds * 1000) for seconds, _ in chapters]
    ends = [*starts[1:], round(end * 1000)][: len(starts)]
    return [
        {
            "id": number,
            "start": start,
            "end": max(stop, start + 1),
            "time_base": Fraction(1, 1000),
            "metadata": {"title": title},
        }
        for number, (start, stop, (_, title)) in enumerate(zip(starts, ends, chapters, strict=True))
    ]


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place, synced, if all goes well; what was there stays if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = next(
        name for n in itertools.count() if not (name := path.with_name(f".{path.name}.{os.getpid()}-{n}.part")).exists()
    )
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, _av().FFmpegError) as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(
                f"No space left to write {path}. Free some and run the same command again; the old file is untouched."
            ) from None
        raise BadInput(f"{path} could not be written ({problem}). Check the folder and its permissions.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra("Making films", "film") from None
    return av
