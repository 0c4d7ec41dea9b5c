"""MUNIT's parity records: one domain's generator, the layer norm, the discriminator, and a training step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limner.data.kinds import Unpaired
from limner.errors import BadInput
from limner.parity.compare import count
from limner.parity.game import Given, Move, moves
from limner.parity.record import Network, Record
from limner.published import munit as published
from limner.published.keys import fill, renamed, under
from limner.system import System
from limner.systems.translation.munit import MUNIT, Generator, LayerNorm, MultiScaleDiscriminator

Outputs = Mapping[str, Any]


@torch.no_grad()
def generator(record: Record) -> Outputs:
    model = Generator(MUNIT.Config(**sizes(record.options)))
    fill(model, published.ours(record.state(), str(record.path)), str(record.path))
    x, drawn = record.input("x"), record.input("style")
    content, style = model.encode(x)
    return {
        "content": content,
        "style": style[..., None, None],
        "recon": model.decode(content, style),
        "out_style": model.decode(content, drawn.flatten(1)),
        "adain_params": model.mlp(drawn.flatten(1)),
        "n_params": count(model.parameters()),
    }


@torch.no_grad()
def layer_norm(record: Record) -> Outputs:
    model = LayerNorm(record.options["num_features"], record.options["eps"])
    fill(model, record.state(), str(record.path))
    return {"out": model(record.input("ln")), "n_params": count(model.parameters())}


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    model = MultiScaleDiscriminator(*discriminator_options(record.options).values())
    fill(model, published.ours(record.state(), str(record.path)), str(record.path))
    scores = model(record.input("xd"))
    return {f"scale{i}": each for i, each in enumerate(scores)} | {"n_params": count(model.parameters())}


TERMS = {
    "gen_recon_x": ("reconstruction", "picture"),
    "gen_recon_s": ("style", "style"),
    "gen_recon_c": ("content", "content"),
    "gen_cycrecon_x": ("cycle", "cycle"),
    "gen_adv": ("adversarial", "adversarial"),
    "gen_vgg": ("perceptual", "perceptual"),
}
"""The record's name of a generator's loss -> ours, and the option that weighs it."""

WEIGHTS = {
    "adversarial": "gan_w",
    "picture": "recon_x_w",
    "style": "recon_s_w",
    "content": "recon_c_w",
    "cycle": "recon_x_cyc_w",
    "perceptual": "vgg_w",
}


def losses(record: Record) -> Outputs:
    """Both updates from the same weights. Each begins with the first of the recorded draws."""
    weights = {ours: float(record.options[theirs]) for ours, theirs in WEIGHTS.items()}
    options: dict[str, Any] = sizes(record.options["gen"]) | discriminator_options(record.options["dis"]) | weights
    model = MUNIT(MUNIT.Config(**options))
    fill_training(model, record, published.ours)
    styles = {side: record.input(f"noise{i}", "x").flatten(1) for i, side in enumerate("ab")}
    draws = {f"{draw}, {side}": style for draw in ("style to judge", "style") for side, style in styles.items()}
    told = moves(model, Unpaired(record.input("A"), record.input("B")), Given(draws))
    return played(told, TERMS, weights) | {"n_params": count(model.parameters())}


def fill_training(
    model: System, record: Record, ours: Callable[[Mapping[str, Tensor], str], dict[str, Tensor]]
) -> None:
    """Generators under gen_a. and gen_b., discriminators under dis_a. and dis_b., and VGG-16 where it is used."""
    where, state = str(record.path), record.state()
    networks = {name.replace("_", ".", 1): value for name, value in state.items() if not name.startswith("vgg.")}
    seen = renamed(under("vgg.", state), published.VGG16, where)
    fill(model, ours(networks, where) | {f"vgg.{name}": value for name, value in seen.items()}, where)


def played(
    told: Mapping[str, Move], terms: Mapping[str, tuple[str, str]], weights: Mapping[str, float]
) -> dict[str, Any]:
    """Single losses without their weights, totals, and gradient norms."""
    judging, making = told["discriminators"], told["generators"]
    found: dict[str, Any] = {
        "dis_total": judging.loss,
        "gradnorm_dis": judging.norm(),
        "gen_total": making.loss,
        "gradnorm_gen": making.norm(),
    }
    for side in "ab":
        found[f"dis_{side}"] = judging.losses[f"domain_{side}"] / weights["adversarial"]
        for theirs, (ours, weight) in terms.items():
            found[f"{theirs}_{side}"] = making.losses.get(f"{ours}_{side}", 0.0) / (weights[weight] or 1.0)
    return found


def sizes(published: Mapping[str, Any]) -> dict[str, int]:
    style = {"mlp_width": published["mlp_dim"], "style_width": published["style_dim"]}
    return generator_options(published) | style


def generator_options(published: Mapping[str, Any]) -> dict[str, int]:
    expect(published, activ="relu", pad_type="reflect")
    names = {
        "width": "dim",
        "downs": "n_downsample",
        "blocks": "n_res",
    }
    return {ours: published[theirs] for ours, theirs in names.items() if theirs in published}


def discriminator_options(published: Mapping[str, Any]) -> dict[str, int]:
    expect(published, norm="none", activ="lrelu", gan_type="lsgan", pad_type="reflect")
    names = {"discriminator_width": "dim", "discriminator_depth": "n_layer", "scales": "num_scales"}
    return {ours: published[theirs] for ours, theirs in names.items()}


def expect(options: Mapping[str, Any], **published: Any) -> None:
    """BadInput where an option has another value than it has in everything that was published."""
    for name, value in published.items():
        if options[name] != value:
            raise BadInput(f"{name} is {options[name]!r}; it was only ever published as {value!r}, and that is built.")


NETWORKS = {
    "adain-gen": Network(generator),
    "layernorm": Network(layer_norm),
    "multiscale-d": Network(discriminator),
    "losses": Network(losses),
}
