"""The autoencoder of latent diffusion: pictures to small latents and back (Rombach et al., CVPR 2022, section 3.1).

A residual network shrinks the picture 8 times a side into a normal distribution for every cell of the latent, another
one paints the picture from a sample of it. It learns to paint what it saw, in L1 and in the eyes of a feature network
and of a patch discriminator that joins late, while a very small pull towards the unit normal keeps the latents in
bounds (appendix G, "KL-reg").

The network is the class that `latent_diffusion` diffuses in: a trained autoencoder goes into its `first_stage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limner.data.kinds import Pictures
from limner.errors import BadInput
from limner.losses import critic, hinge
from limner.nn import init
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.rng import Rng
from limner.system import Game, Player, System, adam, config_from, frozen
from limner.systems.diffusion.latent import Autoencoder, build_autoencoder

Distance = Callable[[Tensor, Tensor], Tensor]


class KLAutoencoder(System):
    """Pictures (B, 3, H, W) in [-1, 1] <-> latents (B, channels, H / factor, W / factor) (`encode`, `decode`)."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        autoencoder: Autoencoder = field(default_factory=Autoencoder)
        kl: float = 1e-6  # weight of the divergence from the unit normal, summed over a picture's latent
        perceptual: float = 0.0  # the paper has 1.0, which needs a perceptual distance
        adversarial: float = 0.5
        discriminator_start: int = 50_001  # steps without the adversarial game
        discriminator_width: int = 64
        crop: int = 0  # pixels a side of a random part to learn from; 0: the whole picture
        learning_rate: float = 5.4e-5  # published: 4.5e-6 for each picture of the batch, here 12

        def __post_init__(self) -> None:
            if isinstance(self.autoencoder, Mapping):  # read from JSON
                object.__setattr__(self, "autoencoder", config_from(Autoencoder, self.autoencoder, "autoencoder"))
            if self.crop % self.autoencoder.factor:
                raise BadInput(f"crop={self.crop} is no multiple of the factor {self.autoencoder.factor}.")

    perceptual: Distance | None = None
    """The distance of pictures in [-1, 1], one number for each of the batch; set it to train with a
    `Config.perceptual` above 0."""

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.network = build_autoencoder(config.autoencoder)
        self.log_variance = nn.Parameter(torch.zeros(()))  # of the likelihood of a pixel, learned
        self.discriminator = PatchDiscriminator(3, config.discriminator_width)
        init.normal(self.discriminator)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.9))
        self.players = {
            "autoencoder": Player((self.network, self.log_variance), optimiser),
            "discriminator": Player((self.discriminator,), optimiser),
        }

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """The mean of every cell: (B, channels, H / factor, W / factor), of no particular scale (see `scale`)."""
        latent: Tensor = self.network.encode(pictures, return_dict=False)[0].mean
        return latent

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pictures, about [-1, 1], not clamped."""
        pictures: Tensor = self.network.decode(latents, return_dict=False)[0]
        return pictures

    def scale(self, pictures: Tensor) -> float:
        """The factor that gives the latents of these pictures unit variance (appendix G): `Autoencoder.scale`."""
        return 1 / float(self.encode(pictures).std())

    def play(self, batch: Pictures, rng: Rng) -> Game:
        """One step: L1 likelihood, divergence and, once the discriminator has joined, the adversarial game."""
        config = self.config
        if config.perceptual and self.perceptual is None:
            raise BadInput(
                f"The weight of the perceptual loss is {config.perceptual}, but there is no distance to weigh. "
                "Set the model's `perceptual`, or the weight to 0."
            )
        real = self.crops(batch.pictures, rng)
        size = (config.autoencoder.channels, *(side // config.autoencoder.factor for side in real.shape[2:]))
        posterior = self.network.encode(real, return_dict=False)[0]
        noise = rng.normal("posterior", *size).to(posterior.mean)
        painted: Tensor = self.network.decode(posterior.mean + posterior.std * noise, return_dict=False)[0]

        error = (painted - real).abs()
        if self.perceptual is not None and config.perceptual:
            error = error + config.perceptual * self.perceptual(painted, real).view(-1, 1, 1, 1)
        likelihood = (error / self.log_variance.exp() + self.log_variance).sum() / len(real)
        losses = {"likelihood": likelihood, "divergence": config.kl * posterior.kl().mean()}

        if rng.step < config.discriminator_start:
            yield "autoencoder", losses
            return
        with frozen(self.discriminator):
            fooled = critic(self.discriminator(painted), real=True)
        weight = config.adversarial * self.balance(likelihood, fooled)
        yield "autoencoder", losses | {"adversarial": weight * fooled}
        seen, told = self.discriminator(real), self.discriminator(painted.detach())
        yield "discriminator", {"real": 0.5 * hinge(seen, True), "fake": 0.5 * hinge(told, False)}

    def crops(self, pictures: Tensor, rng: Rng) -> Tensor:
        """A random part of each picture, `Config.crop` a side."""
        size, (height, width) = self.config.crop, pictures.shape[2:]
        if not size:
            return pictures
        if min(height, width) < size:
            raise BadInput(f"Pictures of {width}x{height} are smaller than the crop of {size}: set crop lower.")
        tops = rng.integers("top", 0, height - size + 1).tolist()
        lefts = rng.integers("left", 0, width - size + 1).tolist()
        return torch.stack([p[:, y : y + size, x : x + size] for p, y, x in zip(pictures, tops, lefts, strict=True)])

    def balance(self, likelihood: Tensor, fooled: Tensor) -> Tensor:
        """How much stronger the pull of the likelihood is than the discriminator's, at the decoder's last layer."""
        last = self.network.decoder.conv_out.weight
        (pull,) = torch.autograd.grad(likelihood, last, retain_graph=True)
        (push,) = torch.autograd.grad(fooled, last, retain_graph=True)
        weight: Tensor = pull.norm() / (push.norm() + 1e-4)
        return weight.clamp(0, 1e4).detach()

    def preview(self, batch: Pictures, rng: Rng) -> Tensor:
        """The pictures, then what is left of them after their latents."""
        return torch.cat([batch.pictures, self.decode(self.encode(batch.pictures))])
