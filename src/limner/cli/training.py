"""Verbs that train, and that look at data and at what was trained."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from limner.cli.common import Bar, changes_in, minutes_in
from limner.errors import BadInput

if TYPE_CHECKING:
    import tyro


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
        return Options(**given | {"budget": minutes_in(self.budget)})

    def resolved(self) -> dict[str, Any]:
        from limner.jobs.sources import open_source
        from limner.jobs.training import fitting_config, seeing
        from limner.systems import find

        source = open_source(self.data, find(self.system), self.seed, changes_in(self.prepare, "--prepare"))
        changes = changes_in(self.set)
        config = fitting_config(self.system, source, seeing(self.system, changes) if self.vgg else changes)
        return {"system": self.system, "config": dataclasses.asdict(config), "data": self.data, "out": str(self.out),
                "prepare": dataclasses.asdict(source.preparation) if hasattr(source, "preparation") else None,
                "options": dataclasses.asdict(self.options())}  # fmt: skip

    def run(self) -> int:
        from limner.jobs.training import train

        with Bar() as bar:
            newest = train(
                self.system, self.data, self.out, self.options(),
                changes=changes_in(self.set), prepare=changes_in(self.prepare, "--prepare"), start_from=self.start_from,
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

        more: dict[str, Any] = {"budget": minutes_in(self.budget), "threads": self.threads}
        if self.steps is not None:
            more["steps"] = self.steps
        with Bar() as bar:
            newest = resume(self.run_folder, listener=bar.listen, told=bar.tell, **more)
        print(newest)
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
        order = Order(**given | {"metrics": metrics, "prepare": changes_in(self.prepare, "--prepare")})
        if self.real is not None and self.data is not None:
            raise BadInput("A folder to measure by, or --data for a model: give one of them.")
        with Bar() as bar:
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

        with Bar() as bar:
            report = check(self.folder, self.system, bar.count)
        for line in report.lines():
            print(line)
        return 0 if report.usable else BadInput.exit_code
