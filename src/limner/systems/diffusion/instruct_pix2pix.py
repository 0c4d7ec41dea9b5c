"""InstructPix2Pix: a picture and a written instruction to the edited picture (Brooks et al., CVPR 2023).

A latent diffusion U-Net that sees the latent of the given picture beside the noisy one, and the instruction where the
caption was. It begins as any text-to-image model, with new input channels of zero weight, and learns from pairs of
pictures and the instruction between them. Equations and sections are those of the thesis, chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from limner import diffusion
from limner.data.kinds import EditLatents, Edits
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.rng import Rng, torch_rng
from limner.system import Drawing, Game, Player, System, adamw, config_from, from_uint8, to_uint8
from limner.systems.diffusion.latent import Autoencoder, Parts, Sampler, TextTower, UNet, save_pipeline
from limner.systems.diffusion.pictures import check_picture, resized

Resize = Literal["whole", "published"]

MOST_STRETCHED = 4  # times the resolution that a working picture's longer side may have


@dataclass(frozen=True)
class Edited(Drawing):
    """Edits, and what an editor would see of them: with it a next turn needs no encoding.

    seen: c_I of the picture that was edited (1, 4, h, w)
    latents: c_I of the edits (N, 4, h, w)
    """

    seen: Tensor = field(kw_only=True)
    latents: Tensor = field(kw_only=True)


class InstructPix2Pix(Parts, System):
    config: Config
    preparation = Preparation(resize=256, crop=256)  # squeezed to a square, as the published loader does it

    @dataclass(frozen=True)
    class Config:
        autoencoder: Autoencoder = field(default_factory=Autoencoder)
        text: TextTower = field(default_factory=TextTower)
        unet: UNet = field(default_factory=UNet)
        size: tuple[int, int] = (512, 512)  # height and width; edits are made at the longer; it trains at its data's

        beta: tuple[float, float] = (0.00085, 0.012)  # these four are the text-to-image model's
        timesteps: int = 1000
        prediction: diffusion.Prediction = "epsilon"
        zero_terminal_snr: bool = False

        joint_text: bool = False  # True: the text tower learns too, for one that has only read captions; CLIP's stays
        words: tuple[str, ...] = ()  # of a small tokenizer of its own; none: CLIP's, which comes with a folder
        dropout: float = 0.05  # share of samples without words, of those without the picture, and of those without both
        learning_rate: float = 1e-4
        ema: float | None = 0.9999
        ema_updates: int = 4  # a step: the published code makes one after each of its four micro-batches

        def __post_init__(self) -> None:
            for name, kind in (("autoencoder", Autoencoder), ("text", TextTower), ("unet", UNet)):
                if isinstance(value := getattr(self, name), Mapping):  # read from JSON
                    object.__setattr__(self, name, config_from(kind, value, name))
            if not 0 <= self.dropout <= 1 / 3:
                raise BadInput(f"dropout={self.dropout}: three bands of that share have to fit into the samples.")
            if self.ema_updates < 1:
                raise BadInput(f"ema_updates={self.ema_updates}: from 1 a step; ema=null turns the average off.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.build(2 * config.autoencoder.channels, joint_text=config.joint_text)
        with torch.no_grad():
            self.unet.conv_in.weight[:, config.autoencoder.channels :] = 0
        players = (self.unet, self.text) if config.joint_text else (self.unet,)
        optimiser = adamw(config.learning_rate)
        self.players = {"unet": Player(players, optimiser, ema=config.ema, ema_updates=config.ema_updates)}

    # From a text-to-image model (section 4.3.2)

    @staticmethod
    def options_of(model: object) -> dict[str, Any]:
        """The options that an editor has from the model that it begins as. BadInput if it can't begin as that."""
        if not isinstance(model, Parts):
            raise BadInput(
                f"An editor begins as a text-to-image model of latent diffusion, or as another editor, not as a "
                f"{type(model).__name__}."
            )
        inherited = (
            "autoencoder", "text", "unet", "size", "beta", "timesteps", "prediction", "zero_terminal_snr", "words",
        )  # fmt: skip
        return {name: getattr(model.config, name) for name in inherited}

    @torch.no_grad()
    def begin_as(self, model: Parts) -> None:
        """Take every weight of a text-to-image model; the first convolution's new channels are zero, so that the
        picture says nothing yet. Another editor gives its own channels for the picture, too."""
        widened = torch.zeros_like(self.unet.conv_in.weight)
        theirs = model.unet.conv_in.weight
        widened[:, : theirs.shape[1]] = theirs
        self.unet.load_state_dict({**model.unet.state_dict(), "conv_in.weight": widened})
        self.autoencoder.load_state_dict(model.autoencoder.state_dict())
        self.text.load_state_dict(model.text.state_dict())
        self.tokenizer = model.tokenizer

    def encode_picture(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> c_I (B, 4, H/8, W/8), what the U-Net sees of a picture: the posterior's mode, NOT
        scaled to unit variance as the noisy latent is. Zeros stand for no picture."""
        latent: Tensor = self.autoencoder.encode(pictures.to(self.autoencoder.dtype), return_dict=False)[0].mean
        return latent.to(pictures)

    def predict(self, latents: Tensor, t: Tensor, picture: Tensor, text: Tensor) -> Tensor:
        """What the U-Net says of noisy latents (B, 4, h, w) at timesteps t (B,), beside c_I of the same shape."""
        return self.evaluate(torch.cat([latents, picture], 1), t, text)

    # Training (equation 4.1, section 4.4.3)

    def play(self, batch: Edits | EditLatents, rng: Rng) -> Game:
        with torch.no_grad():
            picture = batch.before if isinstance(batch, EditLatents) else self.encode_picture(batch.before)
            shape = picture.shape[1:]
            sampled = rng.normal("posterior", *shape).to(picture)
            if isinstance(batch, EditLatents):
                clean = self.config.autoencoder.scale * (batch.mean + batch.std * sampled)
            else:
                clean = self.encode(batch.after, sampled)
            without_words, without_picture = self.dropped(rng.uniform("dropout"))
            picture = picture.masked_fill(without_picture.to(picture.device)[:, None, None, None], 0)
        with torch.set_grad_enabled(self.config.joint_text):
            words = ["" if drop else each for each, drop in zip(batch.instructions, without_words, strict=True)]
            text = self.encode_words(words)
        noise = rng.normal("noise", *shape).to(clean)
        t = rng.integers("timestep", 0, self.config.timesteps).to(clean.device)
        guess = self.predict(self.schedule.noised(clean, noise, t), t, picture, text)
        target = self.schedule.target(clean, noise, t, self.config.prediction)
        yield "unet", {"denoising": (guess - target).square().mean()}

    def dropped(self, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples train without words, and which without the picture, from a uniform draw (B,) in [0, 1): one
        band each for words alone, both, and the picture alone."""
        band = self.config.dropout
        return draw < 2 * band, (draw >= band) & (draw < 3 * band)

    @torch.no_grad()
    def preview(self, batch: Edits | EditLatents, rng: Rng) -> Tensor:
        """Before, what should come of it, and what does in 20 steps, of the first four."""
        if isinstance(batch, EditLatents):
            scale = self.config.autoencoder.scale
            picture = batch.before[:4]
            before, after = self.decode(scale * picture), self.decode(scale * batch.mean[:4])
        else:
            before, after = batch.before[:4], batch.after[:4]
            picture = self.encode_picture(before)
        noise = rng.normal("preview", *picture.shape[1:])[:4].to(picture)
        guided = self.guided(picture, self.encode_words(batch.instructions[:4]), self.encode_words([""]))
        denoise = diffusion.denoiser(guided, self.schedule, self.config.prediction)
        made = self.decode(self.sample(denoise, noise, 20, "ddim"))
        return torch.stack([before, after, made], 1).flatten(0, 1).clamp(-1, 1)

    # Editing (section 4.3.2)

    @torch.inference_mode()
    def edit(
        self,
        picture: np.ndarray,
        words: str,
        *,
        count: int = 1,
        seed: int = 0,
        steps: int = 100,
        guidance: float = 7.5,
        image_guidance: float = 1.5,
        sampler: Sampler = "euler_ancestral",
        karras: bool = False,
        resolution: int | None = None,
        resize: Resize = "whole",
        latent: Tensor | None = None,
        progress: diffusion.Progress | None = None,
    ) -> Drawing:
        """`count` pictures that obey the instruction `words`, of seed, seed + 1, ...; that of a seed is the same
        whatever the count. See `limner.system.Edits`. An `Edited`; without words the picture as it is.

        guidance: s_T; higher changes more; 6 to 9 is usual
        image_guidance: s_I; higher keeps more of the picture; 1.2 to 1.8 is usual
        karras: noise levels by Karras et al., which the thesis names, instead of the model's own, which its code takes
        resolution: of the longer side while it is edited; the config's if not given
        resize: how the picture gets there and back, see `working_picture`
        latent: c_I of the picture, if it is known from the turn that made it (`Edited`); passed over at another size
        progress: hears `(done, total)`, steps of the sampler, at the start and after each
        """
        check_picture(picture)
        seeds = tuple(range(seed, seed + count))
        if not words.strip():
            return Drawing(np.stack([picture] * count), None, seeds)
        unknown = self.unknown(words)
        working = from_uint8(self.working_picture(picture, resolution, resize))[None].to(self.device)
        if latent is None or latent.shape[1:] != self.latent_shape((working.shape[2], working.shape[3])):
            latent = self.encode_picture(working)
        latent, text, null = latent.to(working), self.encode_words([words]), self.encode_words([""])
        settings = (steps, guidance, image_guidance, sampler, karras, diffusion.counting(progress, count * steps))
        made = torch.cat([self.edit_latent(latent, text, null, each, *settings) for each in seeds])
        pictures = [resized(to_uint8(self.decode(each[None]))[0], picture.shape[:2]) for each in made]
        return Edited(
            np.stack(pictures), None, seeds, (*unknown, *self.unread(words)),
            seen=latent, latents=made / self.config.autoencoder.scale,
        )  # fmt: skip

    def edit_latent(
        self,
        picture: Tensor,
        text: Tensor,
        null: Tensor,
        seed: int,
        steps: int = 100,
        guidance: float = 7.5,
        image_guidance: float = 1.5,
        sampler: Sampler = "euler_ancestral",
        karras: bool = False,
        watch: diffusion.Watch | None = None,
    ) -> Tensor:
        """c_I (1, 4, h, w) and the states of the instruction and of no words -> the edit's latent, as `decode` takes
        it; `watch` sees `(step, latents)` after every step."""

        def fresh(step: int) -> Tensor:
            return torch.randn(picture.shape, generator=torch_rng(seed, "step", step)).to(picture)

        noise = torch.randn(picture.shape, generator=torch_rng(seed, "noise")).to(picture)
        guided = self.guided(picture, text, null, guidance, image_guidance)
        denoise = diffusion.denoiser(guided, self.schedule, self.config.prediction)
        return self.sample(denoise, noise, steps, sampler, fresh, watch, karras=karras)

    def guided(
        self, picture: Tensor, text: Tensor, null: Tensor, guidance: float = 7.5, image_guidance: float = 1.5
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """`(latents, t) -> output` with guidance of two scales (equation 4.3), for one text or one for each picture:

            e(0, 0) + s_I (e(I, 0) - e(0, 0)) + s_T (e(I, T) - e(I, 0))

        as a sum of three rows, evaluated in one batch; a row whose factor is zero is not evaluated.
        """
        count, nothing = len(picture), torch.zeros_like(picture)
        text, null = text.expand(count, -1, -1), null.expand(count, -1, -1)
        terms = [
            (guidance, picture, text),
            (image_guidance - guidance, picture, null),
            (1 - image_guidance, nothing, null),
        ]
        terms = [term for term in terms if term[0]]
        pictures, texts = torch.cat([seen for _, seen, _ in terms]), torch.cat([read for _, _, read in terms])

        def output(latents: Tensor, t: Tensor) -> Tensor:
            rows = self.predict(latents.repeat(len(terms), 1, 1, 1), t.repeat(len(terms)), pictures, texts)
            factors = rows.new_tensor([factor for factor, _, _ in terms]).view(-1, 1, 1, 1, 1)
            weighted: Tensor = factors * rows.unflatten(0, (len(terms), count))
            return weighted.sum(0)

        return output

    def working_picture(
        self, picture: np.ndarray, resolution: int | None = None, resize: Resize = "whole"
    ) -> np.ndarray:
        """The picture (H, W, 3) at a size that the networks take, by `working_size`.

        whole: all of it, at the size by exact arithmetic, with sides that may be squeezed by a few per cent, so that an
        edit lies pixel for pixel on what was given. A picture of the training's shape has the training's size, which
        needn't be such a multiple: of 9 rows the U-Net's next level has 5. published: by floating point, and the middle
        of it at its own proportions, cropped to that size.
        """
        from PIL import Image, ImageOps

        height, width = picture.shape[:2]
        own = self.config.size
        if resize == "whole" and resolution in (None, max(own)) and height * own[1] == width * own[0]:
            return resized(picture, own)
        multiple = self.config.autoencoder.factor << (len(self.config.unet.widths) - 1)
        resolution = resolution or max(self.config.size)
        size = working_size(width, height, resolution, multiple, exact=resize == "whole")
        if max(size) > MOST_STRETCHED * max(resolution, multiple):
            raise BadInput(
                f"A picture of {width}x{height} is too narrow: at this model's sizes it would be {size[0]}x{size[1]}. "
                "Crop it."
            )
        if min(size) < multiple:
            raise BadInput(f"A picture of {width}x{height} gets no size by the published rule: take resize='whole'.")
        if resize == "whole":
            return resized(picture, (size[1], size[0]))
        return np.array(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.LANCZOS))

    # In the ecosystem's layout

    def save_folder(self, path: Path) -> None:
        """Write a folder that diffusers opens as a StableDiffusionInstructPix2PixPipeline, and limner as this."""
        from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionInstructPix2PixPipeline

        scheduler = EulerAncestralDiscreteScheduler(
            num_train_timesteps=self.config.timesteps,
            beta_start=self.config.beta[0],
            beta_end=self.config.beta[1],
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="trailing" if self.config.zero_terminal_snr else "linspace",
            prediction_type="v_prediction" if self.config.prediction == "velocity" else "epsilon",
            rescale_betas_zero_snr=self.config.zero_terminal_snr,
        )
        save_pipeline(self, StableDiffusionInstructPix2PixPipeline, scheduler, path)


def working_size(
    width: int, height: int, resolution: int, multiple: int = 64, *, exact: bool = False
) -> tuple[int, int]:
    """Width and height to edit at, multiples of `multiple`, by the published rule: the longer side near `resolution`
    (the shorter is rounded up, and the longer follows it, so that it may go beyond).

    The published rule is in floating point, with operations in this order, and for about one size in sixteen it misses
    the shorter side by a multiple (207x244 at 512: 384x512); `exact` has no such accidents (448x512).
    """
    whole: Any = Fraction(1) if exact else 1.0
    scale = whole * resolution / max(width, height)
    scale = whole * math.ceil(min(width, height) * scale / multiple) * multiple / min(width, height)
    return int(width * scale // multiple) * multiple, int(height * scale // multiple) * multiple
