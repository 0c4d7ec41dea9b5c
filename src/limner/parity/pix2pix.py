"""pix2pix's parity records: the U-Nets, the discriminators of all patch sizes, and the losses of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.parity.compare import count
from limner.parity.game import moves
from limner.parity.record import Network, Record
from limner.published.keys import fill, renamed, under
from limner.published.pix2pix import PATCH_NAMES, PIXEL_NAMES, unet_depth, unet_names
from limner.systems.translation.pix2pix import LAYERS, Pix2Pix, PixelDiscriminator, UNet

Outputs = Mapping[str, Any]
OBJECTIVES: Mapping[str, Any] = {"vanilla": "cross-entropy", "lsgan": "least squares", "wgangp": "wasserstein"}


@torch.no_grad()
def unet(record: Record) -> Outputs:
    options, state = record.options, record.state()
    depth = unet_depth(state)
    network = UNet(
        options.get("input_nc", 3), options.get("output_nc", 3), options["ngf"], depth, options["norm"], dropout=0
    )
    fill(network, renamed(state, unet_names(depth), str(record.path)), str(record.path))
    source = record.input("x")
    return {
        "eval": network.eval()(source),
        "batchstats_nodropout": network.train()(source),
        "n_params": count(network.parameters()),
    }


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    options = record.options
    channels, width, norm = options["input_nc"], options["ndf"], options["norm"]
    network: nn.Module
    if options["netD"] == "pixel":
        network, names = PixelDiscriminator(channels, width, norm), PIXEL_NAMES
    else:
        network, names = PatchDiscriminator(channels, width, options["n_layers_D"], norm), PATCH_NAMES
    fill(network, renamed(record.state(), names, str(record.path)), str(record.path))
    pair = record.input("AB", "x")
    return {"eval": network.eval()(pair), "train": network.train()(pair), "n_params": count(network.parameters())}


def losses(record: Record) -> Outputs:
    options, state, where = record.options, record.state(), str(record.path)
    if options["gan_mode"] not in OBJECTIVES:
        raise BadInput(f"{where}: pix2pix has {', '.join(OBJECTIVES)} for gan_mode, and no {options['gan_mode']}.")
    generator, judge = under("G.", state), under("D.", state)
    source, target = record.input("A"), record.input("B")
    pixels = options["netD"] == "pixel"
    layers = 3 if options["netD"] == "basic" else options.get("n_layers_D", 3)
    fields = {number: field for field, number in LAYERS.items()}
    system = Pix2Pix(
        Pix2Pix.Config(
            source_channels=source.shape[1],
            target_channels=target.shape[1],
            width=options["ngf"],
            depth=unet_depth(generator),
            norm=options["norm"],
            dropout=0,
            field=1 if pixels else fields[layers],
            discriminator_width=options["ndf"],
            objective=OBJECTIVES[options["gan_mode"]],
            penalty=0,  # the published step has none, although its program knows how
            l1=options["lambda_L1"],
        )
    )
    fill(system.generator, renamed(generator, unet_names(system.config.depth), where), where)
    fill(system.discriminator, renamed(judge, PIXEL_NAMES if pixels else PATCH_NAMES, where), where)
    told = moves(system, Paired(source, target))
    with torch.no_grad():
        fake = system(source)
    return {
        "fake": fake,
        "D_fake": 2 * told["discriminator"].losses["fake"],
        "D_real": 2 * told["discriminator"].losses["real"],
        "G_GAN": told["generator"].losses["adversarial"],
        "G_L1": told["generator"].losses["reconstruction"],
        "gradnorm_D": told["discriminator"].gradient,
        "gradnorm_G": told["generator"].gradient,
        "n_params": count(system.parameters()),
    }


NETWORKS = {
    "unet_256": Network(unet),
    "unet_128": Network(unet),
    **{f"patchgan-{field}": Network(discriminator) for field in LAYERS},
    "pixelgan-1": Network(discriminator),
    "losses": Network(losses),
}
