"""What `limner edit` does: pictures and words through what edits, into files that say what made them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from limner.data import decode
from limner.data.files import read_file
from limner.errors import BadInput, CannotDo
from limner.film.estimate import duration
from limner.hub import load
from limner.jobs.drawing import TRAINED
from limner.jobs.sources import Told
from limner.jobs.translating import SHOWN, before_and_after, named_pictures
from limner.jobs.turns import TURNS, Made, Project, take_turn
from limner.provenance import encode_picture
from limner.runs import write_bytes
from limner.system import Edits
from limner.systems import require
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.latent import LatentDiffusion
from limner.train import best_device

MOST_WORDS, MOST_LETTERS = 300, 3000  # of an instruction; text towers read 77 tokens
MOST_TOLD = 20  # words that aren't known
GLANCE, PATIENCE = 2.0, 20.0  # seconds of editing, after which the time left is shown, and is told if it is long

Progress = Callable[[int, int, str], None]
"""Hears how much is done, of how much, and in words how long the rest takes."""


@dataclass(frozen=True)
class Order:
    """What is asked of `limner edit`; None means that the method's own value is taken.

    method: of `METHODS`, or None for what the model itself can do
    before: the caption of the picture as it is, for methods that go from caption to caption
    count, seed: candidates for each picture, from the seeds `seed`, `seed + 1`, ...
    text_guidance, image_guidance, steps, strength, resolution: see `limner.system.Edits`
    encoder: what ranks several candidates; by default the storybook, for a model of the Sticker World
    project, start: a folder of turns, and the number of the turn to start from
    repaint: everything as the model paints it, in a project, too
    sheet, layers: what is written beside the pictures
    """

    method: str | None = None
    before: str | None = None
    count: int = 1
    seed: int = 0
    steps: int | None = None
    text_guidance: float | None = None
    image_guidance: float | None = None
    strength: float | None = None
    resolution: int | None = None
    encoder: str | None = None
    project: Path | None = None
    start: int | None = None
    repaint: bool = False
    sheet: bool = False
    layers: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 64:
            raise BadInput(f"-n {self.count}: from 1 to 64 candidates at a time.")
        if self.method is not None and self.method not in METHODS:
            raise BadInput(f"There is no method {self.method}. There are: {', '.join(METHODS)}.")
        if self.steps is not None and not 1 <= self.steps <= 10_000:
            raise BadInput(f"--steps {self.steps}: from 1 to 10000.")
        if self.strength is not None and not 0 <= self.strength <= 1:
            raise BadInput(f"--strength {self.strength}: from 0, which leaves the picture, to 1, which forgets it.")
        if self.resolution is not None and not 8 <= self.resolution <= 4096:
            raise BadInput(f"--resolution {self.resolution}: from 8 to 4096 pixels.")
        for name, scale in (("text", self.text_guidance), ("image", self.image_guidance)):
            if scale is not None and not 0 <= scale <= 100:
                raise BadInput(f"--{name}-guidance {scale}: from 0 to 100.")
        if self.project is None and (self.start is not None or self.repaint):
            raise BadInput("--from and --repaint are for a --project.")
        if self.layers and (self.method != "text2live" or self.project is not None):
            raise BadInput("--layers is for --method text2live, which paints layers, and not for a --project.")

    def settings(self) -> dict[str, Any]:
        """What is said of how to edit, as keywords of `Edits.edit`."""
        said = {
            "before": self.before,
            "steps": self.steps,
            "guidance": self.text_guidance,
            "image_guidance": self.image_guidance,
            "strength": self.strength,
            "resolution": self.resolution,
        }
        return {keyword: value for keyword, value in said.items() if value is not None}


def edit(
    model: str,
    paths: Sequence[Path],
    words: str,
    out: Path,
    order: Order,
    *,
    told: Told = lambda text: None,
    progress: Progress = lambda done, total, left: None,
) -> Iterator[str]:
    """Edit pictures (files, folders, archives), and yield a line for each file that was written, best first.

    told: hears of pictures that can't be read, which are passed over, and how long it will take
    progress: hears how far it has come: in the method's steps, or in pictures, where it has none
    """
    check_words(words, told)
    check_out(out)
    if missing := next((path for path in paths if not path.exists()), None):
        raise BadInput(
            f"There is no {missing}. Pictures come first, and then what to do, in quotes: "
            'limner edit photo.png "make it night".'
        )
    givens = named_pictures(paths, out)
    editor = Editor.open(model, order)
    ranked = ranking(model, editor, words, order)
    clock = Clock(len(givens), told, progress)
    stem = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60] or "edited"
    rows: list[list[np.ndarray]] = []
    problem: BadInput | None = BadInput("None of the pictures could be read, so that nothing was edited.")
    for given in givens:
        try:
            picture = decode.picture(given.read(), str(given.where))
            made = ranked(
                picture, take_turn(editor.system.edit, picture, words, paste=False, **editor.settings(order, clock))
            )
        except BadInput as error:
            problem = problem and error
            if len(givens) > 1:
                told(f"Left out: {given.where}: {error}")
            clock.finished()
            continue
        if problem:
            told_unknown(made[0].unknown, model, told)
        problem = None
        for one in made:
            recipe = {"picture": given.where.name, "words": words, "model": model, **editor.recipe(order)}
            file = partial(
                encode_picture, suffix=".png", source_type=TRAINED, recipe={**recipe, "seed": one.seed},
                description=words,
            )  # fmt: skip
            path = out / f"{given.name}-{stem}-{one.seed}.png"
            write_bytes(path, file(one.picture))
            yield _line(path, one)
            if order.layers and one.layer is not None:
                path = path.with_stem(f"{path.stem}-layer")
                write_bytes(path, file(one.layer))
                yield str(path)
        if order.sheet and len(rows) < SHOWN:
            rows.append([picture, *(one.picture for one in made)])
        clock.finished()
    if problem:
        raise problem
    if rows:
        path = out / "before-and-after.png"
        recipe = {"words": words, "model": model, **editor.recipe(order)}
        write_bytes(path, encode_picture(before_and_after(rows), ".png", source_type=TRAINED, recipe=recipe))
        yield str(path)


def edit_project(
    model: str,
    picture: Path | None,
    words: str,
    order: Order,
    *,
    told: Told = lambda text: None,
    progress: Progress = lambda done, total, left: None,
) -> Iterator[str]:
    """A turn of a project, which `picture` begins; yields a line for each candidate's file, best first.

    All candidates are turns of their own, and the best of them is the current one.
    """
    assert order.project is not None
    check_words(words, told)
    editor = Editor.open(model, order)
    project = _project(order.project, picture)
    start = project.current if order.start is None else project.turn(order.start).number
    before = project.picture(start)
    ranked = ranking(model, editor, words, order)
    clock = Clock(1, told, progress)
    latent = project.latent(start, model) if "latent" in editor.takes else None
    made = ranked(
        before,
        take_turn(editor.system.edit, before, words, latent, paste=not order.repaint, **editor.settings(order, clock)),
    )
    clock.finished()
    told_unknown(made[0].unknown, model, told)
    recipe = {"model": model, **editor.recipe(order)}
    turns = [project.add(start, words, recipe, one) for one in made]
    project.go_to(turns[0].number)
    for turn, one in zip(turns, made, strict=True):
        yield _line(project.picture_file(turn.number), one)


def undo(folder: Path) -> Iterator[str]:
    """Go back a turn; yields the picture's file and the tree."""
    project = Project.open(folder)
    yield str(project.picture_file(project.undo().number))
    yield from project.lines()


