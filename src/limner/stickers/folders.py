"""Writes Sticker World data as folders, in the layouts that people and the hub already have.

captioned  `images/*.png`, `metadata.jsonl` with `file_name`, `text` and the ground truth
edits      `original/*.png`, `edited/*.png`, `metadata.jsonl` with `original_image`, `edited_image`, `edit_prompt`
paired     `A/*.png` (source) and `B/*.png` (target) of the same names
unpaired   `trainA/*.png` and `trainB/*.png`
labelled   `images/*.png`, `classes/*.png` and `instances/*.png` (16 bit), `classes.json` with the names

The same command again goes on where it was stopped; every file appears whole or not at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from limner.errors import BadInput
from limner.provenance import encode_picture
from limner.stickers import kinds
from limner.stickers.art import disk_error, write_whole
from limner.stickers.captions import caption
from limner.stickers.kinds import KINDS, Kind, Pairing
from limner.stickers.world import SceneTruth

LARGEST_SIDE = 4096
Files = dict[str, np.ndarray]  # path inside the folder: a picture (H, W, 3) uint8 or a map (H, W) uint16
Sample = tuple[Files, dict[str, Any] | None]  # what belongs into metadata.jsonl, if the kind has one


def make(
    kind: Kind,
    count: int,
    size: tuple[int, int],
    out: Path,
    *,
    seed: int = 0,
    split: str = "train",
    pairing: Pairing = "lines",
) -> Path:
    """Makes a folder of `count` samples, `size` is (width, height); goes on where an earlier call was stopped.

    Sample i depends on `(seed, i)` alone. A folder with other data in it is a `BadInput`, a full disk a `DiskFull`;
    what was finished is kept.
    """
    width, height = size
    if kind not in KINDS:
        raise BadInput(f"The Sticker World has no data of the kind {kind!r}; it has: {', '.join(KINDS)}.")
    if not (min(size) >= 32 and max(size) <= LARGEST_SIDE and 2 / 3 <= width / height <= 4):
        raise BadInput(
            f"Pictures of {width} x {height} can't be made: sides are 32 to {LARGEST_SIDE} pixels, and the width is "
            "two thirds to four times the height."
        )
    if count < 1:
        raise BadInput(f"A folder of {count} samples is empty; ask for one or more.")
    recipe = {"made by": "limner stickers make", "kind": kind, "size": [width, height], "seed": seed, "split": split}
    if kind == "paired":
        recipe["pairing"] = pairing
    try:
        out.mkdir(parents=True, exist_ok=True)
        _claim(out, recipe)
        lines = [line for line in _samples(kind, count, size, out, seed, split, pairing, recipe) if line is not None]
        if lines:
            write_whole(out / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
        if kind == "labelled":
            write_whole(out / "classes.json", json.dumps(kinds.class_names(), indent=1).encode())
    except OSError as error:
        raise disk_error(error, out) from None
    return out


def _claim(out: Path, recipe: dict[str, Any]) -> None:
    """Leaves the recipe in an empty folder; in one that has it already it must be the same."""
    note = out / "recipe.json"
    if note.is_file():
        with suppress(ValueError):
            if json.loads(note.read_bytes()) == recipe:
                return
        raise BadInput(f"{out} holds data of another recipe (see {note}). Choose another folder, or delete it.")
    if any(out.iterdir()):
        raise BadInput(f"{out} is not empty, and not made by this command. Choose another folder.")
    write_whole(note, json.dumps(recipe, indent=1).encode())


def _samples(
    kind: Kind, count: int, size: tuple[int, int], out: Path, seed: int, split: str, pairing: Pairing,
    recipe: dict[str, Any],
) -> Iterator[dict[str, Any] | None]:  # fmt: skip
    from rich.progress import track

    sample = _maker(kind, size, seed, split, pairing)
    digits = max(6, len(str(count - 1)))
    for index in track(range(count), description=f"{kind} {size[0]}x{size[1]}", transient=True):
        files, line = sample(index, f"{index:0{digits}d}.png")
        for name, pixels in files.items():
            if not (out / name).is_file():
                write_whole(out / name, _encode(pixels, recipe | {"index": index}))
        yield line


def _maker(kind: Kind, size: tuple[int, int], seed: int, split: str, pairing: Pairing) -> Callable[[int, str], Sample]:
    """The function (index, file name) -> sample of a kind."""
    width, height = size

    def captioned(index: int, name: str) -> Sample:
        picture, text, truth = kinds.captioned(seed, index, width, height, split=split)
        return {f"images/{name}": picture}, {"file_name": f"images/{name}", "text": text} | facts(truth)

    def edits(index: int, name: str) -> Sample:
        before, after, made = kinds.edited(seed, index, width, height, split=split)
        return {f"original/{name}": before, f"edited/{name}": after}, {
            "original_image": f"original/{name}",
            "edited_image": f"edited/{name}",
            "edit_prompt": made.instruction,
            "original_prompt": caption(made.before),
            "edited_prompt": caption(made.after),
            "kind": made.kind,
        }

    def paired(index: int, name: str) -> Sample:
        source, target, _ = kinds.paired(seed, index, width, height, pairing=pairing, split=split)
        return {f"A/{name}": source, f"B/{name}": target}, None

    def unpaired(index: int, name: str) -> Sample:
        a, b = kinds.unpaired(seed, index, width, height, split=split)
        return {f"trainA/{name}": a, f"trainB/{name}": b}, None

    def labelled(index: int, name: str) -> Sample:
        picture, classes, instances, truth = kinds.labelled(seed, index, width, height, split=split)
        files = {f"images/{name}": picture, f"classes/{name}": classes, f"instances/{name}": instances}
        return files, {"file_name": f"images/{name}"} | facts(truth)

    makers: dict[Kind, Callable[[int, str], Sample]] = {
        "captioned": captioned, "edits": edits, "paired": paired, "unpaired": unpaired, "labelled": labelled,
    }  # fmt: skip
    return makers[kind]


def facts(truth: SceneTruth) -> dict[str, Any]:
    """The ground truth as JSON: moment, objects with boxes (left, top, right, bottom as fractions), relations."""
    moment = {key: getattr(truth, key) for key in ("place", "time", "weather", "season", "style")}
    objects = [
        {"noun": t.noun, "colour": t.colour, "size": t.size, "box": [round(edge, 4) for edge in truth.box(t)]}
        for t in truth.things
    ]
    return moment | {"objects": objects, "relations": [asdict(relation) for relation in truth.relations]}


def _encode(pixels: np.ndarray, recipe: dict[str, Any]) -> bytes:
    if pixels.ndim == 3:
        return encode_picture(pixels, ".png", source_type="algorithmicMedia", recipe=recipe)
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")  # 16 bit grey
    return file.getvalue()
