"""The small stage of the translation recipes: tasks of 64 x 64 pixels with exact truth, their baselines and scores."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter

from limner.data.kinds import Batch, Captioned, Labelled, Masked, Paired, Transferred, Unpaired
from limner.hub import load
from limner.metrics.features import StickerNetwork
from limner.metrics.frechet import FrechetDistance
from limner.metrics.neighbours import Neighbours
from limner.metrics.segmentation import SegmentationScores
from limner.nn import init
from limner.rng import Rng, derive, numpy_rng
from limner.runs import Run, read_checkpoint
from limner.stickers.kinds import StickerData, class_names, colour_labels, plain, scene, to_tensor
from limner.stickers.sprites import PLAIN, blend, sticker
from limner.stickers.vocabulary import noun
from limner.stickers.world import ROWS, SceneTruth, Thing, render, render_labels, times_of
from limner.system import Game, Player, System, adamw, from_uint8, to_uint8, waning
from limner.systems.segmenter import Segmenter
from limner.systems.translation import adain
from limner.train import Options, Trainer, load_weights

RUNS = Path(os.environ.get("RUNS", "runs")) / "translation"  # trained models and what they reached
SIDE = 64
NOUNS = tuple(
    map(noun, ("fox", "cat", "pig", "frog", "owl", "tree", "house", "ship", "car", "balloon", "mushroom", "crown"))
)
STYLE = 0.2  # what style weighs against content, for AdaIN
TEST = 128  # held-out samples that everything is scored on
VALIDATION = 10_000  # the number of the first of as many others, which recipes are tuned on
ANSWERS = 8  # to one question, where there are many
Score = Mapping[str, float]


@dataclass(frozen=True)
class Question:
    """What a model is given, and the truth that it should come to."""

    given: np.ndarray  # uint8 (N, H, W, 3), or class numbers (N, H, W)
    truth: np.ndarray  # uint8 (N, H, W, 3)
    beside: Mapping[str, Any]  # further arguments of `translate`


class Task:
    """One kind of translation. `take` is its training data; what is asked is held out of them, and there are two sets
    of questions: the test's, which results are of, and those to `validate` a recipe's options by."""

    measures: tuple[str, ...] = ("PSNR, dB",)
    decisive = 0  # which of them says what is better
    lower = False  # whether less of it is

    def __init__(self, seed: int = 0, *, validate: bool = False) -> None:
        self.seed = seed
        first = VALIDATION if validate else 0
        self.asked = range(first, first + TEST)  # the held-out numbers

    def take(self, numbers: Sequence[int]) -> Batch:
        raise NotImplementedError

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        raise NotImplementedError

    def baselines(self) -> dict[str, np.ndarray]:
        """What can be had without training, by its name."""
        raise NotImplementedError

    @cached_property
    def test(self) -> Question:
        return self.question(self.asked)

    def score(self, made: np.ndarray) -> Score:
        return {"PSNR, dB": psnr(((made.astype(float) - self.test.truth) ** 2).mean((1, 2, 3)))}

    def prepare(self, system: Any) -> None:
        """What a system is given before it is trained."""

    def answered(self, model: Any) -> np.ndarray:
        """What a model makes of the test's question."""
        return np.asarray(model.translate(self.test.given, **self.test.beside))

    def reached(self, model: Any) -> tuple[np.ndarray, Score]:
        """What a model makes of the test's question, and its scores."""
        made = self.answered(model)
        return made, self.score(made)

    def baseline_scores(self) -> dict[str, Score]:
        return {name: self.score(made) for name, made in self.baselines().items()}

    def shown(self, made: np.ndarray, count: int = 8) -> list[np.ndarray]:
        """Rows of pictures for people: what was given, what was made of it, the truth."""
        given = self.test.given if self.test.given.ndim == 4 else colour_labels(self.test.given)
        return [each[:count] for each in (given, made, self.test.truth)]

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
    """Label map -> scene, judged by a segmenter that was trained on real scenes (the FCN-score).

    Maps don't tell the time of day, the weather, the season nor colours: scenes are plain, where not `timed`.
    """

    measures = ("per-pixel", "per-class", "IoU", "PSNR, dB")
    decisive = 2
    timed = False

    def truths(self, numbers: Sequence[int], split: str) -> list[SceneTruth]:
        found = [scene(self.seed, n, SIDE, SIDE, nouns=NOUNS, split=split) for n in numbers]
        return found if self.timed else [plain(truth) for truth in found]

    def batch(self, numbers: Sequence[int], split: str) -> Labelled:
        truths, data = self.truths(numbers, split), stickers("labelled", self.seed, split)
        maps = [np.stack(render_labels(truth, SIDE, SIDE)).astype(np.int64) for truth in truths]
        names = class_names()
        ours = np.array([data.classes.index(name) if name in data.classes else -1 for name in names])
        classes, instances = np.stack(maps, 1)
        return Labelled(
            to_tensor([render(truth, SIDE, SIDE) for truth in truths]),
            torch.from_numpy(ours[classes]),
            torch.from_numpy(instances),
        )

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
        return self.batch(self.asked, "held-out").classes.numpy()

    def nearest(self, many: int = 1000) -> np.ndarray:
        known = self.question(range(many), held_out=False)
        found = self.batch(range(many), "train").classes.numpy()
        return known.truth[[int((found == one).mean((1, 2)).argmax()) for one in self.labels]]

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


