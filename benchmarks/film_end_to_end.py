"""Seconds for a whole film, as a person meets them: `limner film` on a one-minute story of 8 scenes, 4 candidates each.

    python benchmarks/film_end_to_end.py [--illustrator storybook] [--quality final] [--page PAGE.md]

Runs the command, then once more with nothing to do, then after one changed narration; each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from yardstick import matrix_product

from limner.film.project import FILE, read_project
from limner.film.store import Store

PAGE = """# From a story to a film, measured

Made by `python benchmarks/film_end_to_end.py --page docs/results/film-end-to-end.md`: `limner film` on a story of
{scenes} scenes ({seconds:.0f} s of film), {candidates} candidates a scene, {height} lines, {quality}, drawn by
{illustrator}. CPU seconds are those of the whole process, from its start.

| | seconds | CPU seconds | matrix products | artefacts made |
|---|---|---|---|---|
{rows}

The first film's stages, in seconds: {stages}. After the change: {changed}.

The machine: {cores} cores; a product of two 1500 x 1500 matrices in float32 took it {unit:.0f} ms of one core. It was
shared with other work, and the seconds say as much.
"""
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


class Timed:
    """One `limner film`: what it took, and what it made."""

    def __init__(self, name: str, folder: Path, arguments: list[str]) -> None:
        store = Store(folder / "film.limner")
        known = len(store.entries())
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "limner.cli", "film", *arguments, "--yes"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.name, self.wall = name, time.perf_counter() - begun
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.made = [entry for entry in store.entries()[known:] if entry.result == "made"]

    def row(self, unit: float) -> str:
        return f"| {self.name} | {self.wall:.1f} | {self.cpu:.1f} | {self.cpu / unit:.0f} | {len(self.made)} |"

    def stages(self) -> str:
        seconds: dict[str, float] = {}
        for entry in self.made:
            seconds[entry.stage] = seconds.get(entry.stage, 0.0) + entry.seconds
        return ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--illustrator", default="storybook")
    parser.add_argument("--quality", default="final", choices=("draft", "final"))
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--page", type=Path, help="write the results page here")
    options = parser.parse_args()
    unit = matrix_product()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "story.txt").write_text(STORY, "utf-8")
        asked = [
            f"--{option}={getattr(options, option)}" for option in ("illustrator", "quality", "candidates", "height")
        ]
        runs = [Timed("first film", folder, ["story.txt", "-o", "film.mp4", "--how", "paragraph", *asked])]
        runs.append(Timed("nothing changed", folder, ["film.limner"]))
        path = folder / "film.limner" / FILE
        changed = [
            line.replace("laughed", "smiled") if line.startswith("narration") else line
            for line in path.read_text("utf-8").splitlines(keepends=True)
        ]
        path.write_text("".join(changed), "utf-8")
        runs.append(Timed("one narration changed", folder, ["film.limner"]))
        page = PAGE.format(
            rows="\n".join(run.row(unit) for run in runs), stages=runs[0].stages(), changed=runs[-1].stages(),
            scenes=len(read_project(folder / "film.limner").scene), seconds=runs[0].made[-1].units, unit=1000 * unit,
            cores=os.cpu_count(), **vars(options),
        )  # fmt: skip
    print(page)
    if options.page:
        options.page.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
