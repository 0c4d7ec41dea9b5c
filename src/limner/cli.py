"""The command line: verbs, and nothing else in limner parses arguments.

Each verb is a dataclass whose fields are its options, parsed by tyro; what it imports, it imports when it runs, so
that `limner --help` answers at once.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from limner import __version__
from limner.errors import BadInput, Interrupted, LimnerError

if TYPE_CHECKING:
    import tyro
    from rich.progress import TaskID


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
class Train:
    """Train a system, or go on with the same command where it was stopped.

    Example: limner train vqgan --data stickers:collages --out runs/vqgan --steps 5000 --set width=64 --set patch=8
    """

    system: tyro.conf.Positional[str]
    """What to train: see limner systems."""
    data: str
    """A folder, zip or tar of your own; stickers:KIND; or codes:, lineups:, plans:, written:, repairs:, latents: and a
    model."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run directory."""
    set: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """Options of the system, as name=value; limner systems NAME lists them."""
    prepare: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """How the pictures of a folder are prepared, as name=value: resize, fit, crop, flip, backwards, factor."""
    start_from: Path | None = None
    """A run or model folder whose weights a new run begins with; for instruct-pix2pix, a text-to-image model."""
    vgg: Path | None = None
    """Published VGG weights for a new run, where the system looks through them: turns on the losses that do."""
    steps: int = 10_000
    """Training steps in all."""
    batch: int = 16
    """Samples a step, over all processes and micro-batches."""
    accumulate: int = 1
    """Micro-batches a step: less memory, the same numbers."""
    seed: int = 0
    """Every random draw is a function of it."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16 autocast, fp32, or bf16 where the machine multiplies it natively."""
    threads: int = 0
    """CPU threads; 0 for as many as there are cores, or what OMP_NUM_THREADS says."""
    save: float = 120.0
    """Seconds between checkpoints."""
    sample: int = 500
    """Steps between sheets of samples; 0 for none."""
    log: int = 20
    """Steps between log lines."""
    budget: str = "0"
    """Time after which training stops well, such as 10m, 90s or 2h; 0 for no limit."""
    shard: bool = False
    """Split a single player's weights over the processes of torchrun (FSDP2)."""
    dry_run: bool = False
    """Print the resolved configuration and stop."""

    def options(self) -> Any:
        from limner.train import Options

        names = {option.name for option in dataclasses.fields(Options)}
        given = {name: value for name, value in vars(self).items() if name in names}
        return Options(**given | {"budget": _minutes(self.budget)})

    def resolved(self) -> dict[str, Any]:
        from limner.jobs.sources import open_source
        from limner.jobs.training import fitting_config, seeing
        from limner.systems import find

        source = open_source(self.data, find(self.system), self.seed, _changes(self.prepare, "--prepare"))
        changes = _changes(self.set)
        config = fitting_config(self.system, source, seeing(self.system, changes) if self.vgg else changes)
        return {"system": self.system, "config": dataclasses.asdict(config), "data": self.data, "out": str(self.out),
                "prepare": dataclasses.asdict(source.preparation) if hasattr(source, "preparation") else None,
                "options": dataclasses.asdict(self.options())}  # fmt: skip

    def run(self) -> int:
        from limner.jobs.training import train

        with _Bar() as bar:
            newest = train(
                self.system, self.data, self.out, self.options(),
                changes=_changes(self.set), prepare=_changes(self.prepare, "--prepare"), start_from=self.start_from,
                vgg_file=self.vgg, listener=bar.listen, told=bar.tell,
            )  # fmt: skip
        print(newest)
        return 0


