"""Instructions one after the other on one picture: a tree of turns in a small folder, and pixels that stay.

A project folder is `turns.json` and what each turn made: `3.png`, and `3.safetensors`, what an editor sees of it. A
turn is made from another, which is mostly the last; undoing goes back to that one, and loses nothing.

    turns.json   {"current": 3, "turns": [{"number": 0, "from": null, ...}, {"number": 1, "from": 0, "words": ...}]}

Edits one after the other drift: every encoding and decoding, and every run of the sampler, changes a little what was
not asked for, and the next turn starts from that. Two things are done against it. Where a picture has hardly changed,
the pixels from before are pasted back (Emu Edit, Sheynin et al., 2024). And an editor's latent of the picture is kept
between turns, put together in the same way, so that what stays is neither decoded nor encoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as save_tensors
from torch import Tensor

from limner.data import decode
from limner.data.files import read_file
from limner.errors import BadInput
from limner.provenance import SourceType, encode_picture
from limner.runs import read_json, read_tensors, write_bytes, write_json
from limner.systems.diffusion.instruct_pix2pix import Edited
from limner.systems.diffusion.text2live import Layered

TURNS = "turns.json"
PATCHED: SourceType = "compositeWithTrainedAlgorithmicMedia"
HARDLY = 0.03  # of 1: the change of colours, averaged over a neighbourhood, below which a pixel stays


@dataclass(frozen=True)
class Turn:
    """One edit, and how it was made.

    number: 0 is the picture that the project began with
    start: the number of the turn that it was made from, None for 0
    words: the instruction
    recipe: model, seed and settings
    """

    number: int
    start: int | None
    words: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What a turn makes of a picture.

    latent: what the editor would see of it (1, C, h, w), if the editor tells
    layer: uint8 (H, W, 4), of an editor that paints a layer over the picture
    """

    picture: np.ndarray
    seed: int
    latent: Tensor | None
    score: float | None = None
    unknown: tuple[str, ...] = ()
    layer: np.ndarray | None = None


