"""pix2pixHD's parity records: edge map, generators, encoder, discriminators, and the losses of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from limner.data.kinds import Labelled
from limner.nn.label_maps import edges, one_hot
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.label_maps import counted, layers, numbers, size
from limner.parity.record import Network, Record
from limner.published import pix2pixhd as published
from limner.published.keys import by_rules, fill, renamed, under
from limner.published.vgg import SLICES
from limner.systems.translation.pix2pixhd import (
    Encoder,
    Generator,
    MultiscaleDiscriminator,
    Pix2PixHD,
    averaged,
)

Outputs = Mapping[str, Any]
FULL = {
    "G_global": lambda: Pix2PixHD(Pix2PixHD.Config()).generator,
    "G_local": lambda: Pix2PixHD(Pix2PixHD.Config(enhancers=1)).generator,
    "G_local_feat": lambda: Pix2PixHD(Pix2PixHD.Config(enhancers=1, features=3)).generator,
    "E": lambda: Pix2PixHD(Pix2PixHD.Config(features=3)).encoder,
    "D_2scale": lambda: Pix2PixHD(Pix2PixHD.Config()).discriminator,
    "D_3scale": lambda: Pix2PixHD(Pix2PixHD.Config(scales=3)).discriminator,
}


def edge_map(record: Record) -> Outputs:
    return {"edge": edges(numbers(record, "inst")), "n_params": 0}


def conditions(record: Record, channels: int) -> Tensor:
    """One-hot classes, then the edge map: the last of so many channels."""
    return torch.cat([one_hot(numbers(record, "label"), channels - 1), edges(numbers(record, "inst"))], 1)


def built_generator(options: Mapping[str, Any]) -> Generator:
    enhancers = options.get("n_local_enhancers", 1) if options["netG"] == "local" else 0
    return Generator(
        options["input_nc"],
        options["ngf"] * 2**enhancers,
        options["n_downsample_global"],
        options["n_blocks_global"],
        enhancers,
        options.get("n_blocks_local", 0),
    )


@torch.no_grad()
def generator(record: Record) -> Outputs:
    options, state = record.options, record.state()
    network = built_generator(options)
    fill(network, renamed(state, published.generator_names(state), str(record.path)), str(record.path))
    given = record.content["inputs"]
    x = record.input("x") if "x" in given else conditions(record, options["input_nc"])
    levels = {f"pyramid{n}": level for n, level in enumerate(network.pyramid(x))}
    return levels | {"out": network(x), "n_params": count(network.parameters())}


@torch.no_grad()
def encoder(record: Record) -> Outputs:
    options, state = record.options, record.state()
    network = Encoder(options["output_nc"], options["nef"], options["n_downsample_E"])
    fill(network, renamed(state, by_rules(state, published.ENCODER), str(record.path)), str(record.path))
    features = network(record.input("image"))
    return {
        "features_before_pooling": features,
        "pooled": averaged(features, numbers(record, "inst")),
        "n_params": count(network.parameters()),
    }


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    options, state = record.options, record.state()
    network = MultiscaleDiscriminator(options["input_nc"], options["ndf"], options["n_layers_D"], options["num_D"])
    fill(network, renamed(state, published.discriminator_names(state), str(record.path)), str(record.path))
    x = torch.cat([conditions(record, options["input_nc"] - 3), record.input("image", "x")], 1)
    return layers(network(x)) | {"n_params": count(network.parameters())}


def losses(record: Record) -> Outputs:
    options, state, where = record.options, record.state(), str(record.path)
    painter, judge = under("G.", state), under("D.", state)
    vgg = under("vgg.", state)
    channels = painter["model.1.weight"].shape[1]
    local = options["netG"] == "local"
    system = Pix2PixHD(
        Pix2PixHD.Config(
            classes=channels - 1,
            width=options["ngf"] * 2 ** (options.get("n_local_enhancers", 1) if local else 0),
            downsamplings=options["n_downsample_global"],
            blocks=options["n_blocks_global"],
            enhancers=options.get("n_local_enhancers", 1) if local else 0,
            enhancer_blocks=options.get("n_blocks_local", 3),
            discriminator_width=options["ndf"],
            discriminator_layers=options["n_layers_D"],
            scales=options["num_D"],
            feature_matching=options["lambda_feat"],
            perceptual=options["lambda_feat"] if vgg else 0.0,  # one weight for both, as published
        )
    )
    fill(system.generator, renamed(painter, published.generator_names(painter), where), where)
    fill(system.discriminator, renamed(judge, published.discriminator_names(judge), where), where)
    if vgg:
        fill(system.vgg, renamed(vgg, by_rules(vgg, SLICES), where), where)
    classes, instances = numbers(record, "label"), numbers(record, "inst")
    told = moves(system, Labelled(record.input("image"), classes, instances))
    with torch.no_grad():
        fake = system.generator(system.conditions(classes, instances))
    full = {name: size(build) for name, build in FULL.items()}
    return {
        "fake": fake,
        "D_fake": 2 * told["discriminator"].losses["fake"],
        "D_real": 2 * told["discriminator"].losses["real"],
        "G_GAN": told["generator"].losses["adversarial"],
        "G_GAN_Feat": told["generator"].losses["feature_matching"],
        "G_VGG": told["generator"].losses.get("perceptual"),
        "gradnorm_D_of_half_sum": told["discriminator"].gradient,
        "gradnorm_G": told["generator"].gradient,
        "n_params": counted(record, system.generator, full.values()),
        "n_params_full": full,
    }


NETWORKS = {
    "edge-map": Network(edge_map),
    "global": Network(generator),
    "local-enhancer": Network(generator),
    "local-enhancer-2levels": Network(generator),
    "encoder": Network(encoder),
    "multiscale-d": Network(discriminator),
    "losses": Network(losses),
}
