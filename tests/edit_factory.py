"""The factory with toys in place of models, in this process or in one that a test kills.

`python edit_factory.py pair TRIPLETS ROOT PAUSE` draws pairs; `... write COUNT OUT PAUSE` writes triplets.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.edits.filters import Filter, Sample
from limner.edits.pair import Pairing, Recipe, Report, claim, needed, unit
from limner.edits.spread import spread
from limner.edits.triplets import Source, Triplet, read_triplets, written
from limner.edits.write import write
from limner.rng import derive, numpy_rng

TOY = Recipe(seed=7, samples=6, model="toy", encoder="toy", together=2)
LESS = Filter(0.3, 0.3, 0.3, keep=2)


@dataclass
class ToyStudio:
    """Pictures of noise and scores by chance, both functions of the captions and the seed."""

    pause: float = 0.0

    def draw(
        self, triplet: Triplet, seeds: Sequence[int]
    ) -> tuple[list[Sample], dict[int, tuple[np.ndarray, np.ndarray]]]:
        time.sleep(self.pause)
        samples, pictures = [], {}
        for seed in seeds:
            draw = numpy_rng(seed, "toy", triplet.caption, triplet.output)
            samples.append(Sample(seed, *(float(value) for value in draw.uniform(-0.2, 1, 6))))
            before, after = draw.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
            pictures[seed] = before, after
        return samples, pictures


@dataclass(frozen=True)
class ToyPairing(Pairing):
    pause: float = 0.0

    def open(self) -> Callable[[int], Report]:
        triplets, studio = read_triplets(self.triplets), ToyStudio(self.pause)
        return lambda index: unit(index, triplets[index], self.root, self.recipe, self.chosen_by, studio)


def triplets(path: Path, count: int) -> Path:
    path.write_bytes(written(Triplet(f"caption {n}", "change it", f"caption {n}, changed") for n in range(count)))
    return path


def draw(
    lines: Path, root: Path, *, workers: int = 1, pause: float = 0.0, chosen_by: Filter = LESS, recipe: Recipe = TOY
) -> list[Report]:
    claim(root, recipe)
    todo = needed(range(len(read_triplets(lines))), root, chosen_by)
    return list(spread(todo, ToyPairing(lines, root, recipe, chosen_by, pause), workers=workers))


class Slow:
    """A writer that takes its time, and now and then writes nonsense."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def complete(self, captions: Sequence[str], numbers: Sequence[int], attempt: int) -> list[str]:
        time.sleep(self.pause)
        return [
            "nonsense" if derive(1, caption) % 5 == 0 else f"change it\n%%\n{caption}, changed" for caption in captions
        ]


def write_slowly(count: int, out: Path, pause: float = 0.0) -> None:
    sources = [Source(f"a caption of {'many ' * 50}words, number {number}") for number in range(count)]
    write(sources, Slow(pause), out, sleep=lambda seconds: None)


if __name__ == "__main__":
    if sys.argv[1] == "pair":
        draw(Path(sys.argv[2]), Path(sys.argv[3]), pause=float(sys.argv[4]))
    else:
        write_slowly(int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
