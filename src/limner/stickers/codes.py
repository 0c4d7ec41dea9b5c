"""Storybook scenes as codes and words: what models that write pictures code by code are trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from limner.data.kinds import Batch, Latents, Planned
from limner.rng import numpy_rng
from limner.stickers.captions import words
from limner.stickers.source import READABLE, Collages, Crowds, Lineups, Scenes, anywhere, coarse_side
from limner.stickers.vocabulary import storybook_nouns
from limner.stickers.world import SceneTruth, Thing, is_held_out, render, render_layer, zones
from limner.system import System
from limner.systems.diffusion.autoencoder import KLAutoencoder
from limner.systems.diffusion.latent import LatentDiffusion, TextTower
from limner.systems.diffusion.tokens import vocabulary
from limner.systems.text.dalle_mini import DalleMini, Tokens
from limner.systems.text.layout_painter import LayoutPainter
from limner.systems.text.patch_codes import PatchCodes
from limner.systems.text.vqgan import VQGAN
from limner.systems.text.words import WordTokeniser

TEXT_LENGTH = 32
Codec = VQGAN | PatchCodes


class Coded:
    """Endless storybook scenes as tokens, each a function of its number."""

    def __init__(self, codec: Codec, scenes: Crowds | Lineups) -> None:
        self.codec = codec
        self.scenes = scenes
        self.tokenise = WordTokeniser(words(), TEXT_LENGTH)
        self.grid = (144 // codec.factor, 256 // codec.factor)

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options."""
        codebook = self.codec.config.codebook
        text = {"text_vocabulary": len(self.tokenise), "text_length": TEXT_LENGTH, "words": self.tokenise.words}
        return text | {
            "grid": self.grid, "codebook": codebook, "image_vocabulary": codebook, "vqgan": self.codec.config,
        }  # fmt: skip

    def lend(self, system: System) -> None:
        """Give the system the codec that it draws with."""
        if isinstance(system, DalleMini) and system.vqgan is not None:
            system.vqgan.load_state_dict(self.codec.state_dict())

    def take(self, numbers: Sequence[int]) -> Tokens:
        batch = self.scenes.take(numbers)
        return Tokens(self.tokenise(batch.captions), self.codec.encode(batch.pictures).flatten(1))


