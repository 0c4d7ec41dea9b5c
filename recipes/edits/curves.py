"""InstructPix2Pix on the small stage, from nothing to the curves of figures 4.19 to 4.21: curves.py [STEP ...].

Everything is made by limner's own functions, those behind `limner train`, `limner edits write`, `pair`, `filter`,
`shard` and `sweep`. Every step goes on where it was stopped, and is passed over when it is done. Runs are kept in
runs/edits, or in the folder that $RUNS names; `page` writes what is measured so far. --tiny runs through all of it in
minutes, to see that it runs: what comes of it is worth nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import stage
import torch
from PIL import Image
from rich.progress import Progress, track
from second import Contrast

import limner
from limner.data.latents import LatentFolder
from limner.edits.filters import Filter
from limner.edits.grammar import GrammarWriter
from limner.edits.pair import Recipe
from limner.edits.shards import pairs_of
from limner.edits.write import write
from limner.jobs.edits import choose, draw_pairs, shard
from limner.jobs.plots import Point
from limner.jobs.plots import curves as plot
from limner.jobs.sweeping import AXES, SWEEPS, Curve, Order, sweep
from limner.metrics import Result
from limner.metrics.edits import open_encoder
from limner.rng import derive
from limner.runs import Run, read_checkpoint, write_json
from limner.stickers.captions import caption
from limner.stickers.fidelity import fidelity
from limner.stickers.world import SceneTruth
from limner.system import from_uint8, to_uint8
from limner.systems import make
from limner.systems.diffusion.autoencoder import KLAutoencoder
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import Autoencoder, LatentDiffusion, TextTower, UNet
from limner.systems.diffusion.tokens import vocabulary
from limner.systems.reader import Reading
from limner.train import Options, Trainer, load_weights

RUNS = Path(os.environ.get("RUNS", "runs/edits"))
PAGE, IMAGES = Path("docs/results/editing-curves.md"), Path("docs/images/editing-curves")
SIZE = (stage.HEIGHT, stage.WIDTH)

SHAPE = Autoencoder(widths=(16, 32, 64, 128), blocks=1, channels=8, groups=4)
TEXT = TextTower(len(vocabulary(stage.WORDS)[0]), width=128, depth=2, heads=4, hidden=512, tokens=stage.TOKENS)
UNET = UNet(widths=(64, 128), attention=(True, True), blocks=1, heads=4, groups=8)


CHOSEN = Filter(image=0.7, text=0.85, direction=0.5, keep=2)


@dataclass(frozen=True)
class Plan:
    """How much of everything. Steps are of 16 samples, but the autoencoder's, of 4, and the second encoder's, of 64."""

    autoencoder: int = 2400
    scenes: int = 12_288
    second: int = 1500
    diffusion: int = 6000
    asked: int = 100  # captions, of which the text-to-image model is measured on pictures
    triplets: int = 1500
    samples: int = 4  # pairs of a triplet
    sampler: int = 15  # steps, everywhere
    editor: int = 1500
    edits: int = 100  # at each point of a curve
    points: int = 5
    seeds: int = 3
    chosen_by: Filter = CHOSEN


PLAN = Plan()
TINY = Plan(2, 8, 2, 3, 2, 12, 2, 2, 2, 2, 2, 1, Filter(-1, -1, -1, keep=1))
GUIDANCE = 4.0  # of words, in sweeps; the thesis has 7.5 for a model of a thousand times the size
PAIRED_GUIDANCE = (2.0, 6.0)  # of the factory's pairs, for which it has 7.5 to 15
EDITORS = {
    "all": "all generated pairs",
    "tenth": "a tenth of them",
    "hundredth": "a hundredth",
    "unfiltered": "without the filter",
    "exact": "as many exact pairs",
}
PARTS = {"tenth": 10, "hundredth": 100}
BASELINES = {
    "SDEdit, caption": "sdedit",
    "SDEdit, instruction": "sdedit-instruction",
    "Prompt-to-Prompt, caption": "prompt-to-prompt",
    "Prompt-to-Prompt, instruction": "prompt-to-prompt-instruction",
}


# ------------------------------------------------------------------------------------------------------------ models


def train(
    name: str,
    kind: str,
    system: Any,
    source: Any,
    steps: int,
    batch: int,
    seed: int = 0,
) -> Path:
    """Train in RUNS/name to `steps`, from where it stands."""
    with Progress() as bar:
        line = bar.add_task(name, total=steps)

        def listen(progress: Any) -> None:
            bar.update(line, completed=progress.step)

        options = Options(steps=steps, batch=batch, seed=seed, sample=500, precision="fp32")
        return Trainer(kind, system, source, Run(RUNS / name), options, listener=listen).fit()


def fresh(kind: str, config: Any, seed: int = 0) -> Any:
    """A system with the first weights of a seed."""
    torch.manual_seed(derive(seed, "weights"))
    return make(kind, config, kind)


def autoencoder() -> None:
    """Pictures to 9 x 16 latents and back."""
    config = KLAutoencoder.Config(
        SHAPE, kl=0.01, discriminator_start=1_000_000, discriminator_width=8, learning_rate=1e-3
    )
    train("autoencoder", "kl-autoencoder", fresh("kl-autoencoder", config), stage.Views(), PLAN.autoencoder, 4)


def scenes() -> None:
    """Latents of the scenes that words are learned from."""
    if not (RUNS / "scenes/scale.json").exists():
        stage.encode(loaded("autoencoder"), RUNS / "scenes", PLAN.scenes)


def second() -> None:
    """A second encoder of pictures and words, with which nothing was filtered."""
    if (RUNS / "second/encoder/vocab.json").exists():
        return
    torch.manual_seed(derive(0, "second"))
    system = Contrast(Contrast.Config(stage.WORDS, steps=PLAN.second))
    where = train("second", "contrast", system, stage.Lineups(), PLAN.second, 64)
    load_weights(system, read_checkpoint(where).weights, averaged=True, where=str(where))
    system.save_folder(RUNS / "second/encoder")
    write_json(RUNS / "encoders.json", {name: recall(encoder_of(name)) for name in ("storybook", "second")})


def encoder_of(name: str) -> str:
    return str(RUNS / "second/encoder") if name == "second" else name


@torch.inference_mode()
def recall(encoder: str) -> float:
    """Of held-out scenes with captions that are all different, how many are nearest to their own."""
    truths, words = ask(PLAN.asked)
    kept = {told: truth for truth, told in zip(truths, words, strict=True)}
    seeing, pictures = open_encoder(encoder), np.stack([stage.drawn(truth) for truth in kept.values()])
    likeness = seeing.pictures((from_uint8(pictures) + 1) / 2) @ seeing.words(list(kept)).T
    return float((likeness.argmax(1) == torch.arange(len(kept))).float().mean())


def diffusion() -> None:
    """The text-to-image model."""
    config = LatentDiffusion.Config(
        replace(SHAPE, scale=json.loads((RUNS / "scenes/scale.json").read_text())), TEXT, UNET, size=SIZE,
        prediction="velocity", joint_text=True, words=stage.WORDS, learning_rate=1e-3, warmup=200, ema=0.998,
    )  # fmt: skip
    system = fresh("latent-diffusion", config)
    system.autoencoder.load_state_dict(loaded("autoencoder").network.state_dict())
    train("diffusion", "latent-diffusion", system, stage.Encoded(RUNS / "scenes"), PLAN.diffusion, 16)


def loaded(name: str) -> Any:
    return limner.load(str(RUNS / name))


# ----------------------------------------------------------------------------------------------------------- factory


def triplets() -> None:
    """Captions, instructions and edited captions, by the grammar of the stage."""
    known = GrammarWriter(stage.Stage("storybook"), 2 * PLAN.triplets)
    write(known.sources, known, RUNS / "triplets.jsonl", count=PLAN.triplets, together=64)


def pairs() -> None:
    """Pairs of pictures, all of them scored and kept."""
    recipe = Recipe(
        samples=PLAN.samples, model=str(RUNS / "diffusion"), steps=PLAN.sampler, guidance=PAIRED_GUIDANCE,
        together=PLAN.samples,
    )  # fmt: skip
    with Progress() as bar:
        line = bar.add_task("pairs", total=PLAN.triplets)

        def counted(done: int, total: int) -> None:
            bar.update(line, completed=done, total=total)

        said = draw_pairs(
            RUNS / "triplets.jsonl", RUNS / "pairs", recipe, everything(), count=None, this_part="0/1", workers=1,
            threads=1, ray=None, told=print, counted=counted,
        )  # fmt: skip
        print(*said, sep="\n")


def everything() -> Filter:
    return Filter(-1, -1, -1, keep=PLAN.samples)


def latents() -> None:
    """What editors train on: pairs that the filter chose, all pairs, and as many exact ones as were chosen."""
    done = RUNS / "latents/done.json"
    if done.exists():
        return
    for name, chosen_by in (("unfiltered", everything()), ("all", PLAN.chosen_by)):
        print(*choose(RUNS / "pairs", chosen_by), sep="\n")
        packed("pairs", name)
    stage.write_exact(RUNS / "exact", len(pairs_of(RUNS / "pairs", print)))
    packed("exact", "exact")
    write_json(done, {name: len(pairs_of(RUNS / name, print)) for name in ("pairs", "exact")})


def packed(pairs: str, name: str) -> None:
    shard(
        RUNS / pairs, RUNS / "latents" / name, size=500, latents=str(RUNS / "diffusion"), resolution=SIZE,
        told=print, counted=lambda done, total: None,
    )  # fmt: skip


def examples(name: str, seed: int) -> LatentFolder:
    """The latents that an editor learns from; a share of the prompts is the first so many of them."""
    found = LatentFolder(RUNS / "latents" / ("all" if name in PARTS else name), seed=seed, flip=False)
    found.prompts = found.prompts[: max(1, len(found) // PARTS.get(name, 1))]
    return found


def editor(name: str, seed: int) -> None:
    """InstructPix2Pix from the text-to-image model's weights."""
    begun = loaded("diffusion")
    config = InstructPix2Pix.Config(
        **InstructPix2Pix.options_of(begun), joint_text=True, learning_rate=5e-4, ema=0.998, ema_updates=1
    )
    system = fresh("instruct-pix2pix", config, seed)
    system.begin_as(begun)
    train(f"editor-{name}-{seed}", "instruct-pix2pix", system, examples(name, seed), PLAN.editor, 16, seed)


