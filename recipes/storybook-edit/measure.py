"""Measures editors on held-out edits of every kind, against the truth: measure.py NAME=MODEL[@METHOD] ...

Each edit is measured once, and is a line of OUT/WORLD/NAME/KIND.jsonl: the same command goes on where it was stopped,
and a larger -n adds to what is there. --page writes the results page of all that OUT holds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

import limner
from limner.errors import LimnerError
from limner.jobs.editing import METHODS
from limner.stickers.captions import caption
from limner.stickers.edits import EDITS, Edit
from limner.stickers.obedience import ALIKE, Obedience, obedience
from limner.stickers.orders import trained_edit
from limner.stickers.vocabulary import Noun
from limner.stickers.world import render

SEED = 77
SIZE = 256, 144
SHOWN = 3  # edits of a kind whose pictures are kept
ORDER = ("storybook-edit", "exact", "generated", "unchanged", "real")
WORLDS: dict[str, tuple[str, list[Noun] | None]] = {"whole": ("The storybook's nouns", None)}


@dataclass(frozen=True)
class Contestant:
    """How a name makes its edits. `real` and `unchanged` are the truth itself and the picture as it is."""

    name: str
    editor: Any
    method: str

    @classmethod
    def open(cls, text: str) -> Contestant:
        if text in ("real", "unchanged"):
            return cls(text, None, text)
        name, _, rest = text.partition("=")
        model, _, method = rest.partition("@")
        return cls(name, METHODS[method or "instruct-pix2pix"](model), method)

    def edit(self, edit: Edit, before: np.ndarray, number: int) -> np.ndarray:
        """The edited picture (H, W, 3), uint8."""
        if self.editor is None:
            return render(edit.after, *SIZE) if self.method == "real" else before
        words, keywords = edit.instruction, {"seed": number}
        if self.method:  # those of two captions
            words, keywords["before"] = caption(edit.after), caption(edit.before)
        taken = signature(self.editor.edit).parameters
        return self.editor.edit(before, words, **{k: v for k, v in keywords.items() if k in taken}).pictures[0]


def measured(contestant: Contestant, kind: str, n: int, out: Path, nouns: list[Noun] | None) -> None:
    """Adds to the file of this kind what it lacks of its first n edits."""
    reader = limner.load("sticker-reader")
    file = out / contestant.name / f"{kind}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = len(file.read_text("utf-8").splitlines()) if file.exists() else 0
    with file.open("a", encoding="utf-8") as lines:
        for number in track(range(known, n), f"{contestant.name}: {kind}"):
            edit = trained_edit(SEED, number, kind=kind, held_out=True, nouns=nouns)
            before, error = render(edit.before, *SIZE), ""
            began = time.perf_counter()
            try:
                after = contestant.edit(edit, before, number)
            except LimnerError as refusal:
                after, error = before, str(refusal)
            seconds = time.perf_counter() - began
            seen, best = reader.read(np.stack([after, render(edit.after, *SIZE)]))
            verdict = obedience(edit, after, seen, best)
            if error:  # the picture as it was may happen to pass
                verdict = replace(verdict, done=False)
            told = {"words": edit.instruction, "refused": error, "seconds": seconds}
            lines.write(json.dumps(told | asdict(verdict)) + "\n")
            lines.flush()
            if number < SHOWN:
                Image.fromarray(after).save(file.with_name(f"{kind}-{number}.png"))


def verdicts(folder: Path, kind: str, n: int) -> tuple[list[Obedience], list[float]]:
    """The first n of what was measured, and the seconds."""
    file = folder / f"{kind}.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()][:n] if file.exists() else []
    names = Obedience.__dataclass_fields__
    return [Obedience(**{name: row[name] for name in names}) for row in rows], [row["seconds"] for row in rows]


def table(out: Path, names: list[str], n: int, what: str) -> list[str]:
    """A row for each kind, a column for each name."""
    rows = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for kind in EDITS:
        cells = [_cell([getattr(v, what) for v in verdicts(out / name, kind, n)[0]]) for name in names]
        if any(cells):
            rows.append(f"| {kind} | " + " | ".join(cells) + " |")
    return rows


def _cell(found: list[float | bool | None]) -> str:
    values = [float(value) for value in found if value is not None]
    if len(values) < max(1, len(found) / 10):
        return ""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):.1f} ± {100 * error:.1f}"


def sheet(out: Path, names: list[str], nouns: list[Noun] | None) -> Image.Image:
    """Before, as it ought to be, and as each name has it: a row for each kind of edits."""
    rows = []
    for kind in EDITS:
        edit = trained_edit(SEED, 0, kind=kind, held_out=True, nouns=nouns)
        found = [np.asarray(Image.open(out / name / f"{kind}-0.png")) for name in names]
        rows.append(np.concatenate([render(edit.before, *SIZE), render(edit.after, *SIZE), *found], 1))
    return Image.fromarray(np.concatenate(rows).astype(np.uint8)).quantize(192)


PAGE = """# Editing, measured