def show(folder: Path, start: int | None = None) -> Iterator[str]:
    """The tree of a project, after going to another turn if one is given."""
    project = Project.open(folder)
    if start is not None:
        project.go_to(start)
    yield from project.lines()


def check_words(words: str, told: Told) -> None:
    """BadInput unless there is something to do, in few words; tells of scripts that models seldom read."""
    if not words.strip():
        raise BadInput('There is nothing to change. Say what: limner edit photo.png "make it night".')
    count = len(words.split())
    if count > MOST_WORDS or len(words) > MOST_LETTERS:
        raise BadInput(
            f"{count:,} words are too many: a model reads one or two sentences (77 tokens) and nothing beyond. Shorten "
            "them, or give instructions one after the other with --project."
        )
    letters = [letter for letter in words if letter.isalpha()]
    if letters and not any(letter.isascii() for letter in letters):
        told("Nothing in this is in Latin letters. Models that were trained on English mostly don't follow it.")


def check_out(out: Path) -> None:
    """BadInput if there can't be a folder for results, before anything is made for it."""
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise BadInput(f"-o {out}: {there} is a file. Name a folder for the results.")


def told_unknown(unknown: Sequence[str], model: str, told: Told) -> None:
    if unknown:
        more = f" and {len(unknown) - MOST_TOLD} more" if len(unknown) > MOST_TOLD else ""
        told(f"Not known to {model}, or beyond what it reads: {', '.join(unknown[:MOST_TOLD])}{more}")


