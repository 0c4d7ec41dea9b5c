"""AdaIN: any picture in the style of any other, in one pass (Huang and Belongie, ICCV 2017).

In the features of a fixed VGG, style is the mean and the standard deviation of each channel. Give a picture's features
those of another picture (eq. 8), and a decoder, the only part that learns, paints what they show. A style is therefore
no more than these numbers: mixing styles is mixing numbers (eq. 15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.kinds import Unpaired
from limner.data.prepare import Preparation
from limner.errors import BadInput, CannotDo
from limner.nn import init
from limner.nn.vgg import VGG
from limner.rng import Rng
from limner.system import Game, Player, System, adam, to_uint8
from limner.systems.translation.pictures import each_of, mirrored, taken

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
"""Where styles are compared; content and AdaIN live in the last."""

CELL = 8  # pixels a side of one of its features
EPS = 1e-5


class AdaIN(System):
    """Content (B, 3, H, W) in [-1, 1] and style codes (B or 1, 2, 8 width) -> restyled pictures, unclipped."""

    config: Config
    preparation = Preparation(resize=512, flip=False)

    @dataclass(frozen=True)
    class Config:
        width: int = 64  # channels of the encoder's first block; 8 times as many hold the style
        content: float = 1.0  # weight of eq. 12
        style: float = 10.0  # weight of eq. 13
        learning_rate: float = 1e-4
        decay: float = 5e-5  # the rate falls as 1 / (1 + decay * step)

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.encoder = Encoder(width=config.width)
        self.decoder = Decoder(config.width)
        self.players = {
            "decoder": Player((self.decoder,), adam(config.learning_rate), lambda step: 1 / (1 + config.decay * step))
        }

    def forward(self, content: Tensor, style: Tensor, strength: float = 1.0) -> Tensor:
        features = self.features(content).float()  # as statistics are; lerp wants one kind
        return self.paint(torch.lerp(features, restyled(features, style), strength), content)

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 8 width, ceil(H / 8), ceil(W / 8))."""
        found: Tensor = self.encoder((pictures + 1) / 2, LAYERS[-1:])[0]
        return found

    def paint(self, features: Tensor, content: Tensor) -> Tensor:
        """What features show, in the size of the content that they came from and its range."""
        height, width = content.shape[-2:]
        painted: Tensor = self.decoder(features)[..., :height, :width]
        return 2 * painted - 1

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        """Eq. 11: content is `batch.a`, style `batch.b`; the decoder is told what the encoder sees in its pictures."""
        with torch.no_grad():
            wanted = self.encoder((batch.b + 1) / 2, LAYERS)
            target = restyled(self.features(batch.a), statistics(wanted[-1]))
        seen = self.encoder(self.decoder(target), LAYERS)
        apart = [2 * F.mse_loss(statistics(a), statistics(b)) for a, b in zip(seen, wanted, strict=True)]  # two means
        yield (
            "decoder",
            {
                "content": self.config.content * F.mse_loss(seen[-1], target),
                "style": self.config.style * torch.stack(apart).sum(),
            },
        )

    def preview(self, batch: Unpaired, rng: Rng) -> Tensor:
        """Content, restyled, and the style, as large as the content."""
        content, style = batch.a[:6], batch.b[:6]
        painted = self(content, statistics(self.features(style)))
        style = F.interpolate(style, size=content.shape[-2:], mode="bilinear")
        return torch.stack([content, painted, style], 1).flatten(0, 1)

    # Use

    @torch.inference_mode()
    def style_of(self, pictures: np.ndarray) -> Tensor:
        """uint8 pictures (N, h, w, 3) -> style codes (N, 2, 8 width): mean and standard deviation of each channel.

        Codes can be mixed: `0.3 * one + 0.7 * other` is the paper's interpolation (eq. 15).
        """
        return torch.cat([statistics(self.features(each)) for each in each_of(self._taken(pictures))])

    def random_style(self, seed: int) -> Tensor:
        raise CannotDo("AdaIN knows no styles of its own to draw from. Take one from a picture: style_of(pictures).")

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, style: Tensor, mask: np.ndarray | None = None) -> np.ndarray:
        """uint8 (N, H, W, 3) of any size -> the same in a style: codes (N or 1, 2, 8 width) of `style_of`.

        mask: bool (N, H, W), True where the picture is restyled; what it covers gets the style as a picture of its own
        """
        content = self._taken(pictures)
        if style.ndim != 3 or style.shape[1:] != (2, 8 * self.config.width) or len(style) not in (1, len(content)):
            shape = f"(1 or {len(content)}, 2, {8 * self.config.width})"
            raise BadInput(f"AdaIN: style should be codes {shape} of this model's style_of, not {tuple(style.shape)}.")
        if mask is not None and mask.shape != pictures.shape[:3]:
            raise BadInput(f"AdaIN: mask has shape {mask.shape}, the pictures are (N, H, W) = {pictures.shape[:3]}.")
        codes = style.to(content).expand(len(content), -1, -1)
        painted = []
        for number, each in enumerate(each_of(content)):
            where = [None] if mask is None else [mask[number]]
            painted.append(self._painted(each, codes[number : number + 1], where, 1.0))
        return to_uint8(torch.cat(painted))

    @torch.inference_mode()
    def stylise(
        self,
        pictures: np.ndarray,
        styles: Sequence[np.ndarray],
        *,
        weights: Sequence[float] | None = None,
        masks: np.ndarray | None = None,
        strength: float = 1.0,
        keep_colours: bool = False,
    ) -> np.ndarray:
        """uint8 pictures (N, H, W, 3) in the style of others: all of the paper's section 6.4.

        styles: uint8 (h, w, 3), of any sizes
        weights: how much of each style, brought to a sum of 1 (eq. 15); None: alike
        masks: bool (len(styles), H, W): each style in a place of its own, instead of all mixed
        strength: from 0, the picture as the decoder paints it, to 1 (eq. 14)
        keep_colours: styles first take the colours of each picture
        """
        content = self._taken(pictures)
        examples = [self._taken(np.asarray(style)[None]) for style in styles]
        if not examples or (weights is not None and (len(weights) != len(examples) or not sum(weights) > 0)):
            raise BadInput(f"AdaIN: {len(examples)} styles want as many weights, of a sum above 0, not {weights}.")
        if masks is not None and (masks.shape != (len(examples), *pictures.shape[1:3]) or weights is not None):
            raise BadInput(
                f"AdaIN: masks have shape {masks.shape}; give {len(examples)} of the pictures' size, and no weights."
            )
        if not 0 <= strength <= 1:
            raise BadInput(f"AdaIN: strength runs from 0 to 1, {strength} doesn't.")
        mixture = torch.tensor(weights or [1.0] * len(examples), dtype=torch.float32)
        mixture = (mixture / mixture.sum()).to(content.device).view(-1, 1, 1)
        painted, codes = [], None
        for each in each_of(content):
            if codes is None or keep_colours:
                shown = [recoloured(example, each) if keep_colours else example for example in examples]
                codes = torch.cat([statistics(self.features(example)) for example in shown])  # (K, 2, 512)
            if masks is None:
                painted.append(self._painted(each, (mixture * codes).sum(0, keepdim=True), [None], strength))
            else:
                painted.append(self._painted(each, codes, list(masks), strength))
        return to_uint8(torch.cat(painted))

    def _painted(self, content: Tensor, codes: Tensor, masks: Sequence[np.ndarray | None], strength: float) -> Tensor:
        """One content (1, 3, H, W), each code (K, 2, 512) where its mask (H, W) is True, or everywhere."""
        features = target = self.features(content)
        for code, mask in zip(each_of(codes), masks, strict=True):
            if mask is None:
                target = restyled(features, code)
                continue
            covered = torch.from_numpy(np.array(mask, np.float32)).to(features)
            region = (F.avg_pool2d(mirrored(covered, CELL)[None, None], CELL) >= 0.5).to(features)  # (1, 1, h, w)
            target = torch.lerp(target, restyled(features, code, region), region)
        return self.paint(torch.lerp(features, target, strength), content)

    def _taken(self, pictures: np.ndarray) -> Tensor:
        taking = taken(pictures, system="AdaIN").to(next(self.parameters()).device)
        height, width = taking.shape[-2:]
        if min(height, width) <= CELL:  # its last convolution mirrors the border, which takes two cells
            raise BadInput(f"AdaIN takes pictures of more than {CELL} pixels a side, not {width}x{height}.")
        return taking


