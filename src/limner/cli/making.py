"""Verbs that make pictures and films."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from limner.cli.common import Bar
from limner.errors import BadInput

if TYPE_CHECKING:
    import tyro


@dataclass
class Draw:
    """Draw pictures from words, or a video between two prompts.

    Example: limner draw "a fox under a tree at night" -n 4 -o foxes
    """

    words: tyro.conf.Positional[str]
    """What to draw."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1
    """How many candidates; the best comes first."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("drawings")
    """Folder for the pictures."""
    seed: int = 0
    """The same seed draws the same pictures; candidate i is that of seed + i."""
    model: str = "storybook"
    """storybook, a run, a model or diffusers folder, a hub id on this machine, or a single-file checkpoint."""
    to: str | None = None
    """A second prompt: walk from the first picture to this one."""
    video: Path | None = None
    """With --to: the film of the walk, an MP4 file."""
    seconds: float = 4.0
    """With --to: how long the walk takes."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.drawing import draw, walk

        if (self.to is None) != (self.video is None):
            raise BadInput("--to and --video belong together: a second prompt, and the file for the walk to it.")
        if self.to is not None and self.video is not None:
            print(walk(self.words, self.to, self.video, model=self.model, seed=self.seed, seconds=self.seconds))
            return 0
        for line in draw(self.words, self.out, model=self.model, count=self.count, seed=self.seed):
            print(line)
        return 0


