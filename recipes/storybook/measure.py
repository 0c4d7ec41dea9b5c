"""Measures the storybook on held-out captions and writes the results page: measure.py [MODEL] [-n CAPTIONS]."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

import limner
from limner.metrics import Result
from limner.metrics.frechet import frechet_distance
from limner.stickers.captions import caption
from limner.stickers.fidelity import fidelity
from limner.stickers.source import storybook_scene
from limner.stickers.world import SceneTruth, render
from limner.systems.diffusion.latent import LatentDiffusion
from limner.systems.text.dalle_mini import DalleMini

PAGE = """# The storybook, measured

Made by `python recipes/storybook/measure.py`. {n} captions whose combination of nouns, place and time is held
out; {candidates} candidates each; read by the sticker reader (`limner.load("sticker-reader")`) and held against the
truth that the caption was made from. "Real renders" are the scenes themselves, read the same way: the ceiling.

| | {columns} |
|---|{rules}
{table}

The Fréchet distance is taken in the reader's pooled features, between {n} pictures and {n} other renders; it is biased
upwards at this size, so only the columns can be compared.

No scene that any part learned from has the nouns, place and time of one of these captions.

{published}## Speed

Two CPU cores, shared with whatever else ran; one prompt, the whole way to a 1280 x 720 picture.

| | seconds |
|---|---|
{speed}
"""


PUBLISHED = """## The two published ways, at equal compute

What the same machine learns in about the same time when a picture is written or denoised from the words at once,
without the storybook's plan: DALL-E mini writes 9 x 16 codes of the storybook's book of patches, latent diffusion
denoises 18 x 32 latents of an autoencoder of factor 8. One candidate for each of the first {n} captions; `make.sh` has
the commands.

| | {columns} |
|---|{rules}
{table}

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="storybook")
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--direct", type=Path, help="a dalle-mini run that writes codes from words, to be compared")
    parser.add_argument("--diffusion", type=Path, help="a latent-diffusion run, to be compared")
    parser.add_argument("--compared", type=int, default=100, help="captions that these two draw")
    parser.add_argument("--page", type=Path, default=Path("docs/results/storybook.md"))
    options = parser.parse_args()
    model, reader = limner.load(options.model), limner.load("sticker-reader")
    truths = [storybook_scene(7, k, held_out=True) for k in range(options.n)]
    real = np.stack([render(truth, 256, 144) for truth in truths])
    others = np.stack([render(storybook_scene(8, k, held_out=True), 256, 144) for k in range(options.n)])
    chance, best, likely, fitting = [], [], [], []
    for k, truth in enumerate(track(truths, "drawing")):
        words = caption(truth, 0)
        drawing = model.draw(words, count=options.candidates, seed=0, large=False)
        chance.append(drawing.pictures[drawing.seeds.index(k % options.candidates)])
        cosines = np.array(model.score(drawing.pictures, words))
        best.append(drawing.pictures[0])
        likely.append(drawing.pictures[int(np.argmax(2 * np.array(drawing.scores) - cosines))])
        fitting.append(drawing.pictures[int(cosines.argmax())])
    sets = {
        "random candidate": np.stack(chance),
        f"best of {options.candidates}, as shipped (both)": np.stack(best),
        f"best of {options.candidates} by the planner's likelihood": np.stack(likely),
        f"best of {options.candidates} by the dual encoder": np.stack(fitting),
        "real renders": real,
    }
    shares = {name: fidelity(truths[: len(pictures)], reader.read(pictures)) for name, pictures in sets.items()}
    features = reader.features(others)
    rows = _rows(shares)
    distances = [
        f"{frechet_distance(reader.features(pictures), features, 'reader').value:.2f}" for pictures in sets.values()
    ]
    rows.append("| Fréchet distance | " + " | ".join(distances) + " |")
    speed = []
    for count, guidance, keep in ((1, None, 1), (4, None, 1), (4, 1.0, 1), (4, None, 4)):
        began = time.perf_counter()
        model.draw("a fox under a tree at night", count=count, guidance=guidance, keep=keep)
        taken = time.perf_counter() - began
        told = "no guidance" if guidance == 1.0 else "guidance as shipped"
        speed.append(f"| {count} candidates, {keep} enlarged, {told} | {taken:.1f} |")
    published = ""
    if options.direct and options.diffusion:
        asked = truths[: options.compared]
        both = {
            "DALL-E mini": (options.direct, np.stack(list(written(options.direct, asked)))),
            "latent diffusion": (options.diffusion, np.stack(list(denoised(options.diffusion, asked)))),
        }
        shares = {name: fidelity(asked, reader.read(pictures)) for name, (_, pictures) in both.items()}
        cost = [_cost(run) for run, _ in both.values()]
        table = [f"| {what} | {' | '.join(cells)} |" for what, cells in zip(COST, zip(*cost, strict=True), strict=True)]
        published = PUBLISHED.format(
            n=len(asked), columns=" | ".join(both), rules="---|" * len(both), table="\n".join(table + _rows(shares))
        )
    page = PAGE.format(
        columns=" | ".join(sets), rules="---|" * len(sets),
        n=options.n, candidates=options.candidates, table="\n".join(rows), speed="\n".join(speed), published=published,
    )  # fmt: skip
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page, "utf-8")
    print(page)


def written(run: Path, truths: list[SceneTruth]) -> Iterator[np.ndarray]:
    """One picture for each caption by a transformer that writes codes from words at once."""
    model = limner.load(run)
    assert isinstance(model, DalleMini)
    for truth in track(truths, "writing"):
        yield model.draw(caption(truth, 0), seed=0, guidance=2.0, top_k=32, temperature=0.9).pictures[0]


def denoised(run: Path, truths: list[SceneTruth]) -> Iterator[np.ndarray]:
    """One picture for each caption by latent diffusion."""
    model = limner.load(run)
    assert isinstance(model, LatentDiffusion)
    for truth in track(truths, "denoising"):
        yield model.draw(caption(truth, 0), seed=0, steps=25, guidance=4.0, sampler="dpm_solver").pictures[0]


COST = ("training, minutes", "samples", "parameters")


def _cost(run: Path) -> tuple[str, str, str]:
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    batch = json.loads((run / "config.json").read_text())["options"]["batch"]
    size = sum(p.numel() for player in limner.load(run).players.values() for p in player.parameters())
    return f"{last['seconds'] / 60:.0f}", f"{last['step'] * batch:,}", f"{size:,}"


def _rows(shares: dict[str, dict[str, Result]]) -> list[str]:
    """One row for each share, a cell for each set of pictures."""
    return [
        f"| {what} | " + " | ".join(_percent(each[what]) for each in shares.values()) + " |"
        for what in ("things", "counts", "place", "time", "relations")
    ]


def _percent(result: Result) -> str:
    error = f" ± {100 * result.error:.1f}" if result.error is not None else ""
    return f"{100 * result.value:.1f}{error} % (n={result.n})"


if __name__ == "__main__":
    main()
