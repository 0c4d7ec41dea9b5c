"""Trains Solo under torchrun: train_solo.py RUN STEPS [--shard]."""

import dataclasses
import sys
from pathlib import Path

import torch

from games import Noise, Solo
from limner.runs import Run
from limner.train import Options, Trainer

if __name__ == "__main__":
    torch.manual_seed(0)
    run, steps = Path(sys.argv[1]), int(sys.argv[2])
    fixed = Options(steps=steps, batch=8, threads=1, save=1e9, sample=0, log=1, precision="fp32")
    options = dataclasses.replace(fixed, shard="--shard" in sys.argv)
    Trainer("solo", Solo(), Noise(), Run(run), options).fit()
