"""Contact sheets: what each kind of Sticker World data looks like, with its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from limner.provenance import encode_picture
from limner.stickers import kinds
from limner.stickers.art import disk_error, write_whole
from limner.stickers.edits import EDITS, edit
from limner.stickers.kinds import KINDS, PAIRINGS, Kind
from limner.stickers.world import render

WIDTH, HEIGHT, STRIP, GAP = 256, 144, 22, 6
Cell = tuple[Sequence[np.ndarray], str]  # pictures side by side, and what is said about them


def show(out: Path, *, seed: int = 0) -> list[Path]:
    """Draws one PNG per kind into a folder and returns their paths."""
    paths = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            path = out / f"{kind}.png"
            picture = sheet(kind, seed=seed)
            recipe = {"made by": "limner stickers show", "kind": kind, "seed": seed}
            write_whole(path, encode_picture(picture, ".png", source_type="algorithmicMedia", recipe=recipe))
            paths.append(path)
    except OSError as error:
        raise disk_error(error, out) from None
    return paths


def sheet(kind: Kind, *, seed: int = 0) -> np.ndarray:
    """The contact sheet of a kind, (H, W, 3) uint8."""
    cells: dict[Kind, Callable[[], list[Cell]]] = {
        "captioned": lambda: [_captioned(seed, k) for k in range(24)],
        "edits": lambda: [_edited(seed, k, kind) for k in range(2) for kind in EDITS],
        "paired": lambda: [
            (kinds.paired(seed, k, pairing=pairing)[:2], pairing) for k in range(4) for pairing in PAIRINGS
        ],
        "unpaired": lambda: [(kinds.unpaired(seed, k), "fluent and noto") for k in range(12)],
        "labelled": lambda: [_labelled(seed, k) for k in range(12)],
    }
    return _lay_out(cells[kind]())


def _captioned(seed: int, index: int) -> Cell:
    picture, words, _ = kinds.captioned(seed, index)
    return [picture], words


def _edited(seed: int, index: int, kind: str) -> Cell:
    made = edit(seed, index, kind=kind)
    return [render(made.before, WIDTH, HEIGHT), render(made.after, WIDTH, HEIGHT)], made.instruction


def _labelled(seed: int, index: int) -> Cell:
    picture, classes, instances, truth = kinds.labelled(seed, index)
    names = dict.fromkeys(thing.noun for thing in truth.things)
    return [picture, kinds.colour_labels(classes), kinds.colour_labels(instances)], ", ".join(names)


def _lay_out(cells: Sequence[Cell]) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    wide = len(cells[0][0]) * (WIDTH + GAP) + GAP
    columns = max(1, 1600 // wide)
    rows = -(-len(cells) // columns)
    canvas = Image.new("RGB", (columns * wide + GAP, rows * (HEIGHT + STRIP + GAP) + GAP), (250, 248, 242))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for k, (pictures, words) in enumerate(cells):
        x, y = (k % columns) * wide + GAP, (k // columns) * (HEIGHT + STRIP + GAP) + GAP
        for j, picture in enumerate(pictures):
            canvas.paste(Image.fromarray(picture), (x + j * (WIDTH + GAP), y))
        while pen.textlength(words, font) > wide - 2 * GAP:
            words = words[:-4].rstrip(" .") + "..."
        pen.text((x, y + HEIGHT + 3), words, fill=(60, 56, 52), font=font)
    return np.asarray(canvas)
