"""Which pictures of a caption pair are worth training on: thresholds on four similarities, and the best few.

    clip_sim_0, clip_sim_1   each picture and its own caption: at least `text`
    clip_sim_image           the two pictures: at least `image`
    clip_sim_dir             the change of the pictures and the change of the captions: at least `direction`

What passes is sorted by direction, falling, equal ones by seed, falling, and the first `keep` stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from limner.errors import BadInput


@dataclass(frozen=True)
class Sample:
    """One pair of pictures, under the published names: enough to draw it again."""

    seed: int
    p2p_threshold: float  # share of the steps (or things) in which the layout was lent
    cfg_scale: float
    clip_sim_0: float
    clip_sim_1: float
    clip_sim_dir: float
    clip_sim_image: float


@dataclass(frozen=True)
class Filter:
    image: float = 0.7
    text: float = 0.2
    direction: float = 0.2
    keep: int = 4  # of a triplet at most

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise BadInput(f"keep={self.keep}: a filter keeps one pair of a triplet or more.")

    def passes(self, sample: Sample) -> bool:
        return (
            sample.clip_sim_image >= self.image
            and min(sample.clip_sim_0, sample.clip_sim_1) >= self.text
            and sample.clip_sim_dir >= self.direction
        )

    def chosen(self, samples: Iterable[Sample]) -> list[Sample]:
        """The best of the samples that pass."""
        passing = [sample for sample in samples if self.passes(sample)]
        return sorted(passing, key=lambda sample: (-sample.clip_sim_dir, -sample.seed))[: self.keep]


PRESETS = {
    "code": Filter(0.7, 0.2, 0.2),  # what the published program does unless told otherwise
    "thesis": Filter(0.75, 0.2, 0.2),  # what the text says
    "random": Filter(0.0, 0.0, 0.0),  # the published set without a filter: 4 samples of a triplet, thresholds of 0
    "none": Filter(-1.0, -1.0, -1.0),  # cosines aren't less
    "storybook": Filter(0.7, 0.85, 0.7),  # for the storybook's dual encoder, in whose small world most cosines are high
}
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def distribution(samples: Sequence[Sample], chosen_by: Filter) -> Iterator[str]:
    """Lines that say how the scores lie, what each threshold lets through, and thresholds that half of all pass."""
    scores = {
        "image": np.array([sample.clip_sim_image for sample in samples]),
        "text": np.array([min(sample.clip_sim_0, sample.clip_sim_1) for sample in samples]),
        "direction": np.array([sample.clip_sim_dir for sample in samples]),
    }
    yield f"{'':10}" + "".join(f"{share:>8.0%}" for share in SHARES) + "   threshold   passed by"
    for name, values in scores.items():
        threshold = getattr(chosen_by, name)
        quantiles = "".join(f"{value:8.3f}" for value in np.quantile(values, SHARES))
        yield f"{name:10}{quantiles}{threshold:12.3f}{(values >= threshold).mean():12.1%}"
    medians = " ".join(f"--{name} {np.floor(np.median(values) * 100) / 100:.2f}" for name, values in scores.items())
    yield f"Half of the samples pass each of: {medians}"
