"""What `limner edit FILM` does: every frame edited, so that the film holds together, and its sound as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from limner.errors import BadInput, MissingExtra
from limner.film.encode import encode_segment
from limner.jobs.drawing import TRAINED
from limner.jobs.editing import Clock, Editor, Order, Progress, check_out, check_words
from limner.jobs.sources import Told
from limner.metrics.flicker import Flicker
from limner.provenance import mark_mp4
from limner.runs import explained
from limner.systems.diffusion.film_edit import edit_film
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix

FILMS = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")


def edit_films(
    model: str,
    paths: Sequence[Path],
    words: str,
    out: Path,
    order: Order,
    *,
    told: Told = lambda text: None,
    progress: Progress = lambda done, total, left: None,
) -> Iterator[str]:
    """Edit films, and yield a line for each file that was written: with how much it flickers, and its source did.

    Frames of InstructPix2Pix look at the first one and at the one before (`edit_film`). Other editors have the same
    noise for every frame.
    """
    check_words(words, told)
    check_out(out)
    if order.count > 1 or order.sheet or order.layers or order.project is not None:
        raise BadInput("A film has one edit: leave -n, --sheet, --layers and --project out.")
    editor = Editor.open(model, order)
    stem = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "edited"
    for path in paths:
        target = out / f"{path.stem}-{stem}.mp4"
        recipe = {"film": path.name, "words": words, "model": model, **editor.recipe(order), "seed": order.seed}
        with explained(target, path.stat().st_size if path.is_file() else 0), _scratch(out) as folder:
            made, flicker = _edited(editor, path, words, order, folder, told, progress)
            mark_mp4(made, TRAINED, recipe, words)
            made.replace(target)
        moved = f"  flicker {flicker.value().value:.2f} of 255" if flicker.average.n else ""
        yield f"{target}{moved}"


def _edited(
    editor: Editor,
    path: Path,
    words: str,
    order: Order,
    folder: Path,
    told: Told,
    progress: Progress,
) -> tuple[Path, Flicker]:
    """A film's edit as a file in a folder, and how much it flickers."""
    av = _av()
    flicker = Flicker()
    try:
        with av.open(str(path)) as film:
            if not film.streams.video:
                raise BadInput(f"{path} has no pictures in it.")
            stream = film.streams.video[0]
            stream.thread_type = "AUTO"
            rate = Fraction(stream.average_rate or 25)
            frames = _decoded(film, path)
            first = next(frames, None)
            if first is None:
                raise BadInput(f"{path} has no pictures in it.")
            size = first.shape[1], first.shape[0]
            total = stream.frames or round(float(rate) * (film.duration or 0) / 1_000_000)
            clock = Clock(total, told, progress)

            def edits() -> Iterator[np.ndarray]:
                """The edited frames, measured and counted as they come."""
                given: list[np.ndarray] = []

                def source() -> Iterator[np.ndarray]:
                    for frame in chain([first], frames):
                        given.append(frame)
                        yield frame

                before: tuple[np.ndarray, np.ndarray] | None = None
                for made in _frames(editor, source(), words, order, clock):
                    now = given.pop(0), made
                    if before is not None:
                        flicker.update(np.stack([before[0], now[0]]), np.stack([before[1], now[1]]))
                    before = now
                    clock.finished()
                    yield made

            silent = folder / "silent.mp4"
            encode_segment(edits(), silent, size=size, fps=rate)
    except (av.FFmpegError, OSError) as error:
        raise BadInput(f"{path} can't be read as a film: {error.strerror or error}.") from None
    return _with_sound(silent, path, folder / "film.mp4", told), flicker


def _decoded(film: Any, path: Path) -> Iterator[np.ndarray]:
    """The frames of an open film, uint8 (H, W, 3)."""
    done = 0
    try:
        for frame in film.decode(video=0):
            yield _even(frame.to_ndarray(format="rgb24"))
            done += 1
    except _av().FFmpegError as error:
        raise BadInput(f"{path} is damaged behind its frame {done}: {error.strerror}. Cut it there first.") from None


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder for what is unfinished, in the folder for the results, on the same disk."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out) as folder:
        yield Path(folder)


def _frames(
    editor: Editor, source: Iterator[np.ndarray], words: str, order: Order, clock: Clock
) -> Iterator[np.ndarray]:
    if isinstance(editor.system, InstructPix2Pix):
        settings = {"steps": 20, **order.settings()}
        yield from edit_film(editor.system, source, words, seed=order.seed, progress=clock.heard, **settings)
        return
    edit: Any = editor.system.edit
    for frame in source:
        yield edit(frame, words, **editor.settings(order, clock)).pictures[0]


def _even(frame: np.ndarray) -> np.ndarray:
    """Without the last row or column of an odd number, which H.264 can't have."""
    return np.ascontiguousarray(frame[: frame.shape[0] & ~1, : frame.shape[1] & ~1])


def _with_sound(silent: Path, source: Path, out: Path, told: Told) -> Path:
    """The pictures of one file with the sound of another, both copied as they are. Returns the file that has it."""
    av = _av()
    with av.open(str(source)) as film, av.open(str(silent)) as pictures:
        if not film.streams.audio:
            return silent
        inputs = (pictures, pictures.streams.video[0]), (film, film.streams.audio[0])
        try:
            with av.open(str(out), "w", format="mp4") as target:
                copies = [target.add_stream_from_template(stream) for _, stream in inputs]
                for (container, stream), copy in zip(inputs, copies, strict=True):
                    for packet in container.demux(stream):
                        if packet.dts is not None:
                            packet.stream = copy
                            target.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):  # such as a full disk
                raise
            told(f"{source}: its sound doesn't fit into an MP4 file and is left out ({error}).")
            return silent
    return out


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra("Editing films", "film") from None
    return av
