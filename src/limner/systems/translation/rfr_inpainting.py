"""RFR: holes in pictures filled from their rims inwards, by recurrent feature reasoning (Li et al., CVPR 2020).

Six times, one and the same module guesses the features of a hole's rim from what lies around it; each time the hole is
smaller. Attention remembers its scores from one time to the next. The guesses of all times are merged and painted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from limner.data.kinds import Masked
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.nn import vgg
from limner.rng import Rng
from limner.system import Game, Player, System, adam, to_uint8
from limner.systems.translation.pictures import mirrored, taken


class RFRInpainting(System):
    """Pictures (B, 3, H, W) in [-1, 1] and holes (B, 1, H, W); H and W are multiples of 16."""

    config: Config
    preparation = Preparation(256, "shorter", 256)

    @dataclass(frozen=True)
    class Config:
        width: int = 64  # channels of the features that are filled, at half size
        kernel: int = 7  # of the convolutions that close holes; published for smaller holes: 5
        iterations: int = 6
        valid: float = 1.0  # the weights of eq. 8
        hole: float = 6.0
        smooth: float = 0.1  # of the total variation
        perceptual: float = 0.0  # published: 0.05, with VGG-16's weights
        style: float = 0.0  # published: 120, with VGG-16's weights
        learning_rate: float = 2e-4
        finetune: int = 400_000  # steps before the fine-tuning, in which batch norms keep their statistics
        finetune_rate: float = 5e-5

        def __post_init__(self) -> None:
            if self.kernel % 2 == 0:
                raise BadInput(f"kernel={self.kernel}: it must be odd.")
            if self.width < 8:
                raise BadInput(f"width={self.width}: it must be 8 or more, for the bottleneck has an eighth of it.")

    def __init__(self, config: Config | None = None) -> None:
        config = config or self.Config()
        super().__init__(config)
        self.network = RFRNet(config.width, config.kernel, config.iterations)
        if config.perceptual or config.style:
            self.vgg = vgg.waiting(16, "pool3")
        slower = config.finetune_rate / config.learning_rate
        self.players = {
            "network": Player(
                (self.network,), adam(config.learning_rate), lambda step: 1.0 if step < config.finetune else slower
            )
        }

    def forward(self, pictures: Tensor, valid: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], and where they are valid, (B, 1, H, W), 0 or 1 -> pictures with guesses
        everywhere, not clipped."""
        guessed: Tensor = self.network(unit(pictures), valid)
        return 2 * guessed - 1

    def play(self, batch: Masked, rng: Rng) -> Game:
        """Eq. 8. Means are over the whole picture, not over the hole."""
        config, truth, valid = self.config, unit(batch.pictures), (~batch.masks).float()
        check(truth)
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                module.train(self.training and rng.step < config.finetune)
        guessed = self.network(truth, valid)
        filled = torch.where(batch.masks, guessed, truth)
        losses = {
            "valid": config.valid * ((truth - guessed) * valid).abs().mean(),
            "hole": config.hole * ((truth - guessed) * (1 - valid)).abs().mean(),
            "smooth": config.smooth * total_variation(filled * (1 - valid)),
        }
        if config.perceptual or config.style:
            vgg.require_weights(self.vgg, "RFR")
            layers = "pool1", "pool2", "pool3"
            with torch.no_grad():
                wanted = self.vgg(truth, layers)
            found = [self.vgg(pictures, layers) for pictures in (guessed, filled)]
            pairs = [(one, other) for features in found for one, other in zip(features, wanted, strict=True)]
            losses["perceptual"] = config.perceptual * torch.stack([F.l1_loss(*pair) for pair in pairs]).sum()
            losses["style"] = config.style * torch.stack([F.l1_loss(gram(a), gram(b)) for a, b in pairs]).sum()
        yield "network", losses

    def preview(self, batch: Masked, rng: Rng) -> Tensor:
        """Pictures with holes, the same filled, and the truth."""
        truth, holes = batch.pictures[:6], batch.masks[:6]
        filled = torch.where(holes, self(truth, (~holes).float()), truth)
        return torch.stack([truth.masked_fill(holes, 0), filled, truth], 1).flatten(0, 1)

    @torch.inference_mode()
    def translate(self, pictures: np.ndarray, *, mask: np.ndarray) -> np.ndarray:
        """Fill in where `mask`, bool (N, H, W), is True. Everything else stays as it is."""
        if mask.shape != pictures.shape[:3] or mask.dtype != np.bool_:
            raise BadInput(
                f"RFR wants a mask of bool {pictures.shape[:3]} for these pictures, True where something is to be "
                f"filled in, not {mask.dtype} {mask.shape}."
            )
        device = next(self.parameters()).device
        given = mirrored(taken(pictures, system="RFR"), 16).to(device)
        check(given)
        valid = mirrored(torch.from_numpy(~mask)[:, None], 16).float().to(device)
        made = torch.cat([self(one, there) for one, there in zip(given.split(1), valid.split(1), strict=True)])
        height, width = mask.shape[1:]
        return np.where(mask[..., None], to_uint8(made[..., :height, :width]), pictures)


