"""What `limner film` does on the command line."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from limner.errors import BadInput
from limner.film.prepare import FilmOptions


@dataclass(frozen=True)
class Film(FilmOptions):
    """Make a narrated, illustrated film from a story; the same command goes on where it was stopped.

    Example: limner film examples/fox-and-grapes.txt -o fox.mp4
    """

    story: tyro.conf.Positional[Path] = dataclasses.field(kw_only=True)
    """A text file, or a project folder to go on with."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = dataclasses.field(default=None, kw_only=True)
    """The film, an MP4 file; beside it come subtitles, a record and the project folder."""
    dry_run: bool = dataclasses.field(default=False, kw_only=True)
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.film.pipeline import make_film
        from limner.film.progress import Bars

        options = FilmOptions(**{f.name: getattr(self, f.name) for f in dataclasses.fields(FilmOptions)})
        if not sys.stdin.isatty():
            options = dataclasses.replace(options, yes=True)
        with Bars() as bars:
            result = make_film(self.story, self.out, options, bars, confirm=_ask)
        print(f"{result.film}  {result.seconds:.0f} s  (project {result.project}, storyboard {result.storyboard})")
        for note in result.notes:
            print(f"note: {note}")
        for failure in result.failures:
            print(f"failed: {failure.slot}: {failure.message}", file=sys.stderr)
        return result.exit_code


def _ask(estimate: Any) -> bool:
    return input("Begin? [Y/n] ").strip().lower() in ("", "y", "yes")


def choose_picture(project: Path, scene: str | None, pick: int | None) -> Iterator[str]:
    """Show the sheets, and take a choice given as options or typed in."""
    from limner.film.choose import choose, contact_sheet

    if (scene is None) != (pick is None):
        raise BadInput("--scene and --pick belong together: the scene, and the number of its picture on the sheet.")
    if scene is not None:
        choose(project, scene, pick)
        yield f"Scene {scene} shows picture {pick} now. Make the film again with: limner film {project}"
        return
    for sheet in contact_sheet(project):
        yield f"Look at {sheet}"
    while sys.stdin.isatty():
        answer = input("Scene and picture (for example 3 2), or nothing to stop: ").split()
        if not answer:
            return
        if len(answer) != 2 or not answer[1].isdigit():
            yield "Type two numbers: the scene, and the picture on its row."
            continue
        choose(project, answer[0], int(answer[1]))
        yield f"Scene {answer[0]} shows picture {answer[1]} now."
    yield f"Choose with: limner film choose {project} --scene N --pick K"


def clean_project(project: Path, yes: bool) -> Iterator[str]:
    """Say what the film doesn't use any more, and remove it if `yes`."""
    from limner.film.pipeline import clean, status, unused

    if waiting := sum(line.state != "fresh" for line in status(project)):
        yield f"{waiting} parts are not made as film.toml has them; what they would use counts as unused, too."
    found = unused(project)
    size = f"{sum(size for _, size in found) / 1e6:.1f} MB"
    if not found:
        yield "Nothing is unused."
    elif yes:
        yield f"{len(found)} unused artefacts removed: {clean(project) / 1e6:.1f} MB are free."
    else:
        yield f"{len(found)} artefacts are unused, {size}. Remove them with: limner film clean {project} --yes"