# ------------------------------------------------------------------------------------------------ what edits


def sdedit(model: str) -> Edits:
    """noise the picture and let the model draw the caption from there"""
    from limner.systems.diffusion.sdedit import SDEdit

    return SDEdit(_diffusion(model, "sdedit"))


def prompt_to_prompt(model: str) -> Edits:
    """invert the picture and swap, add or stress words of its caption"""
    from limner.systems.diffusion.prompt_to_prompt import PromptToPrompt

    return PromptToPrompt(_diffusion(model, "prompt-to-prompt"))


def text2live(model: str) -> Edits:
    """paint a layer over the picture until CLIP sees the caption; --model is a CLIP"""
    from limner.published.clip import open_clip
    from limner.systems.diffusion.text2live import Text2LIVE

    if not Path(model).exists():
        raise BadInput(f"text2live goes by a CLIP: give its folder or OpenAI's ViT-B-32.pt as --model, not {model}.")
    return Text2LIVE(open_clip(Path(model)).to(best_device()))


def own(model: str) -> Edits:
    """what the model itself can do: instructions, for instruct-pix2pix"""
    system: Any = load(model)
    if isinstance(system, LatentDiffusion):
        raise CannotDo(
            f"{model} draws pictures from words and sees none. Edit with it by --method sdedit or prompt-to-prompt, "
            "which go from caption to caption, or make an editor of it: limner train instruct-pix2pix --start-from "
            f"{model} --data EDITS -o RUN."
        )
    require(system, Edits, name=model)
    if isinstance(system, InstructPix2Pix):
        system.to(best_device())
    editor: Edits = system
    return editor


METHODS: dict[str, Callable[[str], Edits]] = {
    "instruct-pix2pix": own,
    "sdedit": sdedit,
    "prompt-to-prompt": prompt_to_prompt,
    "text2live": text2live,
}
"""The word after `--method` -> what edits with a model."""


def _diffusion(model: str, method: str) -> LatentDiffusion:
    system = load(model)
    if isinstance(system, InstructPix2Pix):
        raise CannotDo(
            f"{model} is an editor that follows instructions: leave --method out. --method {method} needs a "
            "text-to-image model."
        )
    if not isinstance(system, LatentDiffusion):
        raise CannotDo(
            f"--method {method} needs a text-to-image model of latent diffusion, and {model} is a "
            f"{type(system).__name__}. Give a Stable Diffusion folder or file, or a latent-diffusion run, as --model."
        )
    return system.to(best_device())


OPTIONS = {
    "before": "--before",
    "steps": "--steps",
    "guidance": "--text-guidance",
    "image_guidance": "--image-guidance",
    "strength": "--strength",
    "resolution": "--resolution",
}
"""Keywords of `Edits.edit` -> what they are called on the command line."""


