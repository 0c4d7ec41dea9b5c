"""SPADE's parity records: generators of three heights, encoder, discriminators, and the losses of a training step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from limner.data.kinds import Labelled
from limner.errors import BadInput
from limner.nn.label_maps import edges, one_hot
from limner.parity.compare import count
from limner.parity.game import Given, moves
from limner.parity.label_maps import counted, layers, numbers, settled, size
from limner.parity.record import Network, Record
from limner.published import spade as published
from limner.published.keys import by_rules, fill, renamed, under
from limner.published.vgg import SLICES
from limner.systems.translation.spade import SPADE, Encoder

Outputs = Mapping[str, Any]
DOUBLINGS = {"normal": 5, "more": 6, "most": 7}
CITYSCAPES = SPADE.Config(35, unknown=False, doublings=6, size=(256, 512))
ADE20K = SPADE.Config(150, edges=False)
FULL = {
    "G_coco_183_1": lambda: SPADE().generator,
    "D_coco_183_1": lambda: SPADE().discriminator,
    "G_ade20k_151": lambda: SPADE(ADE20K).generator,
    "D_ade20k_151": lambda: SPADE(ADE20K).discriminator,
    "G_cityscapes_36_more": lambda: SPADE(CITYSCAPES).generator,
    "D_cityscapes_36_more": lambda: SPADE(CITYSCAPES).discriminator,
    "G_coco_vae": lambda: SPADE(SPADE.Config(vae=True)).generator,
    "E_256": lambda: SPADE(SPADE.Config(vae=True)).encoder,
}


def config(options: Mapping[str, Any], perceptual: bool = False) -> SPADE.Config:
    """Ours, from the published options. There the start is the crop's width, halved and rounded down."""
    if options.get("gan_mode", "hinge") != "hinge":
        raise BadInput(f"SPADE's objective is the hinge, not {options['gan_mode']}.")
    doublings = DOUBLINGS[options["num_upsampling_layers"]]
    across = options["crop_size"] >> doublings
    return SPADE.Config(
        classes=options["label_nc"],
        unknown=options["contain_dontcare_label"],
        edges=not options["no_instance"],
        size=(round(across / options["aspect_ratio"]) << doublings, across << doublings),
        doublings=doublings,  # type: ignore[arg-type]  # one of its literals
        width=options["ngf"],
        vae=options["use_vae"],
        style=options["z_dim"],
        encoder_width=options["ngf"],
        discriminator_width=options["ndf"],
        discriminator_layers=options["n_layers_D"],
        scales=options["num_D"],
        feature_matching=0.0 if options["no_ganFeat_loss"] else options["lambda_feat"],
        divergence=options["lambda_kld"],
        perceptual=options["lambda_vgg"] if perceptual else 0.0,
    )


def empty(options: SPADE.Config) -> SPADE:
    """The system without memory for its weights: a record fills some of its networks."""
    with torch.device("meta"):
        return SPADE(options)


def conditions(record: Record, system: SPADE) -> Tensor:
    maps = one_hot(numbers(record, "label"), system.kinds)
    return torch.cat([maps, edges(numbers(record, "inst"))], 1) if system.config.edges else maps


@torch.no_grad()
def generator(record: Record) -> Outputs:
    system = empty(config(record.options))
    state = settled(record, record.state())
    fill(system.generator, published.ours(state, published.GENERATOR, str(record.path)), str(record.path))
    style = record.input("z") if system.config.vae else None
    full = {name: size(build) for name, build in FULL.items()}
    return {
        "out": system.generator.eval()(conditions(record, system), style),
        "n_params": counted(record, system.generator, full.values()),
        "n_params_full": full,
    }


@torch.no_grad()
def encoder(record: Record) -> Outputs:
    network = Encoder(record.options["ngf"], record.options["z_dim"])
    state = settled(record, record.state())
    fill(network, published.ours(state, published.ENCODER, str(record.path)), str(record.path))
    mean, logvar = network.eval()(record.input("image"))
    return {"mu": mean, "logvar": logvar, "n_params": count(network.parameters())}


@torch.no_grad()
def discriminator(record: Record) -> Outputs:
    system = empty(config(record.options))
    state = settled(record, record.state())
    fill(system.discriminator, published.ours(state, published.DISCRIMINATOR, str(record.path)), str(record.path))
    x = torch.cat([conditions(record, system), record.input("image", "x")], 1)
    return layers(system.discriminator.eval()(x)) | {"n_params": count(system.discriminator.parameters())}


def losses(record: Record) -> Outputs:
    """Batch norms go by the batch; spectral norms stay at the recorded vectors."""
    state, where = settled(record, record.state()), str(record.path)
    vgg = under("vgg.", state)
    system = SPADE(config(record.options, perceptual=bool(vgg)))
    parts = {"G.": (system.generator, published.GENERATOR), "D.": (system.discriminator, published.DISCRIMINATOR)}
    if system.config.vae:
        parts["E."] = (system.encoder, published.ENCODER)
    for prefix, (network, rules) in parts.items():
        fill(network, published.ours(under(prefix, state), rules, where), where)
    if vgg:
        fill(system.vgg, renamed(vgg, by_rules(vgg, SLICES), where), where)
    system.eval()
    for module in system.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()

    batch = Labelled(record.input("image"), numbers(record, "label"), numbers(record, "inst"))
    noise = record.input("noise0", "x") if system.config.vae else torch.zeros(len(batch), 0)
    told = moves(system, batch, Given({"style": noise, "style again": noise}))
    painter, judge = told["generator"], told["discriminator"]
    with torch.no_grad():
        style = system.encoder(batch.pictures) if system.config.vae else None
        mixed = style and style[0] + noise * (style[1] / 2).exp()
        fake = system.generator(system.conditions(batch.classes, batch.instances), mixed)
    full = {name: size(build) for name, build in FULL.items()}
    names = {"G_KLD": "divergence", "G_GAN": "adversarial", "G_GAN_Feat": "feature_matching", "G_VGG": "perceptual"}
    found: dict[str, Any] = {name: painter.losses[term] for name, term in names.items() if term in painter.losses}
    found |= {"D_Fake": judge.losses["fake"], "D_real": judge.losses["real"]}
    found |= {"gradnorm_G": painter.norm(system.generator), "gradnorm_D": judge.gradient}
    if system.config.vae:
        found["gradnorm_E"] = painter.norm(system.encoder)
    shapes = {name: summary["shape"] for name, summary in record.content["outputs"].items()}
    found = {name: value.reshape(shapes.get(name, ())) for name, value in found.items()}  # (1,), of several devices
    return found | {"fake": fake, "n_params": counted(record, system.generator, full.values()), "n_params_full": full}


NETWORKS = {
    "generator": Network(generator),
    "generator-vae": Network(generator),
    "generator-most": Network(generator),
    "encoder": Network(encoder),
    "multiscale-d": Network(discriminator),
    "losses": Network(losses),
}