class Encoded:
    """`count` captioned scenes as the latents of an autoencoder, in half precision, over and over.

    Each is drawn and encoded once, when it is first asked for: the same scene meets the words in several wordings and
    the noise in many strengths, for the price of one rendering.
    """

    def __init__(self, autoencoder: KLAutoencoder, seed: int = 0, count: int = 8192) -> None:
        self.autoencoder, self.count = autoencoder, count
        self.scenes = Crowds(seed)
        self.words = tuple(word for word in words() if word.isalpha())
        self.kept: dict[int, tuple[torch.Tensor, str]] = {}

    def scale(self) -> float:
        """The factor that brings the latents to unit variance."""
        return self.autoencoder.scale(self.scenes.take(range(16)).pictures)

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options."""
        shape = replace(self.autoencoder.config.autoencoder, scale=self.scale())
        text = TextTower(vocabulary=len(vocabulary(self.words)[0]), tokens=TEXT_LENGTH)
        return {"autoencoder": shape, "text": text, "words": self.words, "joint_text": True, "size": (144, 256)}

    def lend(self, system: System) -> None:
        """Give the system the autoencoder whose latents it learns."""
        if isinstance(system, LatentDiffusion):
            system.autoencoder.load_state_dict(self.autoencoder.network.state_dict())

    @torch.no_grad()
    def take(self, numbers: Sequence[int]) -> Latents:
        wanted = [number % self.count for number in numbers]
        if new := sorted(set(wanted) - self.kept.keys()):
            batch = self.scenes.take(new)
            for number, picture, told in zip(new, batch.pictures, batch.captions, strict=True):
                with torch.autocast("cpu", torch.bfloat16):
                    posterior = self.autoencoder.network.encode(picture[None], return_dict=False)[0]
                self.kept[number] = torch.cat([posterior.mean, posterior.std]).half(), told
        both = torch.stack([self.kept[number][0] for number in wanted]).float()
        return Latents(both[:, 0], both[:, 1], tuple(self.kept[number][1] for number in wanted))


def painter_config(codebook: int, **changes: Any) -> LayoutPainter.Config:
    """A layout painter for the storybook's places, times and nouns."""
    nouns = storybook_nouns()
    return LayoutPainter.Config(
        places=READABLE["place"], times=READABLE["time"], nouns=tuple(what.name for what in nouns),
        sides=tuple(coarse_side(what) // 2 for what in nouns), holds=tuple(what.holds for what in nouns),
        codebook=codebook, **changes,
    )  # fmt: skip


class Plans:
    """Endless storybook scenes as plans: `written`, with their captions, for the transformer that writes plans, or one
    layer of each, with its codes, for the layout painter."""

    def __init__(self, book: PatchCodes, seed: int = 0, *, written: bool = False) -> None:
        self.book, self.seed, self.written = book, seed, written
        self.scenes = Crowds(seed)
        self.tokenise = WordTokeniser(words(), TEXT_LENGTH)
        self.painter = LayoutPainter(painter_config(book.config.codebook))
        self.gives: type[Batch] = Tokens if written else Planned

    def decides(self, options: Collection[str]) -> dict[str, Any]:
        """What the data say about a system's options."""
        plan = self.painter.config
        if not self.written:
            return asdict(plan)
        text = {"text_vocabulary": len(self.tokenise), "text_length": TEXT_LENGTH, "words": self.tokenise.words}
        return text | {"grid": (1, plan.length), "image_vocabulary": plan.vocabulary, "vqgan": None}

    def plan(self, truth: SceneTruth) -> list[int]:
        things = [(thing.noun, int(thing.left) // 2, int(thing.bottom) // 2) for thing in truth.things]
        return self.painter.tokens(truth.place, truth.time, things)

    def take(self, numbers: Sequence[int]) -> Planned | Tokens:
        told = [self.scenes.told(number) for number in numbers]
        if self.written:
            whole = torch.tensor([self.plan(truth) for truth, _ in told])
            return Tokens(self.tokenise([words for _, words in told]), whole)
        plans, layers = [], []
        for number, (truth, _) in zip(numbers, told, strict=True):
            draw = numpy_rng(self.seed, "layer", number)
            k = int(draw.integers(-1, len(truth.things)))
            if k >= 0:
                thing = stranger(draw, truth) if number % 2 else truth.things[k]
                truth, k = replace(truth, things=(thing,), arranged=()), 0
            else:
                truth = empty(truth)
            plans.append(self.plan(truth))
            layers.append(layer(truth, k))
        return Planned(torch.tensor(plans), self.book.encode(as_layers(layers)).flatten(1))


def stranger(draw: np.random.Generator, truth: SceneTruth) -> Thing:
    """Any thing anywhere in a scene's place, whether it lives there or not: stories send owls to sea."""
    while True:
        what = storybook_nouns()[int(draw.integers(len(storybook_nouns())))]
        if not is_held_out({what.name}, truth.place, truth.time):
            break
    side = coarse_side(what)
    return Thing(what.name, None, "normal", "ground", *anywhere(draw, side), side)


def layer(truth: SceneTruth, k: int) -> np.ndarray:
    """A scene's thing `k` as it stands where it lives in this place, or else on the ground, whatever it is on or in
    here; or for -1 the place: (144, 256, 4) uint8."""
    if k >= 0:
        thing = truth.things[k]
        home = zones(thing.noun, truth.place)
        zone = thing.zone if thing.zone in home else [*home, "ground"][0]
        return render_layer(replace(truth, things=(replace(thing, zone=zone),), arranged=()), 0, 256, 144)
    place = render(empty(truth), 256, 144)
    return np.concatenate([place, np.full_like(place[..., :1], 255)], -1)


def as_layers(found: Sequence[np.ndarray]) -> torch.Tensor:
    """uint8 (H, W, 4) each -> (N, 4, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_book(
    config: PatchCodes.Config, scenes: int, *, seed: int = 0, rounds: int = 8,
    told: Callable[[int, float], None] = lambda done, error: None,
) -> PatchCodes:  # fmt: skip
    """A book of patches fitted to storybook scenes and collages of the training side, or to their layers."""
    proper, crowded = Scenes(seed), Collages(seed)
    found: dict[bytes, int] = {}
    size, channels = config.patch, config.channels
    for number in range(scenes):
        truth = crowded.truth(2 * number) if number % 3 == 0 else proper.truth(number)
        if channels == 4:
            pictures = [layer(truth, k) for k in range(-1, len(truth.things))]
        else:
            pictures = [render(truth, 256, 144)]
        cells = np.stack(pictures).reshape(-1, 144 // size, size, 256 // size, size, channels)
        for cell in cells.transpose(0, 1, 3, 5, 2, 4).reshape(-1, channels * size * size):  # as pixel_unshuffle
            key = cell.tobytes()
            found[key] = found.get(key, 0) + 1
    patches = np.frombuffer(b"".join(found), np.uint8).reshape(len(found), -1)
    book = PatchCodes(config)
    counts = torch.tensor(list(found.values()), dtype=torch.float32)
    book.fit(torch.from_numpy(patches.astype(np.float32)) / 127.5 - 1, counts, rounds=rounds, seed=seed, told=told)
    return book


def empty(truth: SceneTruth) -> SceneTruth:
    """The same place and time with nothing in it."""
    return replace(truth, things=(), arranged=())
