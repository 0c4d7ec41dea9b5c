"""What a minute of film costs to put together: CPU seconds by stage and peak memory, short and long films, in one run.

Drawn pictures stand in for an illustrator; everything else is the film's own pipeline: speech, captions with the spoken
word lit, camera moves, dissolves, encoding, mastering, joining, the report. Each film is made by a process of its own,
so that its peak memory is its own.

    python benchmarks/film_assembly.py [--films draft:1 final:1 animatic:30 ...] [--page PAGE.md]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from yardstick import matrix_product

SCENES_A_MINUTE = 8
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FILMS = ("draft:1", "final:1", "animatic:1", "animatic:5", "animatic:30")
COLUMNS = ("body", "dissolve", "voice and cues", "film", "report")
PAGE = """# Putting a film together, measured

Made by `python benchmarks/film_assembly.py --page docs/results/film-assembly.md`: CPU seconds (of all threads) for a
minute of film, with pictures that are there already. "film" is mastering and joining; "report" is listening to the
finished film and the storyboard. Peak memory is that of the whole process, Python and its libraries included.

{table}

Memory, {longest} to {shortest}: {ratio:.2f} times as much. The machine: {cores} cores; a product of two 1500 x 1500
matrices in float32 took it {unit:.0f} ms of one core. It was shared with other work, which makes CPU seconds longer,
too.
"""


def picture(index: int, path: Path) -> None:
    """A flat landscape with a few round things in it, in the manner of a picture book."""
    import numpy as np
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(index)
    sky, land = (tuple(int(v) for v in rng.integers(90, 240, 3)) for _ in range(2))
    image = Image.new("RGB", (2560, 1440), sky)
    pen = ImageDraw.Draw(image)
    pen.ellipse((-400, 850, 2960, 2400), fill=land)
    for _ in range(14):
        x, y, r = rng.integers(100, 2400), rng.integers(150, 1250), rng.integers(30, 190)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(v) for v in rng.integers(20, 255, 3)))
    image.resize((1280, 720), Image.Resampling.LANCZOS).save(path)


def story(scenes: int) -> str:
    """A paragraph a scene, no two alike: equal ones would be spoken only once."""
    days = (" ".join(DIGITS[int(digit)] for digit in str(number)) for number in range(scenes))
    return "The Long Walk\n\n" + "\n\n".join(
        f"On day {day} a fox walked through an orchard till he came to a bunch of grapes, jumped, and missed it."
        for day in days
    )


class Clock:
    """Counts the CPU seconds of each stage, as a listener of the film's progress."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage, self.since = "plan", time.process_time()

    def turn(self, stage: str) -> None:
        now = time.process_time()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.since
        self.stage, self.since = stage, now

    def estimated(self, estimate: object) -> None: ...

    def begin(self, stage: str, total: int) -> None:
        self.turn(stage)

    def advance(self, stage: str) -> None:
        self.turn("report" if stage == "film" else stage)

    def note(self, message: str) -> None: ...


def assemble(name: str, minutes: float, folder: Path) -> dict[str, float]:
    """Makes one film and says what a minute of it took."""
    from limner.film.pipeline import make_film
    from limner.film.prepare import FilmOptions

    pictures, scenes = folder / "pictures", max(2, round(minutes * SCENES_A_MINUTE))
    pictures.mkdir()
    for index in range(12):
        picture(index, pictures / f"{chr(97 + index)}.png")
    (folder / "story.txt").write_text(story(scenes), "utf-8")
    clock = Clock()
    result = make_film(
        folder / "story.txt", folder / f"{name}.mp4",
        FilmOptions(
            illustrator=str(pictures), candidates=1, how="paragraph", scenes=scenes, animatic=name == "animatic",
            quality="final" if name == "final" else "draft",
        ),
        clock,
    )  # fmt: skip
    clock.turn("")
    spent = clock.seconds
    spent["voice and cues"] = spent.pop("voice") + spent.pop("cues")
    found = {column: 60 * spent[column] / result.seconds for column in COLUMNS}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {**found, "all": sum(found.values()), "memory": memory, "minutes": result.seconds / 60}


def table(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    lines = ["| film | CPU s a minute | " + " | ".join(COLUMNS) + " | peak memory, MB |", "|---" * 8 + "|"]
    for name, found in rows:
        cells = [f"{found[column]:.1f}" for column in ("all", *COLUMNS)]
        lines.append(f"| {name}, {found['minutes']:.1f} min | {' | '.join(cells)} | {found['memory']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", nargs="+", default=FILMS, metavar="KIND:MINUTES", help="draft, final or animatic")
    parser.add_argument("--page", type=Path, help="write the results page here")
    options = parser.parse_args()
    looks = {
        "draft": "1280x720, 24 fps, draft",
        "final": "1280x720, 24 fps, final",
        "animatic": "640x360, 12 fps, draft",
    }
    unit, rows = matrix_product(), []
    for film in options.films:
        name, _, minutes = film.partition(":")
        with tempfile.TemporaryDirectory() as scratch, multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append((looks[name], pool.apply(assemble, (name, float(minutes), Path(scratch)))))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    same = [row for row in rows if row[0] == rows[-1][0]]
    memory = {row[1]["minutes"]: row[1]["memory"] for row in same}
    page = PAGE.format(
        table=table(rows), ratio=memory[max(memory)] / memory[min(memory)], unit=1000 * unit, cores=os.cpu_count(),
        longest=f"{max(memory):.0f} minutes", shortest=f"{min(memory):.0f}",
    )  # fmt: skip
    print(page)
    if options.page:
        options.page.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