@dataclass
class Resume:
    """Go on with a training run.

    Example: limner resume runs/vqgan --steps 20000
    """

    run_folder: tyro.conf.Positional[Path]
    """The run directory."""
    steps: int | None = None
    """Train to this step instead."""
    budget: str = "0"
    """Time after which training stops well, such as 10m, 90s or 2h; 0 for no limit."""
    threads: int = 0
    """CPU threads; 0 for as many as there are cores, or what OMP_NUM_THREADS says."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.training import resume

        more: dict[str, Any] = {"budget": _minutes(self.budget), "threads": self.threads}
        if self.steps is not None:
            more["steps"] = self.steps
        with _Bar() as bar:
            newest = resume(self.run_folder, listener=bar.listen, told=bar.tell, **more)
        print(newest)
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
        with _Bar() as bar:
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
    """A run, a model or diffusers folder, a hub id on this machine, or a single-file checkpoint."""
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
        with _Bar() as bar:
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
class Eval:
    """Measure what a model makes of held-out pictures, or the pictures of one folder by those of another.

    Example: limner eval runs/facades --data facades --metrics psnr,lpips,fid
    """

    made: tyro.conf.Positional[str]
    """A run or model; with REAL, a folder, zip or tar of pictures."""
    real: tyro.conf.Positional[Path | None] = None
    """The pictures to measure by. Those that belong together have the same names."""
    data: str | None = None
    """What a model is measured on, as for training; of a run, by default what it was trained on."""
    metrics: str = ""
    """With commas: psnr, ssim, ms-ssim, lpips, fid, kid, prdc, inception-score, segmentation, diversity."""
    count: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """The first so many pictures only."""
    features: list[Path] = field(default_factory=list)
    """Published networks to look through: the FID's Inception, torchvision's AlexNet or VGG-16, LPIPS."""
    resize: Literal["tensorflow", "pytorch", "clean"] = "tensorflow"
    """How pictures get to the Inception: as TensorFlow's graph, pytorch-fid or clean-fid does it."""
    ssim: Literal["wang", "deformable-gan", "pg2", "dpig"] = "wang"
    """SSIM's protocol."""
    splits: int = 10
    """Of the Inception score."""
    bootstrap: int = 20
    """Rounds of the bootstrap for the error of the Fréchet distance; 0 for none."""
    segmenter: str | None = None
    """A model that says what pictures show, for segmentation."""
    classes: int | None = None
    """How many there are, to compare two folders of label maps by segmentation."""
    seed: int = 0
    """Of what the system draws at random."""
    backwards: bool = False
    """From the second domain to the first."""
    prepare: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """How the pictures of a folder are prepared for a model, as for training."""
    json: bool = False
    """Print JSON instead of a table."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.evaluating import Order, evaluate_folders, evaluate_model

        given = {option.name: getattr(self, option.name) for option in dataclasses.fields(Order)}
        metrics = tuple(name for name in map(str.strip, self.metrics.split(",")) if name)
        order = Order(**given | {"metrics": metrics, "prepare": _changes(self.prepare, "--prepare")})
        if self.real is not None and self.data is not None:
            raise BadInput("A folder to measure by, or --data for a model: give one of them.")
        with _Bar() as bar:
            if self.real is not None:
                report = evaluate_folders(Path(self.made), self.real, order, told=bar.tell, progress=bar.count)
            else:
                report = evaluate_model(self.made, self.data, order, told=bar.tell, progress=bar.count)
        if self.json:
            print(json.dumps(report.plain(), indent=2))
        else:
            report.show()
        return 0


@dataclass
class Check:
    """Look at a data set: what is there, what is broken, and what would be trained on.

    Example: limner data check facades --for pix2pix
    """

    folder: tyro.conf.Positional[Path]
    """A folder, zip or tar."""
    system: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """What the system of this name would make of it."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.checking import check

        with _Bar() as bar:
            report = check(self.folder, self.system, bar.count)
        for line in report.lines():
            print(line)
        return 0 if report.usable else BadInput.exit_code


@dataclass
class Convert:
    """Turn weights that authors have published into a model folder. The files are read without running them.

    Example: limner convert latest_net_G.pth --as pix2pix -o facades
    """

    files: tyro.conf.Positional[list[str]]
    """The release's file, or NAME=FILE for each where it has several: G=latest_net_G.pth E=latest_net_E.pth."""
    system: Annotated[str, tyro.conf.arg(name="as")]
    """What system it is: see limner published."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The model folder."""
    set: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """Options that the weights don't tell, as name=value; limner systems NAME lists them."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.converting import convert

        for line in convert(self.files, self.system, self.out, _changes(self.set)):
            print(line)
        return 0


@dataclass
class Published:
    """List the weights that authors have released: where, licence, files, size.

    Example: limner published cyclegan
    """

    system: tyro.conf.Positional[str | None] = None
    """Those of one system."""
    markdown: bool = False
    """Print the list as a Markdown table."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.published.releases import markdown, releases

        for line in markdown() if self.markdown else (line for each in releases(self.system) for line in each.lines()):
            print(line)
        return 0


