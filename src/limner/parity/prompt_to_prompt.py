"""Prompt-to-Prompt's alignments of words and edits of maps against ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.parity.record import Network, Record
from limner.systems.diffusion.prompt_to_prompt import (
    Caption,
    LocalBlend,
    Refine,
    Replace,
    Reweight,
    Window,
    alignment,
    replacement,
    windows,
)


class StandIn:
    """The record's tokenizer: words in pieces of at most 4 letters, numbered as they come."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def caption(self, text: str) -> Caption:
        pieces = [word[at : at + 4] for word in text.split(" ") for at in range(0, len(word), 4)]
        return Caption(text, (0, *(self.known.setdefault(p, 2 + len(self.known)) for p in pieces), 1), tuple(pieces))


def attention_edit(record: Record) -> Mapping[str, Any]:
    cases = record.content["outputs"]["alignment"]
    length = record.options["max_num_words"]
    reader = StandIn()
    texts: dict[str, tuple[Caption, Caption]] = {}
    for name, case in cases.items():
        if "prompts" in case:
            source, target = case["prompts"]
            texts[name] = reader.caption(source), reader.caption(target)
    swapped, refined = texts["replace"], texts["refine"]
    base, edit = _softmax(record, "base"), _softmax(record, "edit")[None]
    replaced = Replace(replacement(swapped[0], swapped[1], length)[None])
    word, factor = _noted(record, r"reweight: '(\w+)' x(-?[\d.]+)")
    factors = torch.ones(1, length)
    factors[0, swapped[1].positions(word)] = float(factor)
    return {
        "alignment": {name: _aligned(name, case, texts, reader, length) for name, case in cases.items()},
        "replace": replaced(base, edit),
        "refine": Refine(alignment(refined[0], refined[1], length)[None])(base, edit),
        "reweight": Reweight(factors)(base, edit),
        "reweight_after_replace": Reweight(factors, replaced)(base, edit),
        "local_blend": _blended(record, swapped, length),
        "notes": record.content["outputs"]["notes"],  # says what was edited, and is no number
        "n_params": 0,
    }


def _aligned(
    name: str, case: Mapping[str, Any], texts: Mapping[str, tuple[Caption, Caption]], reader: StandIn, length: int
) -> Mapping[str, Any]:
    """What the record asks of one case of its list of alignments."""
    if name == "word_inds":
        return {asked: _positions(asked, reader) for asked in case}
    if found := re.match(r"alpha_default_([\d.]+)_(\w+?)_([\d.]+)_([\d.]+)_steps_(\d+)$", name):
        default, word, first, last, steps = found.groups()
        target = next(pair[1] for pair in texts.values() if pair[1].positions(word))
        cross: dict[str, Window] = {"default_": float(default), str(word): (float(first), float(last))}
        table = windows([target], int(steps), cross, length)[:, :, None, None]
        columns = {key: key.removeprefix("column_of_").removeprefix("word_") for key in case if key != "shape"}
        return {"shape": list(table.shape)} | {
            key: table[:, 0, 0, 0, target.positions(each)[0]] for key, each in columns.items()
        }
    source, target = texts[name]
    ours: dict[str, Any] = {"prompts": [source.text, target.text], "ids": [list(source.ids), list(target.ids)]}
    if "mapper" in case:
        origins = alignment(source, target, length)
        return ours | {"mapper": origins, "alphas": (origins >= 0).float()}
    shares = replacement(source, target, length)
    entries = [(int(i), int(j), float(shares[i, j])) for i, j in shares.nonzero()]
    return ours | {
        "mapper_nonzero": [list(entry) for entry in entries if entry != (entry[0], entry[0], 1.0)],
        "mapper_identity_rows": [i for i, j, share in entries if i == j and share == 1],
    }


def _positions(asked: str, reader: StandIn) -> list[int]:
    """`WORD in TEXT`, or `index NUMBER of TEXT`, where the record counts words from 1: what it has for 1 are the tokens
    of the first, which the published function calls 0."""
    if found := re.match(r"index (\d+) of (.*)$", asked):
        return reader.caption(found[2]).positions(int(found[1]) - 1)
    word, _, text = asked.partition(" in ")
    return reader.caption(text).positions(word)


def _blended(record: Record, captions: Sequence[Caption], length: int) -> Mapping[str, Any]:
    threshold = record.content["outputs"]["local_blend"]["threshold"]
    words = _noted(record, r"local blend: words (\w+) / (\w+)")
    blend = LocalBlend(
        torch.stack([text.marked(word, length) for text, word in zip(captions, words, strict=True)]),
        thresholds=(threshold, threshold),
    )
    first, last = re.findall(r"i=(\d+)\.\.(\d+)", record.transform("maps"))[0]
    rows, places, tokens = record.shape("maps")
    side = round(places**0.5)
    attention = torch.cat(
        [
            _softmax(record, "maps", number).view(len(captions), rows // len(captions), side, side, tokens)
            for number in range(int(first), int(last) + 1)
        ],
        1,
    )
    latents, looks = record.input("x_t"), blend.looks(attention)
    return {
        "threshold": threshold,
        "mask_mean": blend.mask(looks, latents.shape[2:]).float().mean((1, 2, 3)),
        "x_t": blend.blend(latents, looks),
    }


def _softmax(record: Record, name: str, number: int = 0) -> Tensor:
    """An input that is a softmax of a formula, over the last axis."""
    found = re.search(r"softmax\(([^()]*make_input\([^()]*\))\)", record.transform(name))
    if found is None:
        raise BadInput(f"{record.path}: input {name!r} should be the softmax of a formula")
    return record.input(name, re.sub(r"%d' % \w+", f"{number}'", found[1])).softmax(-1)


def _noted(record: Record, pattern: str) -> tuple[str, ...]:
    found = re.search(pattern, record.content["outputs"]["notes"])
    if found is None:
        raise BadInput(f"{record.path}: its notes should say {pattern!r}")
    return found.groups()


NETWORKS = {"attention-edit": Network(attention_edit)}
