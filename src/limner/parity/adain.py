"""AdaIN's parity records: encoder, decoder, both strengths and the recolouring; the losses of a training step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.data.kinds import Unpaired
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published.adain import ENCODER_NAMES, convert
from limner.published.keys import fill, renamed, under
from limner.systems.translation.adain import AdaIN, Encoder, recoloured, restyled, statistics

Outputs = Mapping[str, Any]


@torch.no_grad()
def stylise(record: Record) -> Outputs:
    state, where = record.state(), str(record.path)
    system = convert(state, where, {}).eval()
    assert isinstance(system, AdaIN)
    whole = whole_encoder(state, where)
    content, style = picture(record, "content"), picture(record, "style")
    features, wanted = system.features(content), system.features(style)
    whole_strength, *others = record.options["alpha"]
    code = statistics(wanted)
    return {
        "content_feat": features,
        "style_feat": wanted,
        "adain": restyled(features, code),
        "out": in_unit(system(content, code, whole_strength)),
        **{f"out_alpha{alpha}".replace(".", ""): in_unit(system(content, code, alpha)) for alpha in others},
        "relu5_4": whole(in_unit(content), ["relu5_4"])[0],
        "coral_style_to_content": in_unit(recoloured(style[:1], content[:1]))[0],
        "n_params": count(system.decoder.parameters()),
        "n_params_full": {
            "decoder": count(system.decoder.parameters()),
            "vgg_all": count(whole.parameters()),
            "encoder_used": count(system.encoder.parameters()),
        },
    }


def losses(record: Record) -> Outputs:
    options, state, where = record.options, record.state(), str(record.path)
    weights = {"content": float(options["content_weight"]), "style": float(options["style_weight"])}
    system = convert(state, where, weights).train()
    told = moves(system, Unpaired(picture(record, "content2"), picture(record, "style2")))["decoder"]
    return {
        **{term: loss / weights[term] for term, loss in told.losses.items()},
        "gradnorm_decoder": told.gradient,
        "n_params": count([*whole_encoder(state, where).parameters(), *system.players["decoder"].parameters()]),
    }


def whole_encoder(state: Mapping[str, Tensor], where: str) -> Encoder:
    """To the last layer that the published file holds."""
    encoder = Encoder("relu5_4", len(state["vgg.2.weight"]))
    fill(encoder, renamed(under("vgg.", state), ENCODER_NAMES, where), where)
    return encoder


def picture(record: Record, name: str) -> Tensor:
    """In [-1, 1], of "(make_input * [1, 0.4, 0.1] per channel + 1) / 2, then every pixel repeated 8x8"."""
    drawn, how = record.input(name, "x"), record.transform(name)
    if factors := re.search(r"\* \[(.+?)\] per channel", how):
        drawn = drawn * torch.tensor([float(factor) for factor in factors[1].split(",")]).view(-1, 1, 1)
    if times := re.search(r"repeated (\d+)x(\d+)", how):
        drawn = drawn.repeat_interleave(int(times[1]), 2).repeat_interleave(int(times[2]), 3)
    return drawn


def in_unit(pictures: Tensor) -> Tensor:
    return (pictures + 1) / 2


NETWORKS = {"stylise": Network(stylise), "losses": Network(losses)}