@dataclass
class Systems:
    """List the systems, or one system's options.

    Example: limner systems vqgan
    """

    name: tyro.conf.Positional[str | None] = None
    """One system, to see its options."""
    markdown: bool = False
    """Print the list as a Markdown table, with what each system can do."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.systems import TABLE, find

        if self.name is None:
            about = {name: (sys.modules[find(name).__module__].__doc__ or "").strip().splitlines()[0] for name in TABLE}
            plain = (f"{name:20} {text}" for name, text in about.items())
            for line in _markdown_table(about) if self.markdown else plain:
                print(line)
            return 0
        if self.markdown:
            raise BadInput("--markdown is for the whole list: give it without a system's name.")
        from limner.jobs.sources import kinds_of

        system = find(self.name)
        if kinds := kinds_of(system.play, "batch"):
            print(f"trains on {' or '.join(kind.__name__ for kind in kinds)} data")
        for option in dataclasses.fields(system.Config):
            default = "" if option.default is dataclasses.MISSING else f" = {option.default!r}"
            print(f"{option.name}: {option.type}{default}")
        return 0


@dataclass
class Doctor:
    """Tell what is installed, what is missing and for what, the device, threads and disk.

    Example: limner doctor
    """

    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.doctor import examine

        for line in examine():
            print(line)
        return 0


@dataclass
class Fetch:
    """Get the Sticker World's art: npm packages, hash and licence checked.

    Example: limner stickers fetch
    """

    source: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A folder with the packages (.tgz or unpacked) instead of npm."""
    force: bool = False
    """Get it anew although it is there."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.stickers.art import fetch

        print(fetch(source=self.source, force=self.force))
        return 0


@dataclass
class Show:
    """Draw a contact sheet of every kind of Sticker World data.

    Example: limner stickers show -o sheets
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("sheets")
    """Folder for the sheets."""
    seed: int = 0
    """Other seeds show other scenes."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.stickers.sheet import show

        for path in show(self.out, seed=self.seed):
            print(path)
        return 0


@dataclass
class Make:
    """Make a folder of Sticker World data.

    Example: limner stickers make edits --count 1000 --size 256x144 -o edits
    """

    kind: tyro.conf.Positional[Literal["captioned", "edits", "paired", "unpaired", "labelled"]]
    """What kind of data."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder."""
    count: int = 100
    """How many samples."""
    size: str = "256x144"
    """Width x height in pixels."""
    seed: int = 0
    """Sample i is a function of the seed and i."""
    split: Literal["train", "held-out"] = "train"
    """Held-out scenes have combinations of nouns, place and time that training never shows."""
    pairing: Literal["lines", "labels", "night"] = "lines"
    """Of paired data: line drawing to colour, label map to scene, or day to night."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.stickers.folders import make

        make(
            self.kind, self.count, _size(self.size), self.out, seed=self.seed, split=self.split, pairing=self.pairing
        )  # fmt: skip
        print(self.out)
        return 0


@dataclass
class Book:
    """Fit a book of patches to storybook scenes: a codec for models that write pictures in codes.

    Example: limner stickers book --codes 8192 -o book
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The model folder."""
    codes: int = 8192
    """Entries of the book."""
    layers: bool = False
    """Of places and of things alone, which are laid one over the other, instead of whole scenes."""
    scenes: int = 5000
    """How many scenes it is fitted to."""
    rounds: int = 8
    """Rounds of Lloyd's algorithm."""
    seed: int = 0
    """Scene i is a function of the seed and i."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.stickers import make_book

        print(
            make_book(
                self.out, codes=self.codes, layers=self.layers, scenes=self.scenes, rounds=self.rounds, seed=self.seed
            )
        )
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


@dataclass
class EditsWrite:
    """Write triplets (caption, instruction, edited caption) from captions; the same command goes on.

    Example: limner edits write --captions storybook --count 1000 -o triplets.jsonl
    """

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file of JSON lines; what is rejected stands beside it, in OUT.rejected.jsonl."""
    captions: str = "storybook"
    """A text file, one a line, or JSON lines with a caption and perhaps a url each; or storybook or stickers, the
    captions of the Sticker World's grammar (storybook:held-out: of scenes that training never shows)."""
    writer: str = "grammar"
    """grammar; the address of an OpenAI-compatible server; or a folder of a language model (limner edits teach)."""
    writer_model: str = ""
    """On a server: the name of its model. Its key is read from LIMNER_WRITER_KEY or OPENAI_API_KEY."""
    count: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """Stop when there are so many; from the grammar, how many to write, 1000 if it isn't given."""
    seed: int = 0
    """Of the grammar's scenes, and of a language model's sampling."""
    part: str = "0/1"
    """Which part of the captions: 0/8 to 7/8 for eight processes, each with an --out of its own."""
    together: int = 8
    """Captions that the writer gets at once."""
    examples: Path | None = None
    """Triplets that a chat is shown instead of limner's own."""
    forbid: Path | None = None
    """A file of words and phrases, one a line; captions and triplets with one of them are left out."""
    moderate: bool = False
    """Let the server's moderation look at captions and triplets."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.edits import WriteOrder, write_triplets

        order = WriteOrder(**{option.name: getattr(self, option.name) for option in dataclasses.fields(WriteOrder)})
        with _Bar() as bar:
            tally = write_triplets(self.out, order, bar.tell, bar.count)
        print(f"{self.out}: {tally.done:,} triplets, {tally.rejected:,} captions rejected")
        return 0


@dataclass
class EditsTeach:
    """Teach a language model to write triplets: a small one from nothing, or one you have, with LoRA.

    Example: limner edits teach triplets.jsonl -o writer --epochs 3
    """

    triplets: tyro.conf.Positional[Path]
    """JSON lines with caption (or input), edit and output; or prompt and completion."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The model's folder; the training is in OUT.run, and the same command goes on with it."""
    base: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """A folder of a causal language model (transformers, safetensors) to fine-tune; needs the edits extra."""
    epochs: int = 1
    """How often each triplet is seen."""
    batch: int = 16
    """Triplets a step."""
    rate: float | None = None
    """Learning rate: by default 2e-4 with LoRA, 1e-3 from nothing."""
    width: int = 128
    """Of a model from nothing; a multiple of 32."""
    depth: int = 4
    """Layers of a model from nothing."""
    rank: int = 16
    """Of LoRA's matrices."""
    seed: int = 0
    """Of first weights and order."""
    threads: int = 0
    """CPU threads; 0 for as many as there are cores, or what OMP_NUM_THREADS says."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.edits.language import teach
        from limner.edits.triplets import read_triplets

        with _Bar() as bar:
            made = teach(
                read_triplets(self.triplets, bar.tell), self.out, base=self.base, epochs=self.epochs, batch=self.batch,
                rate=self.rate, width=self.width, depth=self.depth, rank=self.rank, seed=self.seed,
                threads=self.threads, listener=bar.listen,
            )  # fmt: skip
        print(made)
        return 0


@dataclass
class EditsPair:
    """Draw and score pairs of pictures for triplets, and keep the best; the same command goes on.

    Example: limner edits pair triplets.jsonl -o pairs --filter storybook --samples 16 --workers 2
    """

    triplets: tyro.conf.Positional[Path]
    """JSON lines, as limner edits write makes them."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder, in the published layout."""
    model: str = "storybook"
    """What draws: storybook, or a latent diffusion model (a run, model or diffusers folder, or single file)."""
    encoder: str = "storybook"
    """What scores: storybook, or a CLIP (a folder of transformers, or OpenAI's file)."""
    samples: int = 100
    """Pairs that are drawn and scored for each triplet."""
    filter: Literal["code", "thesis", "random", "none", "storybook"] = "code"
    """Which thresholds choose among them: see limner edits filter."""
    image: float | None = None
    """Least similarity of the two pictures, instead of the filter's."""
    text: float | None = None
    """Least similarity of each picture and its caption."""
    direction: float | None = None
    """Least similarity of the change of the pictures and that of the captions."""
    keep: int | None = None
    """Most pairs that are kept of a triplet."""
    steps: int = 100
    """Of a diffusion model's sampler."""
    size: str | None = None
    """Width x height in pixels of a diffusion model's pictures; by default what it was trained at."""
    together: int = 4
    """Pairs that are drawn in one batch: a diffusion model gets four rows for each."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the drawing."""
    count: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """The first so many triplets only."""
    seed: int = 0
    """All samples of a triplet are functions of it and the triplet's number."""
    part: str = "0/1"
    """Which part of the triplets: 0/8 to 7/8 for eight machines that write to the same folder."""
    workers: int = 1
    """Processes; they take the accelerators in turn."""
    threads: int = 1
    """CPU threads of each."""
    ray: str | None = None
    """Spread the work with Ray instead: local, auto, or a cluster's address. Needs the scale extra."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.edits.pair import Recipe
        from limner.jobs.edits import Thresholds, draw_pairs

        size = _size(self.size)[::-1] if self.size else None
        recipe = Recipe(
            self.seed, self.samples, self.model, self.encoder, self.steps, size, self.together, self.precision
        )
        chosen_by = Thresholds(self.filter, self.image, self.text, self.direction, self.keep).filter()
        with _Bar() as bar:
            said = draw_pairs(
                self.triplets, self.out, recipe, chosen_by, count=self.count, this_part=self.part,
                workers=self.workers, threads=self.threads, ray=self.ray, told=bar.tell, counted=bar.count,
            )  # fmt: skip
            for line in said:
                print(line)
        return 0


@dataclass
class EditsFilter:
    """Choose anew among all pairs that were scored, by other thresholds.

    Example: limner edits filter pairs --filter thesis --keep 2
    """

    folder: tyro.conf.Positional[Path]
    """What limner edits pair made."""
    filter: Literal["code", "thesis", "random", "none", "storybook"] = "code"
    """code: image 0.7, text 0.2, direction 0.2, the best 4. thesis: image 0.75. random: thresholds of 0. none: all
    pass. storybook: for the storybook's encoder."""
    image: float | None = None
    """Least similarity of the two pictures, instead of the filter's."""
    text: float | None = None
    """Least similarity of each picture and its caption."""
    direction: float | None = None
    """Least similarity of the change of the pictures and that of the captions."""
    keep: int | None = None
    """Most pairs that are kept of a triplet."""
    prune: bool = False
    """Remove the pictures that aren't chosen."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.edits import Thresholds, choose

        chosen_by = Thresholds(self.filter, self.image, self.text, self.direction, self.keep).filter()
        for line in choose(self.folder, chosen_by, prune=self.prune):
            print(line)
        return 0


@dataclass
class EditsShard:
    """Pack chosen pairs for training: tar shards, or the latents of an autoencoder.

    Example: limner edits shard pairs -o shards
    """

    folder: tyro.conf.Positional[Path]
    """Pairs in the published layout."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder for the shards."""
    pairs: int = 1000
    """In a shard."""
    latents: str | None = None
    """A latent diffusion model: write what its autoencoder makes of the pairs and of their mirror images."""
    size: str = "256x256"
    """With --latents: width x height that pictures are resized to first."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.edits import shard

        with _Bar() as bar:
            print(
                shard(
                    self.folder, self.out, size=self.pairs, latents=self.latents, resolution=_size(self.size)[::-1],
                    told=bar.tell, counted=bar.count,
                )
            )  # fmt: skip
        return 0


@dataclass
class EditsCost:
    """Tell what a data set would cost: evaluations, operations, hours, disk. Nothing is made.

    Example: limner edits cost --captions 10000 --samples 16 --steps 25
    """

    captions: int = 450_000
    """Or triplets."""
    samples: int = 100
    """Pairs drawn of each."""
    steps: list[int] = field(default_factory=lambda: [100, 25])
    """Of the sampler; a column for each."""
    teraflops: float = 125.0
    """What one accelerator sustains, in 10^12 operations a second."""
    accelerators: int = 64
    """How many there are."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.edits.cost import cost

        for line in cost(self.captions, self.samples, self.steps, self.teraflops, self.accelerators):
            print(line)
        return 0


