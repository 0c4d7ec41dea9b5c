"""What do generated pairs cost? Teaches planners on pictures of the factory, and on as many exact programs:
generated.py PAIRS RUNS.

PAIRS is a folder of `limner edits pair`. The editor's eyes read both pictures of a pair, and the program between is
what leads from one reading to the other: nothing of the truth is used, as nothing of it is known of generated pictures.
RUNS holds the eyes, and gets the runs `generated` and `exact`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

import limner
from limner.edits.shards import pairs_of
from limner.rng import derive, numpy_rng
from limner.runs import Run
from limner.stickers.orders import Orders, scene_of, trained_edit
from limner.system import config_from
from limner.systems import make
from limner.systems.text.dalle_mini import DalleMini, Tokens
from limner.systems.text.scene_edits import Piece, Scene, Step, program
from limner.systems.text.storybook_edit import told
from limner.train import Options, Trainer

KINDS = ("add", "remove", "replace", "count", "time", "place")  # what captions of the storybook can tell
NEAR = 1.5  # cells by which eyes may be wrong about what stands still
PLANNER = {
    "width": 128, "encoder_layers": 3, "decoder_layers": 3, "heads": 4, "glu_width": 342, "learning_rate": 0.001,
    "warmup": 200, "ema": 0.998, "caption_drop": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """An instruction, the scene that it is about, and what obeys it."""

    words: str
    scene: Scene
    steps: tuple[Step, ...]


def generated(pairs: Path, eyes: Path, file: Path) -> list[Lesson]:
    """The lessons of a folder of pairs, kept in `file`."""
    orders = Orders()
    if not file.exists():
        reader = limner.load(eyes)
        rows = []
        for pair in track(pairs_of(pairs, print), "reading pairs"):
            both = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in (pair.before, pair.after)])
            scenes = [asdict(told(reading, orders.script)) for reading in reader.read(both)]
            rows.append(json.dumps({"words": pair.triplet.edit, "before": scenes[0], "after": scenes[1]}) + "\n")
        file.write_text("".join(rows), "utf-8")
    found = []
    for line in file.read_text("utf-8").splitlines():
        row = json.loads(line)
        before, after = (
            Scene(**row[name] | {"things": tuple(Piece(**each) for each in row[name]["things"])})
            for name in ("before", "after")
        )
        found.append(Lesson(row["words"], before, program(before, after, NEAR)))
    return [
        lesson for lesson in found if lesson.steps and orders.script.write(lesson.steps, lesson.scene, lesson.words)
    ]


def exact(count: int) -> list[Lesson]:
    """So many lessons of the world's own edits, of the same kinds."""
    edits = [trained_edit(0, number, kind=KINDS[number % len(KINDS)]) for number in range(count)]
    pairs = [(edit.instruction, scene_of(edit.before), scene_of(edit.after)) for edit in edits]
    return [Lesson(words, before, program(before, after)) for words, before, after in pairs]


class Lessons(Orders):
    """The same lessons over and over, each time with the things in another order."""

    def __init__(self, lessons: Sequence[Lesson], seed: int = 0) -> None:
        super().__init__(seed)
        self.lessons = lessons

    def told(self, number: int) -> tuple[str, list[int]]:
        lesson = self.lessons[derive(self.seed, "lesson", number) % len(self.lessons)]
        order = numpy_rng(self.seed, "told", number).permutation(len(lesson.scene.things))
        scene = replace(lesson.scene, things=tuple(lesson.scene.things[k] for k in order))
        slots = {int(old) + 1: new for new, old in enumerate(order, 1)}
        steps = [replace(step, slot=slots.get(step.slot, 0)) for step in lesson.steps]
        row = self.script.write(steps, scene, lesson.words)
        assert row is not None, "lessons that can't be written were left out"
        return self.script.ask(lesson.words, scene), row

    def take(self, numbers: Sequence[int]) -> Tokens:
        pairs = [self.told(number) for number in numbers]
        return Tokens(self.tokenise([words for words, _ in pairs]), torch.tensor([row for _, row in pairs]))


def teach(lessons: Sequence[Lesson], run: Path, steps: int) -> None:
    source = Lessons(lessons)
    options = Options(steps=steps, batch=64, sample=0)
    config = config_from(DalleMini.Config, PLANNER | source.decides(()), "planner")
    Trainer("dalle-mini", make("dalle-mini", config), source, Run(run), options, data=str(len(lessons))).fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    lessons = generated(options.pairs, options.runs / "eyes", options.runs / "lessons.jsonl")
    print(f"{len(lessons):,} lessons from generated pairs")
    teach(lessons, options.runs / "generated", options.steps)
    teach(exact(len(lessons)), options.runs / "exact", options.steps)


if __name__ == "__main__":
    main()
