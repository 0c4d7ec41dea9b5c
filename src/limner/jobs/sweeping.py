"""What `limner edits sweep` does: how much edits obey, against how much they keep, over a method's strength.

The curves of the thesis' figures 4.19 to 4.21. Each edit is measured once and its numbers are a line of `edits.jsonl`,
so that the same command goes on where it was stopped. `points.jsonl` has the means under the published names, and
`plot.png` shows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from limner.data import decode
from limner.data.files import read_file
from limner.data.folder import Folder
from limner.data.kinds import Edits
from limner.data.prepare import Preparation
from limner.errors import BadInput, CannotDo
from limner.jobs.drawing import TRAINED
from limner.jobs.editing import METHODS
from limner.jobs.plots import Point, curves
from limner.jobs.sources import Told, open_source
from limner.metrics import Result
from limner.metrics.edits import EditSimilarity, Similarities, open_encoder
from limner.provenance import encode_picture
from limner.rng import derive
from limner.runs import read_json, write_bytes, write_json
from limner.system import to_uint8
from limner.systems.diffusion.instruct_pix2pix import InstructPix2Pix
from limner.systems.diffusion.prompt_to_prompt import Control
from limner.train import Source

AS_THEY_ARE = Preparation(resize=None, crop=None, flip=False)
AXES = "direction similarity of pictures and captions", "similarity of the pictures before and after"


@dataclass(frozen=True)
class Sweep:
    """How a method goes from keeping everything to obeying, or back.

    editor: of `limner.jobs.editing.METHODS`
    words: what the method is told
    option: what is swept, and from where to where; the same twice for a method that is as it is
    keywords: `(value, caption of the picture as it is) -> keywords of edit`
    """

    editor: str
    words: Literal["instruction", "caption"]
    option: str
    ends: tuple[float, float]
    keywords: Callable[[float, str], dict[str, Any]]

    def values(self, points: int) -> list[float]:
        low, high = self.ends
        if low == high:
            return [low]
        return [round(low + (high - low) * k / (points - 1), 6) for k in range(points)]


def _picture_guidance(value: float, caption: str) -> dict[str, Any]:
    return {"image_guidance": value}


def _strength(value: float, caption: str) -> dict[str, Any]:
    return {"strength": value}


def _period(value: float, caption: str) -> dict[str, Any]:
    return {"before": caption, "control": Control(cross=value), "inversion": "ddim"}


def _nothing(value: float, caption: str) -> dict[str, Any]:
    return {}


SWEEPS = {
    "instruct-pix2pix": Sweep("instruct-pix2pix", "instruction", "image guidance", (1.0, 2.2), _picture_guidance),
    "sdedit": Sweep("sdedit", "caption", "strength", (0.3, 0.9), _strength),
    "sdedit-instruction": Sweep("sdedit", "instruction", "strength", (0.3, 0.9), _strength),
    "prompt-to-prompt": Sweep("prompt-to-prompt", "caption", "period", (0.0, 1.0), _period),
    "prompt-to-prompt-instruction": Sweep("prompt-to-prompt", "instruction", "period", (0.0, 1.0), _period),
    "as-it-is": Sweep("instruct-pix2pix", "instruction", "", (0.0, 0.0), _nothing),
}
"""With 7 points, those of the published script (the first), and of as many even steps over the thesis' ranges.
`as-it-is` is a single point, for an editor without a strength."""


@dataclass(frozen=True)
class Curve:
    """A line of the plot: its name, the model, and a name of `SWEEPS`."""

    name: str
    model: str
    method: str

    @classmethod
    def read(cls, text: str) -> Curve:
        """NAME=MODEL or NAME=MODEL@METHOD."""
        name, equals, rest = text.partition("=")
        model, _, method = rest.rpartition("@") if "@" in rest else (rest, "", "instruct-pix2pix")
        if not equals or not name or not model or method not in SWEEPS:
            raise BadInput(f"--curve {text}: write NAME=MODEL or NAME=MODEL@METHOD, with one of {', '.join(SWEEPS)}.")
        return cls(name, model, method)


@dataclass(frozen=True)
class Order:
    """What is asked of `limner edits sweep`.

    data: edits with captions: a folder, or stickers:edits
    encoder: storybook or a CLIP
    count: edits for each point
    points: values of each sweep
    steps, guidance: of all methods alike
    seed: of the data's order; edit k is made from the noise of seed + k, at every point
    published_script: pictures reach the encoder in [-1, 1]
    pictures: a folder where edits are kept: what is there already, for another encoder, isn't made again
    """

    data: str
    curves: Sequence[Curve]
    encoder: str = "storybook"
    count: int = 200
    points: int = 7
    steps: int = 25
    guidance: float = 7.5
    seed: int = 0
    published_script: bool = False
    pictures: Path | None = None

    def __post_init__(self) -> None:
        if not self.curves:
            raise BadInput("There is nothing to sweep: --curve NAME=MODEL.")
        if len({curve.name for curve in self.curves}) < len(self.curves):
            raise BadInput("Two curves have the same name.")
        if self.count < 1 or self.points < 2:
            raise BadInput(f"A sweep has one edit or more and two points or more, not {self.count} and {self.points}.")

    def kept(self, curve: Curve, value: float, number: int) -> Path | None:
        """Where the picture of an edit is kept: by all that it depends on."""
        if self.pictures is None:
            return None
        way = (self.data, curve.model, curve.method, value, self.steps, self.guidance, self.seed)
        return self.pictures / f"{curve.method}-{derive(0, *map(str, way)):016x}" / f"{number:05d}.png"

    def settings(self) -> dict[str, Any]:
        """What numbers depend on, besides the curve and the value."""
        kept = ("data", "encoder", "steps", "guidance", "seed", "published_script")
        return {name: value for name, value in asdict(self).items() if name in kept}


Place = tuple[str, str, str, float, int]
"""Of a measured edit: curve, model, method, value, and the edit's number."""