# ---------------------------------------------------------------------------------------------------------- measured


def ask(count: int) -> tuple[list[SceneTruth], list[str]]:
    """Held-out scenes and their canonical captions."""
    truths = [stage.scene(7, number, held_out=True) for number in range(count)]
    return truths, [caption(truth) for truth in truths]


def drawn() -> None:
    """What the text-to-image model draws of held-out captions, read by the sticker reader."""
    if (RUNS / "drawn.json").exists():
        return
    truths, words = ask(PLAN.asked)
    model, reader = loaded("diffusion"), limner.load("sticker-reader")
    real = np.stack([stage.drawn(truth) for truth in truths])
    with torch.inference_mode():
        through = np.concatenate([to_uint8(model.decode(model.encode(from_uint8(p[None])))) for p in real])
    rows = {"real pictures": real, "real pictures, through the autoencoder": through}
    for guidance in (1.0, 2.0, 4.0, 7.5):
        made = [
            model.draw(told, seed=k, steps=PLAN.sampler, guidance=guidance, sampler="euler_ancestral").pictures
            for k, told in enumerate(track(words, f"guidance {guidance:g}"))
        ]
        rows[f"drawn, guidance {guidance:g}"] = np.concatenate(made)
    table = {
        name: {what: (found.value, found.error) for what, found in read(truths, reader.read(stage.twice(p))).items()}
        for name, p in rows.items()
    }
    sheet([real[:8], through[:8], *(rows[f"drawn, guidance {g:g}"][:8] for g in (2.0, 4.0))], RUNS / "drawn.png")
    write_json(RUNS / "drawn.json", table)


