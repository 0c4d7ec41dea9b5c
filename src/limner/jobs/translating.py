"""What `limner translate` does: pictures through a system that translates, into files that say what made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from inspect import Parameter, signature
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.data import decode
from limner.data.files import open_files, read_file
from limner.data.kinds import Labelled
from limner.errors import BadInput, CannotDo
from limner.hub import load
from limner.jobs.drawing import TRAINED, write_film
from limner.jobs.sources import Told, kinds_of
from limner.nn.label_maps import coloured
from limner.provenance import SourceType, encode_picture
from limner.runs import write_bytes
from limner.system import Styled, Translates, to_uint8
from limner.systems import find, having, require

PATCHED: SourceType = "compositeWithTrainedAlgorithmicMedia"
SHOWN, TILE, GAP = 12, 192, 4  # rows of a sheet, pixels of a tile's height and between tiles
FPS = 24


@dataclass(frozen=True)
class Order:
    """What is asked of `limner translate`; None and empty mean that nothing was said.

    seed, count: of what is drawn at random; `count` outputs for each picture, from the seeds `seed`, `seed + 1`, ...
    style: pictures whose styles are taken, an output for each
    style_labels: their label maps, for a system that takes a style for each region: a file, or a folder with files of
        the same names
    walk: frames on the way through the styles (or from the seed's to the next seed's), as a strip or a `video`
    mask, instances: a file for all pictures, or a folder with files of the same names
    batch: pictures of one size that go through the system together
    """

    seed: int | None = None
    count: int = 1
    style: Sequence[Path] = ()
    style_labels: Path | None = None
    walk: int = 0
    video: bool = False
    mask: Path | None = None
    instances: Path | None = None
    backwards: bool = False
    sheet: bool = False
    batch: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 64 or not 1 <= self.batch <= 256:
            raise BadInput(f"-n {self.count}, --batch {self.batch}: from 1 to 64 outputs, from 1 to 256 pictures.")
        if self.walk and not 2 <= self.walk <= 1000:
            raise BadInput(f"--walk {self.walk}: from 2 to 1000 frames.")
        if self.walk and (self.count > 1 or len(self.style) == 1):
            raise BadInput(
                "--walk goes through two or more --style pictures, or between two random styles; without -n."
            )
        if self.style and self.count > 1:
            raise BadInput("-n is for styles drawn at random; --style gives an output for each of its pictures.")
        if self.style_labels is not None and not self.style:
            raise BadInput("--style-labels are the label maps of --style pictures: give these, too.")
        if self.video and not self.walk:
            raise BadInput("--video is for --walk: say how many frames the walk has.")

    def keywords(self) -> set[str]:
        """What the system's `translate` has to take."""
        asked = {"seed": self.count > 1 or self.seed is not None, "style": bool(self.style or self.walk)}
        asked |= {"mask": self.mask is not None, "instances": self.instances is not None, "backwards": self.backwards}
        if self.walk:
            asked["seed"] = False  # it draws the styles that the walk is between
        return {keyword for keyword, wanted in asked.items() if wanted}


@dataclass(frozen=True)
class Given:
    """A picture to translate: its name without suffix, where it is, and how it is read."""

    name: str
    where: Path
    read: Callable[[], bytes]


@dataclass
class Loaded:
    """A picture and what goes with it, decoded."""

    given: Given
    picture: np.ndarray
    more: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """One way to translate: what is added to the file's name, the keywords, and what the recipe says of them."""

    name: str
    keywords: dict[str, Any]
    recipe: dict[str, Any]


