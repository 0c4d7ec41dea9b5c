"""Trains translation systems on the Sticker World, minutes each, and writes what they reach: run.py [NAME ...].

Runs and results are kept in runs/translation, or in translation/ of the folder that $RUNS names. The page is written
anew from all the results that there are. With --validate, other held-out scenes are asked, and nothing but the run and
its picture is kept, in validation/ there: options are chosen by these, so that the page's scenes are new to them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import Progress
from world import ANSWERS, NOUNS, RUNS, SIDE, STYLE, TASKS, TEST, Copier, Task

import limner
from limner.rng import derive
from limner.runs import Run
from limner.system import config_from
from limner.systems import find, make
from limner.train import Options, Trainer

RESULTS = RUNS / "results.json"
SMALL = {"hold": 100_000, "learning_rate": 5e-4}


@dataclass(frozen=True)
class Recipe:
    """One system on one task: its options, for its own minutes on one core (10 at most), or, where given, its steps."""

    system: str
    task: str
    options: dict[str, Any]
    batch: int = 8
    minutes: float = 4.0
    steps: int = 0
    seed: int = 0


SQUARE = (SIDE, SIDE)
UNPAIRED = {"width": 16, "blocks": 2, "discriminator_width": 24, "discriminator_depth": 3, "scales": 1,
            "learning_rate": 5e-4}  # fmt: skip
DRAWING = {"classes": tuple(each.name for each in NOUNS), "width": 48, "learning_rate": 4e-4}

RECIPES = {
    "pix2pix": Recipe("pix2pix", "lines", SMALL | {"width": 32, "depth": 5, "discriminator_width": 32, "field": 34}),
    "bicyclegan": Recipe(
        "bicyclegan", "answers",
        SMALL | {"style": 4, "width": 32, "depth": 5, "encoder_depth": 3, "encoder_width": 16,
                 "discriminator_width": 24, "discriminator_layers": 2, "scales": 1, "l1": 50.0, "kl": 0.5,
                 "learning_rate": 1e-3}, minutes=9,
    ),
    "msgan": Recipe(
        "msgan", "answers",
        SMALL | {"style": 2, "width": 32, "depth": 5, "discriminator_width": 24, "discriminator_layers": 2, "scales": 1,
                 "l1": 50.0, "mode_seeking": 0.3, "learning_rate": 1e-3}, batch=4, minutes=6,
    ),
    "pixelnn": Recipe(
        "pixelnn", "lines",
        {"size": SQUARE, "width": 16, "layers": ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "hidden": 128,
         "padding": 8, "descriptor_padding": 8, "pixels": 500, "exemplars": 400, "learning_rate": 1e-3},
    ),
    "cross-domain": Recipe("cross-domain", "shared", {"size": SIDE, "width": 24, "learning_rate": 5e-4}, minutes=5),
    "pix2pixhd": Recipe(
        "pix2pixhd", "labels",
        {"hold": 100_000, "width": 16, "downsamplings": 2, "blocks": 3, "discriminator_width": 16,
         "discriminator_layers": 2, "learning_rate": 4e-4}, batch=2,
    ),
    "spade": Recipe(
        "spade", "labels",
        {"size": SQUARE, "width": 8, "discriminator_width": 24, "discriminator_layers": 3, "scales": 1,
         "generator_rate": 1e-3, "discriminator_rate": 1e-3}, batch=2,
    ),
    "sean": Recipe(
        "sean", "styled labels",
        {"size": SQUARE, "width": 8, "code": 32, "encoder_width": 12, "discriminator_width": 24,
         "discriminator_layers": 2, "scales": 1, "generator_rate": 1e-3, "discriminator_rate": 1e-3}, batch=2,
        minutes=10,
    ),
    "cyclegan": Recipe(
        "cyclegan", "night",
        {"size": SQUARE, "width": 16, "blocks": 2, "discriminator_width": 16, "learning_rate": 5e-4},
        batch=2,
    ),
    "gcgan": Recipe(
        "gcgan", "night",
        {"size": SQUARE, "width": 16, "blocks": 2, "discriminator_width": 16, "learning_rate": 5e-4},
        batch=2,
    ),
    "cyclegan-shapes": Recipe(
        "cyclegan", "styles",
        {"size": SQUARE, "width": 16, "blocks": 2, "discriminator_width": 16, "learning_rate": 5e-4}, batch=2,
        minutes=3,
    ),
    "unit": Recipe("unit", "night", UNPAIRED, batch=1),
    "unit-shared": Recipe(
        "unit-shared", "night",
        {"width": 16, "encoder_blocks": 1, "decoder_blocks": 1, "discriminator_width": 16, "own_layers": 2,
         "shared_layers": 2, "learning_rate": 5e-4}, batch=2,
    ),
    "munit": Recipe(
        "munit", "night",
        UNPAIRED | {"mlp_width": 64, "downs": 1, "cycle": 10.0, "style_width": 2, "style": 0.1}, batch=1, minutes=6,
    ),
    "drit": Recipe(
        "drit", "night",
        {"width": 16, "discriminator_width": 16, "scales": 2, "content_depth": 1, "content_steps": 1,
         "mode_seeking": 0.0, "learning_rate": 4e-4, "content_rate": 1e-4}, batch=2, minutes=5,
    ),
    "adain": Recipe("adain", "any style", {"width": 16, "style": STYLE, "learning_rate": 5e-4}, 4, minutes=3),
    "rfr-inpainting": Recipe("rfr-inpainting", "holes", {"width": 12, "kernel": 5, "iterations": 3,
                                                         "learning_rate": 2e-3}),
    "pixel-domain-transfer": Recipe(
        "pixel-domain-transfer", "goods",
        {"width": 32, "discriminator_width": 16, "converter_rate": 5e-4, "discriminator_rate": 5e-5}, minutes=6,
    ),
    "unit-digits": Recipe(
        "unit-digits", "reading",
        {"channels": (3, 3), "classes": 12, "width": 16, "discriminator_width": 24, "learning_rate": 5e-4,
         "picture": 0.05, "kl": 0.005, "features": 300.0}, batch=16, minutes=5,
    ),
    "msgan-dcgan": Recipe("msgan-dcgan", "drawn", DRAWING, 16, minutes=2, steps=1500),
    "dcgan": Recipe("msgan-dcgan", "drawn", DRAWING | {"mode_seeking": 0.0}, 16, minutes=2, steps=1500),
}  # fmt: skip


def train(name: str, recipe: Recipe, task: Task) -> Any:
    """The trained model, and how many samples it has seen in how many minutes."""
    shutil.rmtree(RUNS / f"{name}-{recipe.seed}", ignore_errors=True)
    run = Run(RUNS / f"{name}-{recipe.seed}")
    torch.manual_seed(derive(recipe.seed, "weights"))
    decided = task.decides(()) if hasattr(task, "decides") else {}
    kind = find(recipe.system).Config
    fields = kind.__dataclass_fields__
    config = config_from(kind, {k: v for k, v in decided.items() if k in fields} | recipe.options, name)
    options = Options(
        steps=recipe.steps or 1_000_000,
        batch=recipe.batch,
        seed=recipe.seed,
        budget=0.0 if recipe.steps else recipe.minutes,
        sample=200,
    )
    with Progress() as bar:
        line = bar.add_task(name, total=None)

        def listen(progress: Any) -> None:
            bar.update(line, completed=progress.seconds, total=progress.seconds + progress.seconds_left)

        system = make(recipe.system, config, name)
        task.prepare(system)
        Trainer(recipe.system, system, task, run, options, listener=listen).fit()
    step = json.loads((run.path / "log.jsonl").read_text().splitlines()[-1])["step"]
    return limner.load(run.path), step * recipe.batch


def results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def keep(name: str, found: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    fresh = RESULTS.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(results() | {name: found}, indent=1))
    fresh.replace(RESULTS)


def sheet(rows: list[np.ndarray], path: Path) -> None:
    """Rows of pictures, at twice the size."""
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows]))
    path.parent.mkdir(parents=True, exist_ok=True)
    twice = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
    twice.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--minutes", type=float, help="instead of each recipe's own")
    parser.add_argument("--validate", action="store_true", help="ask other scenes than the page's, and leave the page")
    options = parser.parse_args()
    for name in options.names or RECIPES:
        recipe = RECIPES[name]
        if options.minutes:
            recipe = replace(recipe, minutes=options.minutes)
        task = TASKS[recipe.task](0, validate=options.validate)
        model, samples = train(f"validation/{name}" if options.validate else name, recipe, task)
        made, scores = task.reached(model)
        found = {"task": recipe.task, "minutes": recipe.minutes, "samples": samples, "scores": dict(scores)}
        print(name, found, flush=True)
        if options.validate:
            sheet(task.shown(made), RUNS / f"validation/{name}.png")
            continue
        keep(name, found)
        sheet(task.shown(made), Path(f"docs/images/translation/{name}.png"))
    for name in dict.fromkeys(RECIPES[n].task for n in options.names or RECIPES):
        task = TASKS[name](0, validate=options.validate)
        for baseline, scores in task.baseline_scores().items():
            if options.validate:
                print(f"{name}: {baseline}", dict(scores), flush=True)
                continue
            keep(f"{name}: {baseline}", {"task": name, "scores": dict(scores), "baseline": True})
    if not options.validate:
        page()


def behind(name: str, task: str, rows: dict[str, Any]) -> str:
    """Which baselines a system stays behind, and why; or that it passes all of them."""
    kind = TASKS[task](0)
    measure, sign = kind.measures[kind.decisive], -1 if kind.lower else 1
    better = [
        row.partition(": ")[2]
        for row, found in rows.items()
        if "baseline" in found
        and "ceiling" not in row
        and sign * found["scores"][measure] > sign * rows[name]["scores"][measure]
    ]
    if not better:
        return f"better than every baseline by {measure}."
    return f"behind *{'*, *'.join(better)}* by {measure}. {SHORT.get(name, '')}".strip()


def page_of(name: str) -> str:
    """A system's own page, or its family's."""
    system = RECIPES[name].system
    return f"{system if Path(f'docs/systems/{system}.md').exists() else system.partition('-')[0]}.md"


PAGE = """# The translation systems on the Sticker World