@dataclass
class EditsSweep:
    """Plot how much edits obey against how much they keep, over each method's strength; the same command goes on.

    Example: limner edits sweep --data edits --curve ours=runs/editor --curve sdedit=sd-v1-5@sdedit -o sweep
    """

    data: str
    """Edits with captions: a folder, zip or tar of your own, or stickers:edits. What is held out is measured on."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for edits.jsonl, points.jsonl and plot.png."""
    curve: tyro.conf.UseAppendAction[list[str]] = field(default_factory=list)
    """NAME=MODEL or NAME=MODEL@METHOD: sdedit, sdedit-instruction, prompt-to-prompt, prompt-to-prompt-instruction, or
    as-it-is, for an editor without a strength; instruct-pix2pix, if none is given. Once for each curve."""
    encoder: str = "storybook"
    """What measures: storybook, a folder of CLIP, or OpenAI's ViT-L-14.pt."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 200
    """Edits for each point."""
    points: int = 7
    """Points of each curve."""
    steps: int = 25
    """Of the sampler; published: 100."""
    text_guidance: float = 7.5
    """How much the words count, with all methods."""
    seed: int = 0
    """Of the data's order; edit k is made from the noise of seed + k, at every point."""
    published_script: bool = False
    """Give pictures to the encoder in [-1, 1], as the published sweep does; the numbers are other numbers."""
    dry_run: bool = False
    """Print the resolved options and stop."""

    def run(self) -> int:
        from limner.jobs.sweeping import Curve, Order, sweep

        order = Order(
            self.data, [Curve.read(text) for text in self.curve], self.encoder, self.count, self.points, self.steps,
            self.text_guidance, self.seed, self.published_script,
        )  # fmt: skip
        with _Bar() as bar:
            points = sweep(order, self.out, told=bar.tell, progress=bar.count)
        for name, each in points.items():
            for point in each:
                swept = f"{point['option']} {point['value']:g}" if point["option"] else point["method"]
                print(f"{name}, {swept}: direction {point['sim_direction']:.4f}, image {point['sim_image']:.4f}")
        print(self.out / "plot.png")
        return 0


