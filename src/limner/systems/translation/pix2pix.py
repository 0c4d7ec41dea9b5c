"""pix2pix: one picture becomes another, learned from pairs, by a conditional GAN (Isola et al., CVPR 2017).

A U-Net paints the target from the source; a discriminator sees both and judges every patch of 70 x 70 pixels by
itself. The generator is told to fool it and to stay close to the true target (eq. 4). There is no latent code: the only
noise is dropout, which therefore stays on when pictures are translated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.losses import critic, cross_entropy, least_squares
from limner.nn import init
from limner.nn.patch_discriminator import Norm, PatchDiscriminator, normalisation
from limner.rng import Rng, derive
from limner.system import Game, Player, System, adam, frozen, held_then_falling, to_uint8
from limner.systems.translation.pictures import each_of, mirrored, taken

Field = Literal[1, 16, 34, 70, 142, 286]
"""Pixels a side of the patch that one of a discriminator's scores sees."""

LAYERS: dict[Field, int] = {16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
"""Layers of the PatchGAN by its field (appendix 6.1.2)."""

OBJECTIVES = {"cross-entropy": cross_entropy, "least squares": least_squares, "wasserstein": critic}


class Pix2Pix(System):
    """Sources (B, source_channels, H, W) -> targets (B, target_channels, H, W) in [-1, 1]; H and W multiples of
    2 ** depth."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        source_channels: int = 3  # the keypoint heatmaps of a pose are one channel each
        target_channels: int = 3
        width: int = 64  # channels of the finest level
        depth: int = 8  # halvings down to the bottleneck: 8 for 256 pixels, 7 for 128
        skips: bool = True  # False: the encoder-decoder that table 2 compares with
        norm: Norm = "batch"
        dropout: float = 0.5
        field: Field = 70  # pixels a side of the patches that are judged
        discriminator_width: int = 64
        conditional: bool = True  # False: the discriminator doesn't see the source (eq. 2)
        adversarial: float = 1.0  # weight of eq. 1 or 2; 0: no discriminator, table 1's "L1"
        objective: Literal["cross-entropy", "least squares", "wasserstein"] = "cross-entropy"
        penalty: float = 10.0  # on the gradient of a Wasserstein critic
        l1: float = 100.0  # weight of eq. 3; 0: table 1's "cGAN" or "GAN"
        noisy: bool = True  # as published, translate with dropout, and with batch norm by the picture's own statistics
        learning_rate: float = 2e-4
        hold: int = 40_000  # steps at the full rate: 100 epochs of the 400 facades
        fall: int = 40_000  # steps in which it then falls to 0

        def __post_init__(self) -> None:
            if not self.adversarial and not self.l1:
                raise BadInput("pix2pix: adversarial=0 and l1=0 leave nothing to learn from: set one above 0.")
            if self.depth < 2:
                raise BadInput(f"pix2pix: depth={self.depth} makes no U-Net: it must be at least 2.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.generator = UNet(
            config.source_channels,
            config.target_channels,
            config.width,
            config.depth,
            config.norm,
            config.dropout,
            config.skips,
        )
        rate = held_then_falling(config.hold, config.fall)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.999))
        self.players = {"generator": Player((self.generator,), optimiser, rate)}
        if config.adversarial:
            seen = config.target_channels + config.source_channels * config.conditional
            width = config.discriminator_width
            self.discriminator = (
                PixelDiscriminator(seen, width, config.norm)
                if config.field == 1
                else PatchDiscriminator(seen, width, LAYERS[config.field], config.norm)
            )
            self.players["discriminator"] = Player((self.discriminator,), optimiser, rate)
        init.normal(self)

    def forward(self, source: Tensor) -> Tensor:
        painted: Tensor = self.generator(source)
        return painted

    def judge(self, source: Tensor, target: Tensor) -> Tensor:
        """Scores (B, 1, h, w), one a patch: is the target the true one of its source?"""
        scores: Tensor = self.discriminator(self.seen(source, target))
        return scores

    def seen(self, source: Tensor, target: Tensor) -> Tensor:
        """What the discriminator sees of a pair: (B, source_channels + target_channels or target_channels, H, W)."""
        return torch.cat([source, target], 1) if self.config.conditional else target

    def play(self, batch: Paired, rng: Rng) -> Game:
        """Both players step on one forward pass of the generator; the discriminator first, at half speed (3.3)."""
        config, source, target = self.config, batch.source, batch.target
        if source.shape[1] != config.source_channels or target.shape[1] != config.target_channels:
            raise BadInput(
                f"pix2pix: the data have {source.shape[1]} channels in and {target.shape[1]} out, the model "
                f"{config.source_channels} and {config.target_channels}. Set source_channels and target_channels."
            )
        painted = self(source)
        losses = {}
        if config.adversarial:
            told = OBJECTIVES[config.objective]
            judged = {
                "fake": told(self.judge(source, painted.detach()), real=False) / 2,
                "real": told(self.judge(source, target), real=True) / 2,
            }
            if config.objective == "wasserstein" and config.penalty:
                pairs = self.seen(source, target), self.seen(source, painted.detach())
                between = torch.lerp(*pairs, rng.uniform("between", 1, 1, 1).to(source))
                judged["penalty"] = config.penalty * gradient_penalty(self.discriminator, between)
            yield "discriminator", judged
            with frozen(self.discriminator):
                scores = self.judge(source, painted)
            losses["adversarial"] = config.adversarial * told(scores, real=True)
        if config.l1:
            losses["reconstruction"] = config.l1 * F.l1_loss(painted, target)
        yield "generator", losses

    def preview(self, batch: Paired, rng: Rng) -> Tensor:
        """Sources, what is painted, and the true targets."""
        source, target = batch.source[:6], batch.target[:6]
        painted = torch.cat([self.paint(each) for each in each_of(source)])
        return torch.stack([shown(source), shown(painted), shown(target)], 1).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """uint8 (N, H, W, source_channels) of any size -> uint8 (N, H, W, target_channels).

        Sides that 2 ** depth doesn't divide are mirrored to the next multiple and the result cropped back. `seed` draws
        the dropout; a picture's result doesn't depend on the others of the call.
        """
        source = taken(pictures, self.config.source_channels, system="pix2pix")
        height, width = source.shape[-2:]
        source = mirrored(source, 2**self.config.depth).to(next(self.parameters()).device)
        painted = []
        for each in each_of(source):
            with torch.random.fork_rng():
                torch.manual_seed(derive(seed, "dropout"))
                painted.append(self.paint(each))
        return to_uint8(torch.cat(painted)[..., :height, :width])

    def paint(self, source: Tensor) -> Tensor:
        """One source (1, C, H, W) -> its target; with noise from torch's global generator if the config says so."""
        with live(self.generator) if self.config.noisy else nullcontext():
            painted: Tensor = self(source)
        return painted


class UNet(nn.Module):
    """Down to the bottleneck by convolutions of 4 x 4 and stride 2, up again by transposed ones (appendix 6.1.1).

    With `skips`, each step up also sees the step down of its own level. Activations come before convolutions.
    """

    def __init__(
        self,
        incoming: int = 3,
        outgoing: int = 3,
        width: int = 64,
        depth: int = 8,
        norm: Norm = "batch",
        dropout: float = 0.5,
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.skips = skips
        bias = norm == "instance"
        widths = [width * min(2**level, 8) for level in range(depth)]
        bottleneck = depth - 1
        self.downs = nn.ModuleList([nn.Sequential(nn.Conv2d(incoming, width, 4, 2, 1, bias=bias))])
        for level, (before, after) in enumerate(pairwise(widths), 1):
            down = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, 2, 1, bias=bias))
            if level < bottleneck:
                down.append(normalisation(norm, after))
            self.downs.append(down)
        # The published PyTorch U-Net drops in its wide middle levels above the bottleneck; the encoder-decoder, which
        # only the earlier Torch code has, in its first three steps up.
        dropped = range(4, bottleneck) if skips else range(bottleneck - 2, depth)
        self.ups = nn.ModuleList()
        for level in reversed(range(1, depth)):
            before, after = widths[level], widths[level - 1]
            wide = 2 * before if skips and level < bottleneck else before
            up = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(wide, after, 4, 2, 1, bias=bias))
            up.append(normalisation(norm, after))
            if level in dropped:
                up.append(nn.Dropout(dropout))
            self.ups.append(up)
        wide = 2 * width if skips else width
        self.ups.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(wide, outgoing, 4, 2, 1), nn.Tanh()))

    def forward(self, source: Tensor) -> Tensor:
        cells = 2 ** len(self.downs)
        height, width = source.shape[-2:]
        if height % cells or width % cells:
            raise BadInput(
                f"A U-Net of depth {len(self.downs)} wants sides that are multiples of {cells}, not {width}x{height}. "
                "Resize the pictures, or set depth lower."
            )
        x, passed = source, []
        for down in self.downs:
            x = down(x)
            passed.append(x)
        for up, skip in zip(self.ups, [None, *reversed(passed[:-1])], strict=True):
            x = up(torch.cat([skip, x], 1) if self.skips and skip is not None else x)
        return x