def sweep(
    order: Order,
    out: Path,
    *,
    source: Source | None = None,
    told: Told = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure every curve, write `points.jsonl` and `plot.png`, and return the points by curve.

    source: the edits, where they aren't what `order.data` opens but only what it calls them
    """
    source = source or _held_out(order, told)
    total = min(order.count, len(source)) if isinstance(source, Folder) else order.count
    _same_settings(out, order)
    metric = EditSimilarity(open_encoder(order.encoder), published_script=order.published_script)
    known = _read(out / "edits.jsonl")
    everything = [(curve, value) for curve in order.curves for value in SWEEPS[curve.method].values(order.points)]
    done, every = 0, total * len(everything)
    points: dict[str, list[dict[str, Any]]] = {curve.name: [] for curve in order.curves}
    editors: dict[tuple[str, str], Any] = {}
    with (out / "edits.jsonl").open("a", encoding="utf-8") as file:
        for curve, value in everything:
            average = EditSimilarity(metric.encoder, published_script=order.published_script)
            for number in range(total):
                place = (curve.name, curve.model, curve.method, value, number)
                if place not in known:

                    def editor(key: tuple[str, str] = (curve.model, SWEEPS[curve.method].editor)) -> Any:
                        if key not in editors:
                            editors.clear()  # one at a time in memory
                            editors[key] = METHODS[key[1]](key[0])
                        return editors[key]

                    found = _measured(editor, source, curve, value, number, order, metric)
                    known[place] = found
                    file.write(json.dumps(dict(zip(PLACE, place, strict=True)) | found) + "\n")
                    file.flush()
                average.add({name: torch.tensor([known[place][name]]) for name in Similarities._fields})
                done += 1
                progress(done, every)
            points[curve.name].append(_point(curve, value, total, order, average.values()))
    lines = "".join(json.dumps(point) + "\n" for each in points.values() for point in each)
    write_bytes(out / "points.jsonl", lines.encode())
    write_bytes(out / "plot.png", _plot(points, order))
    return points


PLACE = ("curve", "model", "method", "value", "number")


def _measured(
    editor: Callable[[], Any],
    source: Source,
    curve: Curve,
    value: float,
    number: int,
    order: Order,
    metric: EditSimilarity,
) -> dict[str, float]:
    """The four similarities of one edit; the editor is opened where it has to be made."""
    batch = source.take([number])
    if not isinstance(batch, Edits):
        raise BadInput(f"{order.data} holds no pictures of edits, but {type(batch).__name__}.")
    before, after = batch.captions_before, batch.captions_after
    if not before[0] or not after[0]:
        raise BadInput(f"{order.data}: edit {number} has no captions, and similarities are of pictures and captions.")
    picture = to_uint8(batch.before)[0]
    file = order.kept(curve, value, number)
    if file is not None and file.is_file():
        made = decode.picture(read_file(file), str(file))
    else:
        made = _edited(editor(), picture, batch, curve, value, number, order)
        if file is not None:
            write_bytes(file, encode_picture(made, ".png", source_type=TRAINED, recipe=order.settings() | vars(curve)))
    found = metric.each(picture[None], made[None], before, after)
    return {name: each.item() for name, each in found._asdict().items()}


def _edited(
    editor: Any, picture: np.ndarray, batch: Edits, curve: Curve, value: float, number: int, order: Order
) -> np.ndarray:
    """uint8 (H, W, 3): what a method makes of a picture at one of its strengths."""
    way = SWEEPS[curve.method]
    words = batch.instructions[0] if way.words == "instruction" else batch.captions_after[0]
    takes = signature(editor.edit).parameters
    swept = way.keywords(value, batch.captions_before[0])
    if lacking := [name for name in swept if name not in takes]:
        raise CannotDo(f"{curve.model} takes no {lacking[0]} to edit: give {curve.name}={curve.model}@as-it-is.")
    alike = {name: value for name, value in (("steps", order.steps), ("guidance", order.guidance)) if name in takes}
    made: np.ndarray = editor.edit(picture, words, seed=order.seed + number, **alike, **swept).pictures[0]
    return made


def _point(curve: Curve, value: float, total: int, order: Order, results: Mapping[str, Result]) -> dict[str, Any]:
    """The published script's keys, with null for what isn't, and ours."""
    return {
        **{name: result.value for name, result in results.items()},
        "num_samples": total,
        "split": "test",
        "scale_txt": order.guidance,
        "scale_img": value if curve.method == "instruct-pix2pix" else None,
        "steps": order.steps,
        "seed": order.seed,
        "curve": curve.name,
        "model": curve.model,
        "method": curve.method,
        "option": SWEEPS[curve.method].option,
        "value": value,
        "errors": {name: result.error for name, result in results.items()},
        "protocol": next(iter(results.values())).protocol.partition(", ")[2],
    }


def _plot(points: Mapping[str, Sequence[Mapping[str, Any]]], order: Order) -> bytes:
    def place(point: Mapping[str, Any]) -> Point:
        errors = point["errors"]
        return Point(
            point["sim_direction"], point["sim_image"], errors["sim_direction"] or 0.0, errors["sim_image"] or 0.0
        )

    drawn: np.ndarray = curves({name: [place(point) for point in each] for name, each in points.items()}, *AXES)
    recipe = {"made by": "limner edits sweep", **order.settings(), "count": order.count}
    return encode_picture(drawn, ".png", source_type="algorithmicMedia", recipe=recipe)


def _held_out(order: Order, told: Told) -> Source:
    """The edits to measure on, whole pictures in an order of their own."""
    source = open_source(order.data, InstructPix2Pix, order.seed, told=told)
    if isinstance(source, Folder):  # at their own size: every editor has its own, and a square has no caption
        source.preparation = AS_THEY_ARE
    held_out: Source | None = source.held_out() if hasattr(source, "held_out") else None
    if held_out is not None:
        return held_out
    told(f"Nothing of {order.data} is held out (a val or test part): all of it is measured on.")
    return source


def _same_settings(out: Path, order: Order) -> None:
    """A folder holds numbers of one kind; curves and points may be added."""
    file = out / "sweep.json"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, order.settings())
    elif (theirs := read_json(file)) != order.settings():
        other = [name for name, value in order.settings().items() if theirs.get(name) != value]
        raise BadInput(f"{out} holds a sweep with another {', '.join(other)}: give the same, or another -o.")


def _read(file: Path) -> dict[Place, dict[str, float]]:
    """What is measured already. A line that was being written when the power went is left out."""
    found: dict[Place, dict[str, float]] = {}
    for line in _lines(file):
        try:
            row = json.loads(line)
            curve, model, method, value, number = (row[name] for name in PLACE)
            found[curve, model, method, value, number] = {name: float(row[name]) for name in Similarities._fields}
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _lines(file: Path) -> Iterator[str]:
    if file.exists():
        content = file.read_bytes()
        if content and not content.endswith(b"\n"):
            write_bytes(file, content[: content.rfind(b"\n") + 1])
        yield from content.decode("utf-8", "replace").splitlines()
