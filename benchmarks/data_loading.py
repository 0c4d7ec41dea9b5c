"""Is data loading ever the bottleneck? CPU seconds of a sample, loaded and trained on, in one run.

Pairs of 256 x 256 side by side in JPEG files, as the published data sets have them, prepared as pix2pix's loader does
(resize to 286, crop, flip); beside it a training step of pix2pix at its published size. Loading runs in threads of its
own, one step ahead of the training, so that it costs time only where its share is above 1 for each core.

    python benchmarks/data_loading.py [--pairs 64] [--samples 320] [--steps 2]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limner.data import folder
from limner.data.files import open_files
from limner.data.folder import Folder
from limner.data.kinds import Paired
from limner.data.layouts import Listing
from limner.runs import Run
from limner.systems.translation.pix2pix import Pix2Pix
from limner.train import Options, Trainer

BATCH = 16


def draw(place: Path, count: int) -> None:
    """Smooth noise: about as much detail, and as many bytes, as a photograph."""
    chance = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(chance.integers(0, 256, (32, 64, 3), dtype=np.uint8))
        coarse.resize((512, 256), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=90)


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--samples", type=int, default=320)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "train"
        place.mkdir()
        draw(place, options.pairs)
        seconds = {}
        for name, room in (("loading, from memory", folder.KEPT), ("loading, decoding every time", 0)):
            folder.KEPT = room
            source = Folder(Listing(scratch, open_files(Path(scratch))), Paired)
            source.take(range(options.pairs))

            def load(source: Folder = source) -> None:
                for first in range(0, options.samples, BATCH):
                    source.take(range(first, first + BATCH))

            seconds[name] = cpu_seconds(load) / options.samples
        run = Options(steps=options.steps, batch=1, sample=0, save=1e9, precision="fp32", threads=1)
        trainer = Trainer("pix2pix", Pix2Pix(), source, Run(Path(scratch) / "run"), run)
        batch = trainer._fetch(0)
        trainer.play(batch)  # the first step is slower
        seconds["a training step, float32"] = cpu_seconds(lambda: [trainer.play(batch) for _ in range(options.steps)])
        seconds["a training step, float32"] /= options.steps
    step = seconds["a training step, float32"]
    print(f"{'':30} {'CPU ms a sample':>16} {'share of a step':>16}")
    for name, spent in seconds.items():
        print(f"{name:30} {1000 * spent:16.2f} {spent / step:16.4f}")


if __name__ == "__main__":
    main()
