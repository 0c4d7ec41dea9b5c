"""What a minute of film costs to assemble: CPU seconds and memory, draft and final, short and long, in one run.

Drawn pictures stand in for the illustrator; everything else is the film's own: speech, word-highlighted captions,
camera moves, dissolves, encoding, mastering, joining. Each film is made in a process of its own, so that its peak
memory is its own.

    python benchmarks/film_assembly.py [--minutes 1 4] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SIZE, FPS, DISSOLVE = (1280, 720), 24, 1.0
TEXT = (
    "One hot summer's day a fox was strolling through an orchard till he came to a bunch of grapes.",
    "Just the thing to quench my thirst, quoth he, and took a run and a jump, and just missed the bunch.",
)


def picture(index: int) -> np.ndarray:
    """A flat landscape with a few round things in it, in the manner of a picture book."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(index)
    sky, land = (tuple(int(v) for v in rng.integers(90, 240, 3)) for _ in range(2))
    image = Image.new("RGB", (SIZE[0] * 2, SIZE[1] * 2), sky)
    pen = ImageDraw.Draw(image)
    pen.ellipse((-400, 850, SIZE[0] * 2 + 400, 2400), fill=land)
    for _ in range(14):
        x, y, r = rng.integers(100, 2400), rng.integers(150, 1250), rng.integers(30, 190)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(v) for v in rng.integers(20, 255, 3)))
    return np.asarray(image.resize(SIZE, Image.Resampling.LANCZOS))


def assemble(minutes: float, quality: str, folder: Path, captions: str) -> dict[str, float]:
    """Make one film and say what it took; the sound is kept on disk, as the film's own pipeline keeps it."""
    from limner.film.captions import CaptionStyle, draw_caption
    from limner.film.encode import encode_segment, join_film
    from limner.film.motion import dissolve, frame_at, plan_move
    from limner.film.planes import Frame, to_i420
    from limner.film.sound import Track, master_into, place_into
    from limner.film.subtitles import Cue, make_cues
    from limner.film.voice import Speech, open_voice

    draw = encode = 0.0
    begin = time.process_time()
    voice = open_voice("espeak", "en")
    spoken: list[Speech] = [voice.speak(text) for text in TEXT]
    starts, lengths, at = [], [], 0.0
    while at < minutes * 60:
        speech = spoken[len(starts) % 2]
        length = round((speech.seconds + 1.2) * FPS) / FPS
        starts.append(at)
        lengths.append(length)
        at += length
    cues: list[Cue] = []
    for number, start in enumerate(starts):
        cues += make_cues(spoken[number % 2], TEXT[number % 2], start=start + 0.6, language="en")
    style = CaptionStyle(highlight=captions)
    segments = []
    before: Frame | None = None

    def shot(number: int, following: Frame | None) -> Iterator[Frame]:
        """The frames of one scene; the first second dissolves from the last picture of the scene before."""
        nonlocal draw, before
        source, move = to_i420(picture(number)), plan_move(1, number)
        frames = round(lengths[number] * FPS)
        for n in range(frames):
            mark = time.process_time()
            frame = frame_at(source, move, n / (frames - 1), SIZE, fine=quality == "final")
            if n == frames - 1:
                before_next = frame.copy()
            if following is not None and n < DISSOLVE * FPS:
                frame = dissolve(following, frame, n / (DISSOLVE * FPS))
            t = starts[number] + n / FPS
            for cue in cues:
                if cue.start <= t < cue.end:
                    frame = draw_caption(frame, cue, t, style)
            draw += time.process_time() - mark
            yield frame
        before = before_next

    for number in range(len(starts)):
        path = folder / f"{quality}-{number:04d}.mp4"
        mark, drawn = time.process_time(), draw
        encode_segment(shot(number, before), path, size=SIZE, fps=FPS, quality=quality)
        encode += time.process_time() - mark - (draw - drawn)
        segments.append(path)
    mark = time.process_time()
    rate = spoken[0].rate
    total = round(at * rate)
    raw, mastered = Track(folder / "raw", total), Track(folder / "mastered", total)
    place_into(raw, ((start + 0.6, spoken[n % 2].samples) for n, start in enumerate(starts)), rate)
    master_into(mastered, raw, rate)
    sound = time.process_time() - mark
    mark = time.process_time()
    chapters = [(start, f"Scene {n + 1}") for n, start in enumerate(starts)]
    join_film(
        folder / f"{quality}.mp4",
        segments,
        sound=(mastered, rate),
        fps=FPS,
        chapters=chapters,
        subtitles=cues,
        language="en",
    )
    join = time.process_time() - mark
    cpu = time.process_time() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    shares = {"cpu": cpu, "draw": draw, "encode": encode, "sound": sound, "join": join}
    return {name: value * 60 / at for name, value in shares.items()} | {"memory": memory, "seconds": at}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 4.0], help="lengths of the films")
    parser.add_argument("--keep", type=Path, help="leave the films here")
    options = parser.parse_args()
    results = []
    print(f"{'film':22}{'CPU s/min':>10}{'draw':>8}{'encode':>8}{'sound':>8}{'join':>8}{'peak MB':>9}")
    for quality, captions in (("draft", "word"), ("final", "word")):
        for minutes in options.minutes:
            with tempfile.TemporaryDirectory() as temporary, multiprocessing.get_context("spawn").Pool(1) as pool:
                folder = options.keep or Path(temporary)
                folder.mkdir(parents=True, exist_ok=True)
                found = pool.apply(assemble, (minutes, quality, folder, captions))
            results.append({"quality": quality, "minutes": minutes, **found})
            numbers = "".join(f"{found[name]:8.1f}" for name in ("draw", "encode", "sound", "join"))
            print(
                f"{quality} {minutes:g} min".ljust(22) + f"{found['cpu']:10.1f}{numbers}{found['memory']:9.0f}",
                flush=True,
            )
    drafts = [result for result in results if result["quality"] == "draft"]
    print(f"memory, longest to shortest draft: {drafts[-1]['memory'] / drafts[0]['memory']:.2f}")
    print(f"CPU, final to draft: {results[len(drafts)]['cpu'] / drafts[0]['cpu']:.2f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