def read(truths: Sequence[SceneTruth], readings: Sequence[Reading]) -> dict[str, Result]:
    found = fidelity(truths, readings)
    return {name: found[name] for name in ("things", "counts", "place", "time")}


def sheet(rows: Sequence[np.ndarray], path: Path) -> None:
    """Rows of pictures, at twice the size."""
    picture = Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows]))
    path.parent.mkdir(parents=True, exist_ok=True)
    twice = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
    twice.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def order(encoder: str, seed: int) -> Order:
    """All curves of a seed that can be measured by now: the editors', and of the methods that need none."""
    curves = [
        Curve(name, str(RUNS / f"editor-{name}-{seed}"), "instruct-pix2pix")
        for name in EDITORS
        if finished(f"editor-{name}-{seed}", PLAN.editor)
    ]
    curves += [Curve(name, str(RUNS / "diffusion"), method) for name, method in BASELINES.items()]
    return Order(
        "held-out edits of the stage", curves, encoder_of(encoder), PLAN.edits, PLAN.points, PLAN.sampler, GUIDANCE,
        seed=1000 * seed, pictures=RUNS / "edited",
    )  # fmt: skip


def finished(name: str, steps: int) -> bool:
    kept = Run(RUNS / name).checkpoints
    return bool(kept) and int(kept[-1].name) >= steps