def unit(pictures: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], which the published network works in, and VGG sees without normalisation."""
    return (pictures + 1) / 2


def check(pictures: Tensor) -> None:
    height, width = pictures.shape[-2:]
    if height % 16 or width % 16 or min(height, width) < 32:
        raise BadInput(f"RFR wants sides that are multiples of 16, 32 or more, not {width}x{height}: resize or crop.")


def total_variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, across and down."""
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, H, W) -> how the channels go together, (B, C, C), divided by C * H * W."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / features[0].numel()


# The networks. Convolutions have no biases but for the attention's.


class RFRNet(nn.Module):
    """Pictures (B, 3, H, W) in [0, 1] and where they are valid (B, 1, H, W) -> pictures, unbounded. What lies in a hole
    makes no difference."""

    def __init__(self, width: int, kernel: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.conv1, self.norm1 = PartialConv(3, width, 7, 2), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = PartialConv(width, width, kernel), nn.BatchNorm2d(width)
        self.close1, self.close2 = PartialConv(width, width, kernel), PartialConv(width, width, kernel)
        self.close_norm = nn.BatchNorm2d(width)
        self.reason = Reasoning(width)
        self.up, self.up_norm = nn.ConvTranspose2d(width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width)
        self.tail = PartialConv(3 + width, width // 2, 3)
        self.bottleneck = Bottleneck(width // 2, width // 8)
        self.out = nn.Conv2d(width, 3, 3, padding=1, bias=False)

    def forward(self, pictures: Tensor, valid: Tensor) -> Tensor:
        x, mask = self.conv1(pictures, valid)  # half size
        x, mask = self.conv2(self.norm1(x).relu(), mask)
        x = self.norm2(x).relu()
        features, masks, memory = [x], [mask], None
        for _ in range(self.iterations):
            x, mask = self.close2(*self.close1(x, mask))  # the hole shrinks by a window on each side, twice
            x, memory = self.reason(F.leaky_relu(self.close_norm(x)), mask, memory)
            x = x * mask
            features.append(x)
            masks.append(mask)
        merged = torch.stack([x * m for x, m in zip(features, masks, strict=True)]).mean(0)
        merged = merged / (torch.stack(masks).mean(0) + 1e-7)  # eq. 7: over the times when a place was valid

        x = F.leaky_relu(self.up_norm(self.up(merged)))
        filled = F.interpolate(mask, scale_factor=2.0, mode="nearest")
        both = [valid.expand(-1, 3, -1, -1), filled.expand(-1, x.shape[1], -1, -1)]
        x, _ = self.tail(torch.cat([pictures, x], 1), torch.cat(both, 1))
        x = F.leaky_relu(x)
        out: Tensor = self.out(torch.cat([x, self.bottleneck(x)], 1))
        return out


class PartialConv(nn.Module):
    """A convolution of what is valid, scaled up by how much of its window is not (Liu et al., 2018, eq. 1 and 2).

    The mask is (B, channels, H, W), or (B, 1, H, W) for all channels. A result is valid where its window saw anything.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        valid = mask.expand_as(x).sum(1, keepdim=True)
        seen = F.avg_pool2d(valid, self.kernel, self.stride, self.kernel // 2, divisor_override=1)  # a sum
        new = seen.clamp(0, 1)
        scale = x.shape[1] * self.kernel**2 / (seen + 1e-8) * new
        return self.conv(x * mask) * scale, new


class Reasoning(nn.Module):
    """Features (B, width, H, W) with a hole, where they are valid, and the attention's memory -> features without a
    hole, and the memory for the next time. H and W are multiples of 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * factor for factor in (1, 2, 4, 8, 8, 8, 8)]
        self.encoder = nn.ModuleList(
            encoding(before, after, dilation=1 if level < 3 else 2)
            for level, (before, after) in enumerate(pairwise(widths))
        )
        deep = widths[-1]
        self.decoder = nn.ModuleList(
            [
                decoding(nn.Conv2d(2 * deep, deep, 3, 1, 2, dilation=2, bias=False)),
                decoding(nn.Conv2d(2 * deep, deep, 3, 1, 2, dilation=2, bias=False)),
                decoding(nn.ConvTranspose2d(2 * deep, deep, 4, 2, 1, bias=False)),
                decoding(nn.ConvTranspose2d(deep + widths[2], widths[2], 4, 2, 1, bias=False)),
                decoding(nn.ConvTranspose2d(widths[2] + widths[1], width, 4, 2, 1, bias=False)),
            ]
        )
        self.attention = Attention(deep)

    def forward(self, x: Tensor, mask: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        passed = []
        for layer in self.encoder:
            x = layer(x)
            passed.append(x)
        *skips, x = passed
        for level, layer in enumerate(self.decoder):
            x = layer(torch.cat([x, skips.pop()], 1))
            if level == 2:
                x, memory = self.attention(x, mask, memory)
        assert memory is not None
        return x, memory


def encoding(before: int, after: int, dilation: int) -> nn.Sequential:
    stride = 2 if dilation == 1 else 1
    conv = nn.Conv2d(before, after, 3, stride, dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU())


def decoding(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.LeakyReLU(0.2))


Memory = tuple[Tensor, Tensor]
"""An attention's scores (B, keys, queries), and where the features were valid, (B, 1, queries)."""


class Attention(nn.Module):
    """Knowledge-consistent attention (section 3.2): every cell of (B, C, h, w) looks at all cells, and holds on to what
    it looked at the time before, where that was valid.

    As published, what is averaged are the keys, which are of length 1, and not the features themselves.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ratio = nn.Parameter(torch.ones(1))  # lambda of eq. 4: of the new scores against the old
        self.combine = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor, mask: Tensor, memory: Memory | None) -> tuple[Tensor, Memory]:
        height, width = x.shape[-2:]
        valid = F.interpolate(mask, size=(height, width), mode="nearest").flatten(2)  # (B, 1, queries)
        cells = x.flatten(2)  # (B, C, cells)
        keys = cells + 1e-7
        keys = keys / keys.square().sum(1, keepdim=True).sqrt()
        scores = keys.transpose(1, 2) @ cells  # (B, keys, queries): eq. 1, without the query's length
        around = 9 * F.avg_pool2d(scores.unflatten(2, (height, width)), 3, 1, 1)  # eq. 2, as a sum
        scores = around.flatten(2).softmax(1)
        if memory is not None:  # eq. 4 and 5
            before, was_valid = memory
            ratio = self.ratio.abs() + 1e-7
            scores = (before * was_valid + scores * ratio) / (was_valid + ratio)
        found = (keys @ scores).unflatten(2, (height, width))
        return self.combine(torch.cat([found, x], 1)), (scores, valid)


class Bottleneck(nn.Module):
    """A residual block of ResNet-50: narrow in the middle."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, narrow, 1, bias=False), nn.BatchNorm2d(narrow)
        self.conv2, self.norm2 = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow)
        self.conv3, self.norm3 = nn.Conv2d(narrow, width, 1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y)).relu()
        out: Tensor = (x + self.norm3(self.conv3(y))).relu()
        return out