class TimedLabels(PaintedLabels):
    """The same, and the scenes are as they come: at any time of day, in any weather."""

    timed = True


class UnpairedLabels(TimedLabels):
    """The same, learned from maps and scenes that don't belong together."""

    def take(self, numbers: Sequence[int]) -> Batch:
        maps = self.batch([derive(self.seed, "map", n) for n in numbers], "train")
        return Unpaired(to_tensor(list(colour_labels(maps.classes.numpy()))), self.batch(numbers, "train").pictures)


class Answers(Lines):
    """Line drawing -> colours at any time of day, which the drawing doesn't tell: of `ANSWERS` answers to the same
    question, one should be like the truth.

    That is decided by a perceptual distance, which neither blurred pictures nor real ones of other things make small.
    """

    measures = (
        f"perceptual distance of the best of {ANSWERS}", f"PSNR of the best of {ANSWERS}, dB",
        "perceptual distance between answers", "Fréchet",
    )  # fmt: skip
    lower = True

    def take(self, numbers: Sequence[int]) -> Paired:
        asked = self.question(numbers, held_out=False)
        return Paired(to_tensor(list(asked.given)), to_tensor(list(asked.truth)))

    def truths(self, numbers: Sequence[int], split: str) -> list[SceneTruth]:
        found = [
            scene(self.seed, derive(self.seed, "answers", n), SIDE, SIDE, nouns=NOUNS, split=split) for n in numbers
        ]
        return [replace(plain(truth), time=truth.time) for truth in found]

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        truths = self.truths(numbers, "held-out" if held_out else "train")
        drawn, painted = ([render(t, SIDE, SIDE, style=s) for t in truths] for s in ("line", "fluent"))
        return Question(np.stack(drawn), np.stack(painted), {})

    def answered(self, model: Any) -> np.ndarray:
        """uint8 (ANSWERS, N, H, W, 3). Every question draws its own styles, so that luck evens out."""
        given = self.test.given
        styles = [[model.random_style(ANSWERS * n + k) for n in range(len(given))] for k in range(ANSWERS)]
        return np.stack([model.translate(given, style=torch.cat(each)) for each in styles])

    def score(self, made: np.ndarray) -> Score:
        network, truth, big = StickerNetwork(), large(self.test.truth), [large(each) for each in made]
        apart = np.stack([network.distance(each, truth) for each in big])  # (ANSWERS, N)
        errors = ((made.astype(float) - self.test.truth) ** 2).mean((2, 3, 4))
        between = float(np.mean([network.distance(*pair) for pair in pairwise(big)]))
        reals = range(self.asked.stop, self.asked.stop + ANSWERS * len(self.asked))  # none of which is asked
        far = frechet(made.reshape(-1, SIDE, SIDE, 3), self.question(reals).truth)
        found = float(apart.min(0).mean()), psnr(errors.min(0)), between, far
        return dict(zip(self.measures, found, strict=True))

    def baselines(self) -> dict[str, np.ndarray]:
        known = self.question(range(1000), held_out=False)
        asked, drawn = (torch.from_numpy(x.reshape(len(x), -1) / 255.0).float() for x in (self.test.given, known.given))
        nearest = known.truth[torch.cdist(asked, drawn).topk(ANSWERS, largest=False).indices.T.numpy()]
        blurred = np.stack([[np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(4))) for p in row]
                            for row in nearest])  # fmt: skip
        return {
            f"{ANSWERS} nearest of 1,000 training pairs": nearest,
            "the drawing on blurred copies of these": (blurred * (self.test.given / 255.0)).round().astype(np.uint8),
            "the true scene at its times of day (the ceiling)": spread_of_times(
                self.truths(self.asked, "held-out"), ANSWERS
            ),
        }

    def shown(self, made: np.ndarray, count: int = 8) -> list[np.ndarray]:
        given, *rest = super().shown(made[0], count)
        return [given, *(each[:count] for each in made[:4]), rest[-1]]