@dataclass
class Translate:
    """Translate pictures with a model that was trained for it.

    Example: limner translate runs/facades sketch.png more-sketches/ -o painted
    """

    model: tyro.conf.Positional[str]
    """A run, a model folder, or a model that ships with limner."""
    pictures: tyro.conf.Positional[list[Path]]
    """Files, folders, zips or tars of pictures; of label maps for a system that starts from them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the results."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1
    """Outputs for each picture, from the seeds seed, seed + 1, ..."""
    seed: int | None = None
    """Of what the system draws at random; 0 if it isn't given."""
    style: list[Path] = field(default_factory=list)
    """Pictures whose styles are taken: an output for each."""
    style_labels: Path | None = None
    """Their label maps, for a style of each region: a file, or a folder of them with the pictures' names."""
    walk: int = 0
    """Frames of a walk from style to style, or from the seed's style to the next seed's."""
    video: bool = False
    """With --walk: a film instead of a strip."""
    mask: Path | None = None
    """Where something is done: a picture, white there, or a folder of them with the pictures' names."""
    instances: Path | None = None
    """Instance maps: a file, or a folder of them with the pictures' names."""
    backwards: bool = False
    """From the second domain to the first."""
    sheet: bool = False
    """Draw a sheet with before and after, too."""
    batch: int = 1
    """Neighbouring pictures of one size that go through the model together."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.translating import Order, translate

        order = Order(**{option.name: getattr(self, option.name) for option in dataclasses.fields(Order)})
        with Bar() as bar:
            for path in translate(self.model, self.pictures, self.out, order, told=bar.tell, progress=bar.count):
                print(path)
        return 0


@dataclass
class Edit:
    """Edit pictures by an instruction in words; with --project, one instruction after the other.

    Example: limner edit photo.png "make it night" -n 4 -o edited
    """

    given: Annotated[tyro.conf.Positional[list[str]], tyro.conf.arg(metavar="PICTURE... WORDS")] = field(
        default_factory=list
    )
    """Files, folders, zips or tars of pictures, or films, and what to do, in quotes. In a project that is begun, only
    the words; without them its turns are shown."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("edited")
    """Folder for the results."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1
    """Candidates for each picture, from the seeds seed, seed + 1, ...; best first, if something ranks them."""
    seed: int = 0
    """The same seed makes the same edit."""
    model: str = "storybook-edit"
    """A run, a model or diffusers folder, a hub id on this machine, or a single-file checkpoint. storybook-edit ships,
    and knows the Sticker World's pictures only."""
    method: str | None = None
    """How: instruct-pix2pix (instructions; what the model itself can do), or sdedit, prompt-to-prompt, text2live, which
    go from caption to caption."""
    before: str | None = None
    """The caption of the picture as it is, for methods that need it."""
    text_guidance: float | None = None
    """How much the words count: more if too little changes."""
    image_guidance: float | None = None
    """How much the picture counts: more if too much changes."""
    steps: int | None = None
    """Of the sampler."""
    strength: float | None = None
    """Of sdedit: from 0, which leaves the picture, to 1, which forgets it."""
    resolution: int | None = None
    """Pixels of the longer side while a picture is edited; by default the model's."""
    encoder: str | None = None
    """What ranks several candidates: storybook, or a CLIP (a folder of transformers, or OpenAI's file)."""
    sheet: bool = False
    """Draw a sheet with before and after, too."""
    layers: bool = False
    """Of text2live: save the painted layers, too, as PNG files with opacity."""
    project: Path | None = None
    """A folder that keeps the turns of one picture, and what is asked next starts from the last."""
    start: Annotated[int | None, tyro.conf.arg(name="from")] = None
    """In a project: start from this turn instead."""
    undo: bool = False
    """In a project: go back a turn."""
    repaint: bool = False
    """In a project: take all pixels from the model; don't paste back what has hardly changed."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.editing import Order, edit, edit_project, show, undo
        from limner.jobs.film_edits import FILMS, edit_films

        order = Order(**{option.name: getattr(self, option.name) for option in dataclasses.fields(Order)})
        if self.project is not None and (self.undo or not self.given):
            if self.undo and (self.given or self.start is not None):
                raise BadInput("--undo stands alone with its --project; words go from there in a command of their own.")
            for line in undo(self.project) if self.undo else show(self.project, self.start):
                print(line)
            return 0
        *paths, words = map(str, self.given) if self.given else [""]
        if self.undo or (not paths and self.project is None) or os.path.exists(words):
            raise BadInput('limner edit takes pictures and what to do: limner edit photo.png "make it night".')
        if self.project is not None and len(paths) > 1:
            raise BadInput(f"A --project is of one picture, not of {len(paths)}.")
        films = [path for path in paths if path.lower().endswith(FILMS)]
        if films and (len(films) < len(paths) or self.project is not None):
            raise BadInput("Films are edited by themselves: without pictures beside them, and without a --project.")
        with Bar() as bar:
            if films:
                files = [Path(path) for path in films]
                lines = edit_films(self.model, files, words, self.out, order, told=bar.tell, progress=bar.count)
            elif self.project is not None:
                begun = Path(paths[0]) if paths else None
                lines = edit_project(self.model, begun, words, order, told=bar.tell, progress=bar.count)
            else:
                files = [Path(path) for path in paths]
                lines = edit(self.model, files, words, self.out, order, told=bar.tell, progress=bar.count)
            for line in lines:
                print(line)
        return 0


@dataclass
class FilmStatus:
    """Show what of a film is fresh, stale, missing or failed.

    Example: limner film status film.limner
    """

    project: tyro.conf.Positional[Path]
    """The project folder."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.film.pipeline import status

        for line in status(self.project):
            print(line)
        return 0


@dataclass
class FilmChoose:
    """Look at the candidates of a film's scenes and choose.

    Example: limner film choose film.limner --scene 3 --pick 2
    """

    project: tyro.conf.Positional[Path]
    """The project folder."""
    scene: str | None = None
    """The scene to choose for."""
    pick: int | None = None
    """The candidate, from 1."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.filming import choose_picture

        for line in choose_picture(self.project, self.scene, self.pick):
            print(line)
        return 0


@dataclass
class FilmClean:
    """Show which made pictures, voices and pieces a film doesn't use any more; with --yes, remove them.

    Example: limner film clean film.limner --yes
    """

    project: tyro.conf.Positional[Path]
    """The project folder."""
    yes: bool = False
    """Remove them: an edit that is undone afterwards has to be made again."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.filming import clean_project

        for line in clean_project(self.project, self.yes):
            print(line)
        return 0
