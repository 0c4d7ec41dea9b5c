"""The networks that the metrics look through: the sticker reader, or published ones from files that the user has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.errors import BadInput
from limner.hub import load
from limner.metrics.inception import Inception
from limner.metrics.perceptual import LPIPS, Judge, alexnet_features, layers_apart
from limner.nn.vgg import VGG, imagenet
from limner.published import feature_networks as published
from limner.published.feature_networks import Trunk
from limner.published.keys import by_rules, fill, renamed, under
from limner.published.read import tensors
from limner.system import from_uint8
from limner.systems.reader import StickerReader
from limner.train import best_device

Resize = Literal["tensorflow", "pytorch", "clean"]
BATCH = 32


@dataclass(frozen=True)
class Seen:
    """What a network makes of pictures: features (N, D), float32, and p(class | picture) (N, classes), float64."""

    features: np.ndarray
    chances: np.ndarray


class FeatureNetwork(Protocol):
    """A network that sums pictures up, for Fréchet distances and their kin."""

    name: str  # what it is and how pictures get to it, for the protocol

    def see(self, pictures: np.ndarray) -> Seen:
        """uint8 pictures (N, H, W, 3)."""


@dataclass(frozen=True)
class Networks:
    """One network for features, one for how alike two pictures look."""

    features: FeatureNetwork
    judge: Judge


def open_networks(files: Sequence[Path] = (), *, resize: Resize = "tensorflow") -> Networks:
    """The networks in these files, and where they give none, the sticker reader, which ships with limner.

    files: the FID's Inception (pt_inception-2015-12-05-6726825d.pth), torchvision's AlexNet or VGG-16, LPIPS' heads
    for one of these (alex.pth or vgg.pth, version 0.1), or a whole LPIPS module. Each is known by what is in it,
    whatever its name; what is none of them is a `BadCheckpoint`.
    resize: how the Inception gets its pictures, see `InceptionFeatures`
    """
    parts: dict[str, tuple[str, Mapping[str, Tensor], Trunk | None]] = {}
    for path in files:
        found = tensors(path)
        kind, its_trunk = published.kind_of(found, str(path))
        if kind in parts:
            raise BadInput(f"{path} and {parts[kind][0]} are the same part of a network. Leave one of them out.")
        parts[kind] = str(path), found, its_trunk
    features: FeatureNetwork | None = None
    judge: Judge | None = None
    for part, (where, weights, trunk) in sorted(parts.items(), key=lambda one: ORDER.index(one[0])):
        if part == "inception":
            features = InceptionFeatures(weights, where, resize)
        elif part == "lpips" and trunk:
            judge = whole_lpips(trunk, weights, where)
        elif part == "trunk" and trunk:
            judge = judge or lpips_of_trunk(trunk, weights, where)
            if features is None and any(name.startswith("classifier.") for name in weights):
                features = ClassifierFeatures(trunk, weights, where)
        elif not isinstance(judge, LPIPS) or judge.trunk != trunk or "lpips" in parts:
            raise BadInput(f"{where} has LPIPS' heads for {trunk}: give torchvision's weights of {trunk} with it.")
        else:
            heads = renamed(weights, by_rules(weights, published.LPIPS), where)
            fill(judge.heads, under("heads.", heads), where)
    if features is None or judge is None:
        reader = StickerNetwork()
        features, judge = features or reader, judge or reader
    return Networks(features, judge)


ORDER = ("inception", "lpips", "trunk", "heads")  # of opening: what comes first is preferred, heads need their trunk


class StickerNetwork:
    """The sticker reader: small, offline, and at home in the Sticker World only. Other pictures, other yardsticks."""

    name = "the sticker reader's features"
    look = "the sticker reader's layers, uncalibrated"

    def __init__(self) -> None:
        reader = load("sticker-reader")
        assert isinstance(reader, StickerReader)
        self.reader, self.device = reader.to(best_device()), best_device()

    @torch.inference_mode()
    def see(self, pictures: np.ndarray) -> Seen:
        """As `FeatureNetwork.see`. The classes are the combinations of place, time, season and style."""
        features, chances = [], []
        for part in _batches(pictures):
            _, pooled = self.reader(self._fitted(part))
            joint = torch.ones(len(pooled), 1, device=pooled.device)
            for head in self.reader.kinds.values():
                joint = (joint[:, :, None] * head(pooled).softmax(1)[:, None]).flatten(1)
            features.append(pooled)
            chances.append(joint)
        return _seen(features, chances)

    @torch.inference_mode()
    def distance(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        """As `Judge.distance`: LPIPS' equation on the reader's layers, all channels alike."""
        pairs = zip(_batches(made), _batches(real), strict=True)
        return torch.cat([layers_apart(self._maps(a), self._maps(b)) for a, b in pairs]).double().cpu().numpy()

    def _maps(self, pictures: np.ndarray) -> list[Tensor]:
        x, found = self._fitted(pictures), []
        for number, layer in enumerate([*self.reader.stem, *self.reader.context]):
            x = layer(x)
            if number % 2:
                found.append(x)
        return found

    def _fitted(self, pictures: np.ndarray) -> Tensor:
        """Sides become multiples of 16, the nearest."""
        x = from_uint8(pictures).to(self.device)
        size = [max(1, round(side / 16)) * 16 for side in x.shape[-2:]]
        return (
            x
            if list(x.shape[-2:]) == size
            else F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
        )


class InceptionFeatures:
    """The FID's Inception: features from its last pooling, chances from its logits without bias.

    Numbers depend on how pictures come to 299 pixels a side, more than on many models (Parmar et al., 2022):
    tensorflow: bilinear as in TensorFlow 1, without antialiasing: it is in the graph, the FID was published with it
    pytorch: bilinear as PyTorch does it, without antialiasing: pytorch-fid
    clean: bicubic with antialiasing: clean-fid, the sound one
    """

    def __init__(self, weights: Mapping[str, Tensor], where: str, resize: Resize = "tensorflow") -> None:
        self.network = Inception()
        fill_inception(self.network, weights, where)
        self.network.eval().requires_grad_(False).to(best_device())
        self.resize: Resize = resize
        self.name = f"Inception 2015-12-05, {resize} resizing"

    @torch.inference_mode()
    def see(self, pictures: np.ndarray) -> Seen:
        features, chances = [], []
        for part in _batches(pictures):
            found = self.network(to_inception(part, self.resize).to(best_device()))
            features.append(found)
            chances.append(self.network.logits(found).double().softmax(1))
        return _seen(features, chances)


def fill_inception(network: Inception, weights: Mapping[str, Tensor], where: str) -> None:
    """The published weights into ours. Batch norm's counters, which nothing reads, may be there or not."""
    counters = {name: t for name, t in network.state_dict().items() if published.UNUSED.match(name)}
    fill(network, {**counters, **weights}, where)


