"""What `limner eval` does: measures what a model makes of held-out pictures, or one folder of pictures by another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from inspect import Parameter, signature
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from limner.data import decode
from limner.data.files import Files, open_files
from limner.data.folder import Folder
from limner.data.kinds import Labelled, Masked, Paired, Unpaired
from limner.errors import BadInput, CannotDo
from limner.hub import load
from limner.jobs.sources import Told, open_source
from limner.metrics import Metric, Result
from limner.metrics.features import Networks, Resize, open_networks
from limner.metrics.frechet import FrechetDistance
from limner.metrics.inception_score import InceptionScore
from limner.metrics.kernel import KernelDistance
from limner.metrics.neighbours import Neighbours
from limner.metrics.perceptual import PerceptualDistance
from limner.metrics.segmentation import SegmentationScores
from limner.metrics.similarity import PSNR, SSIM, MultiScaleSSIM
from limner.runs import Run
from limner.system import Styled, System, Translates, to_uint8
from limner.systems import require
from limner.systems.segmenter import Segmenter
from limner.train import Source

OF_PAIRS = ("psnr", "ssim", "ms-ssim", "lpips")
OF_SETS = ("fid", "kid", "prdc", "inception-score")
METRICS = (*OF_PAIRS, *OF_SETS, "segmentation", "diversity")
WITH_ANSWERS, WITHOUT = ("psnr", "ssim", "lpips", "fid", "kid"), ("fid", "kid", "prdc")
"""What is measured where nothing is asked for."""

ANSWERED = (Paired, Labelled, Masked)
"""Kinds of data that have a right answer for every picture."""

BATCH = 16
ENDLESS = 200  # pictures of data that limner makes as they are needed


@dataclass(frozen=True)
class Order:
    """What is asked of `limner eval`.

    metrics: names from `METRICS`; empty for what fits
    count: the first so many pictures only
    features: files of the networks that metrics look through, see `open_networks`
    resize: how pictures get to the Inception
    ssim: one of SSIM's protocols
    splits: of the Inception score
    bootstrap: rounds of the Fréchet distance's error, 0 for none
    segmenter: a model that says what pictures show, for segmentation
    classes: how many there are in label maps, where no segmenter says it
    seed: of what a system draws at random
    backwards: from the second domain to the first
    prepare: changes to how the pictures of a folder are prepared for a model
    """

    metrics: Sequence[str] = ()
    count: int | None = None
    features: Sequence[Path] = ()
    resize: Resize = "tensorflow"
    ssim: str = "wang"
    splits: int = 10
    bootstrap: int = 20
    segmenter: str | None = None
    classes: int | None = None
    seed: int = 0
    backwards: bool = False
    prepare: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise BadInput(f"There is no metric {unknown[0]!r}. There are: {', '.join(METRICS)}.")
        if self.count is not None and self.count < 1:
            raise BadInput(f"-n {self.count}: measure one picture or more.")

    def asks(self, *names: str) -> list[str]:
        """Which of these metrics are asked for."""
        return [name for name in names if name in self.metrics]


@dataclass(frozen=True)
class Report:
    """results: the numbers, by name; notes: what is to be known about them"""

    results: Mapping[str, Result]
    notes: Sequence[str]

    def plain(self) -> dict[str, Any]:
        """For JSON, which has no infinity: such a value is null."""
        numbers = {name: asdict(result) for name, result in self.results.items()}
        for number in numbers.values():
            number["value"] = number["value"] if np.isfinite(number["value"]) else None
        return {"results": numbers, "notes": list(self.notes)}

    def show(self) -> None:
        """Print a table."""
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for heading in ("", "value", "+-", "n", "protocol"):
            words = heading in ("", "protocol")
            table.add_column(heading, justify="left" if words else "right", no_wrap=heading != "protocol")
        for name, result in self.results.items():
            error = "" if result.error is None else f"{result.error:.2g}"
            table.add_row(name, f"{result.value:.4g}", error, str(result.n), result.protocol)
        console = Console(highlight=False)
        console.print(table)
        for note in self.notes:
            console.print(f"note: {note}", markup=False)


@dataclass(frozen=True)
class Item:
    """What is measured together. Pictures are uint8 (H, W, 3), maps class numbers (H, W).

    number: the made picture's place, from 0
    made, real: a picture that was made, and what it should be; one alone counts for its set only
    again: made of the same, with other random draws
    labels: what the made picture should show
    seen: what it is said to show, where no segmenter looks
    """

    number: int
    made: np.ndarray | None = None
    real: np.ndarray | None = None
    again: np.ndarray | None = None
    labels: np.ndarray | None = None
    seen: np.ndarray | None = None


def evaluate_model(
    model: str,
    data: str | None,
    order: Order,
    *,
    told: Told = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Translate held-out pictures, one at a time, and measure what comes out.

    data: as for training; for a run, by default what it was trained on
    told: hears what is measured, and of pictures that can't be
    progress: hears how many pictures are done, and how many there are
    """
    system: Any = load(model)
    require(system, Translates, name=model)
    source = _held_out(model, type(system), data, order, told)
    kind: type = getattr(source, "kind" if isinstance(source, Folder) else "gives", type(None))
    if isinstance(source, Folder):
        source.classes = getattr(system.config, "classes", None)
    takes = signature(system.translate).parameters
    if order.backwards and "backwards" not in takes:
        raise CannotDo(f"{model} translates in one direction only.")
    given = {Labelled: {"instances"}, Masked: {"mask"}}.get(kind, set())
    needed = {name for name, p in takes.items() if p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty}
    if missing := needed - given - {"seed"}:
        raise CannotDo(
            f"{model} needs a {' and a '.join(sorted(missing))} to translate, which no data set says. Give it to "
            "limner translate, and measure the folder that comes out: limner eval MADE REAL."
        )
    if not order.metrics:
        order = replace(order, metrics=WITH_ANSWERS if kind in ANSWERED else WITHOUT)
    if kind not in ANSWERED and (asked := order.asks(*OF_PAIRS)):
        raise BadInput(f"{asked[0]} compares with the right answer, and {kind.__name__} data have none. Ask for fid.")
    if kind is not Labelled and order.asks("segmentation"):
        raise BadInput(f"segmentation needs label maps; these are {kind.__name__} data.")
    if order.asks("segmentation") and order.segmenter is None:
        raise BadInput("segmentation needs a model that says what pictures show: --segmenter MODEL.")
    if order.asks("diversity") and not isinstance(system, Styled):
        raise CannotDo(f"{model} makes one picture of each: there is no diversity to measure.")
    counts = _counts(source, kind, order)
    items = chain(_translated(system, source, kind, order, told), _others(source, kind, order, told))
    return _measured(items, counts[0], sum(counts), order, progress)


