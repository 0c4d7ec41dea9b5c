"""Patch codes: a picture as the nearest entries of a book of patches (Linde, Buzo and Gray, 1980).

The simplest vector quantiser: every square of 16 x 16 pixels is replaced by the patch of the book that is least
different. The book is fitted in minutes by Lloyd's algorithm, where a VQGAN takes days, and what it holds is sharp by
construction. It suits art that stands on a grid, as the storybook's scenes do; seams are left for a decoder to mend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.errors import BadInput
from limner.rng import torch_rng
from limner.system import System


class PatchCodes(System):
    """Pictures to codes (`encode`) and back (`decode`); drop-in for a VQGAN where nothing is trained through it."""

    @dataclass(frozen=True)
    class Config:
        codebook: int = 8192
        patch: int = 16  # pixels a side

    book: Tensor  # (codebook, 3 patch patch) in [-1, 1]
    matte: Tensor  # (codebook, patch patch) in [0, 1]: how much of each pixel is not background

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.factor = config.patch
        self.register_buffer("book", torch.zeros(config.codebook, 3 * config.patch**2))
        self.register_buffer("matte", torch.ones(config.codebook, config.patch**2))
        self.players = {}
        self._known: dict[bytes, int] = {}

    def patches(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, h, w, 3 patch patch)."""
        size = self.config.patch
        if pictures.shape[-1] % size or pictures.shape[-2] % size:
            raise BadInput(f"Patch codes want sides that are multiples of {size}, not {tuple(pictures.shape[-2:])}.")
        return torch.nn.functional.pixel_unshuffle(pictures, size).permute(0, 2, 3, 1)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> codes (B, H / patch, W / patch), int64.

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
    def decode(self, codes: Tensor, backdrop: Tensor | None = None) -> Tensor:
        """Codes (B, h, w) -> pictures (B, 3, h patch, w patch) in [-1, 1].

        backdrop: the codes of the same scene with nothing in it; they show wherever the matte lets them
        """
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.codebook:
            raise BadInput(f"Patch codes run from 0 to {self.config.codebook - 1}; these go up to {int(codes.max())}.")
        cells = self.book[codes]  # (B, h, w, 3 patch patch)
        if backdrop is not None:
            matte = self.matte[codes].repeat(1, 1, 1, 3)
            cells = matte * cells + (1 - matte) * self.book[backdrop]
        return torch.nn.functional.pixel_shuffle(cells.permute(0, 3, 1, 2), self.config.patch)

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
        begins with the commonest patches and random others; an entry that nothing chooses takes the worst patch.
        """
        size = self.config.codebook
        if len(patches) < size:
            raise BadInput(f"A book of {size} entries needs at least as many different patches, not {len(patches)}.")
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
        self._known.clear()
        return error