def swept(encoder: str, seed: int) -> None:
    """The curves of a seed by an encoder. The second encoder sees the pictures that were made for the first."""
    asked = order(encoder, seed)
    with Progress() as bar:
        line = bar.add_task(f"curves {encoder} {seed}", total=None)

        def counted(done: int, total: int) -> None:
            bar.update(line, completed=done, total=total)

        sweep(asked, RUNS / f"sweep-{encoder}-{seed}", source=stage.HeldOut(), progress=counted)


def judged(seed: int) -> None:
    """Of the edits that the curves of a seed were measured on: is all there that was asked for, and nothing else?"""
    asked, file = order("storybook", seed), RUNS / f"judged-{seed}.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    truths = [stage.held_out_edit(number)[0].after for number in range(PLAN.edits)]
    reader = limner.load("sticker-reader")
    for curve in asked.curves:
        for value in SWEEPS[curve.method].values(PLAN.points):
            files = [asked.kept(curve, value, number) for number in range(PLAN.edits)]
            name = f"{curve.name}@{value:g}"
            if name in known or not all(each and each.is_file() for each in files):
                continue
            made = np.stack([np.array(Image.open(each)) for each in files if each])
            known[name] = fmean(right(*each) for each in zip(truths, reader.read(stage.twice(made)), strict=True))
    write_json(file, known)


def right(truth: SceneTruth, reading: Reading) -> bool:
    """Whether the reader sees the place, the time, and of every noun as many as there should be."""
    wanted = {name: sum(thing.noun == name for thing in truth.things) for name in stage.NAMES}
    seen = all(reading.count(name) == count for name, count in wanted.items())
    return seen and (reading.place, reading.time) == (truth.place, truth.time)


# -------------------------------------------------------------------------------------------------------------- page


def points_of(encoder: str) -> dict[str, dict[float, list[dict[str, float]]]]:
    """Curve -> value -> what was measured there, one for each seed."""
    found: dict[str, dict[float, list[dict[str, float]]]] = {}
    for seed in range(PLAN.seeds):
        file = RUNS / f"sweep-{encoder}-{seed}/points.jsonl"
        for line in file.read_text().splitlines() if file.exists() else ():
            point = json.loads(line)
            found.setdefault(point["curve"], {}).setdefault(point["value"], []).append(point)
    return found


