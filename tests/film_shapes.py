"""A fast illustrator for the tests of the film: a coloured shape for every picture, the same for the same seed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from limner.errors import BadInput
from limner.film.illustrate import Candidate
from limner.rng import numpy_rng


class Shapes:
    ordered = False
    seconds_per_picture = 0.01
    source_type = "trainedAlgorithmicMedia"

    def __init__(self, *, log: Path | None = None, fail: str = "", delay: float = 0.0, style: str = "plain") -> None:
        self.log, self.fail, self.delay = log, fail, delay
        self.identity = f"shapes:{style}"
        self.calls: list[str] = []

    def prepare(self) -> None: ...

    def illustrate(self, prompt: str, *, count: int, seed: int, size: tuple[int, int], scene: int) -> list[Candidate]:
        self.calls.append(prompt)
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()} {prompt}\n")
        time.sleep(self.delay)
        if self.fail and self.fail in prompt:
            raise BadInput(f"No shape for {prompt!r}. Use other words.")
        return [self._draw(prompt, seed + number, size) for number in range(count)]

    def _draw(self, prompt: str, seed: int, size: tuple[int, int]) -> Candidate:
        rng = numpy_rng(seed, prompt, self.identity)
        width, height = size
        y, x = np.mgrid[:height, :width]
        back, front = rng.integers(0, 256, (2, 3))
        inside = (x - rng.uniform(0.3, 0.7) * width) ** 2 + (y - 0.5 * height) ** 2 < (0.3 * height) ** 2
        picture = np.where(inside[..., None], front, back).astype(np.uint8)
        unknown = tuple(word for word in prompt.split() if word == "zyzzyva")
        return Candidate(picture, float(rng.random()), unknown, seed)


STORY = """The Fox and the Crow

A fox saw a crow on a tree. The crow had a piece of cheese.

The fox said that the crow sang well. The crow opened its beak.

The cheese fell down. The fox ate it and went away.
"""

SMALL = {"candidates": 2, "height": 96, "fps": 8, "quality": "draft"}

if __name__ == "__main__":  # a film in a process of its own, for the tests that kill it
    from limner.errors import LimnerError
    from limner.film.pipeline import make_film
    from limner.film.prepare import FilmOptions

    folder = Path(sys.argv[1])
    try:
        illustrator = Shapes(log=folder / "calls.txt", delay=float(sys.argv[2]))
        result = make_film(folder / "story.txt", folder / "film.mp4", FilmOptions(**SMALL), illustrator=illustrator)
    except LimnerError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    raise SystemExit(result.exit_code)
