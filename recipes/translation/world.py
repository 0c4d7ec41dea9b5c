"""The small stage of the translation recipes: tasks of 64 x 64 pixels with exact truth, their baselines and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner.data.kinds import Batch, Labelled, Masked, Paired, Unpaired
from limner.hub import load
from limner.metrics.segmentation import SegmentationScores
from limner.rng import derive, numpy_rng
from limner.runs import Run
from limner.stickers.kinds import StickerData, colour_labels, scene, to_tensor
from limner.stickers.vocabulary import noun
from limner.stickers.world import render
from limner.system import to_uint8
from limner.systems.segmenter import Segmenter
from limner.train import Options, Trainer

SIDE = 64
NOUNS = tuple(
    map(noun, ("fox", "cat", "pig", "frog", "owl", "tree", "house", "ship", "car", "balloon", "mushroom", "crown"))
)
TEST = 128  # held-out samples that everything is scored on
Score = Mapping[str, float]


@dataclass(frozen=True)
class Question:
    """What a model is given, and the truth that it should come to."""

    given: np.ndarray  # uint8 (N, H, W, 3), or class numbers (N, H, W)
    truth: np.ndarray  # uint8 (N, H, W, 3)
    beside: Mapping[str, Any]  # further arguments of `translate`


class Task:
    """One kind of translation. `take` is its training data."""

    measures: tuple[str, ...] = ("PSNR, dB",)

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def take(self, numbers: Sequence[int]) -> Batch:
        raise NotImplementedError

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        raise NotImplementedError

    def baselines(self) -> dict[str, np.ndarray]:
        raise NotImplementedError

    @cached_property
    def test(self) -> Question:
        return self.question(range(TEST))

    def score(self, made: np.ndarray) -> Score:
        return {"PSNR, dB": psnr(((made.astype(float) - self.test.truth) ** 2).mean((1, 2, 3)))}

    def answered(self, model: Any, seed: int = 0) -> np.ndarray:
        """What a model makes of the test's question."""
        return np.asarray(model.translate(self.test.given, **self.test.beside))

    def nearest(self, many: int = 1000) -> np.ndarray:
        """For each question, the truth of the training question that looks most like it."""
        known = self.question(range(many), held_out=False)
        a, b = (q.given.reshape(len(q.given), -1).astype(np.float32) / 255 for q in (self.test, known))
        apart = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
        return known.truth[apart.argmin(1)]


def psnr(squares: np.ndarray) -> float:
    """Mean over pictures, from their mean squared errors; no picture counts for more than 48 dB (an error of 1)."""
    return float((10 * np.log10(255**2 / np.maximum(squares, 1))).mean())


def stickers(kind: str, seed: int, split: str, **more: Any) -> StickerData:
    return StickerData(kind, SIDE, SIDE, seed, split, nouns=NOUNS, **more)  # type: ignore[arg-type]


class Lines(Task):
    """Line drawing -> colours."""

    def take(self, numbers: Sequence[int]) -> Paired:
        found = stickers("paired", self.seed, "train", pairing="lines").take(numbers)
        assert isinstance(found, Paired)
        return found

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        data = stickers("paired", self.seed, "held-out" if held_out else "train", pairing="lines")
        batch = data.take(numbers)
        assert isinstance(batch, Paired)
        return Question(to_uint8(batch.source), to_uint8(batch.target), {})

    def baselines(self) -> dict[str, np.ndarray]:
        return {"the line drawing as it is": self.test.given, "nearest of 1,000 training pairs": self.nearest()}


class Labels(Task):
    """Label map -> scene, judged by a segmenter that was trained on real scenes (the FCN-score)."""

    measures = ("per-pixel", "per-class", "IoU", "PSNR, dB")

    def batch(self, numbers: Sequence[int], split: str) -> Labelled:
        found = stickers("labelled", self.seed, split).take(numbers)
        assert isinstance(found, Labelled)
        return found

    def take(self, numbers: Sequence[int]) -> Batch:
        return self.batch(numbers, "train")

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        batch = self.batch(numbers, "held-out" if held_out else "train")
        return Question(batch.classes.numpy(), to_uint8(batch.pictures), {"instances": batch.instances.numpy()})

    def decides(self, options: Sequence[str]) -> dict[str, Any]:
        return {"classes": len(stickers("labelled", 0, "train").classes)}

    def score(self, made: np.ndarray) -> Score:
        scores = SegmentationScores(self.decides(())["classes"], absent="skip")
        scores.update(segmenter().segment(made), self.labels)
        found = scores.values()
        return {"per-pixel": 100 * found["per-pixel"].value, "per-class": 100 * found["per-class"].value,
                "IoU": 100 * found["iou"].value} | super().score(made)  # fmt: skip

    @cached_property
    def labels(self) -> np.ndarray:
        return self.batch(range(TEST), "held-out").classes.numpy()

    def nearest(self, many: int = 1000) -> np.ndarray:
        known = self.question(range(many), held_out=False)
        asked = self.batch(range(TEST), "held-out").classes.numpy()
        found = self.batch(range(many), "train").classes.numpy()
        return known.truth[[int((found == one).mean((1, 2)).argmax()) for one in asked]]

    def baselines(self) -> dict[str, np.ndarray]:
        known = self.batch(range(300), "train")
        shown, classes = to_uint8(known.pictures), known.classes.numpy()
        mean = np.array([shown[classes == k].mean(0) if (classes == k).any() else (128,) * 3
                         for k in range(self.decides(())["classes"])])  # fmt: skip
        return {
            "each class in its mean colour": mean[self.labels].round().astype(np.uint8),
            "nearest of 1,000 training maps": self.nearest(),
            "real scenes (the ceiling)": self.test.truth,
        }


