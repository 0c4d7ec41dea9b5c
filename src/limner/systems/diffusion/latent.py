"""Latent diffusion: words to pictures, by denoising in the small space of an autoencoder (Rombach et al., CVPR 2022).

Three networks. An autoencoder takes a picture (B, 3, H, W) to a latent (B, 4, H/8, W/8) and back. A CLIP text tower
takes words to 77 states. A U-Net, which attends to those states, tells the noise in a noisy latent; asked again and
again, it turns noise into the latent of a picture of the words. `Config()` is Stable Diffusion v1, to the parameter.

`autoencoder.py` trains the first; `play` here trains the U-Net and, if told so, the text tower with it.

The networks are the classes of diffusers and transformers, so that a folder written by `save_folder` is a diffusers
pipeline; `limner.published.stable_diffusion` reads such folders and the authors' single files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from limner import diffusion
from limner.data.kinds import Captioned, Latents
from limner.errors import BadInput, CannotDo, MissingExtra
from limner.rng import Rng, torch_rng
from limner.system import Drawing, Game, Player, System, adamw, config_from, to_uint8, warmup
from limner.systems.diffusion.tokens import word_tokenizer

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

Sampler = Literal["ddim", "euler", "euler_ancestral", "dpm_solver"]

MOST_NAMED = 200  # words in a message


@dataclass(frozen=True)
class Autoencoder:
    widths: tuple[int, ...] = (128, 256, 512, 512)  # one per level, finest first; each level but the last halves
    blocks: int = 2  # residual blocks a level; the decoder has one more
    channels: int = 4  # of the latent
    scale: float = 0.18215  # the U-Net sees scale * latent, which has about unit variance
    groups: int = 32  # of channels that are normalised together; fewer for narrow levels, so that a group is some

    @property
    def factor(self) -> int:
        """How many pixels a side one latent cell stands for."""
        return 1 << (len(self.widths) - 1)


@dataclass(frozen=True)
class TextTower:
    vocabulary: int = 49408
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072  # of the feed-forward layers
    tokens: int = 77


@dataclass(frozen=True)
class UNet:
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)  # the levels that attend to the words
    blocks: int = 2
    heads: int = 8  # at every level, however wide
    groups: int = 32  # of channels that are normalised together


class Parts:
    """Autoencoder, text tower and U-Net, and what every model that is made of the three does with them."""

    config: Any
    autoencoder: AutoencoderKL
    text: CLIPTextModel
    unet: UNet2DConditionModel
    tokenizer: CLIPTokenizer | None

    def build(self, channels: int, *, joint_text: bool = False) -> None:
        """Make the three by the config, for a U-Net that takes `channels`; only the U-Net learns, or the text tower
        with it."""
        config = self.config
        self.autoencoder = build_autoencoder(config.autoencoder, config.size).requires_grad_(False)
        self.text = build_text_tower(config.text).requires_grad_(joint_text)
        self.unet = build_unet(config.unet, config.autoencoder, config.text, config.size, channels)
        self.tokenizer = None  # comes with a folder; not part of the weights
        if config.words:
            self.tokenizer = word_tokenizer(config.words, config.text.tokens)
            if len(self.tokenizer) != config.text.vocabulary:
                raise BadInput(
                    f"These {len(config.words)} words make {len(self.tokenizer)} tokens, but the text tower is built "
                    f"for {config.text.vocabulary}: set text.vocabulary to their number."
                )

    @cached_property
    def schedule(self) -> diffusion.Schedule:
        start, end = self.config.beta
        schedule = diffusion.scaled_linear(start, end, self.config.timesteps)
        return diffusion.zero_terminal_snr(schedule) if self.config.zero_terminal_snr else schedule

    # Pictures <-> latents, words -> states (section 3.1 and 3.3)

    def encode(self, pictures: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> scaled latents (B, 4, H/8, W/8): the posterior's mode, or a sample at `noise`."""
        posterior = self.autoencoder.encode(pictures.to(self.autoencoder.dtype), return_dict=False)[0]
        latent = posterior.mean if noise is None else posterior.mean + posterior.std * noise
        scaled: Tensor = self.config.autoencoder.scale * latent.to(pictures)
        return scaled

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, 4, h, w) -> pictures (B, 3, 8h, 8w), about [-1, 1], not clamped."""
        scaled = (latents / self.config.autoencoder.scale).to(self.autoencoder.dtype)
        pictures: Tensor = self.autoencoder.decode(scaled, return_dict=False)[0]
        return pictures.to(latents)

    def evaluate(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """What the U-Net says (B, 4, h, w), in the precision of x: its weights may have a lower one than what a sampler
        adds up."""
        precision = self.unet.conv_in.weight.dtype
        output: Tensor = self.unet(x.to(precision), t, text.to(precision), return_dict=False)[0]
        return output.to(x)

    def encode_words(self, words: Sequence[str]) -> Tensor:
        """B texts -> (B, 77, 768): the last states of all tokens, after the final normalisation."""
        if self.tokenizer is None:
            raise CannotDo(
                "This model came without a tokenizer, so it can't read words. Put CLIP's vocab.json and merges.txt "
                "(the tokenizer folder of any Stable Diffusion v1) in a folder `tokenizer` beside the checkpoint."
            )
        tokens = self.tokenizer(
            list(words), padding="max_length", truncation=True, max_length=self.config.text.tokens, return_tensors="pt"
        ).input_ids
        states: Tensor = self.text(tokens.to(self.device)).last_hidden_state
        return states

    def unknown(self, words: str) -> tuple[str, ...]:
        """The words that this model's own small tokenizer has never seen; none where it is CLIP's. BadInput if it knows
        none of them."""
        if not self.config.words or not words.strip():
            return ()
        said = dict.fromkeys("".join(letter if letter.isalpha() else " " for letter in words.lower()).split())
        unknown = tuple(word for word in said if word not in set(self.config.words))
        if len(unknown) == len(said):
            known = sorted(self.config.words)
            more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
            none = f"none of the words {', '.join(unknown[:MOST_NAMED])}" if unknown else f"no words in {words!r}"
            raise BadInput(f"This model knows {none}. It knows {', '.join(known[:MOST_NAMED])}{more}.")
        return unknown

    def unread(self, words: str) -> tuple[str, ...]:
        """The words of a text that come after the last token that fits in."""
        if self.tokenizer is None:
            return ()
        inner = self.tokenizer(words, add_special_tokens=False, verbose=False).input_ids
        return tuple(self.tokenizer.decode(inner[self.config.text.tokens - 2 :]).split())

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.unet.parameters()).device
        return found

    # Noise <-> latents

    def latent_shape(self, size: tuple[int, int] | None = None) -> tuple[int, int, int]:
        """(channels, rows, columns) of the latent of a picture of this height and width."""
        height, width = size or self.config.size
        factor = self.config.autoencoder.factor
        if min(width, height) < factor or width % factor or height % factor:
            raise BadInput(f"Pictures of {width}x{height}: this model's width and height are multiples of {factor}.")
        return self.config.autoencoder.channels, height // factor, width // factor

    def noise(self, seed: int, size: tuple[int, int] | None = None) -> Tensor:
        """The unit noise (1, 4, h, w) that the picture of a seed begins as."""
        return torch.randn((1, *self.latent_shape(size)), generator=torch_rng(seed, "noise")).to(self.device)

    def sample(
        self,
        denoise: diffusion.Denoise,
        noise: Tensor,
        steps: int,
        sampler: Sampler,
        fresh: diffusion.Noise | None = None,
        watch: diffusion.Watch | None = None,
        *,
        karras: bool = False,
        onto: Tensor | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Unit noise (B, 4, h, w) -> latents, in `steps` steps of a sampler at its usual timesteps, or at `karras`'
        noise levels, where it goes by levels; `fresh(step)` is the noise that `euler_ancestral` adds.

        With `last`, only so many of the steps are done; they begin with the noise of their level over clean latents,
        `onto`.
        """
        schedule = self.schedule
        levels = diffusion.karras_sigmas if karras else diffusion.uniform_sigmas
        if karras and sampler == "ddim":
            raise BadInput("Karras' noise levels are for euler, euler_ancestral and dpm_solver, not for ddim.")
        if self.config.zero_terminal_snr and sampler in ("euler", "euler_ancestral"):
            raise BadInput(
                f"{sampler} can't start at the infinite sigma of a zero-terminal-SNR schedule: take ddim or dpm_solver."
            )

        if last is not None and not 1 <= last <= steps:
            raise BadInput(f"The last {last} of {steps} steps: ask for 1 to {steps}.")

        def noised(t: float) -> Tensor:
            return noise if onto is None else schedule.noised(onto, noise, torch.tensor([t], device=noise.device))

        clean = 0.0 if onto is None else onto
        rest = slice(None) if last is None else slice(-last, None)
        rest_levels = slice(None) if last is None else slice(-last - 1, None)
        match sampler:
            case "ddim":
                spaced = diffusion.trailing_timesteps if self.config.zero_terminal_snr else diffusion.leading_timesteps
                visited = spaced(schedule, steps)[rest]
                return diffusion.ddim(denoise, noised(visited[0]), schedule, visited, watch=watch)
            case "dpm_solver":
                timesteps: Sequence[float] = diffusion.trailing_timesteps(schedule, steps)
                if karras:
                    timesteps = schedule.timestep_at(levels(schedule, steps)[:-1]).tolist()
                timesteps = timesteps[rest]
                return diffusion.dpm_solver_2m(denoise, noised(timesteps[0]), schedule, timesteps, watch=watch)
            case "euler":
                sigmas = levels(schedule, steps)[rest_levels]
                return diffusion.euler(denoise, clean + sigmas[0] * noise, schedule, sigmas, watch=watch)
            case "euler_ancestral" if fresh is not None:
                sigmas = levels(schedule, steps)[rest_levels]
                return diffusion.euler_ancestral(
                    denoise, clean + sigmas[0] * noise, schedule, sigmas, fresh, watch=watch
                )
        raise BadInput(
            f"No sampler {sampler!r} here: take ddim, euler, euler_ancestral (with fresh noise) or dpm_solver."
        )