GROUPS: dict[str, dict[str, type]] = {
    "data": {"check": Check},
    "stickers": {"fetch": Fetch, "show": Show, "make": Make, "book": Book},
    "edits": {
        "write": EditsWrite,
        "teach": EditsTeach,
        "pair": EditsPair,
        "filter": EditsFilter,
        "shard": EditsShard,
        "cost": EditsCost,
        "sweep": EditsSweep,
    },
}
VERBS: dict[str, tuple[type | None, str]] = {
    "draw": (Draw, "draw pictures from words"),
    "film": (None, "make a narrated film from a story; film status, film choose, film clean"),
    "train": (Train, "train a system"),
    "resume": (Resume, "go on with a training run"),
    "translate": (Translate, "translate pictures with a trained model"),
    "edit": (Edit, "edit pictures by words, one instruction after the other"),
    "eval": (Eval, "measure what a model makes, or a folder of pictures by another"),
    "convert": (Convert, "turn weights that authors have published into a model folder"),
    "published": (Published, "list the weights that authors have released"),
    "data": (None, "data of your own: check"),
    "stickers": (None, "the Sticker World: fetch, show, make, book"),
    "edits": (None, "data for editing by words: write, teach, pair, filter, shard, cost, sweep"),
    "systems": (Systems, "list the systems and their options"),
    "doctor": (Doctor, "what is installed, what is missing, device, disk"),
}


