"""Parity of the metrics of edits: a CLIP under OpenAI's names, its features, and the four similarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.metrics.edits import similarities
from limner.nn.clip import CLIP, LARGE, Sizes, build_clip
from limner.parity.compare import count
from limner.parity.record import Network, Record
from limner.published import keys
from limner.published.clip import sizes_of, translated


def filled_clip(record: Record) -> CLIP:
    """Ours, built by the record's options, with its filled state."""
    options, where = record.options, str(record.path)
    state = record.state({"logit_scale": torch.tensor(0.0)})
    sizes = sizes_of(state, options["vision_width"] // 64, options["transformer_heads"])
    said = Sizes(
        space=options["embed_dim"],
        side=options["image_resolution"],
        patch=options["vision_patch_size"],
        width=options["vision_width"],
        depth=options["vision_layers"],
        heads=sizes.heads,
        vocabulary=options["vocab_size"],
        tokens=options["context_length"],
        text_width=options["transformer_width"],
        text_depth=options["transformer_layers"],
        text_heads=sizes.text_heads,
    )
    if said != sizes:
        raise BadInput(f"{where}: its options and its state's shapes are of two networks: {said}, {sizes}")
    network = build_clip(sizes)
    keys.fill(network, translated(state, where), where)
    return CLIP(network)


@torch.inference_mode()
def clip_similarity(record: Record) -> Mapping[str, Any]:
    clip = filled_clip(record)
    tokens = [given_tokens(record, name) for name in ("text0", "text1")]
    before, after = record.input("image0"), record.input("image1")

    def all_four(before: Tensor, after: Tensor) -> dict[str, Tensor]:
        f0, f1 = clip.pictures(before), clip.pictures(after)
        g0, g1 = (torch.nn.functional.normalize(clip.read(ids), dim=-1) for ids in tokens)
        return similarities(f0, f1, g0, g1)._asdict()

    return {
        "vision_tower": clip.look(record.input("pixels")),
        "text_tower": clip.read(tokens[0]),
        "image_features": clip.pictures(before),
        "text_features": torch.nn.functional.normalize(clip.read(tokens[0]), dim=-1),
        **all_four(before, after),
        "as_the_published_script_calls_it_with_images_in_minus1_1": all_four(2 * before - 1, 2 * after - 1),
        "n_params": count(clip.network.parameters()),
        "n_params_full": {"ViT-L/14": counts(LARGE), "ViT-B/32": counts(Sizes())},
    }


def given_tokens(record: Record, name: str) -> Tensor:
    """The token numbers that a record lists, with zeros after them."""
    rows: Sequence[Sequence[int]] = record.content["inputs"][name]["ids"]
    ids = torch.zeros(record.shape(name), dtype=torch.long)
    for row, numbers in zip(ids, rows, strict=True):
        row[: len(numbers)] = torch.tensor(numbers)
    return ids


def counts(sizes: Sizes) -> dict[str, int]:
    """Parameters of a whole CLIP, and of what sees."""
    with torch.device("meta"):
        network = build_clip(sizes)
    vision = [*network.vision_model.parameters(), *network.visual_projection.parameters()]
    return {"total": count(network.parameters()), "vision": count(vision)}


NETWORKS = {"clip-similarity": Network(clip_similarity)}