def averaged(rows: Sequence[Mapping[str, Any]]) -> Point:
    """The mean over seeds, with its standard error; of a single seed, the error is that of its edits."""
    axes = ("sim_direction", "sim_image")
    if len(rows) == 1:
        errors = [rows[0]["errors"][axis] or 0.0 for axis in axes]
    else:
        errors = [stdev(row[axis] for row in rows) / len(rows) ** 0.5 for axis in axes]
    return Point(*(fmean(row[axis] for row in rows) for axis in axes), *errors)


FIGURES = {
    "methods": ("storybook", {"all": "InstructPix2Pix"} | {name: name for name in BASELINES}),
    "second-encoder": ("second", {"all": "InstructPix2Pix"} | {name: name for name in BASELINES}),
    "data": ("storybook", EDITORS),
}
"""Thesis, figures 4.19, 4.20 and 4.21: the encoder, and which curves under which names."""


def above(line: Sequence[Point], other: Sequence[Point]) -> float | None:
    """How much higher one curve is than another, on average over the directions that both of them reach."""
    one, two = (sorted((point.x, point.y) for point in each) for each in (line, other))
    low, high = max(one[0][0], two[0][0]), min(one[-1][0], two[-1][0])
    if low >= high:
        return None
    reached = np.linspace(low, high, 50)
    heights = [np.interp(reached, *zip(*each, strict=True)) for each in (one, two)]
    return float((heights[0] - heights[1]).mean())


