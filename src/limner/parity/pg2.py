"""PG2's parity records, of the program for Market-1501 and that for DeepFashion: both stages, and every loss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from limner.data.kinds import Posed
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published import pg2 as published
from limner.published.keys import fill
from limner.rng import Rng
from limner.systems.pose.pg2 import PG2

MARKET = PG2.Config()
DEEPFASHION = PG2.Config("deepfashion", size=(256, 256), l1=50.0)


def state(record: Record) -> dict[str, Tensor]:
    """The filled state as TensorFlow keeps it: what the record lists the other way round is turned after filling."""
    found = record.state()
    for name, value in found.items():
        if name.endswith(".scale"):
            found[name] = 1 + value
        elif value.ndim >= 2:
            found[name] = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T
    return found


def sign(record: Record, name: str) -> Tensor:
    """An input that is one of two numbers: "sign(x - 0.9)" or "(x > 0).float()"."""
    said = record.transform(name)
    if found := re.match(r"sign\(x ([+-]) ([\d.]+)\)", said):
        return torch.sign(record.input(name, "x") + float(found[1] + found[2]))
    if found := re.match(r"\(x > (-?[\d.]+)\)\.float\(\)", said):
        return (record.input(name, "x") > float(found[1])).float()
    raise BadInput(f"{record.path}: input {name!r}: {said!r} is not a formula this check knows")


def both_stages(program: PG2.Config, record: Record) -> Mapping[str, Any]:
    class Recorded(PG2):
        def pose(self, joints: Tensor) -> Tensor:
            return sign(record, "pose_target")

        def body(self, joints: Tensor) -> Tensor:
            return sign(record, "mask_target")

    options, where = record.options, str(record.path)
    if options["activation"] != "relu":
        raise BadInput(f"{where}: PG2 is known with relu, not with {options['activation']}.")
    condition, target = record.input("x", "x"), record.input("x_target", "x")
    weights = published.ours(state(record), where)
    config = replace(
        program,
        size=tuple(options["img"]),
        width=options["conv_hidden_num"],
        code=options["z_num"],
        discriminator_width=len(weights["discriminator.layers.0.weight"]),
        first_stage=1,
    )
    ours = Recorded(config)
    fill(ours, weights, where)
    batch = Posed(condition, torch.empty(0), target, torch.empty(0))
    first, second = (moves(ours, batch, Rng(0, range(len(target)), step)) for step in (0, 1))
    with torch.no_grad():
        coarse, refined = ours(condition, sign(record, "pose_target"))
        scores = ours.judge(target, condition, coarse, refined)
    with torch.device("meta"):
        full = PG2(replace(config, width=options["published_conv_hidden_num"]))
    stage_1, stage_2 = first["integrator"], second["refiner"]
    return {
        "G1 (stage I)": coarse,
        "difference map": refined - coarse,
        "G2 = G1 + difference": refined,
        "PoseMaskLoss1": stage_1.losses["body"],
        "g_loss1": stage_1.loss,
        "L1Loss2": (stage_2.losses["everywhere"] + stage_2.losses["body"]) / config.l1,
        "g_loss2 adversarial": stage_2.losses["adversarial"],
        "g_loss2": stage_2.loss,
        "D logits target|condition|G1|G2": torch.cat(list(scores.values())),
        "D logits target|G2|condition": torch.cat([scores[name] for name in ("target", "refined", "condition")]),
        "d_loss": second["discriminator"].loss,
        "n_params": count(full.parameters()),
    }


NETWORKS = {
    "market": Network(partial(both_stages, MARKET)),
    "deepfashion": Network(partial(both_stages, DEEPFASHION)),
}