class Encoder(nn.Module):
    """The "normalised" VGG-19: mirrored borders, pools that keep a last odd row, and a layer that prepares the colours.

    Never trained here. Its weights are random until published ones are loaded, scaled so that features keep their size.
    """

    def __init__(self, last: str = LAYERS[-1], width: int = 64) -> None:
        super().__init__()
        self.colours = nn.Conv2d(3, 3, 1)  # what the published file's VGG expects, from RGB in [0, 1]
        self.vgg = VGG(19, last, "reflect", width)
        for layer in self.vgg.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        init.kaiming(self)
        self.requires_grad_(False)

    def forward(self, pictures: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """RGB (B, 3, H, W) in [0, 1] -> the layers asked for."""
        found: list[Tensor] = self.vgg(self.colours(pictures), layers)
        return found


class Decoder(nn.Sequential):
    """The encoder backwards, without norms: (B, 8 width, h, w) -> RGB (B, 3, 8h, 8w), about [0, 1], unclipped."""

    def __init__(self, width: int = 64) -> None:
        def painting(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, padding=1, padding_mode="reflect"), nn.ReLU()]

        def doubled() -> list[nn.Module]:
            return [nn.Upsample(scale_factor=2)]

        super().__init__(
            *painting(8 * width, 4 * width),
            *doubled(),
            *painting(4 * width, 4 * width),
            *painting(4 * width, 4 * width),
            *painting(4 * width, 4 * width),
            *painting(4 * width, 2 * width),
            *doubled(),
            *painting(2 * width, 2 * width),
            *painting(2 * width, width),
            *doubled(),
            *painting(width, width),
            *painting(width, 3)[:1],
        )