class Project:
    """A folder with a tree of turns. `Project.open` it, or `Project.begin` one with a picture."""

    def __init__(self, folder: Path, turns: Sequence[Turn], current: int) -> None:
        self.folder, self.turns, self.current = folder, list(turns), current

    @classmethod
    def begin(cls, folder: Path, picture: np.ndarray, name: str) -> Project:
        """A new project with one picture. BadInput if there is something in the folder."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise BadInput(f"{folder} is there already, and is no editing project. Choose another --project.")
        project = cls(folder, [Turn(0, None, "", {"picture": name})], 0)
        write_bytes(project.picture_file(0), encode_picture(picture, ".png", source_type=None))
        project._save()
        return project

    @classmethod
    def open(cls, folder: Path) -> Project:
        """The project in a folder. BadInput if there is none, or a damaged one."""
        if not (folder / TURNS).is_file():
            raise BadInput(f"{folder} is no editing project: limner edit PICTURE WORDS --project {folder} begins one.")
        content = read_json(folder / TURNS)
        try:
            turns = [Turn(int(t["number"]), t["from"], str(t["words"]), dict(t["recipe"])) for t in content["turns"]]
            project = cls(folder, turns, int(content["current"]))
            project.turn(project.current)
            assert [turn.number for turn in turns] == list(range(len(turns)))
            assert turns[0].start is None
            assert all(turn.start is not None and 0 <= turn.start < turn.number for turn in turns[1:])
        except (KeyError, TypeError, ValueError, AssertionError, BadInput):
            raise BadInput(f"{folder / TURNS} is damaged: it should hold the turns and the current one.") from None
        return project

    def picture_file(self, number: int) -> Path:
        return self.folder / f"{number}.png"

    def latent_file(self, number: int) -> Path:
        return self.folder / f"{number}.safetensors"

    def turn(self, number: int) -> Turn:
        if not 0 <= number < len(self.turns):
            raise BadInput(f"{self.folder} has no turn {number}; it has 0 to {len(self.turns) - 1}.")
        return self.turns[number]

    def picture(self, number: int) -> np.ndarray:
        """uint8 (H, W, 3)."""
        file = self.picture_file(number)
        return decode.picture(read_file(file), str(file))

    def latent(self, number: int, model: str) -> Tensor | None:
        """What this model would see of a turn's picture, if that is known."""
        file = self.latent_file(number)
        if self.turn(number).recipe.get("model") != model or not file.is_file():
            return None
        return read_tensors(file).get("latent")

    def add(self, start: int, words: str, recipe: Mapping[str, Any], made: Made) -> Turn:
        """A turn made from turn `start`; it is the current one from now on."""
        turn = Turn(len(self.turns), start, words, {**recipe, "seed": made.seed})
        told = {"words": words, "from": start, **turn.recipe}
        picture = encode_picture(made.picture, ".png", source_type=PATCHED, recipe=told, description=words)
        write_bytes(self.picture_file(turn.number), picture)
        if made.latent is not None:
            write_bytes(self.latent_file(turn.number), save_tensors({"latent": made.latent.cpu().contiguous()}))
        else:
            self.latent_file(turn.number).unlink(missing_ok=True)
        self.turns, self.current = [*self.turns, turn], turn.number
        self._save()
        return turn

    def undo(self) -> Turn:
        """Go back to what the current turn was made from. Nothing is removed."""
        start = self.turn(self.current).start
        if start is None:
            raise BadInput(f"{self.folder} is at its first picture: there is nothing to undo.")
        return self.go_to(start)

    def go_to(self, number: int) -> Turn:
        """Make another turn the current one."""
        turn = self.turn(number)
        self.current = number
        self._save()
        return turn

    def lines(self) -> list[str]:
        """The tree, a line for each turn; the current one is marked."""
        children: dict[int | None, list[Turn]] = {}
        for turn in self.turns:
            children.setdefault(turn.start, []).append(turn)
        told: list[str] = []
        waiting = [(turn, 0) for turn in children.get(None, [])]
        while waiting:
            turn, depth = waiting.pop(0)
            mark = "*" if turn.number == self.current else " "
            told.append(f"{mark} {'  ' * depth}{turn.number}  {turn.words or turn.recipe.get('picture', '')}")
            waiting[:0] = [(child, depth + 1) for child in children.get(turn.number, [])]
        return told

    def _save(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        turns = [{"number": t.number, "from": t.start, "words": t.words, "recipe": dict(t.recipe)} for t in self.turns]
        write_json(self.folder / TURNS, {"current": self.current, "turns": turns})


def take_turn(
    edit: Callable[..., Any], picture: np.ndarray, words: str, latent: Tensor | None = None, *, paste: bool = True,
    **settings: Any,
) -> list[Made]:  # fmt: skip
    """Edits of a picture, with what has hardly changed as it was, in pixels and in the editor's latent.

    edit: the method of `limner.system.Edits`
    latent: what the editor sees of the picture, from the turn that made it
    paste: False leaves everything as the editor made it
    settings: of `edit`
    """
    given = {} if latent is None else {"latent": latent}
    drawn = edit(picture, words, **settings, **given)
    made = []
    for place, (after, seed) in enumerate(zip(drawn.pictures, drawn.seeds, strict=True)):
        changed = changes(picture, after) if paste else np.ones(picture.shape[:2], bool)
        kept = None
        if isinstance(drawn, Edited):
            kept = drawn.latents[place : place + 1]
            kept = torch.where(cells(changed, kept.shape[2:]).to(kept.device), kept, drawn.seen)
        pasted = np.where(changed[..., None], after, picture)
        score = None if drawn.scores is None else drawn.scores[place]
        layer = drawn.layers[place] if isinstance(drawn, Layered) else None
        made.append(Made(pasted, seed, kept, score, drawn.unknown, layer))
    return made


def changes(before: np.ndarray, after: np.ndarray, hardly: float = HARDLY) -> np.ndarray:
    """Where a picture has changed: bool (H, W), of two pictures uint8 (H, W, 3).

    The change of the colours, smoothed, is above a threshold; specks are taken away, holes filled, and a rim is left
    around what remains, since a change fades out at its edge.
    """
    difference = torch.from_numpy(np.abs(after.astype(np.float32) - before.astype(np.float32)).mean(2) / 255)[
        None, None
    ]
    radius = max(1, round(min(before.shape[:2]) / 128))
    mask = (_smoothed(difference, 2 * radius) > hardly).float()
    speck, hole = 2 * radius + 1, 2 * radius  # a speck is what a single pixel is smoothed to
    mask = _grown(-_grown(-mask, speck), speck)
    mask = -_grown(-_grown(mask, hole), hole)
    grown: np.ndarray = (_grown(mask, radius)[0, 0] > 0).numpy()
    return grown


def cells(changed: np.ndarray, grid: Sequence[int]) -> Tensor:
    """The cells of a latent (1, 1, h, w) in which a pixel has changed, bool."""
    return F.adaptive_max_pool2d(torch.from_numpy(changed)[None, None].float(), tuple(grid)) > 0


def drift(
    edit: Callable[..., Any], picture: np.ndarray, instructions: Sequence[str], *, paste: bool, keep: bool,
    seed: int = 0, **settings: Any,
) -> list[float]:  # fmt: skip
    """How far a picture drifts over turns that should leave it, or most of it, alone: after each, the mean absolute
    difference from the first picture, in grey levels of 255.

    paste: with what has hardly changed pasted back
    keep: with the editor's latent kept between turns
    """
    now, latent, found = picture, None, []
    for turn, words in enumerate(instructions):
        (made,) = take_turn(edit, now, words, latent if keep else None, paste=paste, seed=seed + turn, **settings)
        now, latent = made.picture, made.latent
        found.append(float(np.abs(now.astype(np.float64) - picture).mean()))
    return found


def _grown(mask: Tensor, radius: int) -> Tensor:
    """The largest value in a square around each place, rows first and then columns."""
    return F.max_pool2d(F.max_pool2d(mask, (2 * radius + 1, 1), 1, (radius, 0)), (1, 2 * radius + 1), 1, (0, radius))


def _smoothed(values: Tensor, radius: int) -> Tensor:
    """The mean of a square around each place, of what there is of it at the border."""
    rows = F.avg_pool2d(values, (2 * radius + 1, 1), 1, (radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, 2 * radius + 1), 1, (0, radius), count_include_pad=False)