def _changes(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """name=value pairs as a config's values: JSON where it is JSON, text otherwise."""
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"{option} {pair}: write it as name=value, for example {option} width=64.")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def _minutes(text: str) -> float:
    """A time such as 10m, 90s, 2h, or a plain number of minutes."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in tuple("smh") else (text, "m")
    try:
        minutes = float(number) * {"s": 1 / 60, "m": 1, "h": 60}[unit]
    except ValueError:
        minutes = -1.0
    if not 0 <= minutes < float("inf"):
        raise BadInput(f"--budget {text}: write it as 10m, 90s or 2h.")
    return minutes


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()) or not 16 <= int(width) <= 8192 or not 16 <= int(height) <= 8192:
        raise BadInput(f"--size {text}: write width x height in pixels, each from 16 to 8192, for example 256x144.")
    return int(width), int(height)


def _markdown_table(about: dict[str, str]) -> Iterator[str]:
    from limner.system import ABILITIES
    from limner.systems import having

    able = {verb: having(ability) for ability, verb in ABILITIES.items()}
    yield "| system | what it is | abilities |"
    yield "|---|---|---|"
    for name, text in about.items():
        yield f"| `{name}` | {text} | {', '.join(verb for verb, names in able.items() if name in names)} |"


class _Bar:
    """A progress bar."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.bars = Progress(
            BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
            console=Console(stderr=True), redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self.task: TaskID | None = None
        return self

    def __exit__(self, *_: object) -> None:
        if self.task is not None:
            self.bars.stop()

    def listen(self, progress: Any) -> None:
        """Training has come this far."""
        from limner.jobs.training import describe, estimate

        if self.task is None and (line := estimate(progress)):
            self.tell(line)
        self.count(progress.step, progress.steps, describe(progress))

    def count(self, done: int, total: int, told: str = "") -> None:
        if self.task is None:
            self.bars.start()
            self.task = self.bars.add_task("", total=total, told=told)
        self.bars.update(self.task, completed=done, total=total, told=told)

    def tell(self, text: str) -> None:
        """A line that stays, above the bar."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _help() -> str:
    lines = [f"limner {__version__}: words, pictures and stories become pictures and films."]
    lines += ["", "usage: limner VERB ...", ""]
    lines += [f"  {verb:10} {about}" for verb, (_, about) in VERBS.items()]
    lines += ["", 'limner VERB --help shows its options. Start with: limner draw "a fox under a tree at night" -n 4']
    return "\n".join(lines)


def _parse(kind: type, prog: str, args: Sequence[str]) -> Any:
    global tyro  # the verbs' annotations name it; it is loaded only when a verb is parsed
    import tyro

    return tyro.cli(kind, prog=prog, args=list(args), description=kind.__doc__, config=(tyro.conf.FlagCreatePairsOff,))


def _film_kind(args: Sequence[str]) -> tuple[type, str, Sequence[str]]:
    """`film status`, `film choose`, `film clean`, or `film STORY`."""
    about = {"status": FilmStatus, "choose": FilmChoose, "clean": FilmClean}
    if args and args[0] in about:
        return about[args[0]], f"limner film {args[0]}", args[1:]
    from limner.jobs.filming import Film

    return Film, "limner film", args


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code. `LimnerError` is raised to the caller."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"limner {__version__}")
        return 0
    verb, rest = args[0], args[1:]
    if verb not in VERBS:
        import difflib

        close = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(VERBS)}."
        raise BadInput(f"There is no verb {verb!r}. {hint}")
    kind, prog = VERBS[verb][0], f"limner {verb}"
    if verb == "film":
        kind, prog, rest = _film_kind(rest)
    elif verb in GROUPS:
        group = GROUPS[verb]
        if not rest or rest[0] not in group:
            wanted = rest[0] if rest and not rest[0].startswith("-") else None
            about = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in group.items()}
            text = "\n".join(f"  limner {verb} {name:6} {line}" for name, line in about.items())
            if wanted:
                raise BadInput(f"limner {verb} has no {wanted!r}. There is:\n{text}")
            print(text)
            return 0
        kind, prog, rest = group[rest[0]], f"{prog} {rest[0]}", rest[1:]
    assert kind is not None
    command = _parse(kind, prog, rest)
    if command.dry_run:
        resolved = command.resolved() if hasattr(command, "resolved") else vars(command)
        print(json.dumps(resolved, indent=2, default=str))
        return 0
    code: int = command.run()
    return code


def main() -> None:
    """The `limner` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold what the terminal's encoding doesn't
    try:
        code = run(sys.argv[1:])
    except LimnerError as error:
        print(f"limner: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("limner: stopped.", file=sys.stderr)
        code = Interrupted.exit_code
    except BrokenPipeError:
        code = 0
    sys.exit(code)


if __name__ == "__main__":
    main()