def translate(
    model: str,
    paths: Sequence[Path],
    out: Path,
    order: Order,
    *,
    told: Told = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Path]:
    """Translate pictures (files, folders, archives) and yield the files that were written.

    told: hears of pictures that can't be read, which are passed over
    progress: hears how many pictures are done, and how many there are
    """
    system: Any = load(model)
    require(system, Translates, name=model)
    takes = signature(system.translate).parameters
    for keyword in sorted(order.keywords() - takes.keys()):
        able = [name for name in having(Translates) if keyword in signature(find(name).translate).parameters]  # type: ignore[attr-defined]
        raise CannotDo(f"{model} takes no {keyword} to translate. Systems that do: {', '.join(able) or 'none yet'}.")
    wanted = {name for name, p in takes.items() if p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty}
    if missing := wanted - order.keywords() - {"seed"}:
        raise BadInput(f"{model} needs --{' and --'.join(sorted(missing))} to translate.")
    if order.style_labels is not None and not _regional(system):
        regional = ", ".join(name for name in having(Styled) if _regional(find(name))) or "none yet"
        raise CannotDo(
            f"{model} takes the style of a whole picture, and no --style-labels. Systems that do: {regional}."
        )
    labels = Labelled in kinds_of(type(system).play, "batch")
    givens = named_pictures(paths, out)
    looks = _looks(system, model, order, takes)
    rows: list[list[np.ndarray]] = []
    done, problem = 0, BadInput("None of the pictures could be read, so that nothing was translated.")
    for batch in _batches(givens, order, labels, told):
        pictures = np.stack([one.picture for one in batch])
        more: dict[str, Any] = {key: np.stack([one.more[key] for one in batch]) for key in batch[0].more}
        if order.backwards:
            more["backwards"] = True
        try:
            made = [_rgb(system.translate(pictures, **more, **look.keywords)) for look in looks]
        except BadInput as error:  # too small, or of classes that the model doesn't know
            problem = error
            told(f"Left out: {', '.join(str(one.given.where) for one in batch)}: {error}")
            continue
        for place, one in enumerate(batch):
            results = [translated[place] for translated in made]
            yield from _write(one.given, results, looks, out, model, order)
            if order.sheet and len(rows) < SHOWN:
                rows.append([_visible(one.picture), *results])
        done += len(batch)
        progress(done, len(givens))
    if not done:
        raise problem
    if rows:
        path = out / "before-and-after.png"
        write_bytes(path, encode_picture(before_and_after(rows), ".png", source_type=TRAINED, recipe={"model": model}))
        yield path


def named_pictures(paths: Sequence[Path], out: Path) -> list[Given]:
    """The pictures that paths name, each with a name of its own that overwrites none of them."""
    found: list[Given] = []
    for path in paths:
        if path.is_file() and path.suffix.lower() in decode.SUFFIXES:
            found.append(Given(path.stem, path, partial(read_file, path)))
            continue
        files = open_files(path)
        names = [name for name in files.names if name.lower().endswith(decode.SUFFIXES)]
        if not names:
            raise BadInput(f"There are no pictures in {path}.")
        found += [Given(name.rpartition(".")[0], path / name, partial(files.read, name)) for name in names]
    if not found:
        raise BadInput("Which pictures? Name files, folders, zips or tars of them.")
    names_taken: Counter[str] = Counter()
    for place, given in enumerate(found):
        names_taken[given.name] += 1
        if names_taken[given.name] > 1:  # of several folders, or with other suffixes
            found[place] = replace(given, name=f"{given.name}-{names_taken[given.name]}")
    inputs = {given.where.resolve() for given in found}
    if clash := next((one.name for one in found if (out / f"{one.name}.png").resolve() in inputs), None):
        raise BadInput(f"{out / clash}.png is one of the pictures and would be overwritten. Choose another -o.")
    return found


def _batches(givens: Sequence[Given], order: Order, labels: bool, told: Told) -> Iterator[list[Loaded]]:
    """Neighbours of one size, up to `order.batch` at a time. What can't be read is told and left out."""
    waiting: list[Loaded] = []
    for given in givens:
        try:
            one = _loaded(given, order, labels)
        except BadInput as error:
            told(f"Left out: {error}")
            continue
        if waiting and (len(waiting) == order.batch or waiting[0].picture.shape != one.picture.shape):
            yield waiting
            waiting = []
        waiting.append(one)
    if waiting:
        yield waiting


def _loaded(given: Given, order: Order, labels: bool) -> Loaded:
    name, content = str(given.where), given.read()
    picture = _class_numbers(content, name) if labels else decode.picture(content, name)
    more: dict[str, np.ndarray] = {}
    for keyword, path, read in (("mask", order.mask, decode.mask), ("instances", order.instances, decode.numbers)):
        if path is None:
            continue
        more[keyword] = _beside(path, given.where, picture, read)
    return Loaded(given, picture, more)


def _class_numbers(content: bytes, name: str) -> np.ndarray:
    """A label map (H, W), as uint8 if its numbers fit."""
    numbers = decode.numbers(content, name)
    return numbers.astype(np.uint8) if numbers.max() < 256 else numbers


def _beside(path: Path, of: Path, picture: np.ndarray, read: Callable[[bytes, str], np.ndarray]) -> np.ndarray:
    """What goes with the picture of a file: `path` itself, or the file of the picture's name in it. (H, W)"""
    file = path
    if path.is_dir():
        files = (path / f"{of.stem}{suffix}" for suffix in decode.SUFFIXES)
        found = next((file for file in files if file.exists()), None)
        if found is None:
            raise BadInput(f"{path} has no picture called {of.stem} to go with {of}.")
        file = found
    numbers = read(read_file(file), str(file))
    if numbers.shape != picture.shape[:2]:
        (height, width), (rows, columns) = numbers.shape, picture.shape[:2]
        raise BadInput(f"{file} is {width}x{height}, but {of} {columns}x{rows}.")
    return numbers


