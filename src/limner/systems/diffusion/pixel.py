"""Diffusion in pixels, and SDEdit on it: rough paintings to pictures (Ho et al., NeurIPS 2020; Meng et al., ICLR 2022).

The U-Net of DDPM learns to tell the noise in a noisy picture. SDEdit needs nothing more: put so much noise over a rough
painting that its roughness drowns, take the noise away step by step, and what comes out is a picture with the layout of
the painting. Outside of a mask the picture is put back at each step. Each repeat starts from what the last one made.

The network is diffusers' class; `limner.published.pixel_diffusion` opens the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner import diffusion
from limner.data.kinds import Pictures
from limner.data.prepare import Preparation
from limner.errors import BadInput, MissingExtra
from limner.rng import Rng, torch_rng
from limner.system import Game, Player, System, adam, from_uint8, to_uint8

if TYPE_CHECKING:
    from diffusers import UNet2DModel

Draw = Callable[[], Tensor]


class PixelDiffusion(System):
    """Noisy pictures (B, 3, size, size) of about unit variance, timesteps (B,) -> the noise (B, 3, size, size)."""

    config: Config
    preparation = Preparation(resize=256, crop=256)

    @dataclass(frozen=True)
    class Config:
        size: int = 256  # pixels a side
        width: int = 128
        multipliers: tuple[int, ...] = (1, 1, 2, 2, 4, 4)  # of the width, one per level; each level but the last halves
        blocks: int = 2  # residual blocks a level; the way up has one more
        attention: tuple[int, ...] = (16,)  # pixels a side of the levels with self-attention, beside the middle
        beta: tuple[float, float] = (1e-4, 0.02)  # variance added by the first and the last step, linear between
        timesteps: int = 1000
        learning_rate: float = 2e-5
        ema: float | None = 0.9999
        clip: float | None = 1.0  # largest norm of the gradient

        def __post_init__(self) -> None:
            if self.size % (1 << (len(self.multipliers) - 1)):
                raise BadInput(f"size={self.size} can't be halved {len(self.multipliers) - 1} times.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.unet = build_unet(config)
        optimiser = adam(config.learning_rate)
        self.players = {"unet": Player((self.unet,), optimiser, ema=config.ema, clip=config.clip)}

    @cached_property
    def beta(self) -> Tensor:
        """(timesteps,) float64, the variance that each step adds."""
        return torch.linspace(*self.config.beta, self.config.timesteps, dtype=torch.float64)

    @cached_property
    def schedule(self) -> diffusion.Schedule:
        return diffusion.Schedule((1 - self.beta).cumprod(0).float())

    @cached_property
    def log_variance(self) -> Tensor:
        """(timesteps,) float64: of x_{t-1} given x_t and x_0 (Ho et al., eq. 7); that of 0 is e^-46 instead of zero."""
        alpha_bar = (1 - self.beta).cumprod(0)
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        return (self.beta * (1 - before) / (1 - alpha_bar)).clamp(min=1e-20).log()

    def predict(self, noisy: Tensor, t: Tensor) -> Tensor:
        """The noise in pictures (B, 3, H, W) at timesteps t (B,)."""
        noise: Tensor = self.unet(noisy, t, return_dict=False)[0]
        return noise

    # Training (Ho et al., algorithm 1)

    def play(self, batch: Pictures, rng: Rng) -> Game:
        clean = batch.pictures
        noise = rng.normal("noise", *clean.shape[1:]).to(clean)
        t = rng.integers("timestep", 0, self.config.timesteps).to(clean.device)
        yield "unet", {"denoising": F.mse_loss(self.predict(self.schedule.noised(clean, noise, t), t), noise)}

    def preview(self, batch: Pictures, rng: Rng) -> Tensor:
        """The first four pictures, noised halfway, and what is made of that at once."""
        clean = batch.pictures[:4]
        t = torch.full((len(clean),), self.config.timesteps // 2, device=clean.device)
        noisy = self.schedule.noised(clean, rng.normal("preview", *clean.shape[1:])[:4].to(clean), t)
        guess = self.schedule.split(self.predict(noisy, t), noisy, t, "epsilon").clean
        return torch.cat([clean, noisy, guess]).clamp(-1, 1)

    # Editing (Meng et al., algorithm 2 with the repeats of the published code)

    @torch.inference_mode()
    def translate(
        self,
        pictures: np.ndarray,
        *,
        mask: np.ndarray | None = None,
        seed: int = 0,
        strength: float = 0.5,
        repeats: int = 3,
    ) -> np.ndarray:
        """Rough pictures to pictures: uint8 (N, H, W, 3) of any size, worked on at the model's.

        mask: bool (N, H, W), True where something is to be done; all over, if not given
        strength: how far towards the noise; 0.3 to 0.6 keeps a painting's layout, 1 leaves nothing
        repeats: how often it is done, each time from what came out
        """
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
            raise BadInput(f"Pixel diffusion takes uint8 pictures (N, H, W, 3), not {pictures.dtype} {pictures.shape}.")
        if mask is not None and mask.shape != pictures.shape[:3]:
            raise BadInput(f"A mask is one number for each pixel: {pictures.shape[:3]}, not {mask.shape}.")
        if not 0 <= strength <= 1 or repeats < 1:
            raise BadInput(f"strength={strength}, repeats={repeats}: from 0 to 1, and 1 or more.")
        steps = round(strength * self.config.timesteps)
        edited = []
        for row, whole in enumerate(from_uint8(pictures).split(1)):
            inside = torch.ones(1, 1, *whole.shape[2:], dtype=torch.bool)
            if mask is not None:
                inside = torch.from_numpy(mask[row].astype(bool))[None, None]
            found = self.repainted(whole, inside, seed, steps, repeats) if steps else whole
            edited.append(torch.where(inside, found, whole))
        return to_uint8(torch.cat(edited))

    def repainted(self, whole: Tensor, inside: Tensor, seed: int, steps: int, repeats: int) -> Tensor:
        """One picture (1, 3, H, W), done at the model's size where `inside` (1, 1, H, W) is True."""
        size = (self.config.size, self.config.size)
        small = resized(whole, size).to(next(self.unet.parameters()).device)
        keep = (resized((~inside).float(), size) > 0.5).to(small)
        draws = count()

        def draw() -> Tensor:
            return torch.randn(small.shape, generator=torch_rng(seed, "draw", next(draws))).to(small)

        painted = self.repeated(small, keep, steps, repeats, draw)[-1]
        return resized(painted.cpu(), whole.shape[2:])

    def repeated(self, clean: Tensor, keep: Tensor, steps: int, repeats: int, draw: Draw) -> list[Tensor]:
        """What `steps` steps make of pictures (B, 3, H, W), repeat by repeat; where `keep` is 1 it is the picture with
        the noise of timestep 0 in it, as published."""
        found = []
        for _ in range(repeats):
            noise = draw()  # one for the whole repeat
            levels = torch.arange(steps, device=clean.device)
            x = self.schedule.noised(clean, noise, levels[-1:])
            for t in reversed(range(steps)):
                edited = self.ancestral_step(x, t, draw())
                x = torch.where(keep > 0, self.schedule.noised(clean, noise, levels[t : t + 1]), edited)
            clean = torch.where(keep > 0, clean, x)
            found.append(x)
        return found

    def ancestral_step(self, x: Tensor, t: int, noise: Tensor) -> Tensor:
        """x_t -> x_{t-1} with unit `noise` of which the last step takes none (Ho et al., algorithm 2)."""
        beta, alpha_bar = float(self.beta[t]), float(self.schedule.alpha_bar[t])
        told = self.predict(x, x.new_full((len(x),), t))
        mean: Tensor = (x - beta / (1 - alpha_bar) ** 0.5 * told) / (1 - beta) ** 0.5
        return mean + float((self.log_variance[t] / 2).exp()) * noise if t else mean


def resized(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """(B, C, H, W) at another height and width; at its own, as it is."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", antialias=True)


def build_unet(config: PixelDiffusion.Config) -> UNet2DModel:
    """DDPM's U-Net (appendix B) as diffusers' class."""
    try:
        from diffusers import UNet2DModel
        from diffusers.models.attention_processor import Attention
    except ImportError:
        raise MissingExtra("pixel diffusion", "diffusion") from None
    attends = [config.size >> level in config.attention for level in range(len(config.multipliers))]
    widths = tuple(config.width * multiplier for multiplier in config.multipliers)
    unet = UNet2DModel(
        sample_size=config.size,
        block_out_channels=widths,
        down_block_types=tuple("AttnDownBlock2D" if each else "DownBlock2D" for each in attends),
        up_block_types=tuple("AttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attends)),
        layers_per_block=config.blocks,
        downsample_padding=0,  # right and bottom alone
        flip_sin_to_cos=False,  # sine first
        freq_shift=1,
        norm_eps=1e-6,
        attention_head_dim=min(widths),
    )
    for module in unet.modules():
        if isinstance(module, Attention):
            module.heads = 1  # at every level, however wide: the class would rather have heads of one width
            module.scale = module.to_q.out_features**-0.5
    return unet
