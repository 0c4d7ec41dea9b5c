"""DALL-E mini's parity records: the PyTorch port's three networks, the Flax transformer, and both VQGANs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.record import Network, Record
from limner.published import dalle_mini as published
from limner.published.keys import fill
from limner.systems.text.dalle_mini import DalleMini, Decoder, Encoder, guide, probabilities
from limner.systems.text.vqgan import VQGAN
from limner.systems.text.words import PAD

Outputs = Mapping[str, Any]

PORTED_MINI = DalleMini.Config(norm_scales=True, vqgan=None)
"""Of the full size that the records count: the port's DALL-E mini, with the scales that its release lacks."""


@torch.no_grad()
def port_encoder(record: Record) -> Outputs:
    text = text_tokens(record, "text_tokens")
    encoder = Encoder(port_config(record))
    fill(encoder, published.rename(record.state(), published.TRANSFORMER_PORT, str(record.path)), str(record.path))
    return {"state": encoder(text), "n_params": size(Encoder, PORTED_MINI)}


@torch.no_grad()
def port_decoder(record: Record) -> Outputs:
    note = record.content["note"]
    states = record.input("encoder_state")
    image = image_tokens(record, "prev_tokens").expand(len(states), -1)
    limits = {int(row): int(limit) for row, limit in re.findall(r"row (\d+) positions < (\d+)", note)}
    words = torch.stack([torch.arange(states.shape[1]) < limits[row] for row in range(len(states))])
    decoder = Decoder(port_config(record))
    fill(decoder, published.rename(record.state(), published.TRANSFORMER_PORT, str(record.path)), str(record.path))
    logits = decoder(image, states, words)

    codes = int(number(record, r"first (\d+) logits", note))
    unconditional, conditional = logits[:, -1, :codes].chunk(2)
    guided = guide(unconditional, conditional, number(record, r"uncond \+ ([\d.]+)", note))
    chances = probabilities(
        guided,
        top_k=int(number(record, r"top_k (\d+)", note)),
        temperature=number(record, r"temperature ([\d.]+)", note),
    )
    return {
        "logits": logits,
        "guided_last": guided,
        "sampling_prob_last": chances,
        "n_params": size(Decoder, PORTED_MINI),
    }


@torch.no_grad()
def port_detokenizer(record: Record) -> Outputs:
    codes = integers(record, "tokens")
    state = published.rename(record.state(), published.VQGAN_TAMING, str(record.path))
    eps = number(record, r"eps is ([\d.]+(?:e-?\d+)?)", record.content["note"])
    model = VQGAN(published.config_from_detokenizer(state, eps))
    published.fill_vqgan(model, state, str(record.path))
    grid = codes.view(-1, *published.square(codes.shape[1]))
    raw = model.paint(model.entries(grid))
    image = (model.decode(grid).permute(0, 2, 3, 1).squeeze(0) + 1) * 127.5
    return {"raw": raw, "image": image, "n_params": size(VQGAN, model.config)}


@torch.no_grad()
def flax_transformer(record: Record) -> Outputs:
    text = text_tokens(record, "text_tokens")
    image = image_tokens(record, "prev_tokens").expand(len(text), -1)
    labels = integers(record, "prev_tokens").roll(-1, 1).expand(len(text), -1)
    row = (1, record.options["image_length"])  # no picture is painted, so any length will do
    model = DalleMini(replace(published.config_from_flax(record.options, grid=row), vqgan=None))
    state = published.from_flax(flax_state(record))
    fill(model, published.rename(state, published.TRANSFORMER_FLAX, str(record.path)), str(record.path))
    states = model.encoder(text)
    logits = model.decoder(image, states, text != PAD)
    return {
        "encoder_state": states,
        "logits": logits,
        "cross_entropy": F.cross_entropy(logits.transpose(1, 2), labels, reduction="none"),
        "n_params": size(DalleMini, PORTED_MINI),
    }


