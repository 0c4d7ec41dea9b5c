"""A second encoder for the curves: CLIP's two towers, small, trained on the stage from nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F

from limner.data.kinds import Captioned
from limner.nn.clip import CLIP, Sizes, build_clip
from limner.rng import Rng
from limner.system import Game, Player, System, adamw, config_from, waning
from limner.systems.diffusion.tokens import vocabulary, word_tokenizer


class Contrast(System):
    """Pictures and captions that belong together are to be nearer than all others of a batch (Radford et al., 2021)."""

    @dataclass(frozen=True)
    class Config:
        words: tuple[str, ...]
        sizes: Sizes = field(
            default_factory=lambda: Sizes(
                space=64, side=64, patch=8, width=96, depth=3, heads=4, tokens=24, text_width=96, text_depth=2,
                text_heads=4,
            )
        )  # fmt: skip
        rate: float = 1e-3
        steps: int = 1500  # over which the rate wanes

        def __post_init__(self) -> None:
            if isinstance(self.sizes, dict):  # read from JSON
                object.__setattr__(self, "sizes", config_from(Sizes, self.sizes, "sizes"))
            sizes = {**vars(self.sizes), "vocabulary": len(vocabulary(self.words)[0])}
            object.__setattr__(self, "sizes", Sizes(**sizes))

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.towers = CLIP(build_clip(config.sizes), word_tokenizer(config.words, config.sizes.tokens))
        self.towers.network.requires_grad_(True)
        self.players = {"towers": Player((self,), adamw(config.rate), waning(config.steps), clip=1.0)}

    def play(self, batch: Captioned, rng: Rng) -> Game:
        seen = self.towers.pictures((batch.pictures + 1) / 2)
        logits = self.towers.network.logit_scale.exp().clamp(max=100) * seen @ self.towers.words(batch.captions).T
        own = torch.arange(len(logits))
        yield (
            "towers",
            {"pictures": F.cross_entropy(logits, own) / 2, "words": F.cross_entropy(logits.T, own) / 2},
        )

    def save_folder(self, path: Path) -> None:
        """A folder of transformers' CLIP, which `--encoder` opens."""
        self.towers.network.save_pretrained(path)
        assert self.towers.tokenizer is not None
        self.towers.tokenizer.save_pretrained(path)
