"""`kill -9` at random moments of a training, and the same again: no bit of the result changes, in any system."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest

from limner.runs import Run
from test_every_system import TRAINED, assert_same, saved, train

# As unlike as they come: adversarial players that write a book, words to codes, denoising, large from small, plans to
# codes, two domains with a bank of earlier pictures
UNLIKE = ("vqgan", "dalle-mini", "latent-diffusion", "upscaler", "layout-painter", "cyclegan")
KILLS = 4  # of each: 24 in all
STEPS = 12

# A server that has imported the systems once, and what torch's optimisers import at their first step, forks a process
# for every training
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload([__name__, "torch._dynamo"])


def training(name: str, run: Path, steps: int = STEPS) -> None:
    """In a process of its own: a training that saves after every step."""
    train(name, run, steps, save=0.0, sample=5, log=1)


def begin(name: str, run: Path) -> multiprocessing.process.BaseProcess:
    process = forks.Process(target=training, args=(name, run))
    process.start()
    return process


def finish(name: str, run: Path) -> None:
    process = begin(name, run)
    process.join()
    assert process.exitcode == 0


def strike(process: multiprocessing.process.BaseProcess, run: Path, chance: random.Random) -> bool:
    """Kills a training at a random moment of one of its next steps; False if it had come to its end before."""
    step = lambda: max((int(path.name) for path in Run(run).checkpoints), default=0)
    until, since = step() + chance.randint(1, 3), time.monotonic()
    while process.is_alive() and step() < until:
        time.sleep(0.001)
    process.join(chance.uniform(0, 0.5) * (time.monotonic() - since))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    "name", [*UNLIKE, *(pytest.param(name, marks=pytest.mark.slow) for name in TRAINED if name not in UNLIKE)]
)
def test_kills_change_no_bit(name: str, tmp_path: Path) -> None:
    """SIGKILL at random moments, over as many runs as it takes until enough have hit a training in progress."""
    finish(name, tmp_path / "whole")
    expected, chance, kills = saved(tmp_path / "whole"), random.Random(name), 0
    for attempt in itertools.count():
        run = tmp_path / f"killed-{attempt}"
        while kills < KILLS and strike(begin(name, run), run, chance):
            kills += 1
        finish(name, run)
        assert_same(expected, saved(run))
        if kills == KILLS:
            break