def large(pictures: np.ndarray) -> np.ndarray:
    """At twice the size, for the sticker reader."""
    size = 2 * pictures.shape[2], 2 * pictures.shape[1]
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in pictures])


def frechet(made: np.ndarray, real: np.ndarray) -> float:
    """The distance in the sticker reader's features, of few samples: for comparisons of as many."""
    network = StickerNetwork()
    distance = FrechetDistance(network.name, rounds=0)
    distance.update(made=network.see(large(made)).features)
    distance.update(real=network.see(large(real)).features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return distance.value().value


def spread_of_times(truths: Sequence[SceneTruth], count: int) -> np.ndarray:
    """Scenes at so many times of day: uint8 (count, N, H, W, 3). There are three times, and fewer where it is always
    day: some come more than once."""
    found = np.empty((count, len(truths), SIDE, SIDE, 3), np.uint8)
    for n, truth in enumerate(truths):
        times = times_of(truth.place, {thing.noun for thing in truth.things})
        for k in range(count):
            found[k, n] = render(replace(truth, time=times[k % len(times)]), SIDE, SIDE)
    return found


class StyledLabels(Labels):
    """Label map -> scene, in the style of every region of the scene itself: a reconstruction (SEAN's table 1)."""

    timed = True

    def answered(self, model: Any) -> np.ndarray:
        style = model.style_of(self.test.truth, classes=self.test.given)
        return np.asarray(model.translate(self.test.given, style=style))

    def baselines(self) -> dict[str, np.ndarray]:
        flat = np.zeros_like(self.test.truth)
        for made, truth, classes in zip(flat, self.test.truth, self.labels, strict=True):
            for k in np.unique(classes):
                made[classes == k] = truth[classes == k].mean(0).round()
        return {"each region in its own mean colour": flat} | super().baselines()


class Styles(Task):
    """Fluent's flat style -> Noto's shaded one, learned without pairs; the same scene in Noto's style is the truth.

    The backdrop is the same in both, so that leaving a picture alone goes a long way. What counts is the things.
    """

    measures = ("PSNR on the things, dB", "L1 on the things", "nearer the truth than what was given, %")

    def take(self, numbers: Sequence[int]) -> Unpaired:
        sides = (
            np.stack([render(t, SIDE, SIDE, style=style) for t in self.truths(numbers, "train", style)])
            for style in ("fluent", "noto")
        )
        return Unpaired(*(to_tensor(list(pictures)) for pictures in sides))

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        truths = self.truths(numbers, "held-out" if held_out else "train")
        given, wanted = (np.stack([render(t, SIDE, SIDE, style=style) for t in truths]) for style in ("fluent", "noto"))
        return Question(given, wanted, {})

    def truths(self, numbers: Sequence[int], split: str, which: str = "both") -> list[SceneTruth]:
        """Plain scenes with one large thing each: enough to learn in minutes."""
        return [plain(alone(self.seed, derive(self.seed, "style", which, n), split, 8, 12)) for n in numbers]

    @cached_property
    def things(self) -> np.ndarray:
        """Where a thing is, in either style: bool (N, H, W)."""
        truths = self.truths(self.asked, "held-out")
        return np.stack(
            [
                np.any([render_labels(replace(t, style=s), SIDE, SIDE)[1] > 0 for s in ("fluent", "noto")], axis=0)
                for t in truths
            ]
        )

    def score(self, made: np.ndarray) -> Score:
        def apart(other: np.ndarray) -> list[np.ndarray]:
            return [each[where] for each, where in zip(made.astype(float) - other, self.things, strict=True)]

        missed, moved = apart(self.test.truth), apart(self.test.given)
        errors = [np.array([(each**2).mean() for each in all_of_it]) for all_of_it in (missed, moved)]
        values = (
            psnr(errors[0]),
            float(np.mean([abs(each).mean() for each in missed])),
            100 * float((errors[0] < errors[1]).mean()),
        )
        return dict(zip(self.measures, values, strict=True))

    def baselines(self) -> dict[str, np.ndarray]:
        return {
            "the picture as it is": self.test.given,
            "its colours moved to Noto's mean and spread": moved(self.take(range(300)), self.test.given),
        }


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


class Shared(Task):
    """A thing on a coloured ground -> the same thing in another's colour: what two domains share, and what is each
    one's own (the paper's MNIST-CD/CB, with stickers). In x, things are grey and the ground has a colour; in y, things
    have one, on black. The colour that is wanted comes from a picture of y that shows some other thing.
    """

    measures = ("PSNR, dB", "found its other half, %")

    def pairs(self, numbers: Sequence[int], split: str) -> tuple[np.ndarray, np.ndarray]:
        """Pictures x and y, uint8 (N, H, W, 3) each."""
        x, y = [], []
        for n in numbers:
            draw = numpy_rng(self.seed, "shared", split, n)
            alpha, grey = greys(NOUNS[draw.integers(len(NOUNS))].name, draw)
            x.append((1 - alpha) * any_colour(draw) + alpha * grey)
            y.append(alpha * grey * any_colour(draw))
        return tuple((255 * np.stack(each)).round().astype(np.uint8) for each in (x, y))  # type: ignore[return-value]

    def take(self, numbers: Sequence[int]) -> Paired:
        return Paired(*(to_tensor(list(each)) for each in self.pairs(numbers, "train")))

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        x, y = self.pairs(numbers, "held-out" if held_out else "train")
        return Question(x, painted(y, np.roll(y, 1, 0)), {"style": np.roll(y, 1, 0)})

    def answered(self, model: Any) -> np.ndarray:
        return np.asarray(model.translate(self.test.given, style=model.style_of(self.test.beside["style"])))

    def reached(self, model: Any) -> tuple[np.ndarray, Score]:
        made = self.answered(model)
        x, y = model.shared_of(self.test.given), model.shared_of(self.test.truth, backwards=True)
        return made, self.score(made) | {self.measures[1]: found(x.flatten(1), y.flatten(1))}

    def baselines(self) -> dict[str, np.ndarray]:
        known, style = self.question(range(1000), held_out=False), self.test.beside["style"]
        nearest = torch.cdist(outlines(self.test.given), outlines(known.given)).argmin(1).numpy()
        return {
            "the picture of the wanted colour as it is": style,
            "nearest of 1,000 training pairs by outlines, in the wanted colour": painted(known.truth[nearest], style),
        }

    def baseline_scores(self) -> dict[str, Score]:
        """Beside the pictures: how well pixels, and how well outlines, find the other half."""
        pixels, drawn = (
            found(see(self.test.given), see(self.test.truth))
            for see in (lambda pictures: torch.from_numpy(pictures / 255.0).flatten(1), outlines)
        )
        rows = zip(self.baselines().items(), (pixels, drawn), strict=True)
        return {name: self.score(made) | {self.measures[1]: right} for (name, made), right in rows}

    def shown(self, made: np.ndarray, count: int = 8) -> list[np.ndarray]:
        return [each[:count] for each in (self.test.given, self.test.beside["style"], made, self.test.truth)]


def greys(name: str, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A sticker's opacity and its greys, from a dark one to white, somewhere in the picture: (H, W, 1) in [0, 1]."""
    side = int(draw.integers(SIDE // 2, SIDE - 4))
    x, y = (int(each) for each in draw.integers(0, SIDE - side, 2))
    sprite = sticker("fluent", name, side, None, bool(draw.integers(2)), PLAIN)
    black, white = np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), 255, np.uint8)
    blend(black, sprite, x, y)
    blend(white, sprite, x, y)
    alpha = 1 - (white.astype(float) - black)[..., :1] / 255
    grey = black.mean(-1, keepdims=True) / 255 / alpha.clip(1 / 255)
    return alpha, 0.3 + 0.7 * (grey / grey.max()).clip(0, 1)


def any_colour(draw: np.random.Generator) -> np.ndarray:
    """Any hue, vivid and rather bright: (3,) in [0, 1]."""
    return np.array(hsv_to_rgb(draw.uniform(), draw.uniform(0.5, 1), draw.uniform(0.5, 1)))


def painted(pictures: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Things of one colour on black in that of others, both uint8 (N, H, W, 3): a colour is its brightest pixel's."""
    ours, theirs = (each.max((1, 2), keepdims=True).astype(float) for each in (pictures, like))
    grey = pictures.max(-1, keepdims=True) / ours.max(-1, keepdims=True)
    made: np.ndarray = (grey * theirs).round().astype(np.uint8)
    return made


def outlines(pictures: np.ndarray) -> torch.Tensor:
    """Where the brightness of (N, H, W, 3) changes, whatever the colours: (N, D), of length 1."""
    brightness = torch.from_numpy(pictures.mean(-1))
    across, down = brightness.diff(dim=2)[:, 1:].abs(), brightness.diff(dim=1)[..., 1:].abs()
    return F.normalize((across + down).flatten(1))


def found(asked: torch.Tensor, known: torch.Tensor) -> float:
    """How many rows of (N, D) are nearest to their own row of another (N, D), in per cent."""
    nearest = torch.cdist(asked.double(), known.double()).argmin(1)
    return 100 * float((nearest == torch.arange(len(asked))).double().mean())


def alone(seed: int, number: int, split: str, least: float = 7, most: float = 11) -> SceneTruth:
    """A scene with a single thing, of so many cells a side (of 18), anywhere."""
    draw = numpy_rng(seed, "alone", split, number)
    truth = scene(seed, derive(seed, "alone", number), SIDE, SIDE, nouns=NOUNS, split=split)
    side = int(draw.integers(least, most + 1))
    left, bottom = draw.uniform(0, ROWS - side), draw.uniform(side, ROWS - 1)
    thing = replace(truth.things[0], side=side, left=float(left), bottom=float(bottom))
    return replace(truth, things=(thing,), arranged=(), weather="clear")


class Goods(Task):
    """A thing in a scene -> the thing alone on white: as a catalogue shows it."""

    measures = ("PSNR of the mean error, dB", "right noun, %")
    decisive = 1

    def truths(self, numbers: Sequence[int], split: str) -> list[SceneTruth]:
        return [plain(alone(self.seed, n, split, 9, 14)) for n in numbers]

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        truths = self.truths(numbers, "held-out" if held_out else "train")
        return Question(
            np.stack([render(t, SIDE, SIDE) for t in truths]), np.stack([goods(t.things[0]) for t in truths]), {}
        )

    def take(self, numbers: Sequence[int]) -> Paired:
        asked = self.question(numbers, held_out=False)
        return Paired(to_tensor(list(asked.given)), to_tensor(list(asked.truth)))

    @cached_property
    def names(self) -> np.ndarray:
        return np.array([t.things[0].noun for t in self.truths(self.asked, "held-out")])

    def score(self, made: np.ndarray) -> Score:
        """A picture shows the noun whose picture, in any colour of the test, is nearest to it."""
        flat = [torch.from_numpy(each.reshape(TEST, -1) / 255.0) for each in (made, self.test.truth)]
        shows = self.names[torch.cdist(*flat).argmin(1).numpy()]
        error = ((made.astype(float) - self.test.truth) ** 2).mean()
        return dict(zip(self.measures, (psnr(error), 100 * float((shows == self.names).mean())), strict=True))

    def baselines(self) -> dict[str, np.ndarray]:
        known = self.question(range(1000), held_out=False).truth
        mean = np.broadcast_to(known.mean(0).round().astype(np.uint8), self.test.truth.shape)
        return {"the mean of 1,000 targets": mean, "nearest of 1,000 training pairs": self.nearest()}


def goods(thing: Thing) -> np.ndarray:
    canvas = np.full((SIDE, SIDE, 3), 255, np.uint8)
    blend(canvas, sticker("fluent", thing.noun, SIDE * 3 // 4, thing.colour, False, PLAIN), SIDE // 8, SIDE // 8)
    return canvas


class Reading(Task):
    """Which noun is it, on a ground of any colour? Learned with labels in Fluent's style, without in Noto's, asked in
    Noto's; 32 x 32 pixels."""

    measures = ("right noun, %", "by Fluent's own classifier, %")

    def pictures(self, numbers: Sequence[int], split: str, style: str) -> tuple[np.ndarray, np.ndarray]:
        shown, nouns = [], []
        for n in numbers:
            draw = numpy_rng(self.seed, "reading", split, style, n)
            nouns.append(int(draw.integers(len(NOUNS))))
            side = int(draw.integers(22, 31))
            x, y = (int(each) for each in draw.integers(0, SIDE // 2 - side + 1, 2))
            picture = np.tile((255 * any_colour(draw)).round().astype(np.uint8), (SIDE // 2, SIDE // 2, 1))
            blend(picture, sticker(style, NOUNS[nouns[-1]].name, side, None, bool(draw.integers(2)), PLAIN), x, y)
            shown.append(picture)
        return np.stack(shown), np.array(nouns)

    def take(self, numbers: Sequence[int]) -> Transferred:
        (a, classes), (b, _) = (self.pictures(numbers, "train", style) for style in ("fluent", "noto"))
        return Transferred(to_tensor(list(a)), to_tensor(list(b)), torch.from_numpy(classes))

    @cached_property
    def unread(self) -> tuple[np.ndarray, np.ndarray]:
        first = self.asked.start
        return self.pictures(range(first, first + 4 * TEST), "held-out", "noto")

    def reached(self, model: Any) -> tuple[np.ndarray, Score]:
        shown, classes = self.unread
        read = [model.classify(shown, backwards=backwards).argmax(1) for backwards in (False, True)]
        scores = zip(self.measures, (100 * float((each == classes).mean()) for each in read), strict=True)
        return model.translate(shown[:TEST], backwards=True), dict(scores)

    def baseline_scores(self) -> dict[str, Score]:
        """Of what the training pictures look like, nothing but pixels."""
        known, classes = self.pictures(range(2000), "train", "fluent")
        flat = [torch.from_numpy(each.reshape(len(each), -1) / 255.0) for each in (self.unread[0], known)]
        nearest = classes[torch.cdist(*flat).argmin(1).numpy()]
        right = 100 * float((nearest == self.unread[1]).mean())
        return {
            "chance": {self.measures[0]: 100 / len(NOUNS), self.measures[1]: np.nan},
            "nearest of 2,000 labelled pictures": {self.measures[0]: right, self.measures[1]: np.nan},
        }

    def shown(self, made: np.ndarray, count: int = 8) -> list[np.ndarray]:
        return [self.unread[0][:count], made[:count]]


class Drawn(Task):
    """Pictures of a class from noise: a noun, large, somewhere on a summer's day; 32 x 32 pixels.

    As many are drawn of each noun as the real pictures have that they are compared with.
    """

    measures = ("Fréchet", "precision, %", "recall, %", "perceptual distance within a noun")
    lower = True

    def pictures(self, numbers: Sequence[int], split: str) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (N, 32, 32, 3), and the nouns' numbers."""
        truths = [plain(alone(self.seed, derive(self.seed, "drawn", n), split, 11, 15)) for n in numbers]
        names = [each.name for each in NOUNS]
        shown = np.stack([render(truth, SIDE // 2, SIDE // 2) for truth in truths])
        return shown, np.array([names.index(truth.things[0].noun) for truth in truths])

    def take(self, numbers: Sequence[int]) -> Captioned:
        shown, nouns = self.pictures(numbers, "train")
        return Captioned(to_tensor(list(shown)), tuple(NOUNS[n].name for n in nouns))

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        shown, nouns = self.pictures(numbers, "held-out" if held_out else "train")
        return Question(shown, shown, {"nouns": nouns})

    @cached_property
    def real(self) -> tuple[np.ndarray, np.ndarray]:
        """Four for each question, by noun."""
        asked = self.question(range(self.asked.start, self.asked.start + 4 * TEST))
        shown, nouns = asked.truth, asked.beside["nouns"]
        order = nouns.argsort(kind="stable")
        return shown[order], nouns[order]

    def reached(self, model: Any) -> tuple[np.ndarray, Score]:
        drawn = [
            model.draw(noun.name, count=count).pictures
            for noun, count in zip(NOUNS, np.bincount(self.real[1], minlength=len(NOUNS)), strict=True)
            if count
        ]
        return np.concatenate(drawn), self.score(np.concatenate(drawn))

    def score(self, made: np.ndarray) -> Score:
        """Of pictures in the order of the real ones; the distance is that of neighbours of one noun."""
        network, (real, nouns) = StickerNetwork(), self.real
        near = Neighbours(network.name)
        near.update(made=network.see(large(made)).features, real=network.see(large(real)).features)
        found, same = near.values(), np.flatnonzero(nouns[1:] == nouns[:-1])
        between = network.distance(large(made[same]), large(made[same + 1]))
        shares = (100 * found[name].value for name in ("precision", "recall"))
        return dict(zip(self.measures, (frechet(made, real), *shares, float(between.mean())), strict=True))

    def baselines(self) -> dict[str, np.ndarray]:
        shown, nouns = self.pictures(range(1000), "train")
        first = np.stack([shown[nouns == n][0] for n in range(len(NOUNS))])
        mean = np.stack([shown[nouns == n].mean(0).round().astype(np.uint8) for n in range(len(NOUNS))])
        return {
            "the mean of its noun's training pictures": mean[self.real[1]],
            "one training picture of its noun, always": first[self.real[1]],
        }

    def shown(self, made: np.ndarray, count: int = 8) -> list[np.ndarray]:
        """Real ones, and three rows of drawn ones: a column has one noun."""
        nouns = self.real[1]
        chosen = np.array([np.flatnonzero(nouns == n)[:3] for n in range(len(NOUNS)) if (nouns == n).sum() > 2])
        return [self.real[0][chosen[:, 0]], *(made[each] for each in chosen.T)]


class Night(Task):
    """Day -> night, learned without pairs; the same scene at night is the truth."""

    measures = ("PSNR, dB", "L1")

    def truths(self, numbers: Sequence[int], split: str, which: str) -> list[SceneTruth]:
        """Plain scenes that there are by day and by night."""
        found = []
        for number in numbers:
            attempt = 0
            while True:
                index = derive(self.seed, "night", which, number, attempt)
                truth = plain(scene(self.seed, index, SIDE, SIDE, nouns=NOUNS, split=split))
                if {"day", "night"} <= set(times_of(truth.place, {thing.noun for thing in truth.things})):
                    break
                attempt += 1
            found.append(truth)
        return found

    def at(self, time: str, numbers: Sequence[int], split: str, which: str) -> np.ndarray:
        return np.stack([render(replace(t, time=time), SIDE, SIDE) for t in self.truths(numbers, split, which)])

    def take(self, numbers: Sequence[int]) -> Unpaired:
        return Unpaired(*(to_tensor(list(self.at(time, numbers, "train", time))) for time in ("day", "night")))

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        split = "held-out" if held_out else "train"
        return Question(*(self.at(time, numbers, split, "both") for time in ("day", "night")), {})

    def score(self, made: np.ndarray) -> Score:
        return super().score(made) | {"L1": float(abs(made.astype(float) - self.test.truth).mean())}

    def baselines(self) -> dict[str, np.ndarray]:
        return {
            "the day as it is": self.test.given,
            "its colours moved to the night's mean and spread": moved(self.take(range(300)), self.test.given),
        }


def moved(known: Unpaired, given: np.ndarray) -> np.ndarray:
    """Pictures whose channels get the second domain's mean and spread for the first one's."""
    (mean, spread), (wanted, wide) = (
        (p.mean((0, 1, 2)), p.std((0, 1, 2))) for p in (to_uint8(x).astype(float) for x in (known.a, known.b))
    )
    found: np.ndarray = ((given - mean) / spread * wide + wanted).clip(0, 255).round().astype(np.uint8)
    return found


def repainted(picture: np.ndarray, number: int) -> np.ndarray:
    """A picture in one of 48 palettes: its three colours are exchanged, and some of them inverted, by chance."""
    draw = numpy_rng(number, "palette")
    found: np.ndarray = picture[..., draw.permutation(3)] ^ (255 * draw.integers(0, 2, 3)).astype(np.uint8)
    return found


class AnyStyle(Task):
    """A scene in the colours and textures of any other, by the encoder's statistics (AdaIN's eq. 11 to 13)."""

    measures = ("content lost, %", "style missed, %", "both, %", "both by an untrained encoder, %")
    decisive = 3
    lower = True

    def contents(self, numbers: Sequence[int], split: str) -> np.ndarray:
        truths = [
            scene(self.seed, derive(self.seed, "content", n), SIDE, SIDE, nouns=NOUNS, split=split) for n in numbers
        ]
        return np.stack([render(t, SIDE, SIDE) for t in truths])

    def styles(self, numbers: Sequence[int], split: str) -> np.ndarray:
        found = []
        for n in numbers:
            truth = scene(self.seed, derive(self.seed, "style", n), SIDE, SIDE, nouns=NOUNS, split=split)
            found.append(repainted(render(truth, SIDE, SIDE), derive(self.seed, split, n)))
        return np.stack(found)

    def take(self, numbers: Sequence[int]) -> Unpaired:
        return Unpaired(
            to_tensor(list(self.contents(numbers, "train"))), to_tensor(list(self.styles(numbers, "train")))
        )

    def question(self, numbers: Sequence[int], *, held_out: bool = True) -> Question:
        split = "held-out" if held_out else "train"
        return Question(self.contents(numbers, split), self.styles(numbers, split), {})

    def prepare(self, system: Any) -> None:
        copier = trained_copier()
        system.encoder.load_state_dict(copier.encoder.state_dict())
        system.decoder.load_state_dict(copier.decoder.state_dict())

    def answered(self, model: Any) -> np.ndarray:
        return np.asarray(model.translate(self.test.given, style=model.style_of(self.test.truth)))

    def score(self, made: np.ndarray) -> Score:
        torch.manual_seed(1)
        own, other = (self.lost(made, each) for each in (trained_copier().encoder, adain.Encoder(width=16)))
        return dict(zip(self.measures, (*own, sum(own), sum(other)), strict=True))

    @torch.inference_mode()
    def lost(self, made: np.ndarray, encoder: adain.Encoder) -> tuple[float, float]:
        """How much of the content and of the style is missing, in per cent of what the other one misses.

        Style is eq. 13. Content is what is left without it: every channel of the last layer, standardised.
        """
        given, style, ours = (
            encoder((from_uint8(each) + 1) / 2, adain.LAYERS) for each in (self.test.given, self.test.truth, made)
        )

        def content(seen: list[torch.Tensor]) -> float:
            return float(F.mse_loss(F.instance_norm(seen[-1].float()), F.instance_norm(given[-1].float())))

        def manner(seen: list[torch.Tensor]) -> float:
            return sum(
                float(F.mse_loss(adain.statistics(a), adain.statistics(b))) for a, b in zip(seen, style, strict=True)
            )

        return 100 * content(ours) / content(style), 100 * manner(ours) / manner(given)

    def baselines(self) -> dict[str, np.ndarray]:
        given, styles = (from_uint8(each) for each in (self.test.given, self.test.truth))
        moved = [adain.recoloured(s[None], c[None]) for s, c in zip(given, styles, strict=True)]
        return {
            "the content as it is": self.test.given,
            "the style as it is": self.test.truth,
            "the content, its colours' mean and covariance moved to the style's": to_uint8(torch.cat(moved)),
        }


class Copier(System):
    """Paints what it is shown: what AdaIN's networks learn here before they learn styles. The published encoder knows
    ImageNet; one that had learned what is in a scene of any palette would have learned to overlook the palette."""

    @dataclass(frozen=True)
    class Config:
        width: int = 16
        steps: int = 2000

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = adain.Encoder(width=config.width).requires_grad_(True)
        self.decoder = adain.Decoder(config.width)
        init.kaiming(self.decoder)
        torch.nn.init.constant_(self.decoder[-1].bias, 0.5)  # grey
        self.players = {"copier": Player((self,), adamw(2e-3), waning(config.steps), clip=1.0)}

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        pictures = (torch.cat([batch.a, batch.b]) + 1) / 2
        (seen,) = self.encoder(pictures, adain.LAYERS[-1:])
        yield "copier", {"error": F.l1_loss(self.decoder(seen).float(), pictures)}


@cache
def trained_copier() -> Copier:
    """Trained once, and kept. The encoder's layers are then scaled to answer with 1 on average, as the published
    "normalised" VGG does, and what is painted stays as it is."""
    known, model = AnyStyle(2), Copier(Copier.Config())
    run, options = Run(RUNS / "copier"), Options(steps=model.config.steps, batch=4, sample=0)
    where = Trainer("copier", model, known, run, options).fit()
    load_weights(model, read_checkpoint(where).weights, averaged=True, where=str(where))
    model.float().eval().requires_grad_(False)
    x, shrunk = model.encoder.colours((known.take(range(64)).b + 1) / 2), torch.ones(())
    for layer in model.encoder.vgg.features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.bias /= shrunk  # as its input
            size = layer(x).relu().mean()
            layer.weight /= size
            layer.bias /= size
            shrunk *= size
        x = layer(x)
    model.decoder[0].weight *= shrunk
    return model


@cache
def segmenter(steps: int = 1200) -> Segmenter:
    """Trained once on real scenes with their labels, and kept beside the other runs."""
    path = RUNS / "segmenter"
    classes = Labels().decides(())["classes"]
    model = Segmenter(Segmenter.Config(classes=classes, width=24, steps=steps))
    Trainer("segmenter", model, StyledLabels(1), Run(path), Options(steps=steps, batch=16, sample=0)).fit()
    found = load(path)
    assert isinstance(found, Segmenter)
    return found


TASKS: dict[str, type[Task]] = {
    "lines": Lines, "shared": Shared, "labels": Labels, "painted labels": PaintedLabels, "timed labels": TimedLabels,
    "answers": Answers,
    "unpaired labels": UnpairedLabels, "styled labels": StyledLabels, "night": Night, "styles": Styles,
    "any style": AnyStyle, "holes": Holes, "goods": Goods, "reading": Reading, "drawn": Drawn,
}  # fmt: skip
