"""storybook: the picture model that ships with limner. Words in, flat picture-book scenes out, on a laptop's CPU.

Four small networks and two books of patches, trained one after the other, each by its own system; this one plays them
together. DALL-E mini's transformer writes a plan of the scene from the words, the layout painter turns the plan into
layers of picture codes, and an upscaler makes a crisp 1280 x 720 of them. Candidates are ranked by how likely the
planner finds their plans and how well a dual encoder, which reads with its own book, finds that they fit the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from limner.errors import BadInput
from limner.system import Drawing, System, config_from, from_uint8, to_uint8
from limner.systems.text.dalle_mini import DalleMini, Tokeniser
from limner.systems.text.dual_encoder import DualEncoder
from limner.systems.text.layout_painter import LayoutPainter
from limner.systems.text.patch_codes import PatchCodes, over
from limner.systems.text.words import UNKNOWN
from limner.systems.translation.upscaler import Upscaler


@contextmanager
def one_thread() -> Iterator[None]:
    """A token at a time is too little work to share: threads would wait for each other longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Storybook(System):
    """Draws and ranks. `draw` gives the best candidate first."""

    config: Config

    @dataclass(frozen=True)
    class Config:
        painter: LayoutPainter.Config
        planner: DalleMini.Config = field(default_factory=DalleMini.Config)
        book: PatchCodes.Config = field(default_factory=lambda: PatchCodes.Config(channels=4))  # what is painted with
        codec: PatchCodes.Config = field(default_factory=PatchCodes.Config)  # what the judge reads with
        judge: DualEncoder.Config = field(default_factory=DualEncoder.Config)
        upscaler: Upscaler.Config = field(default_factory=Upscaler.Config)
        guidance: float = 1.5
        top_k: int = 24
        temperature: float = 0.8

        def __post_init__(self) -> None:
            parts: dict[str, type[System]] = {
                "painter": LayoutPainter,
                "planner": DalleMini,
                "book": PatchCodes,
                "codec": PatchCodes,
                "judge": DualEncoder,
                "upscaler": Upscaler,
            }
            for name, part in parts.items():
                if isinstance(value := getattr(self, name), Mapping):  # read from JSON
                    object.__setattr__(self, name, config_from(part.Config, value, name))

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.planner = DalleMini(config.planner)
        self.painter = LayoutPainter(config.painter)
        self.book = PatchCodes(config.book)
        self.codec = PatchCodes(config.codec)
        self.judge = DualEncoder(config.judge)
        self.upscaler = Upscaler(config.upscaler)
        self.players = {}

    @property
    def tokenise(self) -> Tokeniser:
        assert self.planner.tokenise is not None, "a planner's config holds its words"
        return self.planner.tokenise

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
        """`count` candidates, best first; the candidate of a seed is the same whatever the count.

        guidance: how far to push towards the words; 1 is not at all
        keep: enlarge only the best `keep` of the candidates, and leave the others out
        large: 1280 x 720 instead of the native 256 x 144
        """
        unknown = self.tokenise.unknown(words)
        text = self.tokenise([words])
        if not bool((text > UNKNOWN).any()):
            nouns, places = self.config.painter.nouns, self.config.painter.places
            raise BadInput(
                f"The storybook knows none of the words in {words!r}. It draws {len(nouns)} nouns, such as "
                f"{', '.join(nouns[:8])}, in places such as {', '.join(places[:5])}."
            )
        seeds = list(range(seed, seed + count))
        with one_thread():
            plans = self.planner.sample(
                text.expand(count, -1),
                seeds,
                guidance=self.config.guidance if guidance is None else guidance,
                top_k=self.config.top_k,
                temperature=self.config.temperature,
            )
        pictures = self.paint(plans)
        likely = self.planner.likelihood(text.expand(count, -1), plans)
        fitting = self.judge.rank(text, self.codec.encode(pictures).flatten(1))
        scores = [(one + other) / 2 for one, other in zip(likely, fitting, strict=True)]
        order = sorted(range(count), key=lambda i: -scores[i])[:keep]
        pictures = pictures[order]
        if large:
            pictures = torch.cat([self.upscaler(picture[None]) for picture in pictures])
        return Drawing(to_uint8(pictures), tuple(scores[i] for i in order), tuple(seeds[i] for i in order), unknown)

    def paint(self, plans: Tensor) -> Tensor:
        """Plans (B, length) -> pictures (B, 3, 144, 256) in [-1, 1], layer over layer."""
        rows, columns = self.config.painter.grid
        size = self.book.factor
        pictures = torch.full((len(plans), 3, rows * size, columns * size), -1.0, device=plans.device)
        y = torch.arange(rows * size, device=plans.device)[:, None]
        for alone, first in self.painter.layered(plans):
            layer = self.book.decode(self.painter.paint(alone))
            laid = y >= (first * size).round()[:, None, None, None]  # -1 is clear
            pictures = over(torch.where(laid, layer, -1.0), pictures)
        return pictures

    @torch.inference_mode()
    def score(self, pictures: np.ndarray, words: str) -> Sequence[float]:
        """How well uint8 pictures (N, H, W, 3) fit the words: cosines, higher is better."""
        return self.judge.rank(self.tokenise([words]), self.codec.encode(self._small(pictures)).flatten(1))

    def _small(self, pictures: np.ndarray) -> Tensor:
        rows, columns = self.config.painter.grid
        size = (rows * self.codec.factor, columns * self.codec.factor)
        return torch.nn.functional.interpolate(from_uint8(pictures), size=size, mode="area")
