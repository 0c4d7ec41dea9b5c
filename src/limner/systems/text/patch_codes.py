"""Patch codes: a picture as the nearest entries of a book of patches (Linde, Buzo and Gray, 1980).

The simplest vector quantiser: every square of 16 x 16 pixels is replaced by the patch of the book that is least
different. The book is fitted in minutes by Lloyd's algorithm, where a VQGAN takes days, and what it holds is sharp by
construction. It suits art that stands on a grid, as the storybook's scenes do; seams are left for a decoder to mend.

Patches of four channels are layers: colour multiplied by alpha, and alpha, to be laid `over` what stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.rng import torch_rng
from limner.system import System

CLEAR = 0  # the entry of a book of layers where nothing is


class PatchCodes(System):
    """Pictures to codes (`encode`) and back (`decode`); drop-in for a VQGAN where nothing is trained through it."""

    @dataclass(frozen=True)
    class Config:
        codebook: int = 8192
        patch: int = 16  # pixels a side
        channels: int = 3  # 4: layers

    book: Tensor  # (codebook, channels patch patch) in [-1, 1]; of layers, entry CLEAR is clear

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.factor = config.patch
        self.register_buffer("book", torch.zeros(config.codebook, config.channels * config.patch**2))
        self.players = {}
        self._known: dict[bytes, int] = {}

    def patches(self, pictures: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, h, w, channels patch patch)."""
        size = self.config.patch
        if pictures.shape[1] != self.config.channels:
            raise BadInput(f"This book's patches have {self.config.channels} channels, not {pictures.shape[1]}.")
        if pictures.shape[-1] % size or pictures.shape[-2] % size:
            raise BadInput(f"Patch codes want sides that are multiples of {size}, not {tuple(pictures.shape[-2:])}.")
        return torch.nn.functional.pixel_unshuffle(pictures, size).permute(0, 2, 3, 1)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, channels, H, W) in [-1, 1] -> codes (B, H / patch, W / patch), int64.

        A patch that was met before is looked up: backgrounds repeat, and comparing with a whole book is dear.
        """
        cells = self.patches(pictures)
        flat = cells.flatten(0, 2)
        rows = ((flat + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
        keys = [row.tobytes() for row in rows]
        new = list({key: i for i, key in enumerate(keys) if key not in self._known}.items())
        if new:
            if len(self._known) > 200_000:
                self._known.clear()
                new = list({key: i for i, key in enumerate(keys)}.items())
            codes, _ = self.nearest(flat[[i for _, i in new]])
            self._known |= {key: code for (key, _), code in zip(new, codes.tolist(), strict=True)}
        return torch.tensor([self._known[key] for key in keys], device=pictures.device).view(cells.shape[:3])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, h, w) -> pictures (B, channels, h patch, w patch) in [-1, 1]."""
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.codebook:
            raise BadInput(f"Patch codes run from 0 to {self.config.codebook - 1}; these go up to {int(codes.max())}.")
        return torch.nn.functional.pixel_shuffle(self.book[codes].permute(0, 3, 1, 2), self.config.patch)

    def nearest(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The least different entries of the book for patches (N, D), and the squared distances, (N,) each."""
        lengths = self.book.square().sum(1)
        found = [(lengths - 2 * part @ self.book.T).min(1) for part in torch.split(patches, 4096)]
        distances = torch.cat([best.values for best in found]) + patches.square().sum(1)
        return torch.cat([best.indices for best in found]), distances.clamp(min=0)

    @torch.no_grad()
    def fit(
        self, patches: Tensor, counts: Tensor, *, rounds: int = 8, seed: int = 0,
        told: Callable[[int, float], None] = lambda done, error: None,
    ) -> float:  # fmt: skip
        """Lloyd's algorithm on different patches (N, D) that occur `counts` (N,) times; returns the mean squared error.

        A patch weighs the square root of how often it occurs: skies are everywhere, but eyes are looked at. The book
        begins with the commonest patches and random others; an entry that nothing chooses takes the worst patch. Where
        there is room for every patch, the book is simply all of them, and the error 0.
        """
        size = self.config.codebook
        if len(patches) <= size:
            self.book.fill_(-1)
            self.book[-len(patches) :] = patches
            return self._fitted(0.0)
        weights = counts.sqrt()
        order = counts.argsort(descending=True)
        common = order[: min(int((counts > 6).sum()), size // 2)]
        others = order[len(common) :]
        others = others[torch.randperm(len(others), generator=torch_rng(seed, "book"))[: size - len(common)]]
        self.book.copy_(patches[torch.cat([common, others])])
        error = 0.0
        for done in range(1, rounds + 1):
            chosen, distance = self.nearest(patches)
            error = float((distance * counts).sum() / counts.sum() / patches.shape[1])
            totals = torch.zeros_like(self.book).index_add_(0, chosen, patches * weights[:, None])
            mass = torch.zeros(size).index_add_(0, chosen, weights)
            self.book.copy_(torch.where(mass[:, None] > 0, totals / mass.clamp(min=1e-6)[:, None], self.book))
            idle = (mass == 0).nonzero().flatten()
            self.book[idle] = patches[(distance * weights).argsort(descending=True)[: len(idle)]]
            told(done, error)
        return self._fitted(error)

    def _fitted(self, error: float) -> float:
        if self.config.channels == 4:
            clear = int(self.book.sum(1).argmin())
            self.book[[CLEAR, clear]] = self.book[[clear, CLEAR]]
            self.book[CLEAR] = -1  # whatever faint patch has been counted with it
        self._known.clear()
        return error


def over(layers: Tensor, below: Tensor) -> Tensor:
    """Layers (B, 4, H, W), their colour multiplied by their alpha, laid over pictures (B, 3, H, W); all in [-1, 1]."""
    colour, alpha = (layers[:, :3] + 1) / 2, (layers[:, 3:] + 1) / 2
    return 2 * colour + (1 - alpha) * (below + 1) - 1