def figure(name: str) -> str | None:
    """The table of a figure, whose plot is written. None if nothing of it is measured."""
    encoder, names = FIGURES[name]
    found = points_of(encoder)
    shown = {names[curve]: found[curve] for curve in names if curve in found}
    if "all" not in found:
        return None
    lines = {title: [averaged(rows) for rows in values.values()] for title, values in shown.items()}
    IMAGES.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(plot(lines, *AXES))
    picture.quantize(64, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)
    first, obeyed = next(iter(lines.values())), rightly()
    table = [
        "| | seeds | strength | direction | image | all as asked, % | above the first curve |",
        "|---|---|---|---|---|---|---|",
    ]
    for curve, title in names.items():
        if curve not in found:
            continue
        values, gap = found[curve], above(lines[title], first)
        for at in (min(values), sorted(values)[len(values) // 2], max(values)):
            point, share = averaged(values[at]), obeyed.get(f"{curve}@{at:g}")
            ends = "" if gap is None or curve == "all" or at > min(values) else f"{gap:+.3f}"
            table.append(
                f"| {title} | {len(values[at])} | {at:.3g} | {point.x:.3f} ± {point.x_error:.3f} "
                f"| {point.y:.3f} ± {point.y_error:.3f} | {'' if share is None else f'{100 * share:.0f}'} | {ends} |"
            )
    return "\n".join(table)


def rightly() -> dict[str, float]:
    """Of each point of a curve the share of edits after which all is there that was asked for, over all seeds."""
    files = [RUNS / f"judged-{seed}.json" for seed in range(PLAN.seeds)]
    every = [json.loads(file.read_text()) for file in files if file.exists()]
    return {name: fmean(each[name] for each in every if name in each) for name in {n for each in every for n in each}}


HEAD = """# Editing by instruction, the curves

Made by `python recipes/edits/curves.py` (`recipes/edits/make.sh` from nothing). All of InstructPix2Pix' way on a stage
that a CPU core can make: scenes of {width} x {height} pixels with {nouns} nouns in {places} places at three times of
day, a KL autoencoder, a text-to-image model, the factory (captions, instructions, pairs, filter), and editors that
begin as that model. The thesis prints curves and no numbers; what can be compared is which of them is higher.

All is measured on combinations of nouns, place and time that no training showed. ± is the standard error over seeds,
or over edits where there is one seed.
"""

DRAWN = """
## What the text-to-image model draws

{count} held-out captions, {steps} steps of Euler ancestral, read by the sticker reader at twice the size. "Things" are
seen at all, "counts" exactly as often as asked.

{table}

![real pictures, the same through the autoencoder, drawn at guidance 2 and 4](../images/editing-curves/drawn.png)
"""

FACTORY = """
## What the factory made

{pairs:,} pairs of pictures of {triplets:,} triplets, scored by the storybook's dual encoder. The filter (image {image},
text {text}, direction {direction}, the best {keep} of a triplet) keeps {kept:,}.
"""

SECTIONS = {
    "methods": """
## Against methods that need no training (figure 4.19)

All on the same text-to-image model, {steps} steps, {edits} edits at each point, a guidance of {guidance:g} for the
words. Measured by the storybook's dual encoder, which also filtered the pairs. "All as asked": the sticker reader sees
the place, the time, and every noun as often as the edited caption says. The last column is how much higher a curve is
than the first one, on average over the directions that both reach.
""",
    "second-encoder": """
## By a second encoder (figure 4.20)

The same edits by CLIP's two towers, trained on the stage alone, with which nothing was filtered. Of held-out pictures
{second:.0%} are nearest to their own caption in it, among different ones; in the storybook's {storybook:.0%} are.
""",
    "data": """
## Less data, no filter (figure 4.21), and exact pairs

All editors have learned for as many steps. "As many exact pairs" are the world's own, free of the factory's mistakes:
what do generated pairs cost?
""",
}


def page() -> None:
    """The page of what is measured so far."""
    text = HEAD.format(width=stage.WIDTH, height=stage.HEIGHT, nouns=len(stage.NAMES), places=len(stage.PLACES))
    if (RUNS / "drawn.json").exists():
        table = json.loads((RUNS / "drawn.json").read_text())
        columns = list(next(iter(table.values())))
        lines = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
        for name, row in table.items():
            shares = " | ".join(f"{100 * share:.0f} ± {100 * error:.0f} %" for share, error in row.values())
            lines.append(f"| {name} | {shares} |")
        IMAGES.mkdir(parents=True, exist_ok=True)
        shutil.copy(RUNS / "drawn.png", IMAGES)
        text += DRAWN.format(count=PLAN.asked, steps=PLAN.sampler, table="\n".join(lines))
    if (RUNS / "latents/done.json").exists():
        counts = json.loads((RUNS / "latents/done.json").read_text())
        text += FACTORY.format(
            pairs=PLAN.triplets * PLAN.samples, triplets=PLAN.triplets, kept=counts["pairs"], **vars(PLAN.chosen_by)
        )
    file = RUNS / "encoders.json"
    said = json.loads(file.read_text()) if file.exists() else {}
    for name, section in SECTIONS.items():
        if table := figure(name):
            text += section.format(steps=PLAN.sampler, edits=PLAN.edits, guidance=GUIDANCE, **said)
            text += f"\n{table}\n\n![the curves](../images/editing-curves/{name}.png)\n"
    PAGE.write_text(text, "utf-8")


def of_seed(seed: int) -> Callable[[], None]:
    def run() -> None:
        for name in EDITORS:
            editor(name, seed)
        for encoder in ("storybook", "second"):
            swept(encoder, seed)
        judged(seed)

    return run


MADE = (autoencoder, scenes, second, diffusion, drawn, triplets, pairs, latents)


def steps() -> dict[str, Callable[[], None]]:
    """In their order; what is measured of a seed comes before the next one is trained."""
    seeds = {f"seed-{seed}": of_seed(seed) for seed in range(PLAN.seeds)}
    return {each.__name__: each for each in MADE} | seeds | {"page": page}


def main() -> None:
    global PLAN, PAGE, IMAGES
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(steps())}; all by default")
    parser.add_argument("--tiny", action="store_true", help="see that it runs; the page stays as it is")
    options = parser.parse_args()
    if options.tiny:
        PLAN, PAGE, IMAGES = TINY, RUNS / "page.md", RUNS / "images"
    every = steps()
    for name in options.steps or every:
        every[name]()


if __name__ == "__main__":
    main()
