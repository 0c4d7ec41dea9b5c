"""CLIP as people have it: OpenAI's own archives, and folders of transformers.

Published by openai/CLIP under MIT: `ViT-B-32.pt`, `ViT-L-14.pt` and others, which are TorchScript archives in half
precision; the code in them isn't looked at. The same weights are on the hub as folders (`openai/clip-vit-base-patch32`,
...), where the attention's three matrices lie apart and the projections are turned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limner.errors import BadCheckpoint, MissingExtra
from limner.nn.clip import CLIP, Sizes, build_clip
from limner.published import keys
from limner.published.keys import Rules, by_rules
from limner.published.read import tensors
from limner.published.stable_diffusion import json_in, tokenizer_beside, tokenizer_in, weights_in

if TYPE_CHECKING:
    from transformers import CLIPModel

UNUSED = re.compile(r"^(input_resolution|context_length|vocab_size)$|\.attn_mask$")
"""What archives hold beside the weights: sizes, which the shapes say as well, and that text is read forwards only."""

NAMES: Rules = (
    (r"^visual\.conv1\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.class_embedding$", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^visual\.proj$", "visual_projection.weight"),
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^text_projection$", "text_projection.weight"),
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"\.ln_(\d)\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.in_proj_", ".self_attn.in_proj_"),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
)

TURNED = frozenset({"visual_projection.weight", "text_projection.weight"})
"""Published as (width, space), for a product from the right."""


def open_clip(path: Path, tokenizer: Path | None = None) -> CLIP:
    """A CLIP from OpenAI's archive (.pt) or a folder of transformers, in float32.

    tokenizer: a folder with vocab.json and merges.txt; without it, the folder itself, or `tokenizer` beside the file
    """
    model = from_folder(path) if path.is_dir() else from_tensors(tensors(path), str(path))
    if tokenizer:
        model.tokenizer = tokenizer_in(tokenizer)
    elif not path.is_dir():
        model.tokenizer = tokenizer_beside(path)
    return model


def from_tensors(held: Mapping[str, Tensor], where: str) -> CLIP:
    """What an archive holds, under OpenAI's names -> the model, which can't read words yet."""
    published = {name: value for name, value in held.items() if not UNUSED.search(name)}
    try:
        sizes = sizes_of(published)
        ours = translated(published, where)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise BadCheckpoint(
            f"{where}: not OpenAI's layout of a CLIP with a vision transformer: it lacks or misshapes {error}."
        ) from None
    network = _bare(sizes, where)
    keys.fill(network, ours, where)
    return CLIP(network)


def from_folder(path: Path) -> CLIP:
    """A folder of transformers: config.json, weights, and mostly a tokenizer."""
    config = json_in(path / "config.json")
    if not isinstance(config.get("vision_config"), dict) or not isinstance(config.get("text_config"), dict):
        raise BadCheckpoint(
            f"{path / 'config.json'}: not a CLIP of two towers: it has no vision_config or text_config."
        )
    where = str(path)
    held = tensors(weights_in(path, "model", "pytorch_model"))
    for tower in ("vision", "text"):  # before anything is built: a config may claim any number
        layers = keys.count(held, rf"{tower}_model\.encoder\.layers\.(\d+)\.")
        if layers != config[f"{tower}_config"].get("num_hidden_layers", 12):
            raise BadCheckpoint(f"{where}: its weights have {layers} {tower} layers, and its config says otherwise.")
    try:
        from transformers import CLIPConfig, CLIPModel
    except ImportError:
        raise MissingExtra("CLIP", "diffusion") from None
    try:
        with torch.device("meta"):
            network = CLIPModel(CLIPConfig.from_dict(config))
    except Exception as error:  # the library checks configs with many kinds of errors
        raise BadCheckpoint(f"{where}: its config makes no CLIP: {str(error)[:200]}") from None
    keys.fill(network, {name: value for name, value in held.items() if not name.endswith(".position_ids")}, where)
    model = CLIP(_numbered(network))
    if any((path / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        model.tokenizer = tokenizer_in(path)
    return model


def is_clip_folder(path: Path) -> bool:
    """Whether a folder says that it holds a CLIP of transformers."""
    return (path / "config.json").is_file() and "vision_config" in json_in(path / "config.json")


def names(published: Iterable[str]) -> dict[str, str]:
    """Every published name -> that of transformers; the attention's packed matrices keep theirs, see `translated`."""
    return by_rules(published, NAMES)


def translated(published: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Weights under OpenAI's names -> under transformers', queries, keys and values apart, projections turned."""
    ours: dict[str, Tensor] = {}
    for name, value in keys.renamed(published, names(published), where).items():
        head, packed, kind = name.partition("in_proj_")
        if packed:
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                ours[f"{head}{part}_proj.{kind}"] = piece
        else:
            ours[name] = value.mT.contiguous() if name in TURNED else value
    return ours


def sizes_of(published: Mapping[str, Tensor], heads: int | None = None, text_heads: int | None = None) -> Sizes:
    """Sizes from the shapes. The numbers of heads leave no trace in them; CLIP's have 64 channels each."""
    width, _, patch, _ = published["visual.conv1.weight"].shape
    positions = len(published["visual.positional_embedding"])
    vocabulary, text_width = published["token_embedding.weight"].shape
    return Sizes(
        space=published["visual.proj"].shape[1],
        side=patch * math.isqrt(positions - 1),
        patch=patch,
        width=width,
        depth=keys.count(published, r"visual\.transformer\.resblocks\.(\d+)\."),
        heads=heads or max(1, width // 64),
        vocabulary=vocabulary,
        tokens=len(published["positional_embedding"]),
        text_width=text_width,
        text_depth=keys.count(published, r"transformer\.resblocks\.(\d+)\."),
        text_heads=text_heads or max(1, text_width // 64),
    )


def _bare(sizes: Sizes, where: str) -> CLIPModel:
    """The networks without numbers: no time spent on a random start, no memory beside the file's own."""
    try:
        with torch.device("meta"):
            return _numbered(build_clip(sizes))
    except (ValueError, RuntimeError, TypeError) as error:
        raise BadCheckpoint(f"{where}: its sizes make no CLIP: {error}") from None


def _numbered(network: CLIPModel) -> CLIPModel:
    """The places of tokens, which the class keeps as a buffer and no file holds."""
    for embeddings in (network.text_model.embeddings, network.vision_model.embeddings):
        count = embeddings.position_embedding.num_embeddings
        embeddings.register_buffer("position_ids", torch.arange(count, device="cpu")[None], persistent=False)
    return network
