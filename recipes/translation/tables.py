"""The published comparisons at the size of the Sticker World's small stage: tables.py [NAME ...] [--seeds 3].

Every run is measured once and kept in runs/translation/tables.json, or in translation/ of the folder that $RUNS names:
a command that was stopped goes on with the next one. The page is written anew from all that there is.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from run import RECIPES, SMALL, UNPAIRED, Recipe, train
from world import RUNS, SIDE, TASKS, TEST, Score, Styles, Task, TimedLabels, frechet, large, spread_of_times

from limner.metrics.features import StickerNetwork

KEPT = RUNS / "tables.json"
OUTPUTS = 5  # of one input, in the table of diversity
JUDGED = 48  # inputs whose outputs are compared pair by pair

U_NET = {
    "width": 16, "depth": 5, "discriminator_width": 16, "field": 34, "dropout": 0.0, "hold": 100_000,
    "learning_rate": 5e-4,
}  # fmt: skip
PAINTED = {
    "U-Net, L1+cGAN": U_NET,
    "U-Net, L1": U_NET | {"adversarial": 0.0},
    "encoder-decoder, L1": U_NET | {"adversarial": 0.0, "skips": False},
    "encoder-decoder, L1+cGAN": U_NET | {"skips": False},
} | {f"U-Net, field {field}": U_NET | {"field": field} for field in (1, 16, 70)}
"""Dropout, which the published U-Net has in levels that a small one lacks, is left out of all of them alike."""


def narrow(name: str, **more: Any) -> Recipe:
    """As small as the U-Net above, on maps that don't tell the time of day."""
    options = SMALL | {"width": 16, "depth": 5, "discriminator_width": 16, "discriminator_layers": 2} | more
    return Recipe(name, "timed labels", options, 4, steps=800)


HELD = {
    "GAN alone": replace(RECIPES["gcgan"], options=RECIPES["gcgan"].options | {"consistency": 0.0}),
    "GcGAN": RECIPES["gcgan"],
    "UNIT, shared weights": RECIPES["unit-shared"],
    "CycleGAN": RECIPES["cyclegan"],
}
"""By what holds an unpaired translation, from nothing to a way back."""

RUN = (
    {name: Recipe("pix2pix", "painted labels", options, 4, steps=1200) for name, options in PAINTED.items()}
    | {
        "pix2pix with dropout": Recipe("pix2pix", "timed labels", U_NET | {"depth": 6, "dropout": 0.5}, 4, steps=800),
        "BicycleGAN": narrow("bicyclegan", encoder_depth=3, encoder_width=16),
        "MSGAN": narrow("msgan"),
        "MUNIT": Recipe("munit", "unpaired labels", UNPAIRED | {"mlp_width": 64}, 1, steps=800),
    }
    | {name: replace(recipe, steps=500) for name, recipe in HELD.items()}
    | {f"{name}, styles": replace(recipe, task="styles", steps=800) for name, recipe in HELD.items()}
)
"""Every run by its name."""


@dataclass(frozen=True)
class Claim:
    """That `more` is above `less` in a measure, which a paper's table says."""

    more: str
    less: str
    measure: str
    source: str


@dataclass(frozen=True)
class Table:
    title: str
    text: str
    rows: Mapping[str, str]  # what the table calls it -> the run
    measures: tuple[str, ...]
    claims: tuple[Claim, ...]
    beside: Callable[[], Mapping[str, Score]]  # rows without training
    measure: Callable[[Task, Any], Score]
    remark: str = ""


def scored(task: Task, model: Any) -> Score:
    return task.reached(model)[1]


def diversity(task: Task, model: Any) -> Score:
    """Of five outputs for each input: how far apart they are, how real they look, and how near the best comes."""
    return told(np.stack([model.translate(task.test.given, seed=seed) for seed in range(OUTPUTS)]))


def told(made: np.ndarray) -> Score:
    """Pictures (OUTPUTS, TEST, H, W, 3) -> scores; they are enlarged to twice their size for the sticker reader."""
    network, labels = StickerNetwork(), TimedLabels(0)
    pairs = [(large(made[i, :JUDGED]), large(made[j, :JUDGED])) for i, j in combinations(range(len(made)), 2)]
    errors = ((made.astype(float) - labels.test.truth) ** 2).mean((2, 3, 4))  # (OUTPUTS, TEST)
    return {
        "perceptual distance": float(np.mean([network.distance(*pair).mean() for pair in pairs])),
        "L1 between outputs": float(
            np.mean([abs(made[i].astype(float) - made[j]).mean() for i, j in combinations(range(len(made)), 2)])
        ),
        "Fréchet": frechet(made.reshape(-1, SIDE, SIDE, 3), reals()),
        f"PSNR of the best of {OUTPUTS}, dB": float((10 * np.log10(255**2 / errors.min(0).clip(1))).mean()),
    }


