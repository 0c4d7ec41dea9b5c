"""The photographs that scikit-image and scikit-learn bring along, and who made them: photographs.py FOLDER writes them.

Only those that are in the public domain, CC0 or CC BY, as their packages say.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

HELD_OUT = "chelsea"  # no system sees it before it is measured
LARGE, SMALL = 256, 160  # pixels of the shorter side: for styles, for holes


@dataclass(frozen=True)
class Photograph:
    read: Callable[[], np.ndarray]
    by: str
    licence: str
    address: str

    def at(self, side: int) -> np.ndarray:
        """uint8 (H, W, 3) with this shorter side."""
        picture = Image.fromarray(self.read())
        scale = side / min(picture.size)
        width, height = (round(length * scale) for length in picture.size)
        return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


FLICKR, BY = "https://www.flickr.com/photos", "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/)"
DATA = "https://scikit-image.org/docs/stable/api/skimage.data.html"
PHOTOGRAPHS = {
    "astronaut": Photograph(data.astronaut, "NASA", "public domain", "https://flic.kr/p/r9qvLn"),
    "chelsea": Photograph(data.chelsea, "Stefan van der Walt", "CC0", DATA),
    "china": Photograph(
        partial(load_sample_image, "china.jpg"), "danielbuechele", BY, f"{FLICKR}/danielbuechele/6061409035/"
    ),
    "coffee": Photograph(data.coffee, "Rachel Michetti, courtesy of Pikolo Espresso Bar", "CC0", DATA),
    "flower": Photograph(partial(load_sample_image, "flower.jpg"), "vultilion", BY, f"{FLICKR}/vultilion/6056698931/"),
    "hubble": Photograph(
        data.hubble_deep_field, "NASA", "public domain", "https://hubblesite.org/newscenter/archive/releases/2012/37/"
    ),
    "rocket": Photograph(data.rocket, "SpaceX", "public domain", f"{FLICKR}/spacexphotos/16511594820/"),
}
SEEN = [name for name in PHOTOGRAPHS if name != HELD_OUT]


def write(folder: Path) -> None:
    """What the systems train on: `styles` in two domains that are the same, `holes` at three sizes."""
    for name in SEEN:
        for part in ("styles/trainA", "styles/trainB"):
            _save(PHOTOGRAPHS[name].at(LARGE), folder / part / f"{name}.png")
        for side in (SMALL, 3 * SMALL // 2, 2 * SMALL):
            _save(PHOTOGRAPHS[name].at(side), folder / "holes" / "images" / f"{name}-{side}.png")


def _save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
