"""DALL-E mini's parity records: the PyTorch port's three networks, the Flax transformer, and both VQGANs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.parity.fill import fill_tensor, make_input
from limner.published import dalle_mini as published
from limner.systems.text.dalle_mini import PAD, DalleMini, Decoder, Encoder, guide, probabilities
from limner.systems.text.vqgan import VQGAN

Record = Mapping[str, Any]


def port_encoder(record: Record) -> dict[str, Tensor]:
    text = integers(record, "text_tokens")
    encoder = Encoder(port_config(record)).eval()
    published.load(encoder, published.rename(filled(record), published.TRANSFORMER_PORT))
    return {"state": encoder(text)}


def port_decoder(record: Record) -> dict[str, Tensor]:
    states = given(record, "encoder_state")
    image = integers(record, "prev_tokens").expand(len(states), -1)
    limits = {int(row): int(limit) for row, limit in re.findall(r"row (\d+) positions < (\d+)", record["note"])}
    words = torch.stack([torch.arange(states.shape[1]) < limits[row] for row in range(len(states))])
    decoder = Decoder(port_config(record)).eval()
    published.load(decoder, published.rename(filled(record), published.TRANSFORMER_PORT))
    logits = decoder(image, states, words)

    guidance, codes = number(r"uncond \+ ([\d.]+)", record["note"]), int(number(r"first (\d+) logits", record["note"]))
    guided = guide(*logits[:, -1, :codes].chunk(2), guidance)
    chances = probabilities(
        guided,
        top_k=int(number(r"top_k (\d+)", record["note"])),
        temperature=number(r"temperature ([\d.]+)", record["note"]),
    )
    return {"logits": logits, "guided_last": guided, "sampling_prob_last": chances}


def port_detokenizer(record: Record) -> dict[str, Tensor]:
    codes = integers(record, "tokens")
    eps = number(r"eps is ([\d.e-]+)", record["note"])
    state = published.rename(filled(record), published.VQGAN_TAMING)
    model = VQGAN(published.config_from_detokenizer(state, eps)).eval()
    published.load(model, state)
    grid = codes.unflatten(1, published.square(codes.shape[1]))
    raw = model.paint(model.codes(grid).permute(0, 3, 1, 2))
    painted = (model.decode(grid)[0].permute(1, 2, 0) + 1) * 127.5
    return {"raw": raw, "image": painted}


def flax_transformer(record: Record) -> dict[str, Tensor]:
    text, image = integers(record, "text_tokens"), integers(record, "prev_tokens").expand(2, -1)
    labels = integers(record, "prev_tokens", edit=False).roll(-1, 1).expand(2, -1)
    model = DalleMini(published.without_vqgan(published.config_from_flax(record["options"]))).eval()
    published.load(model, published.rename(published.from_flax(flax_filled(record)), published.TRANSFORMER_FLAX))
    states = model.encoder(text)
    logits = model.decoder(image, states, text != PAD)
    entropy = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return {"encoder_state": states, "logits": logits, "cross_entropy": entropy}


def taming_vqgan(record: Record) -> dict[str, Tensor]:
    pictures = given(record, "image")
    model = VQGAN(published.config_from_taming(record["options"])).eval()
    state = published.rename(filled(record), published.VQGAN_TAMING)
    published.load(model, state, untouched=("discriminator.",))
    latent = model.latent(pictures)
    codes, entries, loss = model.quantise(latent)
    return {"h": latent, "indices": codes.flatten(1), "codebook_loss": loss, "reconstruction": model.paint(entries)}


def flax_vqgan(record: Record) -> dict[str, Tensor]:
    pictures = given(record, "image")
    model = VQGAN(published.config_from_taming(record["options"])).eval()
    state = published.rename(published.from_flax(flax_filled(record)), published.VQGAN_TAMING)
    published.load(model, state, untouched=("discriminator.",))
    codes, entries, _ = model.quantise(model.latent(pictures))
    return {"indices": codes.flatten(1), "image": model.paint(entries).permute(0, 2, 3, 1)}


HANDLERS = {
    "encoder": port_encoder,
    "decoder": port_decoder,
    "detokenizer": port_detokenizer,
    "flax": flax_transformer,
    "vqgan": taming_vqgan,
    "vqgan-flax": flax_vqgan,
}


def port_config(record: Record) -> DalleMini.Config:
    return published.without_vqgan(published.config_from_port(record["options"]))


def filled(record: Record) -> dict[str, Tensor]:
    seed = seed_of(record)
    return {key: fill_tensor(key, tuple(shape), seed) for key, shape in record["state"].items()}


def flax_filled(record: Record) -> dict[str, Tensor]:
    """The records' own rule for Flax's layout: kernels end in their output, and layers are stacked in front."""
    state = {}
    for key, value in filled(record).items():
        shape, stacked = value.shape, ".layers." in key
        if key.endswith(".kernel"):
            fan_in = math.prod(shape[int(stacked) : -1])
            value = value * math.sqrt(math.prod(shape[1:]) / fan_in)
        elif stacked and value.ndim == 2 and key.endswith((".scale", ".bias")):
            value = value * 0.1 * math.sqrt(shape[1])
        state[key] = value + 1 if key.endswith(".scale") else value
    return state


def given(record: Record, name: str) -> Tensor:
    inputs = record["inputs"][name]
    return make_input(name, tuple(inputs["shape"]), inputs.get("seed", seed_of(record)))


def integers(record: Record, name: str, edit: bool = True) -> Tensor:
    """Tokens as the record's own sentence makes them: "integers in [3, 100) ...; then row 0 = ...; position 0 = ..."."""
    how = record["inputs"][name]["transform"]
    low, high = (int(x) for x in re.findall(r"integers in \[(\d+), (\d+)\)", how)[0])
    tokens = ((given(record, name) + 1) / 2 * (high - low)).floor().add(low).clamp(max=high - 1).long()
    if not edit:
        return tokens
    if re.search(r"row 0 \(unconditional\)", how):
        first = [int(x) for x in re.findall(r"= \[([\d, ]+)", how)[0].split(",") if x.strip()]
        tokens[0] = first[-1]
        tokens[0, : len(first)] = torch.tensor(first)
        rows = tokens[1:]
    else:
        rows = tokens
    for position, value in re.findall(r"position (\d+) (?:is then set to|=) (\d+)", how):
        rows[:, int(position)] = int(value)
    for position, value in re.findall(r"positions from (\d+) on = (\d+)", how):
        rows[:, int(position) :] = int(value)
    return tokens


def number(pattern: str, text: str) -> float:
    """The number that the record's sentence gives; a record without it can't be checked."""
    return float(re.findall(pattern, text)[0])


def seed_of(record: Record) -> int:
    return int(record.get("fill_seed", record.get("seed", 0)))