class LatentDiffusion(Parts, System):
    config: Config

    @dataclass(frozen=True)
    class Config:
        autoencoder: Autoencoder = field(default_factory=Autoencoder)
        text: TextTower = field(default_factory=TextTower)
        unet: UNet = field(default_factory=UNet)
        size: tuple[int, int] = (512, 512)  # height and width that it is trained at, and draws at unless told otherwise

        beta: tuple[float, float] = (0.00085, 0.012)  # first and last; linear in the square root between
        timesteps: int = 1000
        prediction: diffusion.Prediction = "epsilon"
        zero_terminal_snr: bool = False  # True: the last timestep is pure noise, which wants velocity prediction

        joint_text: bool = False  # True: the text tower learns with the U-Net (section 3.3); Stable Diffusion's stays
        words: tuple[str, ...] = ()  # of a small tokenizer of its own; none: CLIP's, which comes with a folder
        unconditional: float = 0.1  # share of samples that train without their words, for guidance
        learning_rate: float = 1e-4
        warmup: int = 10_000  # steps; constant after
        ema: float | None = 0.9999

        def __post_init__(self) -> None:
            for name, kind in (("autoencoder", Autoencoder), ("text", TextTower), ("unet", UNet)):
                if isinstance(value := getattr(self, name), Mapping):  # read from JSON
                    object.__setattr__(self, name, config_from(kind, value, name))
            if self.zero_terminal_snr and self.prediction == "epsilon":
                raise BadInput("latent diffusion can't learn epsilon on a zero-terminal-SNR schedule: predict velocity")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.build(config.autoencoder.channels, joint_text=config.joint_text)
        players = (self.unet, self.text) if config.joint_text else (self.unet,)
        self.players = {"unet": Player(players, adamw(config.learning_rate), warmup(config.warmup), config.ema)}

    def predict(self, latents: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """What the U-Net says of noisy latents (B, 4, h, w) at timesteps t (B,): the noise, or the velocity."""
        return self.evaluate(latents, t, text)

    # Training (equation 3)

    def play(self, batch: Captioned | Latents, rng: Rng) -> Game:
        with torch.no_grad():
            if isinstance(batch, Latents):
                shape = tuple(batch.mean.shape[1:])
                clean = batch.mean + batch.std * rng.normal("posterior", *shape).to(batch.mean)
                clean = self.config.autoencoder.scale * clean
            else:
                shape = self.latent_shape((batch.pictures.shape[2], batch.pictures.shape[3]))
                clean = self.encode(batch.pictures, rng.normal("posterior", *shape).to(batch.pictures))
        dropped = rng.uniform("caption drop") < self.config.unconditional
        with torch.set_grad_enabled(self.config.joint_text):
            text = self.encode_words(["" if d else c for c, d in zip(batch.captions, dropped, strict=True)])
        noise = rng.normal("noise", *shape).to(clean)
        t = rng.integers("timestep", 0, self.config.timesteps).to(clean.device)
        guess = self.predict(self.schedule.noised(clean, noise, t), t, text)
        target = self.schedule.target(clean, noise, t, self.config.prediction)
        yield "unet", {"denoising": (guess - target).square().mean()}

    def preview(self, batch: Captioned | Latents, rng: Rng) -> Tensor:
        """The first four captions, drawn in 20 steps."""
        captions = batch.captions[:4]
        if isinstance(batch, Latents):
            shape = tuple(batch.mean.shape[1:])
        else:
            shape = self.latent_shape((batch.pictures.shape[2], batch.pictures.shape[3]))
        noise = rng.normal("preview", *shape)[:4].to(self.device)
        guided = self.guided(self.encode_words(captions), self.encode_words([""]), 5.0)
        denoise = diffusion.denoiser(guided, self.schedule, self.config.prediction)
        return self.decode(self.sample(denoise, noise, 20, "ddim")).clamp(-1, 1)

    # Drawing (section 3.3, and Ho and Salimans 2022)

    @torch.inference_mode()
    def draw(
        self,
        words: str,
        *,
        count: int = 1,
        seed: int = 0,
        steps: int = 50,
        guidance: float = 7.5,
        size: tuple[int, int] | None = None,
        sampler: Sampler = "ddim",
        negative: str = "",
        watch: diffusion.Watch | None = None,
    ) -> Drawing:
        """`count` pictures of `words`, of seed, seed + 1, ...; that of a seed is the same whatever the count.

        steps: of the sampler; the U-Net runs once or, with guidance, twice for each
        guidance: 1 follows the words as trained, more exaggerates them
        size: height and width in pixels, multiples of the autoencoder's factor
        negative: what guidance leads away from
        watch: sees `(step, latents)` after every step
        """
        text, away = self.encode_words([words]), self.encode_words([negative])
        seeds = tuple(range(seed, seed + count))
        pictures = [
            self._picture(self.noise(each, size), each, text, away, steps, guidance, sampler, watch) for each in seeds
        ]
        return Drawing(to_uint8(torch.cat(pictures)), None, seeds, self.unread(words))

    @torch.inference_mode()
    def interpolate(
        self,
        *words: str,
        frames: int,
        seed: int = 0,
        seeds: Sequence[int] | None = None,
        curve: Callable[[float], float] = float,
        steps: int = 50,
        guidance: float = 7.5,
        size: tuple[int, int] | None = None,
        sampler: Sampler = "ddim",
        negative: str = "",
    ) -> np.ndarray:
        """A walk from text to text, `frames` for each stretch, its ends counted: uint8 (N, H, W, 3).

        Noise goes along the arc between `seeds`, one for each text (all `seed`, if not given); text states go straight.
        The frames at the texts themselves are what `draw` makes of them, bit for bit; with a stochastic sampler, whose
        fresh noise is that of the first seed all along, only where the seeds are the same.
        """
        seeds = [seed] * len(words) if seeds is None else seeds
        if len(words) < 2 or len(seeds) != len(words):
            raise BadInput(
                f"A walk goes through two texts or more, each with a seed: got {len(words)} and {len(seeds)}."
            )
        states = [self.encode_words([each]) for each in words]
        noises = [self.noise(each, size) for each in seeds]
        away = self.encode_words([negative])
        walked = []
        for at, share in diffusion.walk([frames] * (len(words) - 1), curve):
            text = torch.lerp(states[at], states[at + 1], share)
            noise = diffusion.slerp(noises[at], noises[at + 1], share)
            walked.append(to_uint8(self._picture(noise, seeds[0], text, away, steps, guidance, sampler)))
        return np.concatenate(walked)

    def _picture(
        self,
        noise: Tensor,
        seed: int,
        text: Tensor,
        away: Tensor,
        steps: int,
        guidance: float,
        sampler: Sampler,
        watch: diffusion.Watch | None = None,
    ) -> Tensor:
        def fresh(step: int) -> Tensor:
            return torch.randn(noise.shape, generator=torch_rng(seed, "step", step)).to(noise)

        denoise = diffusion.denoiser(self.guided(text, away, guidance), self.schedule, self.config.prediction)
        return self.decode(self.sample(denoise, noise, steps, sampler, fresh, watch))

    def guided(self, text: Tensor, away: Tensor, guidance: float) -> Callable[[Tensor, Tensor], Tensor]:
        """`(latents, t) -> output` with classifier-free guidance: towards `text`, away from `away`, states of one text
        for all the latents or of one for each."""
        if guidance == 1:
            return lambda latents, t: self.predict(latents, t, text.expand(len(latents), -1, -1))

        def output(latents: Tensor, t: Tensor) -> Tensor:
            both = torch.cat([away.expand(len(latents), -1, -1), text.expand(len(latents), -1, -1)])
            plain, worded = self.predict(latents.repeat(2, 1, 1, 1), t.repeat(2), both).chunk(2)
            return diffusion.guided(plain, worded, guidance)

        return output

    # In the ecosystem's layout

    def save_folder(self, path: Path) -> None:
        """Write a folder that diffusers opens as a StableDiffusionPipeline, and limner as this system."""
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        scheduler = DDIMScheduler(
            num_train_timesteps=self.config.timesteps,
            beta_start=self.config.beta[0],
            beta_end=self.config.beta[1],
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            timestep_spacing="trailing" if self.config.zero_terminal_snr else "leading",
            prediction_type="v_prediction" if self.config.prediction == "velocity" else "epsilon",
            rescale_betas_zero_snr=self.config.zero_terminal_snr,
        )
        save_pipeline(self, StableDiffusionPipeline, scheduler, path)


def save_pipeline(model: Parts, kind: Any, scheduler: Any, path: Path) -> None:
    """Write the parts, with the tokenizer, as a folder of diffusers' pipeline of this kind; all of it or nothing."""
    if model.tokenizer is None:
        raise CannotDo("A diffusers folder holds a tokenizer, and this model came without one.")
    if path.exists():
        raise BadInput(f"{path} is there already: name a folder that isn't.")
    pipeline = kind(
        vae=model.autoencoder,
        text_encoder=model.text,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    unfinished = path.with_name(f".{path.name}.unfinished")
    pipeline.save_pretrained(unfinished)
    unfinished.rename(path)


def build_autoencoder(config: Autoencoder, size: tuple[int, int] = (512, 512)) -> AutoencoderKL:
    """The KL autoencoder (appendix G) as diffusers' class."""
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        raise MissingExtra("latent diffusion", "diffusion") from None
    levels = len(config.widths)
    return AutoencoderKL(
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        latent_channels=config.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        sample_size=max(size),
        scaling_factor=config.scale,
        norm_num_groups=config.groups,
    )


def build_text_tower(config: TextTower) -> CLIPTextModel:
    """CLIP's text tower as transformers' class; OpenAI's ViT-L/14 by default."""
    try:
        from transformers import CLIPTextConfig, CLIPTextModel
    except ImportError:
        raise MissingExtra("latent diffusion", "diffusion") from None
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            intermediate_size=config.hidden,
            projection_dim=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            max_position_embeddings=config.tokens,
            hidden_act="quick_gelu",
            # They only choose the state that is pooled, which nobody reads here; the last two of CLIP's vocabulary.
            bos_token_id=config.vocabulary - 2,
            eos_token_id=config.vocabulary - 1,
        )
    )


def build_unet(
    config: UNet,
    autoencoder: Autoencoder,
    text: TextTower,
    size: tuple[int, int] = (512, 512),
    channels: int | None = None,
) -> UNet2DConditionModel:
    """The conditional U-Net (section 3.3) as diffusers' class; `channels` go in, if not those of the latent."""
    try:
        from diffusers import UNet2DConditionModel
    except ImportError:
        raise MissingExtra("latent diffusion", "diffusion") from None
    down = {True: "CrossAttnDownBlock2D", False: "DownBlock2D"}
    up = {True: "CrossAttnUpBlock2D", False: "UpBlock2D"}
    return UNet2DConditionModel(
        sample_size=max(size) // autoencoder.factor,
        in_channels=channels or autoencoder.channels,
        out_channels=autoencoder.channels,
        block_out_channels=config.widths,
        down_block_types=tuple(down[attends] for attends in config.attention),
        up_block_types=tuple(up[attends] for attends in reversed(config.attention)),
        layers_per_block=config.blocks,
        cross_attention_dim=text.width,
        attention_head_dim=config.heads,  # diffusers' name is wrong: the class takes it as the number of heads
        norm_num_groups=config.groups,
    )