def evaluate_folders(
    made: Path,
    real: Path,
    order: Order,
    *,
    told: Told = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Measure the pictures of one folder (zip, tar) by those of another. Those that belong together have the same
    names, but for the suffix. For segmentation, `real` holds label maps, and so does `made` if there is no segmenter.
    """
    ours, theirs = (_by_name(path) for path in (made, real))
    if order.count:
        ours = dict(islice(ours.items(), order.count))
        theirs = dict(islice(sorted(theirs.items(), key=lambda one: one[0] not in ours), order.count))
    shared = [name for name in ours if name in theirs]
    if not order.metrics:
        order = replace(order, metrics=WITH_ANSWERS if len(shared) == len(ours) else WITHOUT)
    if order.asks("diversity"):
        raise BadInput("diversity is of what a model makes of one picture: limner eval MODEL --data FOLDER.")
    maps = bool(order.asks("segmentation"))
    if maps and len(order.metrics) > 1:
        raise BadInput("segmentation compares with label maps, and the other metrics with pictures: ask for it alone.")
    if maps and not (order.classes or order.segmenter):
        raise BadInput("How many classes do the label maps have? --classes N, or --segmenter MODEL for pictures.")
    if (asked := order.asks(*OF_PAIRS, "segmentation")) and not shared:
        raise BadInput(f"{asked[0]} is of pairs, and {made} and {real} have no names in common.")
    if asked and len(shared) < len(ours):
        told(f"{', '.join(asked)}: of the {len(shared)} of {len(ours)} pictures whose names are in {real}.")
    items = _read(ours, theirs, order, told)
    return _measured(items, len(ours), len(ours.keys() | theirs.keys()), order, progress)


# ------------------------------------------------------------------------------------------------ measuring


class Meter:
    """The metrics that are asked for, and the networks that they look through."""

    def __init__(self, order: Order, total: int) -> None:
        """total: how many pictures are made, at most"""
        self.order = order
        segmenter: Any = load(order.segmenter) if order.segmenter and order.asks("segmentation") else None
        if segmenter is not None and not isinstance(segmenter, Segmenter):
            raise BadInput(f"{order.segmenter} is no segmenter, but a {type(segmenter).__name__}.")
        self.segmenter: Segmenter | None = segmenter
        makers: dict[str, Callable[[], Metric]] = {
            "psnr": PSNR,
            "ssim": lambda: SSIM(order.ssim),
            "ms-ssim": MultiScaleSSIM,
            "lpips": lambda: PerceptualDistance(self.networks.judge),
            "fid": lambda: FrechetDistance(self.networks.features.name, rounds=order.bootstrap),
            "kid": lambda: KernelDistance(self.networks.features.name),
            "prdc": lambda: Neighbours(self.networks.features.name),
            "inception-score": lambda: InceptionScore(self.networks.features.name, total, splits=order.splits),
            "segmentation": lambda: SegmentationScores(segmenter.config.classes if segmenter else order.classes or 0),
            "diversity": lambda: PerceptualDistance(self.networks.judge),
        }
        self.metrics: dict[str, Any] = {name: makers[name]() for name in order.metrics}

    @cached_property
    def networks(self) -> Networks:
        return open_networks(self.order.features, resize=self.order.resize)

    def take(self, items: Sequence[Item]) -> None:
        """Measure a few pictures, those of one size together."""
        for name in self.order.asks(*OF_PAIRS):
            for _, made, real in _alike(items, "made", "real"):
                self.metrics[name].update(made, real)
        if "diversity" in self.metrics:
            for _, made, again in _alike(items, "made", "again"):
                self.metrics["diversity"].update(made, again)
        if "segmentation" in self.metrics:
            for numbers, seen, labels in _alike(items, "made" if self.segmenter else "seen", "labels"):
                found = self.segmenter.segment(seen) if self.segmenter else seen
                for number, ours, truth in zip(numbers, found, labels, strict=True):
                    self.metrics["segmentation"].update(ours[None], truth[None], first=number)
        if self.order.asks(*OF_SETS):
            for side in ("made", "real"):
                for numbers, pictures in _alike(items, side):
                    self._look(side, numbers, pictures)

    def _look(self, side: str, numbers: Sequence[int], pictures: np.ndarray) -> None:
        seen = self.networks.features.see(pictures)
        for name in self.order.asks("fid", "kid", "prdc"):
            self.metrics[name].update(**{side: seen.features})
        if side == "made" and "inception-score" in self.metrics:
            for number, chances in zip(numbers, seen.chances, strict=True):
                self.metrics["inception-score"].update(chances[None], first=number)

    def report(self) -> Report:
        """All numbers. A metric that has none, for want of pictures for example, is a note."""
        results: dict[str, Result] = {}
        notes: list[str] = []
        for name, metric in self.metrics.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    found = metric.values()
                except BadInput as error:
                    notes.append(f"{name}: {error}")
                    continue
            notes += [str(warning.message) for warning in caught]
            results |= {name: metric.value()} if name == "diversity" else found
        if not results:
            raise BadInput(" ".join(notes))
        return Report(results, notes)


def _alike(items: Iterable[Item], *sides: str) -> Iterator[tuple[Any, ...]]:
    """The items that have these sides, by size: numbers, and each side's pictures as an array (N, H, W, ...)."""
    groups: dict[tuple[tuple[int, ...], ...], list[Item]] = {}
    for item in items:
        arrays = [getattr(item, side) for side in sides]
        if all(array is not None for array in arrays):
            groups.setdefault(tuple(array.shape for array in arrays), []).append(item)
    for group in groups.values():
        yield [item.number for item in group], *(np.stack([getattr(item, side) for item in group]) for side in sides)


def _measured(
    items: Iterator[Item], made: int, total: int, order: Order, progress: Callable[[int, int], None]
) -> Report:
    meter, done = Meter(order, made), 0
    while part := list(islice(items, BATCH)):
        meter.take(part)
        done += len(part)
        progress(done, total)
    return meter.report()


# ------------------------------------------------------------------------------------------------ a model's pictures


def _held_out(model: str, system: type[System], data: str | None, order: Order, told: Told) -> Source:
    """The data to measure on, as whole pictures; of a run, prepared as they were for training."""
    known = Run(Path(model)).config() if Path(model).is_dir() else None
    trained_on = known.get("data") if known else None
    prepare: Mapping[str, Any] = {}
    if isinstance(trained_on, Mapping):  # a folder
        trained_on, prepare = trained_on["folder"], trained_on["prepare"]
    data = data or trained_on
    if not data:
        raise BadInput(f"Measure {model} on what? limner eval {model} --data FOLDER")
    prepare = {**prepare, **order.prepare} if Path(data).exists() else order.prepare
    source = open_source(data, system, order.seed, prepare, told)
    held_out: Source | None = source.held_out() if hasattr(source, "held_out") else None
    if held_out is None:
        told(f"Nothing of {data} is held out (a val or test part): all of it is measured on.")
        if isinstance(source, Folder):
            source.preparation = source.preparation.whole()
    if isinstance(found := held_out or source, Folder):
        size = found.preparation.size()
        told(f"{found}, {'{}x{}'.format(*size) if size else 'as large as they are'}")
    return found


def _counts(source: Source, kind: type, order: Order) -> tuple[int, int]:
    """How many pictures are translated, and how many there are of the other domain, at most."""
    lengths = [len(stream.samples) for stream in source.layout.streams] if isinstance(source, Folder) else []
    lengths = [min(length, order.count or length) for length in lengths] or [order.count or ENDLESS] * 2
    if kind is not Unpaired:
        return lengths[0], 0
    given = _first(source, order)
    return lengths[given], lengths[1 - given]


def _first(source: Source, order: Order) -> int:
    """Which of two domains is translated."""
    swapped = isinstance(source, Folder) and source.preparation.backwards
    return int(swapped != order.backwards)


def _translated(system: Any, source: Source, kind: type, order: Order, told: Told) -> Iterator[Item]:
    """What the system makes of the source's pictures. Each goes through alone, as in the published programs' tests:
    some systems take batch statistics of what goes through together."""
    takes = signature(system.translate).parameters
    for number, row in _rows(source, _first(source, order) if kind is Unpaired else 0, order, told):
        given, real, labels = row[0], None, None
        keywords: dict[str, Any] = {"backwards": True} if order.backwards else {}
        if kind is Paired:
            real = row[1]
        elif kind is Labelled:
            real, labels = row[0], row[1]
            given = labels.astype(np.uint8) if labels.max() < 256 else labels
            keywords = {"instances": row[2][None]} if "instances" in takes else {}
        elif kind is Masked:
            real, keywords = row[0], {"mask": row[1][None]}
        seeds = [order.seed + 2 * number, order.seed + 2 * number + 1] if isinstance(system, Styled) else [order.seed]
        made = []
        try:
            for seed in seeds if "diversity" in order.metrics else seeds[:1]:
                made.append(system.translate(given[None], **keywords, **({"seed": seed} if "seed" in takes else {}))[0])
        except BadInput as error:  # too small, or of classes that the model doesn't know
            told(f"Left out: {error}")
            continue
        made = [np.repeat(one, 3, 2) if one.shape[2] == 1 else one for one in made]
        yield Item(number, made[0], real, made[1] if len(made) > 1 else None, labels)


def _others(source: Source, kind: type, order: Order, told: Told) -> Iterator[Item]:
    """The real pictures of the other domain, where they belong to none that is made."""
    if kind is Unpaired:
        for number, row in _rows(source, 1 - _first(source, order), order, told):
            yield Item(number, real=row[0])


def _rows(source: Source, stream: int, order: Order, told: Told) -> Iterator[tuple[int, Sequence[np.ndarray]]]:
    """A stream's samples by number, whole: pictures uint8 (H, W, 3) and maps (H, W). Broken ones are told."""
    if not isinstance(source, Folder):
        for number in range(order.count or ENDLESS):
            batch = source.take([number])
            tensors = [getattr(batch, field.name)[0] for field in fields(batch)]
            row = [to_uint8(t) if t.is_floating_point() else t.squeeze(0).numpy() for t in tensors]
            yield number, row[stream:]
        return
    masks = source.layout.streams[1] if source.kind is Masked and len(source.layout.streams) > 1 else None
    for number, sample in enumerate(source.layout.streams[stream].samples[: order.count]):
        try:
            layers, _ = source.read(stream, sample)
            if masks:  # of their own, for whatever picture comes
                layers += source.read(1, masks.samples[number % len(masks.samples)])[0]
            whole = source.preparation.resized(layers)
        except BadInput as error:
            told(f"Left out: {error}" if str(error).startswith(sample[0]) else f"Left out: {sample[0]} {error}")
            continue
        yield number, whole[::-1] if source.kind is Paired and source.preparation.backwards else whole


# ------------------------------------------------------------------------------------------------ two folders


@dataclass(frozen=True)
class Named:
    """A picture file in a folder or an archive."""

    files: Files
    name: str

    def read(self, decoder: Callable[[bytes, str], np.ndarray]) -> np.ndarray:
        return decoder(self.files.read(self.name), self.name)


def _by_name(path: Path) -> dict[str, Named]:
    """The pictures at `path`, in order, by their names without suffix."""
    files = open_files(path)
    found: dict[str, Named] = {}
    for name in files.names:
        if name.lower().endswith(decode.SUFFIXES):
            found.setdefault(name.rpartition(".")[0], Named(files, name))
    if not found:
        raise BadInput(f"There are no pictures in {path}.")
    return found


def _read(ours: Mapping[str, Named], theirs: Mapping[str, Named], order: Order, told: Told) -> Iterator[Item]:
    """Every picture of both sides, those of one name together."""
    for number, name in enumerate([*ours, *(name for name in theirs if name not in ours)]):
        try:
            if "segmentation" not in order.metrics:
                made, real = (side[name].read(decode.picture) if name in side else None for side in (ours, theirs))
                yield Item(number, made, real)
            elif name in ours and name in theirs:
                labels = theirs[name].read(decode.numbers)
                if order.segmenter:
                    yield Item(number, made=ours[name].read(decode.picture), labels=labels)
                else:
                    yield Item(number, seen=ours[name].read(decode.numbers), labels=labels)
        except BadInput as error:
            told(f"Left out: {error}")