class PaintedLabels(Labels):
    """The same with label maps in false colours, for systems that translate pictures."""

    def take(self, numbers: Sequence[int]) -> Batch:
        batch = self.batch(numbers, "train")
        return Paired(to_tensor(list(colour_labels(batch.classes.numpy()))), batch.pictures)

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        batch = self.batch(numbers, "held-out" if held_out else "train")
        return Question(colour_labels(batch.classes.numpy()), to_uint8(batch.pictures), {})


class Styles(Task):
    """Fluent's flat style -> Noto's shaded one, learned without pairs; the same scene in Noto's style is the truth."""

    def take(self, numbers: Sequence[int]) -> Unpaired:
        found = stickers("unpaired", self.seed, "train").take(numbers)
        assert isinstance(found, Unpaired)
        return found

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        split = "held-out" if held_out else "train"
        truths = [
            scene(self.seed, derive(self.seed, "style", n), SIDE, SIDE, nouns=NOUNS, split=split) for n in numbers
        ]
        given, wanted = (np.stack([render(t, SIDE, SIDE, style=style) for t in truths]) for style in ("fluent", "noto"))
        return Question(given, wanted, {})

    def baselines(self) -> dict[str, np.ndarray]:
        return {"the picture as it is": self.test.given}


class Holes(Task):
    """A scene with a hole -> the whole scene. Scored inside the holes alone."""

    measures = ("PSNR in the hole, dB",)

    def scenes(self, numbers: Sequence[int], split: str) -> np.ndarray:
        truths = [scene(self.seed, derive(self.seed, "hole", n), SIDE, SIDE, nouns=NOUNS, split=split) for n in numbers]
        return np.stack([render(truth, SIDE, SIDE) for truth in truths])

    def masks(self, numbers: Sequence[int]) -> np.ndarray:
        """Two rectangles each, an eighth to a half a side: bool (N, H, W)."""
        found = np.zeros((len(numbers), SIDE, SIDE), bool)
        for mask, number in zip(found, numbers, strict=True):
            draw = numpy_rng(self.seed, "mask", number)
            for _ in range(2):
                height, width = draw.integers(SIDE // 8, SIDE // 2, 2)
                y, x = draw.integers(0, SIDE - height), draw.integers(0, SIDE - width)
                mask[y : y + height, x : x + width] = True
        return found

    def take(self, numbers: Sequence[int]) -> Masked:
        pictures = to_tensor(list(self.scenes(numbers, "train")))
        return Masked(pictures, torch.from_numpy(self.masks(numbers))[:, None])

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        whole, masks = self.scenes(numbers, "held-out" if held_out else "train"), self.masks(numbers)
        return Question(np.where(masks[..., None], 127, whole).astype(np.uint8), whole, {"mask": masks})

    def score(self, made: np.ndarray) -> Score:
        where = self.test.beside["mask"]
        error = ((made.astype(float) - self.test.truth) ** 2).mean(-1)
        return {self.measures[0]: psnr(np.array([error[k][where[k]].mean() for k in range(len(error))]))}

    def baselines(self) -> dict[str, np.ndarray]:
        given, where = self.test.given, self.test.beside["mask"]
        mean, row = given.copy(), given.copy()
        for picture, mask in zip(mean, where, strict=True):
            picture[mask] = picture[~mask].mean(0)
        for picture, mask in zip(row, where, strict=True):
            for y in np.flatnonzero(mask.any(1)):
                known = picture[y][~mask[y]]
                picture[y][mask[y]] = np.median(known, 0) if len(known) else picture[~mask].mean(0)
        return {"the visible pixels' mean colour": mean, "each row's median colour": row}


@cache
def segmenter(steps: int = 1200) -> Segmenter:
    """Trained once on real scenes with their labels, and kept beside the other runs."""
    path = Path("runs/translation/segmenter")
    classes = Labels().decides(())["classes"]
    model = Segmenter(Segmenter.Config(classes=classes, width=24, steps=steps))
    Trainer("segmenter", model, Labels(1), Run(path), Options(steps=steps, batch=16, sample=0)).fit()
    found = load(path)
    assert isinstance(found, Segmenter)
    return found


TASKS: dict[str, Callable[[int], Task]] = {
    "lines": Lines, "labels": Labels, "painted labels": PaintedLabels, "styles": Styles, "holes": Holes,
}  # fmt: skip