def reals() -> np.ndarray:
    """As many real scenes, none of them those of the test."""
    return TimedLabels(0).question(range(TEST, TEST + OUTPUTS * TEST)).truth


FCN = ("per-pixel", "per-class", "IoU")
APART = ("perceptual distance", "L1 between outputs", "Fréchet", f"PSNR of the best of {OUTPUTS}, dB")
HOLDS = (
    "What holds it is a way back (CycleGAN), a shared latent space (UNIT), a turn of the picture (GcGAN), or nothing "
    "(GcGAN without its constraint; it, GcGAN and CycleGAN leave pictures of the second domain alone)."
)
CLAIMED = (
    Claim("GcGAN", "GAN alone", "PSNR, dB", "GcGAN, table 1"),
    Claim("CycleGAN", "GAN alone", "PSNR, dB", "CycleGAN, table 4"),
    Claim("GcGAN", "CycleGAN", "PSNR, dB", "GcGAN, table 1"),
)
TABLES = {
    "networks": Table(
        "Encoder-decoder or U-Net, L1 or L1 + cGAN",
        "pix2pix's tables 1 and 2: label maps in false colours to scenes. The FCN-score is a segmenter's, which was "
        "trained on real scenes, in per cent.",
        {
            "encoder-decoder, L1": "encoder-decoder, L1",
            "encoder-decoder, L1+cGAN": "encoder-decoder, L1+cGAN",
            "U-Net, L1": "U-Net, L1",
            "U-Net, L1+cGAN": "U-Net, L1+cGAN",
        },
        (*FCN, "PSNR, dB"),
        (
            Claim("U-Net, L1", "encoder-decoder, L1", "IoU", "pix2pix, table 2"),
            Claim("U-Net, L1+cGAN", "encoder-decoder, L1+cGAN", "IoU", "pix2pix, table 2"),
            Claim("U-Net, L1+cGAN", "U-Net, L1", "IoU", "pix2pix, tables 1 and 2"),
        ),
        lambda: TASKS["painted labels"](0).baseline_scores(),
        scored,
        "The nearest training map, which brings a whole real scene along, is above all of them: after a "
        "minute the networks still paint flat. The encoder-decoder has 2 x 2 cells for everything that the "
        "U-Net passes on by its skips.",
    ),
    "field": Table(
        "What a discriminator's score sees",
        "pix2pix's table 3: the same task with patches of so many pixels a side. The published 286 is the whole "
        f"picture of 256 pixels; of {SIDE} pixels, 70 is.",
        {
            "1": "U-Net, field 1", "16": "U-Net, field 16", "34": "U-Net, L1+cGAN",
            "70 (the whole picture)": "U-Net, field 70",
        },
        (*FCN, "PSNR, dB"),
        (
            Claim("16", "1", "IoU", "pix2pix, table 3"),
            Claim("16", "70 (the whole picture)", "IoU", "pix2pix, table 3, whose whole picture is 286"),
        ),
        lambda: TASKS["painted labels"](0).baseline_scores(),
        scored,
        "The published 286 has a discriminator of five layers, which the paper takes to be harder to train; "
        "here, the one that sees the whole picture has three, one more than that of 34.",
    ),
    "diversity": Table(
        "Many answers to one input",
        f"Label maps in false colours to scenes, whose time of day the map doesn't tell. {OUTPUTS} outputs for each "
        "input; the perceptual distance between two is LPIPS' equation on the sticker reader's layers, and the Fréchet "
        f"distance is in its features, {OUTPUTS * TEST} pictures to as many others. MUNIT learns without pairs.",
        {"pix2pix (dropout)": "pix2pix with dropout", "BicycleGAN": "BicycleGAN", "MSGAN": "MSGAN", "MUNIT": "MUNIT"},
        APART,
        (
            Claim("BicycleGAN", "pix2pix (dropout)", APART[0], "BicycleGAN, table 1"),
            Claim("MSGAN", "pix2pix (dropout)", APART[0], "MSGAN, table 3"),
            Claim("MUNIT", "pix2pix (dropout)", APART[0], "MUNIT, table 1, of unpaired baselines"),
        ),
        lambda: {
            "the true scene at other times of day": told(
                spread_of_times(TimedLabels(0).truths(range(TEST), "held-out"), OUTPUTS)
            )
        },
        diversity,
        "Far apart is not yet plausible: read the perceptual distance beside the Fréchet distance, and both "
        "beside what the true scene does at other times of day.",
    ),
    "styles": Table(
        "What holds an unpaired translation: from one style of drawing to another",
        f"Fluent's flat stickers to Noto's shaded ones, learned without pairs, against the exact truth. {HOLDS} The "
        "backdrop is the same in both styles; the measures look at the things alone.",
        {name: f"{name}, styles" for name in HELD},
        Styles.measures,
        tuple(replace(claim, measure=Styles.measures[0]) for claim in CLAIMED),
        lambda: TASKS["styles"](0).baseline_scores(),
        scored,
        "Here shapes have to change, and what holds a translation holds on to where things are: after so few samples "
        "CycleGAN and GcGAN change colours and shading and leave outlines, as a way back and a turn allow, and their "
        "PSNR is that of the picture as it is. The GAN alone may change anything, and comes a little nearer. "
        "UNIT paints anew from a shared code, in blurs, which differ much from seed to seed: its pictures are the "
        "only ones that are often nearer the truth than what was given. Where colours alone change, in the next table, "
        "the published order holds.",
    ),
    "constraints": Table(
        "What holds an unpaired translation: day to night",
        f"The same comparison where colours change and shapes stay. {HOLDS}",
        {name: name for name in HELD},
        ("PSNR, dB", "L1"),
        CLAIMED,
        lambda: TASKS["night"](0).baseline_scores(),
        scored,
        "UNIT, whose latent space is noisy, is the slowest here; in the four minutes of its recipe it gets "
        "further.",
    ),
}  # fmt: skip


