"""Edits as latents, encoded once for a whole training: `limner edits shard --latents` writes them, training reads them.

    latents.json               what encoded them, and the files
    latents-00000.safetensors  before, mean and logvar: float16 (pairs, 2, C, h, w); the second of two is of the
                               mirrored pictures
    latents-00000.jsonl        a line for each pair: prompt (the name of its folder), seed, caption, edit, output

At 256 x 256 pixels a pair takes 2 x 12 x 32 x 32 numbers: 48 kB, where its two pictures take 200 to 400.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from limner.data.files import read_file
from limner.data.kinds import EditLatents
from limner.data.layouts import SPLITS
from limner.errors import BadInput
from limner.rng import numpy_rng

INDEX = "latents.json"


class LatentFolder:
    """A folder of latents as training data: a prompt a sample, and of each prompt one of its pairs a draw.

    flip: whether every other draw is of the mirrored pictures
    """

    gives = EditLatents

    def __init__(self, path: Path, *, part: str = "", seed: int = 0, flip: bool = True) -> None:
        self.path, self.part, self.seed, self.flip = path, part, seed, flip
        try:
            self.index: dict[str, Any] = json.loads(read_file(path / INDEX))
            self.files = [str(name) for name in self.index["files"]]
            self.size = int(self.index["size"][0]), int(self.index["size"][1])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BadInput(f"{path / INDEX} is damaged: {error!r}. Write the latents again.") from error
        prompts: dict[str, list[tuple[str, int, str]]] = {}  # prompt -> file, row and instruction of its pairs
        for name in self.files:
            for row, line in enumerate(read_file(path / f"{name}.jsonl").decode("utf-8", "replace").splitlines()):
                try:
                    told = json.loads(line)
                    prompts.setdefault(str(told["prompt"]), []).append((name, row, str(told["edit"])))
                except (ValueError, KeyError, TypeError) as error:
                    raise BadInput(f"{path / name}.jsonl, line {row + 1} is damaged: {error!r}.") from error
        first, last = (int(share * len(prompts)) for share in SPLITS[part])
        ordered = [prompts[prompt] for prompt in sorted(prompts)]
        self.prompts = ordered[first : max(last, 1) if part == "" else last]
        if not self.prompts:
            raise BadInput(f"{path} holds {len(prompts)} prompts, too few for a part {part!r}.")

    def __len__(self) -> int:
        return len(self.prompts)

    def __str__(self) -> str:
        pairs = sum(map(len, self.prompts))
        return f"{self.path}: latents of {pairs:,} pairs of {len(self):,} prompts, by {self.index.get('model')}"

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """The size of the pictures that were encoded."""
        return {"size": self.size} if "size" in options else {}

    def held_out(self) -> LatentFolder | None:
        try:
            return LatentFolder(self.path, part="val", seed=self.seed, flip=self.flip)
        except BadInput:
            return None

    def take(self, numbers: Sequence[int]) -> EditLatents:
        rows = [self._row(number) for number in numbers]
        words, *tensors = zip(*rows, strict=True)
        before, mean, logvar = (torch.stack(part).float() for part in tensors)
        return EditLatents(before, words, mean, (0.5 * logvar).exp())

    def _row(self, number: int) -> tuple[str, torch.Tensor, torch.Tensor, torch.Tensor]:
        epoch, place = divmod(number, len(self.prompts))
        pairs = self.prompts[_order(self.seed, epoch, len(self.prompts))[place]]
        draw = numpy_rng(self.seed, "latents", number)
        file, row, words = pairs[int(draw.integers(len(pairs)))]
        mirrored = int(draw.integers(2)) if self.flip else 0
        tensors = _opened(str(self.path / f"{file}.safetensors"))
        try:
            before, mean, logvar = (tensors.get_slice(name)[row, mirrored] for name in ("before", "mean", "logvar"))
        except Exception as error:  # safetensors raises its own, and others
            raise BadInput(f"{self.path / file}.safetensors is damaged: {error}. Write the latents again.") from error
        return words, before, mean, logvar


@lru_cache(maxsize=512)
def _opened(path: str) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, "pt")  # mapped into memory: a row is read when it is asked for
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} can't be read: {error}. Write the latents again.") from error


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Any:
    return numpy_rng(seed, "epoch", epoch).permutation(count)
