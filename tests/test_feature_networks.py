"""Opening the networks that metrics look through, in the layouts that their authors publish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from limner.errors import BadCheckpoint, BadInput
from limner.metrics import features
from limner.metrics.features import Classifier, InceptionFeatures, StickerNetwork, open_networks, to_inception
from limner.metrics.inception import Inception
from limner.metrics.perceptual import LPIPS, WIDTHS, PerceptualDistance
from limner.parity.fill import fill_state_dict
from limner.published.feature_networks import Trunk

NOISE = np.random.default_rng(0).integers(0, 256, (2, 40, 52, 3), np.uint8)


def trunk_file(folder: Path, trunk: Trunk) -> Path:
    """The convolutions as torchvision has them, with one layer more than LPIPS looks at where there is one."""
    with torch.device("meta"):
        state = Classifier(trunk).features.state_dict()
    filled = fill_state_dict({f"features.{name}": torch.empty(value.shape) for name, value in state.items()})
    save_file(filled, folder / f"{trunk}.safetensors")
    return folder / f"{trunk}.safetensors"


def heads_file(folder: Path, trunk: Trunk) -> Path:
    heads = {f"lin{k}.model.1.weight": torch.rand(1, width, 1, 1) for k, width in enumerate(WIDTHS[trunk])}
    torch.save(heads, folder / f"{trunk}_heads.pth")
    return folder / f"{trunk}_heads.pth"


def test_without_files_the_sticker_reader_looks() -> None:
    networks = open_networks()
    assert isinstance(networks.features, StickerNetwork) and networks.judge is networks.features


@pytest.mark.parametrize("trunk", ["alexnet", "vgg16"])
def test_a_trunk_and_its_heads_are_lpips_in_any_order(tmp_path: Path, trunk: Trunk) -> None:
    torch.manual_seed(0)
    trunk_path, heads_path = trunk_file(tmp_path, trunk), heads_file(tmp_path, trunk)
    plain = open_networks([trunk_path])
    one, other = open_networks([trunk_path, heads_path]), open_networks([heads_path, trunk_path])
    assert isinstance(plain.judge, LPIPS) and "uncalibrated" in plain.judge.look
    assert one.judge.look == f"LPIPS 0.1 of {trunk}"
    assert isinstance(one.features, StickerNetwork)  # there is no classifier in the file
    distance = one.judge.distance(NOISE, NOISE[::-1].copy())
    assert distance == pytest.approx(other.judge.distance(NOISE, NOISE[::-1].copy()))
    assert distance[0] == pytest.approx(distance[1], rel=1e-5) and (distance > 0).all()
    assert (plain.judge.distance(NOISE, NOISE[::-1].copy()) > distance).all()  # whose heads are below one
    assert PerceptualDistance(one.judge).protocol == f"perceptual distance, LPIPS 0.1 of {trunk}"
    with pytest.raises(BadInput, match="32 pixels"):
        one.judge.distance(NOISE[:, :20], NOISE[:, :20])


def test_a_whole_published_lpips_module_opens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LPIPS("alexnet")
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    state = {"scaling_layer.shift": network.shift, "scaling_layer.scale": network.scale}
    for name, value in network.features.state_dict().items():
        state[f"net.slice{slices[int(name.split('.')[0])]}.{name}"] = value
    for k, width in enumerate(WIDTHS["alexnet"]):
        state[f"lin{k}.model.1.weight"] = state[f"lins.{k}.model.1.weight"] = torch.rand(1, width, 1, 1)
    torch.save(state, tmp_path / "lpips.pth")
    judge = open_networks([tmp_path / "lpips.pth"]).judge
    assert isinstance(judge, LPIPS) and judge.look == "LPIPS 0.1 of alexnet"
    assert torch.equal(judge.heads[2], state["lin2.model.1.weight"])
    assert torch.equal(judge.features[3].weight, network.features[3].weight)


def test_the_fids_inception_opens_and_torchvisions_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: torch.empty(value.shape) for name, value in Inception().state_dict().items()}
    counters = {name for name in shapes if name.endswith("num_batches_tracked")}
    state = fill_state_dict({name: value for name, value in shapes.items() if name not in counters})
    save_file(state, tmp_path / "pt_inception.safetensors")
    networks = open_networks([tmp_path / "pt_inception.safetensors"], resize="clean")
    assert isinstance(networks.features, InceptionFeatures) and isinstance(networks.judge, StickerNetwork)
    assert networks.features.name == "Inception 2015-12-05, clean resizing"
    seen = networks.features.see(NOISE[:1])
    assert seen.features.shape == (1, 2048) and seen.chances.shape == (1, 1008)
    assert seen.chances.sum() == pytest.approx(1) and seen.features.min() >= 0
    state["fc.weight"] = state["fc.weight"][:1000]
    save_file(state, tmp_path / "torchvision.safetensors")
    with pytest.raises(BadCheckpoint, match="not the FID's"):
        open_networks([tmp_path / "torchvision.safetensors"])


def test_a_classifier_gives_features_and_chances(monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Classifier("alexnet").state_dict().items()}
    state = {name: torch.full((1,), 0.01).expand(shape) for name, shape in shapes.items()}
    monkeypatch.setattr(features, "tensors", lambda path: state)
    networks = open_networks([Path("alexnet.pth")])
    assert networks.features.name.startswith("ImageNet's alexnet") and isinstance(networks.judge, LPIPS)
    seen = networks.features.see(NOISE)
    assert seen.features.shape == (2, 4096) and seen.chances == pytest.approx(np.full((2, 1000), 1e-3), abs=1e-6)


def test_the_published_sizes() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in m.parameters()) for m in (Classifier("alexnet"), Classifier("vgg16"))]
    assert counts == [61_100_840, 138_357_544]


@pytest.mark.parametrize("size", [(20, 30), (299, 299), (400, 310)])
def test_the_three_ways_to_299_pixels(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (1, *size, 3), np.uint8)
    ways = {way: to_inception(picture, way) for way in ("tensorflow", "pytorch", "clean")}
    assert {way.shape for way in ways.values()} == {(1, 3, 299, 299)}
    channels = [Image.fromarray(picture[0, ..., c].astype(np.float32)) for c in range(3)]
    pillow = [np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for c in channels]
    assert np.abs(ways["clean"][0].numpy() * 128 + 128 - np.stack(pillow)).max() < 0.02  # clean-fid's own way
    corner = (picture[0, 0, 0].astype(float) - 128) / 128
    assert ways["tensorflow"][0, :, 0, 0].numpy() == pytest.approx(corner, abs=1e-6)  # pixels are points
    at = 150 * size[0] / 299  # row 150 of the outcome, column 0
    low = int(at)
    between = picture[0, low, 0] * (1 - at + low) + picture[0, min(low + 1, size[0] - 1), 0] * (at - low)
    assert ways["tensorflow"][0, :, 150, 0].numpy() * 128 + 128 == pytest.approx(between, abs=1e-2)
    if size == (299, 299):
        assert np.abs(ways["pytorch"].numpy() - (picture.transpose(0, 3, 1, 2) / 127.5 - 1)).max() < 1e-5


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    alexnet, vgg = heads_file(tmp_path, "alexnet"), trunk_file(tmp_path, "vgg16")
    with pytest.raises(BadInput, match="LPIPS' heads for alexnet: give torchvision's weights of alexnet"):
        open_networks([alexnet])
    with pytest.raises(BadInput, match="heads for alexnet"):
        open_networks([vgg, alexnet])
    with pytest.raises(BadInput, match="same part"):
        open_networks([vgg, vgg])
    for name, state in {
        "other": {"conv.weight": torch.zeros(3)},
        "vgg19": {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.16.weight": torch.zeros(256, 256, 3, 3)},
        "scalar": {"Conv2d_1a_3x3.conv.weight": torch.zeros(3), "fc.weight": torch.tensor(1.0)},
        "bent heads": {"lin1.model.1.weight": torch.zeros(7)},
    }.items():
        save_file(state, tmp_path / f"{name}.safetensors")
        with pytest.raises(BadCheckpoint, match=r"no network for metrics|not the FID's"):
            open_networks([tmp_path / f"{name}.safetensors"])
    with pytest.raises(BadInput, match="uint8 pictures"):
        StickerNetwork().see(NOISE / 255)