def _looks(system: Any, model: str, order: Order, takes: Container[str]) -> list[Look]:
    """The ways in which every picture is translated."""
    seed = order.seed or 0
    if order.style or order.walk:
        if not hasattr(system, "style_of" if order.style else "random_style"):
            require(system, Styled, name=model)
        codes = [_style_of(system, path, order) for path in order.style]
        labels = {"style_labels": order.style_labels.name} if order.style_labels else {}
        told = [{"style": path.name, **labels} for path in order.style]
        if not order.walk:
            found = zip(order.style, codes, told, strict=True)
            return [Look(f"-{path.stem}", {"style": code}, recipe) for path, code, recipe in found]
        if not codes:
            codes = [system.random_style(seed + k) for k in (0, 1)]
        ends = {"styles": [path.name for path in order.style]} if order.style else {"seeds": [seed, seed + 1]}
        return [Look("", {"style": code}, ends) for code in _between(codes, order.walk)]
    if "seed" not in takes:
        return [Look("", {}, {})]
    seeds = range(seed, seed + order.count)
    return [Look(f"-{k}" if order.count > 1 else "", {"seed": k}, {"seed": k}) for k in seeds]


def _regional(system: Any) -> bool:
    """Does it take a style for each region of a label map?"""
    return hasattr(system, "style_of") and "classes" in signature(system.style_of).parameters


def _style_of(system: Any, path: Path, order: Order) -> Tensor:
    """A picture's style, where need be as one of the first domain, for going backwards."""
    picture = decode.picture(read_file(path), str(path))
    keywords: dict[str, Any] = {}
    if order.backwards and "backwards" in signature(system.style_of).parameters:
        keywords["backwards"] = True
    if order.style_labels is not None:
        keywords["classes"] = _beside(order.style_labels, path, picture, _class_numbers)[None]
    code: Tensor = system.style_of(picture[None], **keywords)
    return code


def _between(codes: Sequence[Tensor], frames: int) -> Iterator[Tensor]:
    """Styles at equal distances on the straight lines from each code to the next."""
    legs = list(pairwise(codes))
    for at in torch.linspace(0, len(legs), frames).tolist():
        leg = min(int(at), len(legs) - 1)
        first, second = legs[leg]
        yield torch.lerp(first.float(), second.float(), at - leg)


def _write(
    given: Given, results: Sequence[np.ndarray], looks: Sequence[Look], out: Path, model: str, order: Order
) -> Iterator[Path]:
    kind = TRAINED if order.mask is None else PATCHED
    recipe: dict[str, Any] = {"picture": given.where.name, "model": model}
    recipe |= {key: path.name for key, path in (("mask", order.mask), ("instances", order.instances)) if path}
    recipe |= {"backwards": True} if order.backwards else {}
    if order.video:
        path = out / f"{given.name}-walk.mp4"
        write_film(results, path, fps=FPS, recipe=recipe | looks[0].recipe)
        yield path
        return
    if order.walk:
        results, looks = [np.concatenate(results, 1)], [replace(looks[0], name="-walk")]
    for picture, look in zip(results, looks, strict=True):
        path = out / f"{given.name}{look.name}.png"
        write_bytes(path, encode_picture(picture, ".png", source_type=kind, recipe=recipe | look.recipe))
        yield path


def _rgb(pictures: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, 3) of what has one channel or three."""
    return np.repeat(pictures, 3, 3) if pictures.shape[3] == 1 else pictures


def _visible(picture: np.ndarray) -> np.ndarray:
    """A picture as it is, a label map in colours."""
    if picture.ndim == 3:
        return picture
    colours: np.ndarray = to_uint8(coloured(torch.from_numpy(picture.astype(np.int64))[None]))[0]
    return colours


def before_and_after(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """What went in at the left, and what came out of it, a row for each picture."""
    tiles = [[_tile(picture) for picture in row] for row in rows]
    width = max(sum(tile.shape[1] + GAP for tile in row) for row in tiles)
    sheet = np.full(((TILE + GAP) * len(tiles), width, 3), 255, np.uint8)
    for y, row in enumerate(tiles):
        x = 0
        for tile in row:
            sheet[y * (TILE + GAP) : y * (TILE + GAP) + TILE, x : x + tile.shape[1]] = tile
            x += tile.shape[1] + GAP
    return sheet


def _tile(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    width = min(4 * TILE, max(1, round(picture.shape[1] * TILE / picture.shape[0])))
    return np.array(Image.fromarray(picture).resize((width, TILE), Image.Resampling.LANCZOS))