Made by `python recipes/translation/run.py`. Scenes of {side} x {side} pixels with twelve nouns; every system is made
small and trained from nothing for the minutes that its row says, on one CPU core, in bf16. {test} scenes are held out,
of combinations that the training's scenes don't have; the options of rows with other minutes than 4 were chosen on yet
others (`--validate`). In italics are the baselines that need no training; a good row is one that passes them. Each
system's picture shows, by rows, what it is given, what it makes of it, and the truth.
{tables}"""

NOTES = {
    "answers": "The drawing doesn't tell the time of day, and these systems draw it by chance: no single answer can be "
    f"asked to be the true one. Of {ANSWERS} answers the best counts, for a system as for the nearest pairs. Its "
    "distance is LPIPS' equation on the sticker reader's layers; by pixels alone, blurs would be near. The last two "
    "columns are read beside it: how far one answer is from the next, and the Fréchet distance of all of them to as "
    "many real scenes, in the reader's features, which the nearest pairs, being real scenes, have low for nothing. The "
    "picture: drawings, four answers, the truth.",
    "shared": "The paper's coloured digits, with stickers: things are grey on a coloured ground, or have a colour of "
    "their own, on black. A thing is to get the colour of another one (the second row of the picture). And of 128 "
    "pictures, the one nearest in the shared part is to show the same: the first baseline compares pixels instead, the "
    "second one outlines, which a pair has in common exactly.",
    "labels": "The FCN-score is that of a segmenter, trained on real scenes. Scenes are plain (a clear summer day),"
    " since the map doesn't tell more.",
    "styled labels": "The style of every region is taken from the true scene, at any time of day: a reconstruction.",
    "night": "Days and nights of the training show different scenes.",
    "styles": "The backdrop is the same in both styles, and what changes, the shapes of things, has to fit to the "
    "pixel: a hard task, which stays hard in minutes. Colours and shading come nearer, outlines stay; a tenth of a dB "
    "is no more than seeds scatter ([the table](translation-tables.md)).",
    "any style": "What of the content is lost, and what of the style is missed, in per cent of what the other one of "
    "the two loses or misses: each has 0 of one and 100 of the other; a system is to have less of both together. The "
    "style is eq. 13; the content is what is left without it, the last layer's channels, standardised. The published "
    "encoder knows ImageNet; this one, a VGG-19 of a quarter of its width, has learned to copy pictures "
    "({steps} steps of 8, once, beside the minutes), from where the decoder begins. The last column takes an encoder "
    "with random weights, which nothing was trained to please. The third row of the picture is the style.",
    "goods": "A picture shows the noun whose true picture, of all in the test, is nearest to it.",
    "drawn": "From noise and the noun's number, 32 x 32 pixels; measured with as many real pictures of the same nouns, "
    "in the sticker reader's features. `dcgan` is the same on as many samples without the term against mode collapse, "
    "which so short a training doesn't bring: the term has little to do. A column of the picture has one noun: a real "
    "picture, and three that were drawn.",
    "reading": "Things on a ground of any colour. A classifier that has learned its labels in Fluent's style alone "
    "reads Noto's: with what UNIT carried over, and without. The picture: Noto's things, and what UNIT makes of them "
    "in Fluent's style.",
}

SHORT = {
    "unit-digits": "Nothing in its losses keeps the colours of what it translates, and in minutes they are exchanged "
    "for others; from these alone it learns to read the unlabelled style. The other style's own classifier, "
    "without any of this, passes the nearest picture.",
    "adain": "By its own encoder it passes all of them; by one that nothing was trained to please, and to the eye, the "
    "content is too coarse: it is painted from 8 x 8 cells, in which a copier of minutes has left little of it. At the "
    "size of [photographs](photographs.md) it is seen.",
    "cross-domain": "All passes through 2 x 2 cells, and after six thousand pairs it paints a grey cloud where a "
    "thing is; but its shared part already finds twice as many other halves as pixels do.",
    "msgan": "No encoder tells it which style a scene has, as BicycleGAN's does: whatever the style, its L1 asks for "
    "the one scene that there is, and teaches what is common to all times of day. The times themselves are left to the "
    "discriminator, which takes longer: they are there, in blurs.",
}
"""Why a system stays behind a baseline, said where it does."""

HEADS = {
    "lines": "Line drawing to colours (paired)",
    "answers": "Line drawing to colours at any time of day: many answers (paired)",
    "shared": "Line drawing to colours, and which belong together",
    "labels": "Label map to scene (paired)",
    "styled labels": "Label map to scene, with the style of each region",
    "night": "Day to night (unpaired)",
    "styles": "Fluent's flat style to Noto's shaded one (unpaired)",
    "any style": "A scene in the style of any other picture",
    "holes": "Filling holes",
    "goods": "A thing in a scene to the thing alone, as a catalogue shows it",
    "reading": "A classifier for pictures without labels",
    "drawn": "Pictures of a noun, from noise",
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
            *([NOTES[task].replace("{steps}", f"{Copier.Config().steps:,}") + "\n"] if task in NOTES else []),
            f"| | minutes | samples | {' | '.join(measures)} |",
            "|---|" + "---|" * (2 + len(measures)),
        ]
        for name, found in sorted(rows.items(), key=lambda row: "baseline" not in row[1]):
            scores = " | ".join("" if math.isnan(x) else f"{x:.3g}" for x in map(found["scores"].get, measures))
            if "baseline" in found:
                lines.append(f"| *{name.partition(': ')[2]}* | | | {scores} |")
            else:
                lines.append(
                    f"| [{name}](../systems/{page_of(name)}) | {found['minutes']:g} | {found['samples']:,} | {scores} |"
                )
        lines += [
            f"\n{name}: {behind(name, task, rows)}\n\n"
            f"![what {name} is given, makes, and the truth](../images/translation/{name}.png)"
            for name, found in rows.items()
            if "baseline" not in found
        ]
        tables.append("\n".join(lines))
    path.write_text(PAGE.format(side=SIDE, test=TEST, tables="\n".join(tables)) + "\n", "utf-8")


if __name__ == "__main__":
    main()
