"""Measures the storybook on held-out captions and writes the results page: measure.py [MODEL] [-n CAPTIONS]."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.progress import track

import limner
from limner.metrics import Result
from limner.metrics.frechet import frechet_distance
from limner.stickers.captions import caption
from limner.stickers.fidelity import fidelity
from limner.stickers.source import storybook_scene
from limner.stickers.world import render

PAGE = """# The storybook, measured

Made by `python recipes/storybook/measure.py`. {n} captions whose combination of nouns, place and time was never trained
on; {candidates} candidates each; read by the sticker reader (`limner.load("sticker-reader")`) and held against the
truth that the caption was made from. "Real renders" are the scenes themselves, read the same way: the ceiling.

| | random candidate | best of {candidates} by the dual encoder | real renders |
|---|---|---|---|
{table}

The Fréchet distance is taken in the reader's pooled features, between {n} pictures and {n} other renders; it is biased
upwards at this size, so only the columns can be compared.

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
    parser.add_argument("--page", type=Path, default=Path("docs/results/storybook.md"))
    options = parser.parse_args()
    model, reader = limner.load(options.model), limner.load("sticker-reader")
    truths = [storybook_scene(7, k, held_out=True) for k in range(options.n)]
    real = np.stack([render(truth, 256, 144) for truth in truths])
    others = np.stack([render(storybook_scene(8, k, held_out=True), 256, 144) for k in range(options.n)])
    first, best = [], []
    for truth in track(truths, "drawing"):
        drawing = model.draw(caption(truth, 0), count=options.candidates, seed=0, large=False)
        first.append(drawing.pictures[drawing.seeds.index(0)])
        best.append(drawing.pictures[0])
    sets = {"random": np.stack(first), "best": np.stack(best), "real": real}
    shares = {name: fidelity(truths, reader.read(pictures)) for name, pictures in sets.items()}
    features = reader.features(others)
    rows = []
    for what in ("things", "counts", "place", "time", "relations"):
        cells = [shares[name][what] for name in sets]
        rows.append(f"| {what} | " + " | ".join(_percent(cell) for cell in cells) + " |")
    distances = [frechet_distance(reader.features(pictures), features, "reader") for pictures in sets.values()]
    rows.append("| Fréchet distance | " + " | ".join(f"{d.value:.2f}" for d in distances) + " |")
    speed = []
    for count, guidance, keep in ((1, None, 1), (4, None, 1), (4, 1.0, 1), (4, None, 4)):
        began = time.perf_counter()
        model.draw("a fox under a tree at night", count=count, guidance=guidance, keep=keep)
        taken = time.perf_counter() - began
        told = "no guidance" if guidance == 1.0 else "guidance as shipped"
        speed.append(f"| {count} candidates, {keep} painted large, {told} | {taken:.1f} |")
    page = PAGE.format(n=options.n, candidates=options.candidates, table="\n".join(rows), speed="\n".join(speed))
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(page, "utf-8")
    print(page)


def _percent(result: Result) -> str:
    error = f" ± {100 * result.error:.1f}" if result.error is not None else ""
    return f"{100 * result.value:.1f}{error} % (n={result.n})"


if __name__ == "__main__":
    main()
