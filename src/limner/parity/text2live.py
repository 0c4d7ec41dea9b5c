"""Parity of Text2LIVE: its generator and what is rendered from it, and what CLIP says of views of any shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.parity.compare import count
from limner.parity.edit_metrics import filled_clip
from limner.parity.record import Network, Record
from limner.published import keys
from limner.published.text2live import names
from limner.systems.diffusion.text2live import Generator, directional, render, self_similarity, sparsity, spherical


@torch.no_grad()
def generator(record: Record) -> Mapping[str, Any]:
    options, where = record.options, str(record.path)
    network = Generator(
        down=options["skip_n33d"], up=options["skip_n33u"], skip=options["skip_n11"], scales=options["num_scales"]
    )
    published = names(options["num_scales"])
    built = {theirs: network.state_dict()[ours] for theirs, ours in published.items()}
    fixed = {name: value for name, value in built.items() if name.endswith(("colcorr_t", "num_batches_tracked"))}
    keys.fill(network, keys.renamed(record.state(fixed), published, where), where)
    picture = record.input("image")
    evaluated = network.eval()(picture)  # first: in training mode the running statistics move
    made = render(layer := network.train()(picture), picture)
    return {
        "output": layer,
        "output_eval_mode": evaluated,
        "colcorr_t": network.decorrelation,
        "edit": made.colours,
        "alpha": made.alpha.expand(-1, 3, -1, -1),
        "edit_on_greenscreen": made.screen,
        "composite": made.composite,
        "sparsity_l1": sparsity(made.alpha, 1, 0),
        "sparsity_l0": sparsity(made.alpha, 0, 1),
        "loss_sparsity_image_config": sparsity(made.alpha, area=0.01, count=0.01),
        "loss_sparsity_video_config": sparsity(made.alpha, area=0.01, count=0.005),
        "n_params": count(network.parameters()),
    }


@torch.no_grad()
def clip_losses(record: Record) -> Mapping[str, Any]:
    clip = filled_clip(record)

    def seen(name: str) -> Tensor:
        return clip.look(record.input(name), published_grid=True)

    def structure(name: str) -> Tensor:
        return self_similarity(clip.states(record.input(name), published_grid=True))

    found: dict[str, Any] = {}
    for pair in sorted(name.removeprefix("img_") for name in record.content["inputs"] if name.startswith("img_")):
        picture, edit = f"img_{pair}", f"edit_{pair}"
        found[pair] = {
            "size": list(record.shape(picture)[-2:]),
            "embedding": seen(picture),
            "self_similarity": structure(picture),
            "structure_loss": F.mse_loss(structure(edit), structure(picture)),
            "spherical_distance_to_edit": spherical(seen(picture), seen(edit)),
        }
        said, was = record.input("tgt"), record.input("src")
        found[f"clip_loss_of_edit_{pair}"] = spherical(seen(edit)[:, None], said)
        found[f"directional_loss_of_{pair}"] = directional(seen(picture), seen(edit), was, said)
    return found | {"n_params": count(clip.network.parameters())}


NETWORKS = {
    "generator": Network(generator),
    "generator-small": Network(generator),
    "clip-losses": Network(clip_losses),
}
