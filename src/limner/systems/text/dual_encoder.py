"""A text-image dual encoder in the manner of CLIP (Radford et al., 2021): which picture fits these words best?

Two transformers put captions and pictures into one space where what belongs together lies together. The picture tower
reads the codes of a VQGAN, so that candidates are ranked before any of them is painted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.rng import Rng
from limner.system import Game, Player, System, adamw, warmup
from limner.systems.text.dalle_mini import Tokens
from limner.systems.text.words import PAD


class DualEncoder(System):
    @dataclass(frozen=True)
    class Config:
        text_vocabulary: int = 1024
        text_length: int = 32
        codebook: int = 4096
        grid: tuple[int, int] = (9, 16)
        width: int = 128
        text_layers: int = 2
        picture_layers: int = 3
        heads: int = 4
        space: int = 128  # dimensions that words and pictures share
        rate: float = 1e-3

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.text = Tower(config.text_vocabulary, config.text_length, config.text_layers, config)
        self.picture = Tower(config.codebook, config.grid[0] * config.grid[1], config.picture_layers, config)
        self.sharpness = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.players = {"encoders": Player((self,), adamw(config.rate, decay=0.05), warmup(100), ema=0.995, clip=1.0)}

    def forward(self, tokens: Tokens) -> Tensor:
        """Cosines (texts, pictures) of every caption with every picture."""
        words = F.normalize(self.text(tokens.text, tokens.text != PAD), dim=-1)
        return words @ F.normalize(self.picture(tokens.image, None), dim=-1).T

    def play(self, batch: Tokens, rng: Rng) -> Game:
        """CLIP's loss: find each caption's picture among the batch's, and each picture's caption."""
        logits = self(batch).float() * self.sharpness.exp().clamp(max=100)
        own = torch.arange(len(logits), device=logits.device)
        yield (
            "encoders",
            {"picture": 0.5 * F.cross_entropy(logits, own), "text": 0.5 * F.cross_entropy(logits.T, own)},
        )

    @torch.inference_mode()
    def rank(self, text: Tensor, image: Tensor) -> list[float]:
        """Cosine of one caption's tokens (1, L) with each picture's codes (N, rows * columns)."""
        found: list[float] = self(Tokens(text, image))[0].tolist()
        return found


class Tower(nn.Module):
    """Tokens (B, N) -> (B, space): a transformer whose states are averaged over what is not masked."""

    def __init__(self, vocabulary: int, length: int, layers: int, config: DualEncoder.Config) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, config.width)
        self.positions = nn.Parameter(torch.randn(length, config.width) * 0.02)
        nn.init.normal_(self.tokens.weight, 0, 0.05)
        layer = nn.TransformerEncoderLayer(
            config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(config.width), enable_nested_tensor=False)
        self.out = nn.Linear(config.width, config.space, bias=False)

    def forward(self, tokens: Tensor, shown: Tensor | None) -> Tensor:
        x = self.tokens(tokens) + self.positions[: tokens.shape[1]]
        x = self.layers(x, src_key_padding_mask=None if shown is None else ~shown)
        if shown is None:
            pooled = x.mean(1)
        else:
            weight = shown.unsqueeze(-1).to(x.dtype)
            pooled = (x * weight).sum(1) / weight.sum(1)
        found: Tensor = self.out(pooled)
        return found
