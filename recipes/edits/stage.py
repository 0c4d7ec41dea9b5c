"""The small stage of editing by instruction: twelve nouns in six places at three times of day, 128 x 72 pixels.

Everything is half the storybook's size and stands on its grid, so that a sticker covers whole cells of the latents, and
pictures can be read, twice enlarged, by the sticker reader and the storybook's dual encoder. About 3 % of the
combinations of nouns, place and time are held out: no part of the stage trains on them, and all is measured on them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from limner.data.kinds import Captioned, Edits, Latents, Pictures
from limner.edits.grammar import STORYBOOK_EDITS, Grammar
from limner.edits.triplets import Triplet, same
from limner.provenance import encode_picture
from limner.rng import derive, numpy_rng
from limner.runs import write_bytes, write_json
from limner.stickers.captions import caption
from limner.stickers.edits import EDITS, Edit, words
from limner.stickers.kinds import to_tensor
from limner.stickers.source import scattered, simplified
from limner.stickers.vocabulary import noun
from limner.stickers.world import (
    Draws,
    SceneTruth,
    combination_is_held_out,
    compose,
    render,
    times_of,
    zones,
)
from limner.system import from_uint8
from limner.systems.diffusion.autoencoder import KLAutoencoder

HEIGHT, WIDTH = 72, 128
NAMES = (
    "house", "tree", "elephant", "pig", "fox", "frog", "fire", "boat", "fish", "cloud", "sun", "rainbow",
)  # fmt: skip
NOUNS = tuple(noun(name) for name in NAMES)
PLACES = ("meadow", "beach", "snow", "town", "lake", "desert")
WORDS = tuple(word for word in words() if word.isalpha())  # of captions and instructions
TOKENS = 24


def scene(seed: int, number: int, *, held_out: bool = False) -> SceneTruth:
    """The stage's scene `number`, on the asked side of the split."""
    attempt = 0
    while True:
        truth = simplified(compose(seed, derive(seed, "stage", held_out, number, attempt), nouns=NOUNS))
        if truth.place in PLACES and combination_is_held_out(truth) == held_out:
            return truth
        attempt += 1


