"""The discriminator of the autoencoders (VQGAN, latent diffusion): pix2pix's PatchGAN, on pictures alone."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


class PatchDiscriminator(nn.Sequential):
    """Real or painted, judged on overlapping patches of 70 x 70 (Isola et al., CVPR 2017): (B, 3, H, W) -> scores."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        widths = [width, 2 * width, 4 * width, 8 * width]
        for i, (before, after) in enumerate(pairwise(widths)):
            stride = 2 if i < 2 else 1
            layers += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.02)
