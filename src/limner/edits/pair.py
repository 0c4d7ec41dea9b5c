"""Triplets -> pairs of pictures, scored. The unit of work is a triplet, a function of (job seed, index).

    ROOT/job.json                    what the units are made with; the same command again goes on
    ROOT/0000123/prompt.json         the triplet of line 123, from 0
    ROOT/0000123/<seed>_0.jpg        before; _1: after
    ROOT/0000123/metadata.jsonl      a line for every pair that was chosen
    ROOT/0000123/scores.jsonl        a line for every pair that was drawn: other thresholds can choose among them
    ROOT/0000123/done                the unit is whole
    ROOT/seeds.json                  [[folder, [seed, ...]], ...] of what was chosen

All but `scores.jsonl`, `done` and `job.json` is the published layout. A unit is made under a temporary name and
renamed, so that whatever is killed loses what it was doing and nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from limner.data.files import read_file
from limner.edits.filters import Filter, Sample
from limner.edits.triplets import Triplet, read_triplets, triplet_of
from limner.errors import BadInput, CannotDo
from limner.hub import load
from limner.metrics.edits import Encoder, open_encoder, similarities
from limner.provenance import encode_picture
from limner.rng import derive
from limner.runs import explained, write_bytes, write_json
from limner.systems.diffusion.pairs import injected_of
from limner.train import best_device

DONE, SCORES, CHOSEN, PROMPT = "done", "scores.jsonl", "metadata.jsonl", "prompt.json"


class Draftsman(Protocol):
    """Draws both pictures of caption pairs."""

    def pairs(
        self, before: str, after: str, seeds: Sequence[int], injected: Sequence[float], guidance: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Pictures (k, 3, H, W) in [-1, 1] of both captions, one pair a seed: alike where the captions are."""
        ...

    def guidance(self, seed: int, bounds: tuple[float, float] | None) -> float:
        """The guidance that a seed draws between two numbers, the model's usual ones where there are none."""
        ...


