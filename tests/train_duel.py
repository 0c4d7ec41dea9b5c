"""Trains the duel in a process of its own, so that it can be killed: train_duel.py RUN STEPS."""

import sys
from pathlib import Path

import torch

from games import Duel, Noise
from limner.runs import Run
from limner.train import Options, Trainer

if __name__ == "__main__":
    torch.manual_seed(0)
    run, steps = Path(sys.argv[1]), int(sys.argv[2])
    options = Options(steps=steps, batch=4, accumulate=2, threads=1, save=0.0, sample=0, log=5)
    Trainer("duel", Duel(), Noise(), Run(run), options).fit()