Made by `python recipes/storybook-edit/measure.py`. Edits of Sticker World scenes whose combination of nouns, place and
time, before or after, is held out: no part of the editor has seen them. The sticker reader, which no editor was trained
with, says whether what was asked is there, and whether it sees all else that it sees in the true picture; pixels are
compared outside of what the edit has a right to change, and count as kept within {alike} of 255 levels. "real" is the
true picture, read the same way: the ceiling. "unchanged" is the picture as it is.

{sections}
## Seconds

Median for one edit, at 256 x 144, on two CPU cores that did other work, too.

{seconds}
"""

SECTION = """## {title}

{n} edits of each kind. Shares in per cent, with standard errors.

### Was it done?

{done}

### Were all other pixels kept?

{kept}

### Is everything else still there, by the reader?

{rest}

![{title}]({picture})

One edit of each kind: before, as it ought to be, and by {names}.

"""


def page(out: Path, where: Path, n: int) -> None:
    """The results page of everything that was measured, with a sheet of pictures for each world."""
    sections, seconds = [], ["| | seconds |", "|---|---|"]
    for world, (title, nouns) in WORLDS.items():
        names = [name for name in ORDER if (out / world / name).is_dir()]
        if not names:
            continue
        shown = [name for name in names if name not in ("real", "unchanged")]
        picture = where.parent.parent / "images" / f"edits-{world}.png"
        sheet(out / world, shown, nouns).save(picture, optimize=True)
        tables = {what: "\n".join(table(out / world, names, n, what)) for what in ("done", "kept", "rest")}
        least = min(len(verdicts(out / world / name, kind, n)[0]) for name in names for kind in EDITS)
        sections.append(
            SECTION.format(title=title, n=least, picture=f"../images/{picture.name}", names=", ".join(shown), **tables)
        )
        for name in shown:
            taken = [each for kind in EDITS for each in verdicts(out / world / name, kind, n)[1]]
            seconds.append(f"| {name} | {statistics.median(taken):.2f} |")
    where.write_text(PAGE.format(alike=ALIKE, sections="".join(sections), seconds="\n".join(seconds)), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestants", nargs="*", help="NAME=MODEL[@METHOD], real or unchanged")
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--kinds", nargs="+", default=list(EDITS), choices=list(EDITS))
    parser.add_argument("--world", default="whole", choices=list(WORLDS))
    parser.add_argument("--out", type=Path, default=Path("runs/storybook-edit/measured"))
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    _, nouns = WORLDS[options.world]
    for text in options.contestants:
        contestant = Contestant.open(text)
        for kind in options.kinds:
            measured(contestant, kind, options.n, options.out / options.world, nouns)
    if options.page:
        page(options.out, options.page, options.n)
    else:
        folder = options.out / options.world
        names = [name for name in ORDER if (folder / name).is_dir()]
        for what in ("done", "kept", "rest"):
            print(what, *table(folder, names, options.n, what), sep="\n")


if __name__ == "__main__":
    main()
