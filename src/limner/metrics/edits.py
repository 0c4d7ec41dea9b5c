"""How well an edit obeys its words and keeps the rest: CLIP similarities of pictures, captions, and their changes.

Of a picture before and after an edit, and a caption of each (f pictures, g captions, unit vectors of one encoder):

    sim_0 = cos(f0, g0)    sim_1 = cos(f1, g1)    does each caption fit its picture?
    sim_direction = cos(f1 - f0, g1 - g0)         did the picture change as the words did? (Gal et al., 2022)
    sim_image = cos(f0, f1)                       how alike are the pictures?

Brooks et al. (2023) filter their data by all of them, and plot the last two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import BadInput
from limner.hub import load
from limner.metrics import Average, Metric, Result
from limner.published.clip import is_clip_folder, open_clip
from limner.system import from_uint8
from limner.systems.text.storybook import Storybook
from limner.systems.text.words import PAD
from limner.train import best_device

BATCH = 32


class Encoder(Protocol):
    """Pictures and words in one space. `limner.nn.clip.CLIP` is one."""

    @property
    def name(self) -> str:
        """What it is, for the protocol."""

    def pictures(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1], of any size -> unit vectors (B, D)."""

    def words(self, words: Sequence[str]) -> Tensor:
        """B texts -> unit vectors (B, D)."""


class Similarities(NamedTuple):
    """Cosines (N,), one for each edit, under their published names."""

    sim_0: Tensor
    sim_1: Tensor
    sim_direction: Tensor
    sim_image: Tensor


def similarities(f0: Tensor, f1: Tensor, g0: Tensor, g1: Tensor) -> Similarities:
    """From unit vectors (N, D) of both pictures and both captions. Where nothing changed, the direction counts 0."""
    return Similarities(
        F.cosine_similarity(f0, g0, eps=1e-8),
        F.cosine_similarity(f1, g1, eps=1e-8),
        F.cosine_similarity(f1 - f0, g1 - g0, eps=1e-8),
        F.cosine_similarity(f0, f1, eps=1e-8),
    )


class EditSimilarity(Metric):
    """Means of the four over edits, each with its standard error.

    published_script: pictures go to the encoder in [-1, 1], as the published sweep hands them to a function that is
    made for [0, 1]. Its numbers are other numbers; the published data filter has it right, and so has the default.
    """

    def __init__(self, encoder: Encoder, *, published_script: bool = False) -> None:
        self.encoder = encoder
        self.published_script = published_script
        self.averages = {name: Average() for name in Similarities._fields}

    @property
    def protocol(self) -> str:
        taken = "pictures in [-1, 1], as in the published script" if self.published_script else "pictures in [0, 1]"
        return f"{self.encoder.name}, {taken}, mean over edits"

    @torch.inference_mode()
    def each(
        self, before: np.ndarray, after: np.ndarray, captions_before: Sequence[str], captions_after: Sequence[str]
    ) -> Similarities:
        """The edits' own numbers. Pictures uint8 (N, H, W, 3); those after may be of another size than those before."""
        for pictures in (before, after):
            if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
                raise BadInput(
                    f"Edits are measured on uint8 pictures (N, H, W, 3), not {pictures.dtype} {pictures.shape}."
                )
        counts = len(before), len(after), len(captions_before), len(captions_after)
        if len(set(counts)) > 1:
            raise BadInput(f"Each edit has two pictures and two captions; these are {counts} of them.")
        found = []
        for i in range(0, len(before), BATCH):
            part = slice(i, i + BATCH)
            f0, f1 = (self.encoder.pictures(self._range(side[part])) for side in (before, after))
            g0, g1 = (self.encoder.words(side[part]) for side in (captions_before, captions_after))
            found.append(similarities(f0, f1, g0, g1))
        return Similarities(*(torch.cat(rows).double().cpu() for rows in zip(*found, strict=True)))

    def _range(self, pictures: np.ndarray) -> Tensor:
        scaled = from_uint8(pictures)
        return scaled if self.published_script else (scaled + 1) / 2

    def update(
        self, before: np.ndarray, after: np.ndarray, captions_before: Sequence[str], captions_after: Sequence[str]
    ) -> None:
        """Take in some edits; arguments as for `each`."""
        if len(before):
            self.add(self.each(before, after, captions_before, captions_after)._asdict())

    def add(self, numbers: Mapping[str, Tensor]) -> None:
        """Take in edits that are measured already, by the published names."""
        for name, average in self.averages.items():
            average.update(np.asarray(numbers[name], np.float64))

    def merge(self, other: Self) -> None:
        if self.protocol != other.protocol:
            raise BadInput(f"{self.protocol} and {other.protocol} can't be merged.")
        for name, average in self.averages.items():
            average.merge(other.averages[name])

    def values(self) -> dict[str, Result]:
        return {name: average.result(f"{name}, {self.protocol}") for name, average in self.averages.items()}


class StorybookEncoder:
    """The storybook's dual encoder: small, offline, and at home in the Sticker World only. Words that it doesn't know
    are nothing to it."""

    name = "the storybook's dual encoder"

    def __init__(self, storybook: Storybook) -> None:
        self.storybook = storybook.eval().requires_grad_(False)

    def pictures(self, pictures: Tensor) -> Tensor:
        """As `Encoder.pictures`, without gradients: it reads codes."""
        model = self.storybook
        size = [side * model.codec.factor for side in model.config.painter.grid]
        small = F.interpolate(2 * pictures.to(model.judge.sharpness.device) - 1, size=size, mode="area")
        return F.normalize(model.judge.picture(model.codec.encode(small).flatten(1), None), dim=-1)

    def words(self, words: Sequence[str]) -> Tensor:
        """As `Encoder.words`."""
        model = self.storybook
        tokens = model.tokenise(list(words)).to(model.judge.sharpness.device)
        return F.normalize(model.judge.text(tokens, tokens != PAD), dim=-1)


def open_encoder(where: str | Path = "storybook") -> Encoder:
    """CLIP, from OpenAI's archive or a folder of transformers, or the dual encoder of a storybook."""
    path = Path(where)
    if path.is_file() or (path.is_dir() and is_clip_folder(path)):
        return open_clip(path).to(best_device())
    model = load(str(where))
    if not isinstance(model, Storybook):
        raise BadInput(
            f"{where} is a {type(model).__name__}, which doesn't put pictures and words into one space. Give "
            "storybook, a folder of CLIP (config.json, weights, vocab.json, merges.txt), or OpenAI's ViT-B-32.pt."
        )
    return StorybookEncoder(model.to(best_device()))