class PixelDiscriminator(nn.Sequential):
    """Judges every pixel by itself: table 3's 1 x 1. (B, channels, H, W) -> raw scores (B, 1, H, W)."""

    def __init__(self, channels: int = 3, width: int = 64, norm: Norm = "batch") -> None:
        bias = norm == "instance"
        super().__init__(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 1, bias=bias),
            normalisation(norm, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 1, bias=bias),
        )


def gradient_penalty(critic: nn.Module, between: Tensor) -> Tensor:
    """How far a critic's gradient is from length 1 at points (B, C, H, W) between real and fake (Gulrajani et al.,
    "Improved training of Wasserstein GANs", 2017, eq. 3). Its scores of a picture are summed over the patches."""
    between = between.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).float().sum(), between, create_graph=True)
    lengths: Tensor = gradient.flatten(1).add(1e-16).norm(dim=1)
    return (lengths - 1).square().mean()


@contextmanager
def live(network: nn.Module) -> Iterator[None]:
    """Inside, batch norms use the statistics of what they are given, without remembering them, and dropout drops."""
    touched = [module for module in network.modules() if isinstance(module, _BatchNorm | nn.Dropout)]
    before = [(module.training, getattr(module, "track_running_stats", None)) for module in touched]
    for module in touched:
        module.train()
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
    try:
        yield
    finally:
        for module, (training, tracking) in zip(touched, before, strict=True):
            module.train(training)
            if isinstance(module, _BatchNorm):
                module.track_running_stats = bool(tracking)


def shown(pictures: Tensor) -> Tensor:
    """(B, C, H, W) as pictures (B, 3, H, W): other than three channels become one grey, their largest values."""
    return pictures if pictures.shape[1] == 3 else pictures.amax(1, keepdim=True).expand(-1, 3, -1, -1)
