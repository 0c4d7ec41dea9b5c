"""Trains translation systems on the Sticker World, minutes each, and writes what they reach: run.py [NAME ...].

Runs are kept in runs/translation and go on where they were stopped. The page and its pictures are written anew from
all the results that there are.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from world import SIDE, TASKS, TEST, Task

import limner
from limner.rng import derive
from limner.runs import Run
from limner.system import config_from
from limner.systems import find, make
from limner.train import Options, Trainer

RUNS = Path("runs/translation")
RESULTS = RUNS / "results.json"
SMALL = {"hold": 100_000, "learning_rate": 5e-4}


@dataclass(frozen=True)
class Recipe:
    """One system on one task: its options, for so many minutes on one core."""

    system: str
    task: str
    options: dict[str, Any]
    batch: int = 8
    minutes: float = 4.0
    note: str = ""
    seed: int = field(default=0)


SQUARE = (SIDE, SIDE)
RESNET = {"size": SQUARE, "width": 24, "blocks": 4, "discriminator_width": 24, "hold": 100_000}

RECIPES = {
    "pix2pix": Recipe("pix2pix", "lines", SMALL | {"width": 32, "depth": 5, "discriminator_width": 32, "field": 34}),
    "bicyclegan": Recipe(
        "bicyclegan", "lines",
        SMALL | {"width": 32, "depth": 5, "encoder_depth": 3, "encoder_width": 32, "discriminator_width": 24,
                 "discriminator_layers": 2},
    ),
    "msgan": Recipe(
        "msgan", "lines",
        SMALL | {"width": 32, "depth": 5, "discriminator_width": 24, "discriminator_layers": 2},
    ),
    "pix2pixhd": Recipe(
        "pix2pixhd", "labels",
        SMALL | {"width": 24, "downsamplings": 3, "blocks": 4, "discriminator_width": 24, "discriminator_layers": 2},
    ),
    "cyclegan": Recipe("cyclegan", "styles", RESNET, batch=4),
    "gcgan": Recipe("gcgan", "styles", RESNET, batch=4),
    "unit": Recipe(
        "unit", "styles", {"width": 24, "blocks": 3, "discriminator_width": 24, "scales": 2, "learning_rate": 3e-4}, 4
    ),
    "unit-shared": Recipe("unit-shared", "styles", {"width": 24, "discriminator_width": 24, "learning_rate": 3e-4}, 4),
    "munit": Recipe(
        "munit", "styles", {"width": 24, "blocks": 3, "discriminator_width": 24, "scales": 2, "learning_rate": 3e-4}, 4
    ),
}  # fmt: skip


def train(name: str, recipe: Recipe, task: Task) -> Any:
    """The trained model, and how many samples it has seen in how many minutes."""
    run = Run(RUNS / f"{name}-{recipe.seed}")
    torch.manual_seed(derive(recipe.seed, "weights"))
    decided = task.decides(()) if hasattr(task, "decides") else {}
    kind = find(recipe.system).Config
    fields = kind.__dataclass_fields__
    config = config_from(kind, {k: v for k, v in decided.items() if k in fields} | recipe.options, name)
    options = Options(steps=1_000_000, batch=recipe.batch, seed=recipe.seed, budget=recipe.minutes, sample=200)
    with Progress() as bar:
        line = bar.add_task(name, total=60 * recipe.minutes)

        def listen(progress: Any) -> None:
            bar.update(line, completed=progress.seconds)

        Trainer(recipe.system, make(recipe.system, config, name), task, run, options, listener=listen).fit()
    step = json.loads((run.path / "log.jsonl").read_text().splitlines()[-1])["step"]
    return limner.load(run.path), step * recipe.batch


def results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name: str, found: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results() | {name: found}, indent=1))


def sheet(task: Task, made: np.ndarray, path: Path, count: int = 8) -> None:
    """What was given, what was made of it, and the truth, a column each sample, at twice the size."""
    given = task.test.given
    if given.ndim == 3:
        from limner.stickers.kinds import colour_labels

        given = colour_labels(given)
    rows = np.concatenate([np.concatenate(list(each[:count]), 1) for each in (given, made, task.test.truth)])
    picture = Image.fromarray(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--minutes", type=float, help="instead of each recipe's own")
    options = parser.parse_args()
    for name in options.names or RECIPES:
        recipe = RECIPES[name]
        if options.minutes:
            recipe = Recipe(**{**vars(recipe), "minutes": options.minutes})
        task = TASKS[recipe.task](0)
        model, samples = train(name, recipe, task)
        made = task.answered(model)
        found = {"task": recipe.task, "minutes": recipe.minutes, "samples": samples, "scores": dict(task.score(made))}
        print(name, found)
        keep(name, found)
        sheet(task, made, Path(f"docs/images/translation/{name}.png"))
    for name in dict.fromkeys(RECIPES[n].task for n in options.names or RECIPES):
        task = TASKS[name](0)
        for baseline, made in task.baselines().items():
            keep(f"{name}: {baseline}", {"task": name, "scores": dict(task.score(made)), "baseline": True})
    page()


PAGE = """# The translation systems on the Sticker World

Made by `python recipes/translation/run.py`. Scenes of {side} x {side} pixels with twelve nouns; every system is made
small and trained from nothing for the minutes that its row says, on one CPU core. {test} held-out scenes. In italics
are the baselines that need no training; a good row is one that passes them. Each system's picture shows what it is
given, what it makes of it, and the truth.
{tables}"""

HEADS = {
    "lines": "Line drawing to colours (paired)",
    "labels": "Label map to scene (paired)",
    "painted labels": "Label map in false colours to scene (paired)",
    "styles": "Fluent's flat style to Noto's shaded one (unpaired)",
    "holes": "Filling holes",
}


def page(path: Path = Path("docs/results/translation.md")) -> None:
    known, tables = results(), []
    for task, head in HEADS.items():
        rows = {name: found for name, found in known.items() if found["task"] == task}
        if not any("baseline" not in found for found in rows.values()):
            continue
        measures = TASKS[task](0).measures
        lines = [
            f"\n## {head}\n",
            f"| | minutes | samples | {' | '.join(measures)} |",
            "|---|" + "---|" * (2 + len(measures)),
        ]
        for name, found in sorted(rows.items(), key=lambda row: "baseline" not in row[1]):
            scores = " | ".join(f"{found['scores'][measure]:.1f}" for measure in measures)
            if "baseline" in found:
                lines.append(f"| *{name.partition(': ')[2]}* | | | {scores} |")
            else:
                lines.append(
                    f"| [{name}](../systems/{name}.md) | {found['minutes']:g} | {found['samples']:,} | {scores} |"
                )
        lines += [
            f"\n{name}:\n\n![what {name} is given, makes, and the truth](../images/translation/{name}.png)"
            for name, found in rows.items()
            if "baseline" not in found
        ]
        tables.append("\n".join(lines))
    path.write_text(PAGE.format(side=SIDE, test=TEST, tables="\n".join(tables)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
