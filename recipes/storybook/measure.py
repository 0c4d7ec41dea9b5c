"""Measures the storybook on held-out captions and writes the results page: measure.py [MODEL] [-n CAPTIONS]."""

from __future__ import annotations

import argparse
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

Held-out combinations are kept out of the training scenes. The crowded collages (up to seven things) that half of the
planner's and the painter's samples are, and the dual encoder's line-ups, were not filtered for them.

## Speed

Two CPU cores, shared with whatever else ran; one prompt, the whole way to a 1280 x 720 picture.

| | seconds |
|---|---|
{speed}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="storybook")
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--direct", help="a dalle-mini run that writes codes from words, to be compared")
    parser.add_argument("--page", type=Path, default=Path("docs/results/storybook.md"))
    options = parser.parse_args()
    model, reader = limner.load(options.model), limner.load("sticker-reader")
    truths = [storybook_scene(7, k, held_out=True) for k in range(options.n)]
    real = np.stack([render(truth, 256, 144) for truth in truths])
    others = np.stack([render(storybook_scene(8, k, held_out=True), 256, 144) for k in range(options.n)])
    chance, likely, fitting = [], [], []
    for k, truth in enumerate(track(truths, "drawing")):
        words = caption(truth, 0)
        drawing = model.draw(words, count=options.candidates, seed=0, large=False)
        chance.append(drawing.pictures[drawing.seeds.index(k % options.candidates)])
        likely.append(drawing.pictures[0])
        fitting.append(drawing.pictures[int(np.argmax(model.score(drawing.pictures, words)))])
    sets = {
        "random candidate": np.stack(chance),
        f"best of {options.candidates}, as shipped (planner's likelihood)": np.stack(likely),
        f"best of {options.candidates} by the dual encoder": np.stack(fitting),
        "real renders": real,
    }
    if options.direct:
        sets["DALL-E mini, codes from words"] = np.stack(list(direct(options.direct, truths[:60])))
    shares = {name: fidelity(truths[: len(pictures)], reader.read(pictures)) for name, pictures in sets.items()}
    features = reader.features(others)
    rows = []
    for what in ("things", "counts", "place", "time", "relations"):
        cells = [shares[name][what] for name in sets]
        rows.append(f"| {what} | " + " | ".join(_percent(cell) for cell in cells) + " |")
    distances = [
        f"{frechet_distance(reader.features(pictures), features, 'reader').value:.2f}"
        if len(pictures) == options.n
        else "-"
        for pictures in sets.values()
    ]
    rows.append("| Fréchet distance | " + " | ".join(distances) + " |")
    speed = []
    for count, guidance, keep in ((1, None, 1), (4, None, 1), (4, 1.0, 1), (4, None, 4)):
        began = time.perf_counter()
        model.draw("a fox under a tree at night", count=count, guidance=guidance, keep=keep)
        taken = time.perf_counter() - began
        told = "no guidance" if guidance == 1.0 else "guidance as shipped"
        speed.append(f"| {count} candidates, {keep} painted large, {told} | {taken:.1f} |")
    page = PAGE.format(
        columns=" | ".join(sets), rules="---|" * len(sets),
        n=options.n, candidates=options.candidates, table="\n".join(rows), speed="\n".join(speed),
    )  # fmt: skip
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page, "utf-8")
    print(page)


def direct(run: str, truths: list[SceneTruth]) -> Iterator[np.ndarray]:
    """One picture for each caption by a transformer that writes codes from words at once."""
    model = limner.load(run)
    assert isinstance(model, DalleMini)
    for truth in track(truths, "drawing directly"):
        yield model.draw(caption(truth, 0), seed=0, guidance=2.0, top_k=32, temperature=0.9).pictures[0]


def _percent(result: Result) -> str:
    error = f" ± {100 * result.error:.1f}" if result.error is not None else ""
    return f"{100 * result.value:.1f}{error} % (n={result.n})"


if __name__ == "__main__":
    main()
