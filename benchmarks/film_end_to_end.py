"""Seconds by stage for a whole film: an 8-scene, one-minute story, 4 candidates a scene, 1280x720.

    python benchmarks/film_end_to_end.py [--illustrator storybook] [--quality final]

Prints wall and CPU seconds for the first film, for a run with nothing to do, and after one changed narration; the same
divided by the time of a matrix product on this machine, because absolute times mean little on a shared one.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from limner.film.estimate import RATES
from limner.film.pipeline import FilmResult, make_film
from limner.film.prepare import FilmOptions
from limner.film.project import read_project, write_project
from limner.film.store import Store

STORY = """The Fox and the Lion

A fox lived in a forest. One morning it saw a lion under a tree. The fox was so afraid that it ran away.

At dusk the fox came back to the tree. The lion was asleep in the grass. The fox looked at it for a long time.

The next day a crow flew over the meadow. The crow told the fox that the lion had hurt its paw.

The fox went to the river and picked some flowers. A frog on a stone laughed at the fox.

At night the moon stood over the mountain. The fox walked alone and thought about the lion.

In the morning the fox brought the flowers to the lion. The lion opened one eye and smiled.

They sat by the fire together, and the owl told them a story about the sea and a whale.

From that day the fox and the lion were friends. They shared their bread under the same tree.
"""


def yardstick() -> float:
    """Seconds of a 1500 x 1500 matrix product in float32 on this machine, now (the best of five)."""
    matrix = np.random.default_rng(0).random((1500, 1500), np.float32)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - begun)
    return min(times)


def timed(folder: Path, name: str, options: FilmOptions, unit: float) -> FilmResult:
    known = len(Store(folder / "film.limner").entries())
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    result = make_film(folder / "story.txt", folder / "film.mp4", options)
    wall, cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
    print(f"\n{name}: {wall:.1f} s wall, {cpu:.1f} s CPU, {wall / unit:.0f} matrix products, {len(result.made)} made")
    stages: dict[str, list[float]] = {}
    for entry in Store(folder / "film.limner").entries()[known:]:
        stages.setdefault(entry.stage, []).append(entry.seconds)
    for stage, seconds in stages.items():
        unit_name = f" (rate counted in {RATES[stage][2]})" if stage in RATES else ""
        print(f"  {stage:12} {len(seconds):3} x, {sum(seconds):7.2f} s{unit_name}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--illustrator", default="storybook")
    parser.add_argument("--quality", default="final", choices=("draft", "final"))
    parser.add_argument("--height", type=int, default=720)
    arguments = parser.parse_args()
    options = FilmOptions(
        illustrator=arguments.illustrator, quality=arguments.quality, height=arguments.height, how="paragraph"
    )
    unit = yardstick()
    print(f"matrix product: {unit * 1000:.1f} ms on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "story.txt").write_text(STORY, "utf-8")
        result = timed(folder, "first film", options, unit)
        print(f"  {result.seconds:.1f} s of film, {len(read_project(result.project).scene)} scenes")
        timed(folder, "nothing changed", options, unit)
        project = read_project(result.project)
        scenes = list(project.scene)
        scenes[3] = dataclasses.replace(scenes[3], narration=scenes[3].narration.replace("laughed", "smiled"))
        write_project(result.project, dataclasses.replace(project, scene=tuple(scenes)))
        timed(folder, "one narration changed", options, unit)


if __name__ == "__main__":
    main()
