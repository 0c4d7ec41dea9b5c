from __future__ import annotations

import copy

import torch
from torch import nn

from limner.nn.spectral_norm import spectral_norm


def test_it_trains_as_the_published_programs_did() -> None:
    """Against PyTorch's older function, which they use: the same outputs and weights, step after step."""
    torch.manual_seed(0)
    theirs = torch.nn.utils.spectral_norm(nn.Conv2d(5, 7, 3))
    ours = spectral_norm(nn.Conv2d(5, 7, 3)).to(memory_format=torch.channels_last)
    held = theirs.state_dict()
    names = {"bias": "bias", "weight_orig": "parametrizations.weight.original"}
    names |= {f"weight_{x}": f"parametrizations.weight.0._{x}" for x in "uv"}
    ours.load_state_dict({names[name]: value for name, value in held.items()})
    sides = [(layer, torch.optim.SGD(layer.parameters(), 0.1)) for layer in (theirs, ours)]
    for _ in range(4):
        picture = torch.randn(2, 5, 9, 9)
        outputs = []
        for layer, optimiser in sides:
            out = (layer(picture) + layer(-picture / 2)).relu()  # twice: each pass iterates
            optimiser.zero_grad()
            out.square().sum().backward()
            optimiser.step()
            outputs.append(out)
        assert torch.allclose(*outputs, rtol=1e-5, atol=1e-6)
    for layer, _ in sides:
        layer.eval()
    assert torch.allclose(theirs(picture), ours(picture), rtol=1e-5, atol=1e-6)
    assert torch.allclose(theirs.weight_u, ours.parametrizations.weight[0]._u, atol=1e-6)


def test_the_norm_comes_to_one_and_only_training_moves_the_vectors() -> None:
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(20, 30))
    for _ in range(200):
        layer(torch.zeros(1, 20))  # a power iteration each
    layer.eval()
    before = copy.deepcopy(layer.state_dict())
    assert abs(torch.linalg.matrix_norm(layer.weight, 2).item() - 1) < 1e-4
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_autocast_leaves_the_singular_value_in_float32() -> None:
    layer = spectral_norm(nn.Linear(64, 64)).eval()
    plain = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, plain)
