"""What the systems that translate label maps share: channels, borders, and the perceptual loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.errors import BadCheckpoint, BadInput
from limner.losses import feature_matching
from limner.nn import vgg
from limner.nn.label_maps import accepted_map, checked, coloured, edges, one_hot, told_apart
from limner.published.vgg import give


def test_classes_become_channels() -> None:
    classes = torch.tensor([[[0, 2], [1, 2]]], dtype=torch.uint8)
    channels = one_hot(checked(classes, 3, "X"), 3)
    assert channels.shape == (1, 3, 2, 2)
    assert torch.equal(channels.argmax(1), classes.long()) and torch.equal(channels.sum(1), torch.ones(1, 2, 2))


@pytest.mark.parametrize(("wrong", "named"), [(3, "0 to 3"), (-1, "-1 to 0"), (255, "unknown=true")])
def test_a_class_out_of_range_is_refused_by_name(wrong: int, named: str) -> None:
    classes = torch.zeros(1, 2, 2, dtype=torch.int64)
    classes[0, 1, 0] = wrong
    with pytest.raises(BadInput, match=f"Painter: .*{named}"):
        checked(classes, 3, "Painter")


def test_pixels_of_no_class_get_a_channel_of_their_own() -> None:
    classes = torch.tensor([[[0, 255]]])
    assert checked(classes, 3, "X", unknown=True).tolist() == [[[0, 3]]]
    with pytest.raises(BadInput, match="from 0 to 254, but the model knows 0 to 2"):
        checked(classes - (classes == 255).long(), 3, "X", unknown=True)


def test_both_sides_of_a_border_are_edges() -> None:
    instances = torch.zeros(1, 4, 5, dtype=torch.int64)
    instances[0, 2:, 3:] = 7
    shown = edges(instances)[0, 0].int().tolist()
    assert shown == [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0]]


def test_classes_stand_in_where_a_map_has_no_instances() -> None:
    classes, instances = torch.arange(8).view(2, 2, 2), torch.tensor([[[0, 0], [0, 0]], [[0, 5], [0, 0]]])
    assert torch.equal(told_apart(classes, instances), torch.stack([classes[0], instances[1]]))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2), np.uint8),
        np.zeros((1, 2, 2), np.float32),
        np.zeros((1, 0, 2), int),
        np.zeros((1, 2, 2, 3), int),
    ],
)
def test_what_is_no_label_map_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"Painter takes label maps: .* \(N, H, W\)"):
        accepted_map(wrong, "Painter")
    assert accepted_map(np.full((1, 2, 2), 60_000, np.uint16), "Painter").max() == 60_000


def test_neighbouring_classes_look_different() -> None:
    shown = coloured(torch.arange(40).view(1, 5, 8))
    assert shown.shape == (1, 3, 5, 8) and shown.abs().max() <= 1
    assert (shown[..., 1:] - shown[..., :-1]).abs().amax(1).min() > 0.3


def test_feature_matching_sums_layers_averages_scales_and_leaves_the_real_side_alone() -> None:
    fake = [[torch.ones(2, 3), torch.zeros(4)], [torch.ones(1), torch.full((2,), 3.0)]]
    real = [[torch.zeros(2, 3, requires_grad=True), torch.ones(4)], [torch.ones(1), torch.zeros(2)]]
    found = feature_matching(fake, real)
    assert found == (1 + 1 + 0 + 3) / 2 and not found.requires_grad


def test_a_perceptual_loss_waits_for_its_weights_and_takes_torchvisions_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = vgg.waiting()
    with pytest.raises(BadInput, match=r"X: .* needs VGG's published weights.*--vgg FILE.*published\.vgg\.give"):
        vgg.require_weights(network, "X")

    published = vgg.VGG(19, "relu5_2").state_dict() | {"classifier.0.weight": torch.ones(2, 2)}  # deeper than is needed
    torch.save(published, tmp_path / "vgg19.pth")
    give(network, tmp_path / "vgg19.pth")
    vgg.require_weights(network, "X")
    assert torch.equal(network.features[0].weight, published["features.0.weight"])

    truth = torch.rand(1, 3, 16, 16) * 2 - 1
    picture = truth.clone().requires_grad_()
    assert vgg.perceptual(network, picture, truth) == 0
    far = vgg.perceptual(network, picture.flip(-1), truth)
    far.backward()
    assert far > 0 and picture.grad is not None and picture.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())

    torch.save({"features.0.weight": torch.ones(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(BadCheckpoint, match=r"other\.pth: incomplete"):
        give(network, tmp_path / "other.pth")
