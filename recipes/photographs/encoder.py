"""Trains AdaIN's encoder on the photographs themselves, from nothing: encoder.py RUN MODEL [--steps N].

The published encoder is a VGG that learned ImageNet, and limner doesn't ship it. Here a VGG-19 of a quarter of its
width learns, with a decoder, to keep what a crop looks like: an autoencoder. Like the published VGG it is then scaled
so that its layers answer with 1 on average. MODEL becomes an AdaIN that repaints, and knows nothing of styles yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from photographs import LARGE, PHOTOGRAPHS, SEEN
from torch import Tensor, nn

from limner import hub
from limner.data.kinds import Pictures
from limner.nn import init
from limner.rng import Rng, numpy_rng
from limner.runs import Run, read_checkpoint
from limner.system import Game, Player, System, adamw, from_uint8, waning
from limner.systems.translation import adain
from limner.train import Options, Trainer, load_weights

CROP, WIDTH = 64, 16  # pixels a side of a crop, channels of the first block


class Crops:
    """Square parts of the photographs, mirrored or not."""

    def __init__(self) -> None:
        self.pictures = [from_uint8(PHOTOGRAPHS[name].at(LARGE)) for name in SEEN]

    def take(self, numbers: Sequence[int]) -> Pictures:
        return Pictures(torch.stack([self.crop(numpy_rng(0, "crop", number)) for number in numbers]))

    def crop(self, chance: np.random.Generator) -> Tensor:
        picture = self.pictures[chance.integers(len(self.pictures))]
        y, x = (int(chance.integers(side - CROP)) for side in picture.shape[1:])
        part = picture[:, y : y + CROP, x : x + CROP]
        return part.flip(2) if chance.random() < 0.5 else part


class Repainter(System):
    @dataclass(frozen=True)
    class Config:
        steps: int

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = adain.Encoder(width=WIDTH).requires_grad_(True)
        self.decoder = adain.Decoder(WIDTH)
        init.kaiming(self.decoder)
        nn.init.constant_(self.decoder[-1].bias, 0.5)  # grey
        self.players = {"repainter": Player((self,), adamw(2e-3), waning(config.steps), clip=1.0)}

    def play(self, batch: Pictures, rng: Rng) -> Game:
        crops = (batch.pictures + 1) / 2
        (seen,) = self.encoder(crops, adain.LAYERS[-1:])
        yield "repainter", {"error": F.l1_loss(self.decoder(seen).float(), crops)}


@torch.no_grad()
def normalise(encoder: adain.Encoder, decoder: adain.Decoder, pictures: Tensor) -> None:
    """Every layer's answers to (B, 3, H, W) in [-1, 1] become 1 on average; what is painted stays as it is."""
    x, shrunk = encoder.colours((pictures + 1) / 2), torch.ones(())
    for layer in encoder.vgg.features:
        if isinstance(layer, nn.Conv2d):
            layer.bias /= shrunk  # as its input
            size = layer(x).relu().mean()
            layer.weight /= size
            layer.bias /= size
            shrunk *= size
        x = layer(x)
    decoder[0].weight *= shrunk


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("run", type=Path)
    asked.add_argument("model", type=Path)
    asked.add_argument("--steps", type=int, default=5000)
    given = asked.parse_args()
    if given.model.exists():
        return
    torch.manual_seed(0)
    crops, model = Crops(), Repainter(Repainter.Config(given.steps))
    options = Options(steps=given.steps, batch=4, sample=0, log=50)
    where = Trainer("repainter", model, crops, Run(given.run), options).fit()
    load_weights(model, read_checkpoint(where).weights, averaged=True, where=str(where))
    begun = adain.AdaIN(adain.AdaIN.Config(width=WIDTH)).eval()
    begun.encoder.load_state_dict(model.encoder.state_dict())
    begun.decoder.load_state_dict(model.decoder.state_dict())
    normalise(begun.encoder, begun.decoder, crops.take(range(64)).pictures)
    hub.save(
        begun, "adain", given.model, card="AdaIN with an encoder of its own, which repaints and knows no styles yet."
    )


main()