@dataclass(frozen=True)
class Editor:
    """What edits, and the keywords that it takes."""

    system: Edits
    takes: frozenset[str]

    @classmethod
    def open(cls, model: str, order: Order) -> Editor:
        """BadInput or CannotDo where the model, the method and what is asked don't go together."""
        method = order.method or "instruct-pix2pix"
        system = METHODS[method](model)
        parameters = signature(system.edit).parameters
        if wrong := [OPTIONS[keyword] for keyword in order.settings() if keyword not in parameters]:
            able = ", ".join(option for keyword, option in OPTIONS.items() if keyword in parameters)
            who, wrongly = order.method or model, " and no ".join(wrong)
            raise CannotDo(f"{who} takes no {wrongly} to edit; it takes {able or 'none of these'}.")
        if method in ("prompt-to-prompt", "text2live") and not order.before:
            raise BadInput(
                f"{method} goes from caption to caption: write what the picture is to show as the words, and what it "
                'shows now behind --before, such as --before "a fox under a tree".'
            )
        return cls(system, frozenset(parameters))

    def settings(self, order: Order, clock: Clock) -> dict[str, Any]:
        """The keywords for a picture."""
        heard = {"progress": clock.heard} if "progress" in self.takes else {}
        return {**order.settings(), "count": order.count, "seed": order.seed, **heard}

    def recipe(self, order: Order) -> dict[str, Any]:
        return {**({"method": order.method} if order.method else {}), **order.settings()}


class Clock:
    """How far the editing of some pictures has come, and how long it will take."""

    def __init__(self, pictures: int, told: Told, progress: Progress) -> None:
        self.pictures, self.told, self.progress = pictures, told, progress
        self.finished_pictures, self.each = 0, 1  # `each`: what a picture takes, as far as is known
        self.began, self.estimated = time.monotonic(), False

    def heard(self, done: int, each: int) -> None:
        """So much of a picture is done, of so much."""
        self.each = max(each, 1)
        self._came_to(self.finished_pictures * self.each + done)

    def finished(self) -> None:
        """A picture is done, or passed over."""
        self.finished_pictures += 1
        self._came_to(self.finished_pictures * self.each)

    def _came_to(self, done: int) -> None:
        total, took = max(self.pictures * self.each, done), time.monotonic() - self.began
        left = took / max(done, 1) * (total - done)
        self.progress(done, total, f"{duration(left)} left" if done and took > GLANCE else "")
        if done and took > PATIENCE and not self.estimated:
            self.estimated = True
            if left > 60:
                self.told(f"About {duration(left)} for the rest. Ctrl-C stops at any time; what is written stays.")


def ranking(model: str, editor: Editor, words: str, order: Order) -> Callable[[np.ndarray, list[Made]], list[Made]]:
    """What puts candidates in order: `(picture, candidates) -> candidates`, best first.

    By how well the change of the picture goes the way of the words, from `--before` (or from no words, for an
    instruction) to the words themselves: `sim_direction` of `limner.metrics.edits`. Without an encoder, and for a
    single candidate, the order stays that of the seeds.
    """
    config = getattr(getattr(editor.system, "model", editor.system), "config", None)
    encoder = order.encoder or ("storybook" if getattr(config, "words", ()) else None)
    if encoder is None or order.count == 1:
        return lambda picture, made: made
    from limner.metrics.edits import EditSimilarity, open_encoder

    similarity = EditSimilarity(open_encoder(encoder))

    def ranked(picture: np.ndarray, made: list[Made]) -> list[Made]:
        count = len(made)
        after, captions = np.stack([one.picture for one in made]), ([order.before or ""] * count, [words] * count)
        scores = similarity.each(np.stack([picture] * count), after, *captions).sim_direction.tolist()
        scored = [replace(one, score=score) for one, score in zip(made, scores, strict=True)]
        return sorted(scored, key=lambda one: -(one.score or 0.0))

    return ranked


def _project(folder: Path, picture: Path | None) -> Project:
    """The project in a folder, or a new one of a picture."""
    if picture is None or (folder / TURNS).is_file():
        project = Project.open(folder)
        if picture is not None and not np.array_equal(_picture(picture), project.picture(0)):
            raise BadInput(f"{folder} is a project of another picture than {picture}. Choose another --project.")
        return project
    return Project.begin(folder, _picture(picture), picture.name)


def _picture(path: Path) -> np.ndarray:
    return decode.picture(read_file(path), str(path))


def _line(path: Path, made: Made) -> str:
    return f"{path}" if made.score is None else f"{path}  score {made.score:.3f}"