@torch.no_grad()
def taming_vqgan(record: Record) -> Outputs:
    model = VQGAN(published.config_from_taming(record.options))
    state = published.rename(record.state(), published.VQGAN_TAMING, str(record.path))
    published.fill_vqgan(model, state, str(record.path))
    latent = model.latent(record.input("image"))
    codes, entries, loss = model.quantise(latent)
    return {
        "h": latent,
        "indices": codes.flatten(1),
        "codebook_loss": loss,
        "reconstruction": model.paint(entries),
        "n_params": size(VQGAN, VQGAN.Config()),
    }


@torch.no_grad()
def flax_vqgan(record: Record) -> Outputs:
    model = VQGAN(published.config_from_taming(record.options))
    state = published.rename(published.from_flax(flax_state(record)), published.VQGAN_TAMING, str(record.path))
    published.fill_vqgan(model, state, str(record.path))
    codes, entries, _ = model.quantise(model.latent(record.input("image", "x")))
    return {
        "indices": codes.flatten(1),
        "image": model.paint(entries).permute(0, 2, 3, 1),
        "n_params": size(VQGAN, VQGAN.Config()),
    }


NETWORKS = {
    "encoder": Network(port_encoder),
    "decoder": Network(port_decoder),
    "detokenizer": Network(port_detokenizer),
    "flax": Network(flax_transformer),
    "vqgan": Network(taming_vqgan),
    "vqgan-flax": Network(flax_vqgan),
}


def port_config(record: Record) -> DalleMini.Config:
    return replace(published.config_from_port(record.options), vqgan=None)


def size(network: type[nn.Module], config: object) -> int:
    """Parameters at full size, without the discriminator, which isn't part of what the records count."""
    with torch.device("meta"):
        built: nn.Module = network(config)
    return count(value for name, value in built.named_parameters() if not name.startswith("discriminator."))


def flax_state(record: Record) -> dict[str, Tensor]:
    """The records' own filling of Flax's layout: kernels end in their output, and layers are stacked in front."""
    state = {}
    for key, value in record.state().items():
        shape, stacked = value.shape, ".layers." in key
        if key.endswith(".kernel"):
            value = value * math.sqrt(math.prod(shape[1:]) / math.prod(shape[int(stacked) : -1]))
        elif stacked and value.ndim == 2 and key.endswith((".scale", ".bias")):
            value = value * 0.1 * math.sqrt(shape[1])
        state[key] = value + 1 if key.endswith(".scale") else value
    return state


def integers(record: Record, name: str) -> Tensor:
    """ "integers in [3, 100): floor((x + 1) / 2 * 97) + 3, clipped to at most 99, int64; then ..." until "then"."""
    how = record.transform(name)
    formula = re.search(r"floor\(.*?\) \+ \d+", how)
    most = number(record, r"at most (\d+)", how)
    return record.input(name, formula and formula.group()).clamp(max=most).long()


def image_tokens(record: Record, name: str) -> Tensor:
    """Integers, then "position 0 = 16384" or "position 0 is then set to 16384"."""
    tokens = integers(record, name)
    for position, value in re.findall(r"position (\d+) (?:is then set to|=) (\d+)", record.transform(name)):
        tokens[:, int(position)] = int(value)
    return tokens


def text_tokens(record: Record, name: str) -> Tensor:
    """Integers, then "row 0 (unconditional) = [0, 2, 1, ...]; row 1: position 0 = 0, ... positions from 11 on = 1"."""
    tokens = integers(record, name)
    for row, edits in re.findall(r"row (\d+)([^;]*)", record.transform(name)):
        line = tokens[int(row)]
        for values in re.findall(r"= \[([\d, ]+)\.\.\.\]", edits):
            first = [int(value) for value in values.split(",") if value.strip()]
            line[:] = first[-1]
            line[: len(first)] = torch.tensor(first)
        for position, value in re.findall(r"position (\d+) = (\d+)", edits):
            line[int(position)] = int(value)
        for position, value in re.findall(r"positions from (\d+) on = (\d+)", edits):
            line[int(position) :] = int(value)
    return tokens


def number(record: Record, pattern: str, text: str) -> float:
    """The number that a sentence of the record gives."""
    found = re.search(pattern, text)
    if found is None:
        raise BadInput(f"{record.path}: can't check this network: there is nothing like {pattern!r} in {text!r}")
    return float(found[1])