def crowd(seed: int, number: int, *, most: int = 5, together: int = 1) -> SceneTruth:
    """Up to `most` things anywhere on the training side; `together` neighbours have one place and one time."""
    chosen = numpy_rng(seed, "setting", number // together)
    place, time = PLACES[int(chosen.integers(len(PLACES)))], ("day", "dusk", "night")[int(chosen.integers(3))]
    local = [what for what in NOUNS if zones(what.name, place) and time in times_of(place, {what.name})]
    attempt = 0
    while True:
        draw = numpy_rng(seed, "crowd", number, attempt)
        things = scattered(draw, place, local, 1 + int(draw.integers(most)))
        truth = SceneTruth(place, time, "clear", "summer", "fluent", 0, things)
        if truth.things and not combination_is_held_out(truth):
            return truth
        attempt += 1


def drawn(truth: SceneTruth) -> np.ndarray:
    """(72, 128, 3) uint8."""
    return render(truth, WIDTH, HEIGHT)


# ------------------------------------------------------------------------------------------------ what is trained on


@dataclass(frozen=True)
class Views:
    """Every other one a scene, every other one a crowded place: what the autoencoder learns from."""

    seed: int = 0

    def take(self, numbers: Sequence[int]) -> Pictures:
        truths = [scene(self.seed, n) if n % 2 else crowd(self.seed, n, most=8) for n in numbers]
        return Pictures(to_tensor([drawn(truth) for truth in truths]))


def told(seed: int, number: int) -> tuple[SceneTruth, str]:
    """A scene for what learns words: every other one with its canonical caption, every other one in other words."""
    truth = scene(seed, number)
    return truth, caption(truth, derive(seed, "wording", number) if number % 2 else 0)


@dataclass(frozen=True)
class Lineups:
    """Captioned pictures of which eight neighbours show one place at one time, so that things have to be told apart."""

    seed: int = 0

    def take(self, numbers: Sequence[int]) -> Captioned:
        truths = [_lineup(self.seed, n) for n in numbers]
        wordings = (0 if n % 2 else derive(self.seed, "wording", n) for n in numbers)
        return Captioned(
            to_tensor([drawn(truth) for truth in truths]),
            tuple(caption(truth, wording) for truth, wording in zip(truths, wordings, strict=True)),
        )


@lru_cache(maxsize=1 << 16)
def _lineup(seed: int, number: int) -> SceneTruth:
    return crowd(seed, number, most=3, together=8)


class Encoded:
    """`count` captioned scenes as latents, written once by `encode`, over and over."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        held = load_file(folder / "scenes.safetensors")
        self.mean, self.std = held["mean"], held["std"]
        self.words = json.loads((folder / "captions.json").read_text())

    def take(self, numbers: Sequence[int]) -> Latents:
        count = len(self.words)
        order = [int(numpy_rng(0, "epoch order", n // count).permutation(count)[n % count]) for n in numbers]
        return Latents(self.mean[order].float(), self.std[order].float(), tuple(self.words[k] for k in order))


@torch.inference_mode()
def encode(autoencoder: KLAutoencoder, folder: Path, count: int, seed: int = 0) -> float:
    """Write the latents and captions of `count` scenes; returns the factor that gives latents unit variance."""
    means, stds, captions = [], [], []
    for number in range(count):
        truth, words = told(seed, number)
        posterior = autoencoder.network.encode(from_uint8(drawn(truth))[None], return_dict=False)[0]
        means.append(posterior.mean.half())
        stds.append(posterior.std.half())
        captions.append(words)
    folder.mkdir(parents=True, exist_ok=True)
    mean = torch.cat(means).contiguous()
    save_file({"mean": mean, "std": torch.cat(stds).contiguous()}, folder / "scenes.safetensors")
    write_json(folder / "captions.json", captions)
    scale = 1 / float(mean.float().std())
    write_json(folder / "scale.json", scale)
    return scale


# ------------------------------------------------------------------------------------------------------------- edits


@dataclass(frozen=True)
class Stage(Grammar):
    """The storybook's grammar on the stage's scenes."""

    def told(self, number: int) -> tuple[Edit, Triplet]:
        attempt = 0
        while True:
            index = derive(self.seed, "stage edit", self.held_out, number, attempt)
            attempt += 1
            draws = Draws(self.seed, "kind", index)
            kind = draws.pick(STORYBOOK_EDITS)
            change = EDITS[kind](scene(self.seed, index, held_out=self.held_out), draws, NOUNS)
            if change is None:
                continue
            before, instruction, after = simplified(change[0]), change[1], simplified(change[2])
            if not {before.place, after.place} <= set(PLACES):
                continue
            held_out = any(map(combination_is_held_out, (before, after)))
            captions = caption(before), caption(after)
            if held_out == self.held_out and not same(*captions):
                return Edit(kind, before, instruction, after), Triplet(captions[0], instruction, captions[1])


@lru_cache(maxsize=4096)
def held_out_edit(number: int, seed: int = 0) -> tuple[Edit, Triplet]:
    return Stage("storybook", seed, held_out=True).told(number)


@dataclass(frozen=True)
class HeldOut:
    """Edits that no training showed, pictures and captions: what curves are measured on."""

    seed: int = 0

    def take(self, numbers: Sequence[int]) -> Edits:
        found = [held_out_edit(n, self.seed) for n in numbers]
        before, after = (to_tensor([drawn(getattr(edit, side)) for edit, _ in found]) for side in ("before", "after"))
        triplets = [triplet for _, triplet in found]
        return Edits(
            before, tuple(t.edit for t in triplets), after, tuple(t.caption for t in triplets),
            tuple(t.output for t in triplets),
        )  # fmt: skip


def write_exact(root: Path, count: int, seed: int = 0) -> None:
    """The world's own pairs in the published layout: what the factory's would be if it made no mistakes."""
    for number in range(count):
        folder = root / f"{number:07d}"
        if (folder / "0_1.png").exists():
            continue
        edit, triplet = Stage("storybook", derive(seed, "exact")).told(number)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "prompt.json", vars(triplet))
        for which, truth in enumerate((edit.before, edit.after)):
            recipe = {"made by": "recipes/edits", "seed": seed, "number": number}
            content = encode_picture(drawn(truth), ".png", source_type="algorithmicMedia", recipe=recipe)
            write_bytes(folder / f"0_{which}.png", content)


def twice(pictures: np.ndarray) -> np.ndarray:
    """uint8 (N, 72, 128, 3) at the size that the sticker reader knows."""
    return pictures.repeat(2, 1).repeat(2, 2)
