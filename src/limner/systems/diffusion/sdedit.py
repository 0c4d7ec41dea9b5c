"""SDEdit: put noise over a picture and let a model take it away again (Meng et al., ICLR 2022).

How far towards the noise decides what survives: the layout longer than the details. This is the version with words, on
any latent diffusion model, that Stable Diffusion is known for as img2img; `pixel.py` has the paper's, in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limner import diffusion
from limner.errors import BadInput
from limner.rng import torch_rng
from limner.system import Drawing
from limner.systems.diffusion.latent import LatentDiffusion, Sampler
from limner.systems.diffusion.pictures import fitted, refitted


class SDEdit:
    """Edits of pictures by a caption, on any latent diffusion model."""

    def __init__(self, model: LatentDiffusion) -> None:
        self.model = model

    @torch.inference_mode()
    def edit(
        self,
        picture: np.ndarray,
        words: str,
        *,
        before: str = "",
        count: int = 1,
        seed: int = 0,
        steps: int = 50,
        guidance: float = 7.5,
        strength: float = 0.75,
        sampler: Sampler = "ddim",
        negative: str = "",
        progress: diffusion.Progress | None = None,
    ) -> Drawing:
        """`count` pictures of `words` that begin as this one, of seed, seed + 1, ...; that of a seed is the same
        whatever the count. See `limner.system.Edits`.

        words: the caption of the edited picture, or the instruction (the thesis compares both)
        before: the caption of the picture as it is, which this method makes no use of; what ranks its edits may
        strength: share of the steps that are done; 0 is the picture, 1 is a new one that has only the coarsest of it
        sampler: euler_ancestral with 100 steps is what InstructPix2Pix edits with
        negative: what guidance leads away from
        progress: hears `(done, total)`, steps of the sampler, at the start and after each
        """
        model = self.model
        unknown = model.unknown(words)
        watch = diffusion.counting(progress, count * steps_of(strength, steps))
        seeds = tuple(range(seed, seed + count))
        pixels = fitted(picture, model)
        text, away = model.encode_words([words]), model.encode_words([negative])
        edited = [
            model.decode(self.latent(pixels, each, text, away, steps, guidance, strength, sampler, watch))
            for each in seeds
        ]
        return Drawing(refitted(torch.cat(edited), picture), None, seeds, (*unknown, *model.unread(words)))

    def latent(
        self,
        pixels: Tensor,
        seed: int,
        text: Tensor,
        away: Tensor,
        steps: int,
        guidance: float,
        strength: float,
        sampler: Sampler,
        watch: diffusion.Watch | None = None,
    ) -> Tensor:
        """The edited latent (1, 4, h, w) of a picture (1, 3, H, W) in [-1, 1]; `watch` sees it after every step."""
        model = self.model
        noise = model.noise(seed, (pixels.shape[2], pixels.shape[3]))

        def fresh(step: int) -> Tensor:
            return torch.randn(noise.shape, generator=torch_rng(seed, "step", step)).to(noise)

        posterior = torch.randn(noise.shape, generator=torch_rng(seed, "posterior")).to(noise)
        clean = model.encode(pixels, posterior)
        last = steps_of(strength, steps)
        if not last:
            return clean
        denoise = diffusion.denoiser(model.guided(text, away, guidance), model.schedule, model.config.prediction)
        return model.sample(denoise, noise, steps, sampler, fresh, watch, onto=clean, last=last)


def steps_of(strength: float, steps: int) -> int:
    """How many of the steps an edit of this strength does."""
    if not 0 <= strength <= 1:
        raise BadInput(f"strength={strength}: a share of the way to noise, from 0 to 1.")
    return int(strength * steps)


def published_img2img(
    model: LatentDiffusion,
    clean: Tensor,
    noise: Tensor,
    text: Tensor,
    away: Tensor,
    last: int,
    steps: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Latents (B, 4, h, w) noised, and edited, by the published script: the noise is that of one level above the one
    where it begins to denoise, so that some is left over, and the strength 1 doesn't exist. (`SDEdit` does neither.)"""
    visited = diffusion.leading_timesteps(model.schedule, steps)
    if not 1 <= last < len(visited):
        raise BadInput(f"The published script does 1 to {len(visited) - 1} of {steps} steps, not {last}.")
    noised = model.schedule.noised(clean, noise, torch.tensor([visited[-last - 1]], device=clean.device))
    denoise = diffusion.denoiser(model.guided(text, away, scale), model.schedule, model.config.prediction)
    return noised, diffusion.ddim(denoise, noised, model.schedule, visited[-last:])
