"""Parity of the networks that metrics look through: the FID's Inception, torchvision's classifiers, and LPIPS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from limner.metrics.features import Classifier, fill_inception, to_inception, whole_lpips
from limner.metrics.inception import Inception
from limner.metrics.perceptual import layers_apart
from limner.parity.compare import count
from limner.parity.record import Network, Record
from limner.published.feature_networks import kind_of
from limner.published.keys import fill

Outputs = Mapping[str, Any]


@torch.inference_mode()
def inception(record: Record) -> Outputs:
    network = Inception().eval()
    counters = {name: t for name, t in network.state_dict().items() if not t.is_floating_point()}
    fill_inception(network, record.state(counters), str(record.path))
    pictures = record.input("pictures").clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    published = network(to_inception(pictures, "tensorflow"))
    return {
        "features tensorflow": published,
        "logits without bias": network.logits(published),
        "features pytorch": network(to_inception(pictures, "pytorch")),
        "n_params": count(network.parameters()),
    }


@torch.inference_mode()
def lpips(record: Record) -> Outputs:
    where = str(record.path)
    colours = {"scaling_layer.shift": [-0.030, -0.088, -0.188], "scaling_layer.scale": [0.458, 0.448, 0.450]}
    state = record.state({name: torch.tensor(value).view(1, 3, 1, 1) for name, value in colours.items()})
    _, trunk = kind_of(state, where)
    assert trunk is not None
    network = whole_lpips(trunk, state, where)
    a, b = network.maps(record.input("a")), network.maps(record.input("b"))
    return {
        "distance": layers_apart(a, b, list(network.heads)),
        "distance without heads": layers_apart(a, b),
        "n_params": count(network.parameters()),
    }


@torch.inference_mode()
def classifier(record: Record) -> Outputs:
    where, state = str(record.path), record.state()
    _, trunk = kind_of(state, where)
    assert trunk is not None
    network = Classifier(trunk).eval()
    fill(network, state, where)
    features = network(record.input("pictures"))
    return {"features": features, "logits": network.logits(features), "n_params": count(network.parameters())}


NETWORKS = {"classifier": Network(classifier), "inception": Network(inception), "lpips": Network(lpips)}
