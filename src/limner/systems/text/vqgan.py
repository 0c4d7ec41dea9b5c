"""VQGAN: a picture as a small grid of codes from a learned book (Esser et al., "Taming Transformers", CVPR 2021).

A convolutional encoder shrinks the picture 16 times, each cell of the result is replaced by its nearest entry in a
codebook, and a decoder paints the picture from the entries. Trained by reconstruction, a codebook loss and a patch
discriminator that joins late. DALL-E mini writes its pictures in these codes.

The defaults are the published network with 16384 codes; any height and width that are multiples of the factor work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Pictures
from limner.data.prepare import Preparation
from limner.errors import BadInput, CannotDo
from limner.nn import init
from limner.nn.patch_discriminator import PatchDiscriminator
from limner.rng import Rng
from limner.system import Game, Player, System, adam, frozen

Distance = Callable[[Tensor, Tensor], Tensor]


class VQGAN(System):
    """Pictures to codes (`encode`) and back (`decode`)."""

    config: Config
    idle: Tensor
    preparation = Preparation(256, "shorter", 256, flip=False)

    @dataclass(frozen=True)
    class Config:
        width: int = 128  # channels of the finest level; a multiple of 32
        multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)  # of the width, by level; the factor is 2 ** (levels - 1)
        blocks: int = 2  # residual blocks a level; the decoder has one more
        attention_levels: tuple[int, ...] = (4,)  # 0 is full resolution
        channels: int = 256  # of the latent
        codebook: int = 16384  # how many codes
        code_width: int = 256  # channels of a code
        norm_eps: float = 1e-6  # the min-dalle port decodes with 1e-5
        decoder_only: bool = False  # True: no encoder and no discriminator, to paint codes and nothing else
        value_range: tuple[float, float] = (-1.0, 1.0)  # the network's own; DALL-E mini's release works in (0, 1)
        patch: int = 1  # pixels a side that are folded into channels first; published: none. 4 is ten times cheaper

        beta: float = 0.25
        codes_start: int = 0  # steps that train a plain autoencoder before codes take over; published: none
        revive: int = 0  # steps after which a code that nothing used takes a cell of the batch; published: never
        legacy: bool = True  # as released, beta weighs the codebook's term; False: the encoder's, as in eq. 4
        codebook_weight: float = 1.0
        perceptual: float = 0.0  # the paper has 1.0, which needs a perceptual distance
        adversarial: float = 0.8
        discriminator_start: int = 250_001  # steps without the adversarial game
        discriminator_width: int = 64
        learning_rate: float = 5.4e-5  # published: 4.5e-6 for each picture of the batch, here 12

    perceptual: Distance | None = None
    """The distance of pictures (B, 3, H, W) in the network's range, averaged whatever its shape; set it to train with
    a `Config.perceptual` above 0."""

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.factor = config.patch * 2 ** (len(config.multipliers) - 1)
        self.codes = nn.Embedding(config.codebook, config.code_width)
        nn.init.uniform_(self.codes.weight, -1 / config.codebook, 1 / config.codebook)
        if config.revive:
            self.register_buffer("idle", torch.zeros(config.codebook, dtype=torch.int32))  # steps since last used
        self.from_code = nn.Conv2d(config.code_width, config.channels, 1)
        self.decoder = Decoder(config)
        self.players = {}
        if config.decoder_only:
            return
        self.encoder = Encoder(config)
        self.to_code = nn.Conv2d(config.channels, config.code_width, 1)
        self.discriminator = PatchDiscriminator(3, config.discriminator_width)
        init.normal(self.discriminator)

        autoencoder = (self.encoder, self.to_code, self.codes, self.from_code, self.decoder)
        optimiser = adam(config.learning_rate, betas=(0.5, 0.9))
        self.players["autoencoder"] = Player(autoencoder, optimiser)
        self.players["discriminator"] = Player((self.discriminator,), optimiser)

    # Pictures <-> codes

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> codes (B, H / factor, W / factor), int64 in [0, codebook)."""
        return self.nearest(self.latent(self.to_range(pictures)))

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) -> pictures (B, 3, h * factor, w * factor) in [-1, 1]. An unknown code is `BadInput`."""
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.codebook:
            raise BadInput(
                f"VQGAN: codes run from {int(codes.min())} to {int(codes.max())}, the codebook from 0 to "
                f"{self.config.codebook - 1}. Decode codes of the same model."
            )
        return self.from_range(self.paint(self.entries(codes))).clamp(-1, 1)

    def latent(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in the network's range -> (B, code_width, h, w), not yet quantised."""
        if self.config.decoder_only:
            raise CannotDo("VQGAN: this one has a decoder only. Encode with the model that it was taken from.")
        height, width = pictures.shape[-2:]
        if height % self.factor or width % self.factor:
            raise BadInput(
                f"VQGAN: a picture of {width}x{height} doesn't divide into cells of {self.factor} pixels. "
                f"Resize or crop it to multiples of {self.factor}."
            )
        latent: Tensor = self.to_code(self.encoder(pictures))
        return latent

    def nearest(self, latent: Tensor) -> Tensor:
        """The code of least squared distance for every cell: (B, code_width, h, w) -> (B, h, w)."""
        cells = latent.permute(0, 2, 3, 1)  # (B, h, w, C)
        book = self.codes.weight  # (codebook, C); |cell|^2 is the same for every code and left out
        return (book.square().sum(1) - 2 * cells @ book.T).argmin(-1)

    def entries(self, codes: Tensor) -> Tensor:
        """What the book holds for codes: (B, h, w) -> (B, code_width, h, w)."""
        found: Tensor = self.codes(codes)
        return found.permute(0, 3, 1, 2)

    def paint(self, latent: Tensor) -> Tensor:
        """(B, code_width, h, w) -> pictures (B, 3, H, W) in the network's range, unclipped."""
        pictures: Tensor = self.decoder(self.from_code(latent))
        return pictures

    def to_range(self, pictures: Tensor) -> Tensor:
        low, high = self.config.value_range
        return (pictures + 1) * ((high - low) / 2) + low

    def from_range(self, pictures: Tensor) -> Tensor:
        low, high = self.config.value_range
        return (pictures - low) * (2 / (high - low)) - 1

    # Training

    def quantise(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest codes (B, h, w), their entries with the encoder's gradient passed straight through, and the
        codebook loss of eq. 4."""
        codes = self.nearest(latent.detach())
        if self.training and self.config.revive:
            self.revive_codes(codes, latent.detach())
        entries = self.entries(codes)
        commitment, embedding = F.mse_loss(latent, entries.detach()), F.mse_loss(entries, latent.detach())
        beta = self.config.beta
        loss = commitment + beta * embedding if self.config.legacy else beta * commitment + embedding
        return codes, latent + (entries - latent).detach(), loss

    @torch.no_grad()
    def revive_codes(self, codes: Tensor, latent: Tensor) -> None:
        """Codes that nothing has used for `revive` steps become cells of this batch (Zeghidour et al., 2021).

        A small book trained briefly otherwise ends with most of its codes dead. The first batch fills the whole book.
        """
        used = torch.bincount(codes.flatten(), minlength=self.config.codebook) > 0
        young = not bool(self.idle.any())
        self.idle.add_(1).masked_fill_(used, 0)
        dead = torch.ones_like(used) if young else self.idle >= self.config.revive
        if count := int(dead.sum()):
            cells = latent.permute(0, 2, 3, 1).flatten(0, 2)
            chosen = torch.randint(len(cells), (count,), device="cpu").to(cells.device)
            jitter = 0.01 * cells.std() * torch.randn(count, cells.shape[1]).to(cells.device)
            self.codes.weight[dead] = cells[chosen].to(self.codes.weight.dtype) + jitter
            self.idle[dead] = 0

    def play(self, batch: Pictures, rng: Rng) -> Game:
        """One step on pictures: eq. 4 and, once the discriminator has joined, eq. 6."""
        config = self.config
        if config.perceptual and self.perceptual is None:
            raise BadInput(
                f"VQGAN: the weight of the perceptual loss is {config.perceptual}, but there is no distance to weigh. "
                "Set the model's `perceptual`, or the weight to 0."
            )
        real = self.to_range(batch.pictures)
        latent = self.latent(real)
        if rng.step < config.codes_start:
            entries, codebook = latent, latent.new_zeros(())
        else:
            _, entries, codebook = self.quantise(latent)
        painted = self.paint(entries)
        likeness = {"reconstruction": F.l1_loss(painted, real)}
        if self.perceptual is not None and config.perceptual:
            likeness["perceptual"] = config.perceptual * self.perceptual(painted, real).mean()
        losses = likeness | {"codebook": config.codebook_weight * codebook}

        if rng.step < config.discriminator_start:
            yield "autoencoder", losses
        else:
            with frozen(self.discriminator):
                fooled = -self.discriminator(painted).mean()
            weight = config.adversarial * self.balance(torch.stack(list(likeness.values())).sum(), fooled)
            yield "autoencoder", losses | {"adversarial": weight * fooled}

            with torch.no_grad():  # as published, the discriminator sees what the stepped autoencoder paints
                painted = self.paint(self.entries(self.nearest(self.latent(real))))
            yield (
                "discriminator",
                {
                    "real": 0.5 * F.relu(1 - self.discriminator(real)).mean(),
                    "fake": 0.5 * F.relu(1 + self.discriminator(painted)).mean(),
                },
            )

    def balance(self, likeness: Tensor, fooled: Tensor) -> Tensor:
        """Eq. 7: how much stronger the pull of the likeness is than the discriminator's, at the last layer."""
        last = self.decoder.head.weight
        (pull,) = torch.autograd.grad(likeness, last, retain_graph=True)
        (push,) = torch.autograd.grad(fooled, last, retain_graph=True)
        weight: Tensor = pull.norm() / (push.norm() + 1e-4)
        return weight.clamp(0, 1e4)

    def preview(self, batch: Pictures, rng: Rng) -> Tensor:
        """The pictures, then what is left of them after their codes."""
        return torch.cat([batch.pictures, self.decode(self.encode(batch.pictures))])


# The networks


class ResidualBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, channels_in, eps)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(32, channels_out, eps)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        out: Tensor = self.shortcut(x) + y
        return out


