"""How far a picture drifts over turns of editing that should leave it alone, with and without what is done against it.

    python benchmarks/edit_drift.py --model MODEL PICTURE... [--turns 6] [--words "make the sky blue" ...] [--steps 100]

Every turn gets an instruction that asks for nothing that isn't there (or, with --words, these in turn: small edits
elsewhere). Printed is, for each turn, the mean absolute difference from the first picture in grey levels of 255, over
all pictures, in the four ways: all pixels from the model or the unchanged ones pasted back, the picture encoded anew
each time or its latent kept. Where instructions ask for changes, these count, too, in all four alike.
"""

from __future__ import annotations

import argparse
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

import limner
from limner.data import decode
from limner.data.files import read_file
from limner.jobs.turns import drift
from limner.system import Edits
from limner.systems import require

NOTHING = ("leave the picture as it is", "change nothing", "keep everything the same")
WAYS = {
    "encoded anew, repainted": {"paste": False, "keep": False},
    "latent kept, repainted": {"paste": False, "keep": True},
    "encoded anew, pasted": {"paste": True, "keep": False},
    "latent kept, pasted": {"paste": True, "keep": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--words", nargs="+", default=NOTHING)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model: Any = limner.load(options.model)
    require(model, Edits, name=options.model)
    settings = {"steps": options.steps} if options.steps else {}
    words = list(islice(cycle(options.words), options.turns))
    pictures = [decode.picture(read_file(path), str(path)) for path in options.pictures]
    print(f"| {len(pictures)} pictures, turn | {' | '.join(map(str, range(1, options.turns + 1)))} |")
    print(f"|---|{'---|' * options.turns}")
    for name, way in WAYS.items():
        each = [drift(model.edit, picture, words, seed=options.seed, **way, **settings) for picture in pictures]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in np.mean(each, 0))} |", flush=True)


if __name__ == "__main__":
    main()