def statistics(features: Tensor, region: Tensor | None = None) -> Tensor:
    """Mean and standard deviation of each channel: (B, C, h, w) -> (B, 2, C), over a region (B or 1, 1, h, w) of ones
    among zeros, or everywhere. As published, the variance is the unbiased one."""
    features = features.float()
    weights = torch.ones_like(features[:, :1]) if region is None else region.expand_as(features[:, :1])
    count = weights.sum((2, 3)).clamp(min=1)
    mean = (features * weights).sum((2, 3)) / count
    spread = ((features - mean[..., None, None]).square() * weights).sum((2, 3)) / (count - 1).clamp(min=1)
    return torch.stack([mean, (spread + EPS).sqrt()], 1)


def restyled(features: Tensor, style: Tensor, region: Tensor | None = None) -> Tensor:
    """Eq. 8: features (B, C, h, w) with the mean and standard deviation of a style (B or 1, 2, C) instead of their own,
    which are taken over a region."""
    mean, std = statistics(features, region)[..., None, None].unbind(1)
    new_mean, new_std = style[..., None, None].unbind(1)
    return new_std * (features - mean) / std + new_mean


def recoloured(style: Tensor, content: Tensor) -> Tensor:
    """A style (1, 3, h, w) in the colours of the content (1, 3, H, W): correlation alignment (Sun, Feng and Saenko,
    2016), which moves the one picture's colours to the other's mean and covariance. Both in [-1, 1], unclipped.

    As published, the covariances are sums over the pixels, not means, and have the unit matrix added.
    """

    def standardised(picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = (picture[0].flatten(1).double() + 1) / 2  # (3, h * w) in [0, 1]
        mean, std = pixels.mean(1, keepdim=True), pixels.std(1, keepdim=True).clamp(min=1e-12)  # a flat one has none
        return (pixels - mean) / std, mean, std

    def root(pixels: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(pixels @ pixels.T + torch.eye(3).to(pixels))
        half: Tensor = vectors @ values.sqrt().diag() @ vectors.T
        return half

    theirs, _, _ = standardised(style)
    ours, mean, std = standardised(content)
    moved: Tensor = root(ours) @ torch.linalg.solve(root(theirs), theirs) * std + mean
    return (2 * moved - 1).view_as(style).to(style)