class PixelAttention(nn.Module):
    """Every cell attends to every cell, with a single head."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps)
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        cells = [layer(y).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value)]  # (B, HW, C)
        y = F.scaled_dot_product_attention(*cells).transpose(1, 2).reshape(x.shape)
        out: Tensor = x + self.out(y)
        return out


class Level(nn.Module):
    """The blocks at one resolution, each followed by attention where the level has it, then a change of resolution."""

    def __init__(self, channels: list[int], attention: bool, eps: float, resize: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(a, b, eps) for a, b in pairwise(channels))
        self.attention = nn.ModuleList(PixelAttention(b, eps) if attention else nn.Identity() for b in channels[1:])
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        for block, attention in zip(self.blocks, self.attention, strict=True):
            x = attention(block(x))
        out: Tensor = self.resize(x)
        return out


class Down(nn.Module):
    """Half the size. Padded at the right and the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Up(nn.Module):
    """Twice the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


def middle(channels: int, eps: float) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels, channels, eps), PixelAttention(channels, eps), ResidualBlock(channels, channels, eps)
    )


class Encoder(nn.Module):
    """(B, 3, H, W) -> (B, channels, H / factor, W / factor)."""

    def __init__(self, config: VQGAN.Config) -> None:
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        self.fold = nn.PixelUnshuffle(config.patch)
        self.stem = nn.Conv2d(3 * config.patch**2, config.width, 3, padding=1)
        self.levels = nn.ModuleList()
        for i, (before, width) in enumerate(pairwise([config.width, *widths])):
            resize = Down(width) if i < len(widths) - 1 else nn.Identity()
            channels = [before] + [width] * config.blocks
            self.levels.append(Level(channels, i in config.attention_levels, config.norm_eps, resize))
        self.middle = middle(widths[-1], config.norm_eps)
        self.norm = nn.GroupNorm(32, widths[-1], config.norm_eps)
        self.head = nn.Conv2d(widths[-1], config.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.fold(x))
        for level in self.levels:
            x = level(x)
        out: Tensor = self.head(F.silu(self.norm(self.middle(x))))
        return out


class Decoder(nn.Module):
    """(B, channels, h, w) -> (B, 3, h * factor, w * factor). Levels are numbered as the encoder's, 0 the finest."""

    def __init__(self, config: VQGAN.Config) -> None:
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        self.stem = nn.Conv2d(config.channels, widths[-1], 3, padding=1)
        self.middle = middle(widths[-1], config.norm_eps)
        self.levels = nn.ModuleList()
        for i, (width, coarser) in enumerate(pairwise([*widths, widths[-1]])):
            resize = Up(width) if i > 0 else nn.Identity()
            channels = [coarser] + [width] * (config.blocks + 1)
            self.levels.append(Level(channels, i in config.attention_levels, config.norm_eps, resize))
        self.norm = nn.GroupNorm(32, widths[0], config.norm_eps)
        self.head = nn.Conv2d(widths[0], 3 * config.patch**2, 3, padding=1)
        self.unfold = nn.PixelShuffle(config.patch)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.stem(x))
        for level in reversed(self.levels):
            x = level(x)
        out: Tensor = self.unfold(self.head(F.silu(self.norm(x))))
        return out
