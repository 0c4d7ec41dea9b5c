"""RFR's parity records: both networks, and a training step with its fine-tuning mode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.data.kinds import Masked
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published import rfr_inpainting as published
from limner.published.keys import fill, renamed, under
from limner.systems.translation.rfr_inpainting import RFRInpainting

Outputs = Mapping[str, Any]


@torch.no_grad()
def network(record: Record) -> Outputs:
    model = published.convert(filled(record), str(record.path), {"iterations": record.options["iterations"]}).eval()
    assert isinstance(model, RFRInpainting)
    attended: list[Tensor] = []
    first: list[tuple[Tensor, Tensor]] = []
    model.network.reason.attention.register_forward_hook(lambda module, given, made: attended.append(made[0]))
    model.network.conv1.register_forward_hook(lambda module, given, made: first.append(made))
    image, valid = given_image(record), given_mask(record)
    out = model.network(image, valid)
    [(features, mask)] = first
    return {
        "out": out,
        "composite": image * valid + out * (1 - valid),
        "pconv1": features,
        "pconv1_mask": mask.expand_as(features),
        **{f"attention_iter{i}": each for i, each in enumerate(attended, 1)},
        "n_params": count(model.parameters()),
    }


def losses(record: Record) -> Outputs:
    """A step of training, and the network's answer in it and in the fine-tuning."""
    where, state = str(record.path), filled(record)
    weights: dict[str, Any] = {ours: weight(record, theirs) for theirs, ours in TERMS.items()}
    seen = {f"vgg.{n}": value for n, value in renamed(under("vgg.", state), VGG_NAMES, where).items()}
    tensors = published.ours(under("generator.", state), where)
    image, valid = given_image(record), given_mask(record)
    batch = Masked(2 * image - 1, valid == 0)

    def model(**more: Any) -> RFRInpainting:
        built = RFRInpainting(RFRInpainting.Config(**published.sizes(tensors), **weights, **more))
        fill(built, tensors | seen, where)
        return built

    training, tuning = model(), model(finetune=0)
    told = moves(training, batch)["network"]
    moves(tuning, batch)
    with torch.no_grad():
        fakes = {"fake": training.network(image, valid), "fake_finetune_mode": tuning.network(image, valid)}
    return fakes | {
        "total": told.loss,
        **{theirs: told.losses[ours] / (weights[ours] or 1.0) for theirs, ours in TERMS.items()},
        "gradnorm_G": told.norm(),
        "n_params": count(training.network.parameters()),
    }


TERMS = {"tv": "smooth", "style": "style", "perceptual": "perceptual", "valid": "valid", "hole": "hole"}
"""The record's name of a loss -> ours, which is also its weight's."""

STARTS = {1: 0, 2: 5, 3: 10}
VGG_NAMES = {
    f"enc_{part}.{place}.{what}": f"features.{start + place}.{what}"
    for part, start in STARTS.items()
    for place in (0, 2, 4)
    for what in ("weight", "bias")
}
"""The published program cuts torchvision's VGG-16 after its pools."""


def filled(record: Record) -> dict[str, Tensor]:
    """Batch norms' counters are integers, which a filling leaves alone."""
    names = record.content["state"]
    return record.state({name: torch.tensor(0) for name in names if name.endswith("num_batches_tracked")})


def given_image(record: Record) -> Tensor:
    return record.input("image", record.transform("image").replace("make_input", "x"))


def given_mask(record: Record) -> Tensor:
    """ "ones; zero in rows h/4..3h/4-1, columns w/4..3w/4-1, and in rows 0..5, columns 0..8; same in 3 channels" """
    _, _, height, width = record.shape("mask")
    mask = torch.ones(record.shape("mask"))[:, :1]
    for area in re.findall(r"rows (\S+)\.\.(\S+), columns (\S+)\.\.([^\s,;]+)", record.transform("mask")):
        top, bottom = (place(record, text, height) for text in area[:2])
        left, right = (place(record, text, width) for text in area[2:])
        mask[..., top : bottom + 1, left : right + 1] = 0
    return mask


def place(record: Record, text: str, size: int) -> int:
    """ "3h/4-1" or "5"."""
    found = re.fullmatch(r"(\d*)([hw]?)(?:/(\d+))?(?:-(\d+))?", text)
    if not found or not text:
        raise BadInput(f"{record.path}: {text!r} is no row or column that this check knows.")
    factor, letter, divisor, less = found.groups()
    return int(factor or 1) * (size if letter else 1) // int(divisor or 1) - int(less or 0)


def weight(record: Record, term: str) -> float:
    """The number that follows a term's name in the record's sentence on weights."""
    found = re.search(rf"\b{term} ([\d.]*\d)", record.options["weights"])
    if found is None:
        raise BadInput(f"{record.path}: there is no weight of {term} in {record.options['weights']!r}.")
    return float(found[1])


NETWORKS = {
    "rfrnet": Network(network),
    "rfrnet-smaller-hole": Network(network),
    "losses": Network(
        losses,
        tolerance=1e-3,
        because="batch statistics of as few as 16 cells, six times over, amplify rounding: the recorded pictures are "
        "themselves 1.6e-4 away from the same computation in double precision",
    ),
}