class Diffusion:
    """A latent diffusion model with shared noise and injected self-attention, as published."""

    def __init__(self, model: Any, steps: int, size: tuple[int, int] | None) -> None:
        self.model, self.steps, self.size = model, steps, size

    def pairs(
        self, before: str, after: str, seeds: Sequence[int], injected: Sequence[float], guidance: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        from limner.systems.diffusion.pairs import draw_pairs

        made = draw_pairs(
            self.model, before, after, seeds, injected=injected, guidance=guidance, steps=self.steps, size=self.size
        )
        return made.before, made.after

    def guidance(self, seed: int, bounds: tuple[float, float] | None) -> float:
        from limner.systems.diffusion.pairs import GUIDANCE, guidance_of

        return guidance_of(seed, bounds or GUIDANCE)


class Planned:
    """A storybook with shared chances and lent places."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def pairs(
        self, before: str, after: str, seeds: Sequence[int], injected: Sequence[float], guidance: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        from limner.systems.text.plan_pairs import draw_plan_pairs

        return draw_plan_pairs(self.model, before, after, seeds, injected, guidance)

    def guidance(self, seed: int, bounds: tuple[float, float] | None) -> float:
        from limner.systems.text.plan_pairs import GUIDANCE, guidance_of

        return guidance_of(seed, bounds or GUIDANCE)


@dataclass(frozen=True)
class Recipe:
    """What the samples of all units are functions of, beside their triplets and seeds. Saved with the job."""

    seed: int = 0
    samples: int = 100  # of a triplet
    model: str = "storybook"
    encoder: str = "storybook"
    steps: int = 100
    size: tuple[int, int] | None = None  # height and width; None for the model's own
    together: int = 4  # samples that are drawn in one batch
    precision: Literal["fp32", "bf16"] = "fp32"
    guidance: tuple[float, float] | None = None  # between which a sample draws its own; None for the model's usual ones

    def __post_init__(self) -> None:
        if min(self.samples, self.steps, self.together) < 1:
            raise BadInput("--samples, --steps and --together are at least 1.")
        if self.guidance is not None and not 0 <= self.guidance[0] <= self.guidance[1]:
            raise BadInput(f"--guidance {self.guidance[0]:g} {self.guidance[1]:g}: the least of it, then the most.")

    def seeds(self, index: int) -> list[int]:
        """The seeds of a unit's samples: 32 bits each, none twice."""
        found: dict[int, None] = {}
        number = 0
        while len(found) < self.samples:
            found[derive(self.seed, "pair", index, number) >> 31] = None
            number += 1
        return list(found)


class Studio:
    """What draws and scores the units of a recipe: its models, opened once a process."""

    def __init__(self, recipe: Recipe) -> None:
        from limner.systems.diffusion.latent import LatentDiffusion
        from limner.systems.text.storybook import Storybook

        self.recipe = recipe
        model = load(recipe.model).to(best_device()).eval()
        self.draftsman: Draftsman
        if isinstance(model, LatentDiffusion):
            self.draftsman = Diffusion(model, recipe.steps, recipe.size)
        elif isinstance(model, Storybook):
            self.draftsman = Planned(model)
        else:
            raise CannotDo(
                f"{recipe.model} is a {type(model).__name__}, which can't draw pairs of pictures from words: give "
                "storybook, or a latent diffusion model."
            )
        self.encoder: Encoder = open_encoder(recipe.encoder)

    @torch.inference_mode()
    def draw(
        self, triplet: Triplet, seeds: Sequence[int]
    ) -> tuple[list[Sample], dict[int, tuple[np.ndarray, np.ndarray]]]:
        """The samples of these seeds, and both pictures of each, uint8 (H, W, 3), by seed."""
        injected = [injected_of(seed) for seed in seeds]
        guidance = [self.draftsman.guidance(seed, self.recipe.guidance) for seed in seeds]
        autocast: Any = nullcontext()
        if self.recipe.precision == "bf16":
            autocast = torch.autocast(best_device().type, torch.bfloat16)
        with autocast:
            before, after = self.draftsman.pairs(triplet.caption, triplet.output, seeds, injected, guidance)
        # published: the encoder sees the pictures as floats in [0, 1], before they are files
        whole = [((half.float() + 1) / 2).clamp(0, 1) for half in (before, after)]
        f0, f1 = (self.encoder.pictures(half) for half in whole)
        g0, g1 = self.encoder.words([triplet.caption, triplet.output])[:, None].expand(-1, len(seeds), -1)
        sim_0, sim_1, direction, image = (s.double().tolist() for s in similarities(f0, f1, g0, g1))
        samples = [Sample(*row) for row in zip(seeds, injected, guidance, sim_0, sim_1, direction, image, strict=True)]
        # and what is saved is cut off, not rounded
        shown = [(half * 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy() for half in whole]
        return samples, {seed: (shown[0][at], shown[1][at]) for at, seed in enumerate(seeds)}


@dataclass(frozen=True)
class Report:
    """Of one unit. drawn: pairs that were drawn now; chosen: pairs that are kept of all"""

    index: int
    drawn: int
    chosen: int


@dataclass(frozen=True)
class Pairing:
    """The job as every process has it. `open` gives the function that makes unit after unit."""

    triplets: Path
    root: Path
    recipe: Recipe
    chosen_by: Filter

    def open(self) -> Callable[[int], Report]:
        triplets, studio = read_triplets(self.triplets, told=lambda complaint: None), Studio(self.recipe)
        return lambda index: unit(index, triplets[index], self.root, self.recipe, self.chosen_by, studio)


def folder_of(root: Path, index: int) -> Path:
    return root / f"{index:07d}"


def unit(index: int, triplet: Triplet, root: Path, recipe: Recipe, chosen_by: Filter, studio: Studio) -> Report:
    """Make a unit that isn't there, or draw what pictures it lacks of those that the filter chooses."""
    folder = folder_of(root, index)
    if (folder / DONE).exists():
        return _completed(index, triplet, folder, recipe, chosen_by, studio)
    for stale in root.glob(f".{folder.name}.*"):
        if not _alive(stale.suffix[1:]):
            shutil.rmtree(stale, ignore_errors=True)
    seeds = recipe.seeds(index)
    samples: list[Sample] = []
    pictures: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for first in range(0, len(seeds), recipe.together):
        drawn, shown = studio.draw(triplet, seeds[first : first + recipe.together])
        samples += drawn
        pictures |= shown
        pictures = {sample.seed: pictures[sample.seed] for sample in chosen_by.chosen(samples)}
    chosen = chosen_by.chosen(samples)
    temporary = root / f".{folder.name}.{os.getpid()}"
    with explained(folder, sum(half.nbytes for pair in pictures.values() for half in pair)):
        try:
            temporary.mkdir(parents=True)
            write_json(temporary / PROMPT, asdict(triplet))
            write_lines(temporary / SCORES, samples)
            write_lines(temporary / CHOSEN, chosen)
            for sample in chosen:
                _save(temporary, triplet, sample, recipe, *pictures[sample.seed])
            write_bytes(temporary / DONE, b"")
            try:
                os.rename(temporary, folder)
            except OSError:
                if not (folder / DONE).exists():  # not made by another process meanwhile, which is the same
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Report(index, len(seeds), len(chosen))


def _completed(index: int, triplet: Triplet, folder: Path, recipe: Recipe, chosen_by: Filter, studio: Studio) -> Report:
    made_of = read_prompt(folder)
    if (made_of.caption, made_of.output) != (triplet.caption, triplet.output):
        raise BadInput(
            f"{folder} was made from another triplet ({made_of.caption!r} -> {made_of.output!r}): the file of triplets "
            "has changed. Choose another --out, or append to the file only."
        )
    samples = read_samples(folder / SCORES)
    chosen = chosen_by.chosen(samples)
    lacking = {sample.seed for sample in chosen if not has_pictures(folder, sample)}
    seeds, drawn = recipe.seeds(index), 0
    for first in range(0, len(seeds), recipe.together):  # whole batches, so that every bit is as it was
        batch = seeds[first : first + recipe.together]
        if lacking & set(batch):
            again, pictures = studio.draw(triplet, batch)
            drawn += len(batch)
            for sample in again:
                if sample.seed in lacking:
                    _save(folder, triplet, sample, recipe, *pictures[sample.seed])
    write_lines(folder / CHOSEN, chosen)
    return Report(index, drawn, len(chosen))


def needed(indices: Iterable[int], root: Path, chosen_by: Filter) -> list[int]:
    """The units among these that aren't made, or lack pictures of what the filter chooses."""

    def whole(folder: Path) -> bool:
        if not (folder / DONE).exists():
            return False
        chosen = chosen_by.chosen(read_samples(folder / SCORES))
        listed = {sample.seed for sample in read_samples(folder / CHOSEN)}
        return listed == {s.seed for s in chosen} and all(has_pictures(folder, sample) for sample in chosen)

    return [index for index in indices if not whole(folder_of(root, index))]


def claim(root: Path, recipe: Recipe) -> None:
    """Leave the recipe in an empty folder; in one that has it already it must be the same."""
    note = root / "job.json"
    mine = json.loads(json.dumps(asdict(recipe)))
    if note.is_file():
        try:
            theirs = json.loads(note.read_bytes())
        except ValueError as error:
            raise BadInput(f"{note} is damaged: {error}. Choose another --out.") from error
        if isinstance(theirs, dict):
            theirs = json.loads(json.dumps(asdict(Recipe()))) | theirs  # of before there was an option
        if theirs != mine:
            changed = [key for key in mine if not isinstance(theirs, dict) or theirs.get(key) != mine[key]]
            raise BadInput(
                f"{root} was begun with other options ({', '.join(changed)}: see {note}). Use the same ones to go on, "
                "or choose another --out."
            )
    elif root.exists() and any(root.iterdir()):
        raise BadInput(f"{root} is not empty, and holds no pairs that limner edits pair made. Choose another --out.")
    else:
        write_json(note, mine)


def _save(
    folder: Path, triplet: Triplet, sample: Sample, recipe: Recipe, before: np.ndarray, after: np.ndarray
) -> None:
    for which, picture, words in ((0, before, triplet.caption), (1, after, triplet.output)):
        made = {"words": words, "model": recipe.model, "seed": sample.seed, "pair": [triplet.caption, triplet.output]}
        made |= {"injected": sample.p2p_threshold, "guidance": sample.cfg_scale}
        content = encode_picture(
            picture, ".jpg", source_type="trainedAlgorithmicMedia", recipe=made, description=words, quality=100
        )
        write_bytes(folder / f"{sample.seed}_{which}.jpg", content)


def has_pictures(folder: Path, sample: Sample) -> bool:
    return all((folder / f"{sample.seed}_{which}.jpg").is_file() for which in (0, 1))


def write_lines(path: Path, samples: Sequence[Sample]) -> None:
    write_bytes(path, "".join(json.dumps(asdict(sample)) + "\n" for sample in samples).encode())


def read_samples(path: Path) -> list[Sample]:
    names = [field.name for field in fields(Sample)]
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        return [Sample(int(row["seed"]), *(float(row[name]) for name in names[1:])) for row in rows]
    except FileNotFoundError:
        raise BadInput(f"{path} is missing: {path.parent} holds no pairs, or was made by another program.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is damaged: {error!r}. Delete {path.parent} and make the unit again.") from error


def read_prompt(folder: Path) -> Triplet:
    """The triplet of a unit's folder, in whatever way the JSON is laid out."""
    try:
        found = triplet_of(json.loads(read_file(folder / PROMPT)))
    except (ValueError, RecursionError):
        found = None
    if found is None:
        raise BadInput(f"{folder / PROMPT} should be a JSON object with caption, edit and output.")
    return found


def _alive(process: str) -> bool:
    """Whether a process of this number runs here."""
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True
