"""SEAN's parity records: the generator with its style encoder, and the discriminators."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count as counting
from typing import Any

import torch
from torch import Tensor

from limner.nn.label_maps import one_hot
from limner.parity.compare import count
from limner.parity.label_maps import layers, numbers, settled, size
from limner.parity.record import Network, Record
from limner.published import sean as published
from limner.published.keys import fill
from limner.published.spade import DISCRIMINATOR, ours
from limner.systems.translation.sean import SEAN, Encoder, Generator

Outputs = Mapping[str, Any]


def empty(options: Mapping[str, Any]) -> SEAN:
    """The system without memory for its weights, from the published options. Pictures are crops rounded down."""
    across = options["crop_size"] // 32
    config = SEAN.Config(
        classes=options["label_nc"],
        unknown=options["contain_dontcare_label"],
        size=(round(across / options["aspect_ratio"]) * 32, across * 32),
        width=options["ngf"],
        discriminator_width=options["ndf"],
        discriminator_layers=options["n_layers_D"],
        scales=options["num_D"],
    )
    with torch.device("meta"):
        return SEAN(config)


def parameters(generator: Generator, encoder: Encoder) -> int:
    """The published program counts both as the generator."""
    return count(generator.parameters()) + count(encoder.parameters())


@torch.no_grad()
def generator(record: Record) -> Outputs:
    system, where = empty(record.options), str(record.path)
    painter, encoder = published.networks(settled(record, record.state()), where)
    fill(system.generator, painter, where)
    fill(system.encoder, encoder, where)
    system.eval()
    regions = one_hot(numbers(record, "label"), system.kinds)
    draws = counting()

    def noise(height: int, width: int) -> Tensor:
        """As published, drawn as (B, width, height, 1), and transposed."""
        return record.input(f"noise{next(draws)}", "x").transpose(1, 3)

    codes = system.encoder(record.input("image"), regions)
    full = {"G": size(lambda: SEAN().generator) + size(lambda: SEAN().encoder), "D": size(lambda: SEAN().discriminator)}
    return {
        "style_codes": codes,
        "out": system.generator(regions, codes, noise),
        "n_params": parameters(system.generator, system.encoder),
        "n_params_full": full,
    }


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    system, where = empty(record.options), str(record.path)
    fill(system.discriminator, ours(settled(record, record.state()), DISCRIMINATOR, where), where)
    regions = one_hot(numbers(record, "label"), system.kinds)
    seen = system.discriminator.eval()(torch.cat([regions, record.input("image", "x")], 1))
    return layers(seen) | {"n_params": count(system.discriminator.parameters())}


NETWORKS = {"generator": Network(generator), "multiscale-d": Network(discriminator)}
