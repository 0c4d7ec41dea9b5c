"""A latent diffusion model that knows a few words and nothing else: first weights, a latent of 4x6."""

from __future__ import annotations

import torch

from limner.systems.diffusion.latent import Autoencoder, LatentDiffusion, TextTower, UNet
from limner.systems.diffusion.tokens import vocabulary

WORDS = ("a", "fox", "hare", "at", "night", "in", "the", "snow", "red")


def small_diffusion(size: tuple[int, int] = (16, 24)) -> LatentDiffusion:
    torch.manual_seed(0)
    text = TextTower(vocabulary=len(vocabulary(WORDS)[0]), width=32, depth=1, heads=2, hidden=32, tokens=16)
    config = LatentDiffusion.Config(
        autoencoder=Autoencoder(widths=(32, 32, 32), blocks=1),
        text=text,
        unet=UNet(widths=(32, 64), attention=(True, True), blocks=1, heads=4),
        size=size,
        words=WORDS,
    )
    model = LatentDiffusion(config).eval()
    with torch.no_grad():  # what it says is small, so that a trajectory of a few steps isn't chaotic
        model.unet.conv_out.weight *= 0.25
        certain = model.autoencoder.quant_conv  # of the latent of a picture, as trained autoencoders are
        certain.weight[4:], certain.bias[4:] = 0, -15
    return model
