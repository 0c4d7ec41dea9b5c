"""A data set of a user's own as training data: what a sample shows depends on the seed and its number alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.data import decode, joints, kinds
from limner.data.kinds import Batch
from limner.data.layouts import LAYOUTS, Layout, Listing, Sample, texts
from limner.data.prepare import Layers, Preparation
from limner.data.strokes import strokes
from limner.errors import BadInput
from limner.rng import numpy_rng

if TYPE_CHECKING:
    import torch

KEPT = 1 << 30  # bytes of decoded and resized pictures that stay in memory
Row = tuple[Layers, tuple[str, ...]]  # a sample's layers and captions


class Folder:
    """Pictures in a folder, a zip or tar shards, as one kind of data.

    kind: which of `LAYOUTS`
    part: train, val, test, or what is in none of them; the part for training if it isn't given
    classes: class numbers are below it; None for whatever there is
    unknown: whether there may be pixels of no class, `decode.UNKNOWN`
    told: hears of every file that is broken, once

    A broken file is told and left out: the sample is made of the next one in the epoch's order. When every file is
    broken, and when the data set has no samples of the kind, that is `BadInput`.
    """

    def __init__(
        self,
        listing: Listing,
        kind: type[Batch],
        *,
        part: str | None = None,
        seed: int = 0,
        preparation: Preparation | None = None,
        classes: int | None = None,
        unknown: bool = True,
        told: Callable[[str], None] = lambda complaint: None,
    ) -> None:
        self.listing, self.kind, self.seed, self.told = listing, kind, seed, told
        self.classes, self.unknown = classes, unknown
        self.preparation = preparation or Preparation()
        if self.preparation.backwards and kind not in (kinds.Paired, kinds.Unpaired):
            raise BadInput(f"backwards is for pairs and for two domains; {kind.__name__} data have one direction only.")
        try:
            self.layout: Layout = LAYOUTS[kind](listing, listing.training if part is None else part)
        except BadInput as error:
            where = listing.where
            raise BadInput(f"{where} has no {kind.__name__} data: {error} See limner data check {where}.") from error
        self.broken: dict[Sample, str] = {}
        self._kept: dict[Sample, Row] = {}
        self._room, self._lock = KEPT, Lock()

    def __str__(self) -> str:
        return f"{self.listing.where}: {self.layout}"

    def __len__(self) -> int:
        """Samples in an epoch, of the shortest stream."""
        return min(len(stream.samples) for stream in self.layout.streams)

    def held_out(self) -> Folder | None:
        """The part to measure on, as whole pictures, or None if there is none of this kind."""
        part = self.layout.held_out or self.listing.held_out
        if part is None:
            return None
        try:
            return Folder(
                self.listing, self.kind, part=part, seed=self.seed, told=self.told,
                preparation=self.preparation.whole(), classes=self.classes, unknown=self.unknown,
            )  # fmt: skip
        except BadInput as error:
            self.told(f"Nothing is held out for measuring: {error}")
            return None

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about these options of a system: the number of classes, whether there are pixels of none,
        the height and width of samples, where they are all alike, and how much larger targets are."""
        decided: dict[str, Any] = {}
        if self.kind is kinds.Labelled and {"classes", "unknown"} & set(options):
            decided |= self._count_classes()
        if self.kind is not kinds.Captioned and (size := self.preparation.size()):
            decided["size"] = size[::-1]
        if self.preparation.factor > 1:
            decided["factor"] = self.preparation.factor
        return decided

    def _count_classes(self) -> dict[str, Any]:
        """By `classes.json`, a list of names, or by the largest number in the label maps."""
        read = self.listing.files.read

        def found(sample: Sample) -> tuple[int, bool]:
            try:
                values = decode.numbers(read(sample[1]), sample[1])
            except BadInput:
                return -1, False  # told when it is met in training
            none = values == decode.UNKNOWN
            return int(values[~none].max(initial=-1)), bool(none.any())

        largest, unknown = zip(*pool().map(found, self.layout.streams[0].samples), strict=True)
        count = 1 + max(largest)
        if "classes.json" in self.listing.files.names:
            try:
                count = len(json.loads(read("classes.json")))
            except (ValueError, TypeError) as error:
                raise BadInput(f"classes.json should be a list of names: {error}.") from error
        return {"classes": count, "unknown": any(unknown) and count <= decode.UNKNOWN}

    def take(self, numbers: Sequence[int]) -> Batch:
        """The samples of these numbers. Each stream goes through its files in a new order every epoch."""
        streams = [
            list(pool().map(lambda number, k=k: self._row(k, number), numbers)) for k in range(len(self.layout.streams))
        ]
        layers = [_stacked(layer) for rows in streams for layer in zip(*(layers for layers, _ in rows), strict=True)]
        told = [words for _, words in streams[0]]
        if self.kind is kinds.Captioned:
            return kinds.Captioned(layers[0], tuple(words for (words,) in told))
        if self.kind is kinds.Edits:
            instructions, before, after = zip(*told, strict=True)
            return kinds.Edits(layers[0], instructions, layers[1], before, after)
        if self.kind is kinds.Masked:
            masks = layers[1] if len(layers) > 1 else self._strokes(layers[0], numbers)
            return kinds.Masked(layers[0], masks[:, None])
        return self.kind(*(reversed(layers) if self.preparation.backwards else layers))

    def _strokes(self, pictures: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        """Masks (B, H, W) by chance, for pictures without."""
        import torch

        height, width = pictures.shape[-2:]
        drawn = [strokes(width, height, numpy_rng(self.seed, "strokes", number)) for number in numbers]
        return torch.from_numpy(np.stack(drawn))

    def _row(self, place: int, number: int) -> Row:
        """A sample of stream `place`, cut to size, with one of its captions, or with all that is said of an edit."""
        samples = self.layout.streams[place].samples
        epoch, first = divmod(number, len(samples))
        order = _order(self.seed, place, epoch, len(samples))
        for k in range(len(samples)):
            for sample in self._mixed(place, number, samples[order[(first + k) % len(samples)]]):
                if sample in self.broken:
                    continue
                try:
                    layers, words = self._prepared(place, sample)
                except BadInput as error:
                    self._leave_out(sample, error)
                    continue
                draw = numpy_rng(self.seed, "cut", place, number)
                cut = self.preparation.cut(layers, draw)
                return cut, words if self.kind is kinds.Edits else (
                    words[int(draw.integers(len(words)))] if words else "",
                )
        raise BadInput(f"Every sample of {self.listing.where} is broken. The first: {self.broken[samples[0]]}")

    def _mixed(self, place: int, number: int, sample: Sample) -> Sequence[Sample]:
        """What a draw of a sample can take, the first choice first."""
        choices = self.layout.streams[place].of(sample)
        if len(choices) == 1:
            return choices
        return [choices[k] for k in numpy_rng(self.seed, "choice", place, number).permutation(len(choices))]

    def _leave_out(self, sample: Sample, error: BadInput) -> None:
        with self._lock:
            if sample in self.broken:
                return
            self.broken[sample] = str(error)
        self.told(str(error))

    def _prepared(self, place: int, sample: Sample) -> Row:
        """A sample as far as it doesn't depend on chance: from memory, if it is still there."""
        row = self._kept.get(sample)
        if row is None:
            layers, words = self.read(place, sample)
            try:
                row = self.preparation.resized(layers), words
            except BadInput as error:
                raise BadInput(f"{sample[0]} {error}") from error
            size = sum(layer.nbytes for layer in row[0])
            with self._lock:  # what is kept stays: taking turns would only throw out what is needed next
                if sample not in self._kept and size <= self._room:
                    self._kept[sample], self._room = row, self._room - size
        return row

    def complaints(self) -> Iterator[str | None]:
        """Goes through all samples: None for one that can be trained on, else what is wrong with it."""
        for place, stream in enumerate(self.layout.streams):
            yield from pool().map(partial(self._complaint, place), stream.every)

    def _complaint(self, place: int, sample: Sample) -> str | None:
        try:
            self._prepared(place, sample)
        except BadInput as error:
            return str(error)
        return None

    def read(self, place: int, sample: Sample) -> Row:
        """The files of a sample of stream `place`, decoded, as they are. `BadInput` names the file that is no use."""
        layers: list[np.ndarray] = []
        words = self.layout.words.get(sample, ())
        if not words and self.kind is not kinds.Edits:
            words = self.listing.captions.get(sample[0], ())
        for role, name in zip(self.layout.streams[place].roles, sample, strict=False):  # captions may be elsewhere
            content = self.listing.files.read(name)
            if role == "words":
                words = _captions(content, name)
            elif role == "triplet":
                words = _triplet(content, name)
            elif role == "both":
                layers += _halves(decode.picture(content, name), name)
            elif role == "labels":
                layers.append(self._classes(decode.numbers(content, name), name))
            elif role == "instances":
                layers.append(decode.numbers(content, name))
            elif role == "joints":
                layers.append(joints.joints(content, name))
            elif role == "masks":
                layers.append(decode.mask(content, name))
            else:
                layers.append(decode.picture(content, name))
        if self.kind is kinds.Labelled and len(layers) == 2:
            layers.append(np.zeros_like(layers[1]))
        return tuple(layers), words

    def _classes(self, values: np.ndarray, name: str) -> np.ndarray:
        """A class map whose numbers are in range."""
        if self.classes is None:
            return values
        wrong = values >= self.classes
        if self.unknown:
            wrong &= values != decode.UNKNOWN
        if wrong.any():
            raise BadInput(
                f"{name} has pixels of class {values[wrong].max()}; there are classes 0 to {self.classes - 1}."
            )
        return values


def _halves(both: np.ndarray, name: str) -> list[np.ndarray]:
    """The left and the right half of a picture that is two."""
    width = both.shape[1]
    if width % 2 or width < 2 * decode.SMALLEST_SIDE:
        raise BadInput(f"{name} is {width} pixels wide, which can't be halved into two pictures side by side.")
    return [both[:, : width // 2], both[:, width // 2 :]]


def _captions(content: bytes, name: str) -> tuple[str, ...]:
    """A .txt file's lines, or the text of a .json file."""
    try:
        text = content.decode("utf-8-sig")
        found = (
            texts(json.loads(text)) if name.endswith(".json") else tuple(filter(None, map(str.strip, text.split("\n"))))
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{name} holds no caption that can be read: {error}.") from error
    if not found:
        raise BadInput(f"{name} is an empty caption.")
    return found


def _triplet(content: bytes, name: str) -> tuple[str, str, str]:
    """Instruction, and the captions before and after it: `caption` in what is generated, `input` in what is not."""
    try:
        row = json.loads(content)
        found = row["edit"], row.get("caption", row.get("input", "")), row.get("output", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{name} should be a JSON object with caption, edit and output.") from error
    if not all(isinstance(text, str) for text in found) or not found[0].strip():
        raise BadInput(f"{name} has no instruction: its edit should be text.")
    return found


def _stacked(layers: Sequence[np.ndarray]) -> torch.Tensor:
    """Pictures as float (B, 3, H, W) in [-1, 1], maps as int64 or bool (B, H, W), points as they are."""
    import torch

    if len(sizes := {layer.shape for layer in layers}) > 1:
        told = ", ".join(sorted(f"{shape[1]}x{shape[0]}" for shape in sizes)[:4])
        raise BadInput(
            f"The samples of a batch have to be of one size, not {told}: set crop (or resize), or --batch 1."
        )
    values = torch.from_numpy(np.stack(layers))
    if values.ndim == 4:
        return values.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)
    return values if values.dtype in (torch.bool, torch.float32) else values.long()


@lru_cache(maxsize=8)
def _order(seed: int, stream: int, epoch: int, count: int) -> np.ndarray:
    """The order in which a stream's samples come in an epoch."""
    return numpy_rng(seed, "epoch", stream, epoch).permutation(count)


@cache
def pool() -> ThreadPoolExecutor:
    """Threads that decode: Pillow lets others run meanwhile."""
    return ThreadPoolExecutor(
        min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4), "decode"
    )