def to_inception(pictures: np.ndarray, resize: Resize) -> Tensor:
    """uint8 (N, H, W, 3) -> what the Inception takes: float (N, 3, 299, 299), about [-1, 1]."""
    x = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
    if resize == "pytorch":
        return 2 * F.interpolate(x / 255, size=(299, 299), mode="bilinear") - 1
    if resize == "clean":
        x = F.interpolate(x, size=(299, 299), mode="bicubic", antialias=True).clamp(0, 255)
    else:
        x = _as_tensorflow(_as_tensorflow(x, 3), 2)
    return (x - 128) / 128


def _as_tensorflow(x: Tensor, side: int) -> Tensor:
    """TensorFlow 1's bilinear resizing along a side: pixels are points, the first ones of both pictures the same."""
    at = torch.arange(299.0) * (x.shape[side] / 299)
    low = at.long()
    high = (low + 1).clamp(max=x.shape[side] - 1)
    share = (at - low).view(-1, *[1] * (3 - side))
    before, after = x.index_select(side, low), x.index_select(side, high)
    return before + (after - before) * share


class ClassifierFeatures:
    """torchvision's AlexNet or VGG-16: the 4096 numbers before the classes, as in improved precision and recall
    (Kynkäänniemi et al., 2019, with VGG-16), of pictures resized to 224 pixels a side."""

    def __init__(self, trunk: Trunk, weights: Mapping[str, Tensor], where: str) -> None:
        self.network = Classifier(trunk)
        fill(self.network, weights, where)
        self.network.eval().requires_grad_(False).to(best_device())
        self.name = f"ImageNet's {trunk}, 4096 features, antialiased resizing to 224x224"

    @torch.inference_mode()
    def see(self, pictures: np.ndarray) -> Seen:
        features, chances = [], []
        for part in _batches(pictures):
            x = F.interpolate(from_uint8(part), size=(224, 224), mode="bilinear", antialias=True)
            found = self.network(imagenet(x.to(best_device())))
            features.append(found)
            chances.append(self.network.logits(found).double().softmax(1))
        return _seen(features, chances)


class Classifier(nn.Module):
    """AlexNet or VGG-16 with its classifier, in torchvision's numbering: normalised pictures -> features (B, 4096)."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        vgg = trunk == "vgg16"
        self.features = VGG(16, "pool5").features if vgg else alexnet_features()
        self.side = 7 if vgg else 6
        wide = nn.Linear((512 if vgg else 256) * self.side**2, 4096)
        narrow, classes = nn.Linear(4096, 4096), nn.Linear(4096, 1000)
        layers = [wide, nn.ReLU(), nn.Dropout(), narrow, nn.ReLU(), nn.Dropout(), classes]
        if not vgg:
            layers = [nn.Dropout(), wide, nn.ReLU(), nn.Dropout(), narrow, nn.ReLU(), classes]
        self.classifier = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(self.features(pictures), self.side)
        found: Tensor = self.classifier[:-1](pooled.flatten(1))
        return found

    def logits(self, features: Tensor) -> Tensor:
        found: Tensor = self.classifier[-1](features)
        return found


def lpips_of_trunk(trunk: Trunk, weights: Mapping[str, Tensor], where: str) -> LPIPS:
    """An uncalibrated LPIPS: torchvision's weights as far as its last compared layer."""
    network = LPIPS(trunk)
    wanted = network.features.state_dict()
    fill(network.features, {n: t for n, t in under("features.", weights).items() if n in wanted}, where)
    return network.eval().requires_grad_(False).to(best_device())


def whole_lpips(trunk: Trunk, weights: Mapping[str, Tensor], where: str) -> LPIPS:
    """The published module's own weights, trunk, heads and colours."""
    network = LPIPS(trunk)
    once = {name: value for name, value in weights.items() if not published.TWICE.match(name)}
    fill(network, renamed(once, by_rules(once, published.LPIPS), where), where)
    return network.eval().requires_grad_(False).to(best_device())


def _batches(pictures: np.ndarray) -> list[np.ndarray]:
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise BadInput(f"Features are of uint8 pictures (N, H, W, 3), not {pictures.dtype} {pictures.shape}.")
    return [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]


def _seen(features: Sequence[Tensor], chances: Sequence[Tensor]) -> Seen:
    return Seen(torch.cat(list(features)).float().cpu().numpy(), torch.cat(list(chances)).double().cpu().numpy())