def kept() -> dict[str, Any]:
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def keep(name: str, found: Any) -> None:
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    fresh = KEPT.with_suffix(f".{name.replace('/', '-').replace(' ', '-')}")
    fresh.write_text(json.dumps(kept() | {name: found}, indent=1))
    fresh.replace(KEPT)


def numbered(run: str, seed: int) -> str:
    return f"{run} #{seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row")
    parser.add_argument("--from-seed", type=int, default=0, help="the first one's number")
    options = parser.parse_args()
    for name in options.names or TABLES:
        table = TABLES[name]
        for seed in range(options.from_seed, options.from_seed + options.seeds):
            for run in table.rows.values():
                if numbered(run, seed) in kept():
                    continue
                recipe = replace(RUN[run], seed=seed)
                task = TASKS[recipe.task](0)
                where = f"tables/{run}"
                model, samples = train(where, recipe, task)
                scores = dict(table.measure(task, model))
                keep(numbered(run, seed), {"samples": samples, "scores": scores})
                print(numbered(run, seed), samples, scores, flush=True)
                shutil.rmtree(RUNS / f"{where}-{seed}")
                page()
        if name not in kept():
            keep(name, {row: dict(scores) for row, scores in table.beside().items()})
    page()


def runs(found: Mapping[str, Any], run: str) -> list[Mapping[str, Any]]:
    return [found[name] for name in sorted(found) if name.partition(" #")[0] == run and " #" in name]


def number(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    mean = float(np.mean(values))
    digits = 3 if abs(mean) < 1 else 2 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f}" + (f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else "")


def verdict(table: Table, claim: Claim, found: Mapping[str, Any]) -> str:
    """Whether the two are that way round here, by more than their seeds scatter."""
    more, less = (
        [r["scores"][claim.measure] for r in runs(found, table.rows[row])] for row in (claim.more, claim.less)
    )
    gap, noise = np.mean(more) - np.mean(less), np.sqrt(np.var(more, ddof=1) + np.var(less, ddof=1))
    said = (
        "within the seeds' scatter"
        if abs(gap) <= noise
        else "holds here"
        if gap > 0
        else "**the other way round here**"
    )
    return f"- {claim.more} above {claim.less} ({claim.source}), by {claim.measure}: {said}, {number([float(gap)])}."


HEAD = """# The published comparisons, small

Made by `python recipes/translation/tables.py`. Scenes of {side} x {side} pixels with twelve nouns, {test} of them held
out; every network is small and trained from nothing on as many samples as its row says, which takes one CPU core one to
two minutes. Numbers are means and standard deviations over the seeds. In italics is what needs no training. Whether a
published order holds is decided by these numbers: it does where the means are further apart than the rows scatter.
"""


def page(path: Path = Path("docs/results/translation-tables.md")) -> None:
    found, parts = kept(), [HEAD.format(side=SIDE, test=TEST)]
    for name, table in TABLES.items():
        done = {row: runs(found, run) for row, run in table.rows.items()}
        if not any(done.values()):
            continue
        parts += [
            f"## {table.title}\n",
            f"{table.text}\n",
            f"| | seeds | samples | {' | '.join(table.measures)} |",
        ]
        parts.append("|---|" + "---|" * (2 + len(table.measures)))
        for row, scores in found.get(name, {}).items():
            parts.append(f"| *{row}* | | | {' | '.join(number([scores[m]]) for m in table.measures)} |")
        for row, all_of_it in done.items():
            if all_of_it:
                cells = [number([r["scores"][m] for r in all_of_it]) for m in table.measures]
                samples = round(float(np.mean([r["samples"] for r in all_of_it])))
                parts.append(f"| {row} | {len(all_of_it)} | {samples:,} | {' | '.join(cells)} |")
        parts.append("")
        ready = [c for c in table.claims if min(len(done[c.more]), len(done[c.less])) > 1]
        parts += [verdict(table, claim, found) for claim in ready] + [""]
        if table.remark:
            parts.append(table.remark + "\n")
    path.write_text("\n".join(parts).rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
