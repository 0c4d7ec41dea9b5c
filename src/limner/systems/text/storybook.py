"""storybook: the picture model that ships with limner. Words in, flat picture-book scenes out, on a laptop's CPU.

DALL-E mini's recipe at the Sticker World's scale: a transformer writes 9 x 16 codes of a book of patches, a dual
encoder ranks the candidates before they are painted, and a sub-pixel upscaler mends the seams and makes a crisp
1280 x 720. The parts are trained one after the other, each by its own system; this one only plays them together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from limner.errors import BadInput
from limner.system import Drawing, System, config_from, from_uint8, to_uint8
from limner.systems.text.dalle_mini import DalleMini
from limner.systems.text.dual_encoder import DualEncoder
from limner.systems.translation.upscaler import Upscaler


@contextmanager
def one_thread() -> Iterator[None]:
    """A code at a time is too little work to share: threads would wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Storybook(System):
    """Draws and ranks. `draw` gives the best candidate first."""

    @dataclass(frozen=True)
    class Config:
        painter: DalleMini.Config = field(default_factory=DalleMini.Config)
        judge: DualEncoder.Config = field(default_factory=DualEncoder.Config)
        upscaler: Upscaler.Config = field(default_factory=Upscaler.Config)
        guidance: float = 2.0
        top_k: int = 64
        temperature: float = 0.9

        def __post_init__(self) -> None:
            for name, kind in (
                ("painter", DalleMini.Config),
                ("judge", DualEncoder.Config),
                ("upscaler", Upscaler.Config),
            ):
                if isinstance(value := getattr(self, name), Mapping):  # read from JSON
                    object.__setattr__(self, name, config_from(kind, value, name))

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.painter = DalleMini(config.painter)
        self.judge = DualEncoder(config.judge)
        self.upscaler = Upscaler(config.upscaler)
        self.players = {}

    @torch.inference_mode()
    def draw(
        self,
        words: str,
        *,
        count: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        keep: int | None = None,
        large: bool = True,
    ) -> Drawing:
        """`count` candidates, best first; candidate of seed s is the same whatever the count.

        guidance: how far to push towards the words; 1 is not at all, and twice as fast
        keep: paint only the best `keep` of the candidates
        large: 1280 x 720 instead of the native 256 x 144
        """
        tokenise, vqgan = self.painter.complete()
        unknown = tokenise.unknown(words)
        text = tokenise([words])
        if text.shape[1] < 2 or int((text > 3).sum()) == 0:
            raise BadInput(
                f"The storybook knows none of the words in {words!r}. It knows {len(self.config.painter.words)}: "
                "animals, people, plants, things, places, seasons and times of day."
            )
        seeds = list(range(seed, seed + count))
        with one_thread():
            codes = self.painter.sample(
                text.expand(count, -1),
                seeds,
                guidance=self.config.guidance if guidance is None else guidance,
                top_k=self.config.top_k,
                temperature=self.config.temperature,
            )
        scores = self.judge.rank(text, codes)
        order = sorted(range(count), key=lambda i: -scores[i])[:keep]
        pictures = vqgan.decode(codes[order].view(-1, *self.config.painter.grid))
        if large:
            pictures = torch.cat([self.upscaler(picture[None]) for picture in pictures])
        return Drawing(to_uint8(pictures), tuple(scores[i] for i in order), tuple(seeds[i] for i in order), unknown)

    @torch.inference_mode()
    def score(self, pictures: np.ndarray, words: str) -> Sequence[float]:
        """How well uint8 pictures (N, H, W, 3) fit the words: cosines, higher is better."""
        tokenise, vqgan = self.painter.complete()
        rows, columns = self.config.painter.grid
        size = (rows * vqgan.factor, columns * vqgan.factor)
        small = torch.nn.functional.interpolate(from_uint8(pictures), size=size, mode="area")
        return self.judge.rank(tokenise([words]), vqgan.encode(small).flatten(1))
