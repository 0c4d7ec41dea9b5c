"""Models on disk: what is saved comes back, and what is damaged, foreign or missing is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import limner
from limner import hub
from limner.errors import BadCheckpoint, BadInput
from limner.runs import write_folder
from limner.system import System
from limner.systems import TABLE
from limner.systems.text.patch_codes import PatchCodes
from limner.systems.translation.upscaler import Upscaler


@pytest.fixture
def small() -> Upscaler:
    torch.manual_seed(0)
    system = Upscaler(Upscaler.Config(factor=2, width=8, blocks=1))
    torch.nn.init.normal_(system.head.weight)
    return system


def save(system: System, path: Path, **more: bool) -> Path:
    hub.save(system, "upscaler", path, card="# A small one\n", **more)
    return path


def rewrite(path: Path, **changes: bytes) -> None:
    """The folder again with other files, and a manifest that vouches for them."""
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "manifest.json"}
    write_folder(path, files | {name.replace("_json", ".json"): content for name, content in changes.items()})


def test_a_model_folder_is_in_the_ecosystems_layout(small: Upscaler, tmp_path: Path) -> None:
    path = save(small, tmp_path / "model")
    assert sorted(file.name for file in path.iterdir()) == [
        "README.md", "config.json", "manifest.json", "weights.safetensors",
    ]  # fmt: skip
    assert json.loads((path / "config.json").read_text())["system"] == "upscaler"
    assert load_file(path / "weights.safetensors").keys() == small.state_dict().keys()


def test_load_gives_the_same_pictures_ready_to_use(small: Upscaler, tmp_path: Path) -> None:
    loaded = limner.load(save(small, tmp_path / "model"))
    picture = torch.rand(1, 3, 8, 8) * 2 - 1
    assert not loaded.training
    assert torch.equal(loaded(picture), small(picture))


def test_half_precision_halves_the_file_and_little_else(small: Upscaler, tmp_path: Path) -> None:
    whole, half = save(small, tmp_path / "whole"), save(small, tmp_path / "half", half=True)
    assert load_file(half / "weights.safetensors")["head.weight"].dtype == torch.float16
    assert (half / "weights.safetensors").stat().st_size < 0.6 * (whole / "weights.safetensors").stat().st_size
    loaded = hub.load(half)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    for name, value in small.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=1e-3, atol=1e-6)


def test_half_precision_leaves_whole_numbers_whole(tmp_path: Path) -> None:
    from limner.systems.text.vqgan import VQGAN

    config = VQGAN.Config(width=32, multipliers=(1,), blocks=1, attention_levels=(), codebook=4, revive=5)
    model = VQGAN(config)
    model.idle += 70_001  # more than float16 can count to
    hub.save(model, "vqgan", tmp_path / "model", card="", half=True)
    assert hub.load(tmp_path / "model").state_dict()["idle"].tolist() == [70_001] * 4


def test_saving_again_replaces_the_folder(small: Upscaler, tmp_path: Path) -> None:
    save(small, tmp_path / "model")
    with torch.no_grad():
        small.head.weight.add_(1)
    save(small, tmp_path / "model")
    assert torch.equal(hub.load(tmp_path / "model").state_dict()["head.weight"], small.head.weight)


def test_one_flipped_bit_is_found(small: Upscaler, tmp_path: Path) -> None:
    path = save(small, tmp_path / "model")
    content = bytearray((path / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "weights.safetensors").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"weights\.safetensors is damaged: its sha256"):
        hub.load(path)


def test_a_config_that_does_not_fit_is_refused(small: Upscaler, tmp_path: Path) -> None:
    path = save(small, tmp_path / "model")
    right = json.loads((path / "config.json").read_text())
    for wrong, error, words in (
        ([], BadCheckpoint, "made by limner"),
        ({"system": "upscaler"}, BadCheckpoint, "made by limner"),
        (right | {"system": "upscalar"}, BadInput, "Did you mean upscaler"),
        (right | {"config": 3}, BadCheckpoint, "made by limner"),
        (right | {"config": right["config"] | {"width": "4"}}, BadInput, "width"),
        (right | {"config": right["config"] | {"width": -4}}, BadInput, "can't be built"),
        (right | {"config": right["config"] | {"width": 6}}, BadCheckpoint, "doesn't fit Upscaler"),
    ):
        rewrite(path, config_json=json.dumps(wrong).encode())
        with pytest.raises(error, match=words):
            hub.load(path)


def test_what_is_no_model_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'stoybook'"):
        limner.load("stoybook")
    with pytest.raises(BadInput, match=r"ships no weights of pix2pix .*give your own"):
        limner.load("pix2pix")
    with pytest.raises(BadInput, match=r"no model folder: it has no config\.json"):
        limner.load(tmp_path)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(BadCheckpoint, match="no sound checkpoint"):
        limner.load(tmp_path / "run")


def test_the_catalogue_is_the_table() -> None:
    assert limner.catalogue() == tuple(TABLE) and list(TABLE) == sorted(TABLE)


def test_codes_are_saved_with_their_book(tmp_path: Path) -> None:
    book = PatchCodes(PatchCodes.Config(codebook=4, patch=2))
    book.book.copy_(torch.rand(4, 12))
    hub.save(book, "patch-codes", tmp_path / "book", card="")
    pictures = book.decode(torch.tensor([[[0, 1], [2, 3]]]))
    assert hub.load(tmp_path / "book").encode(pictures).tolist() == [[[0, 1], [2, 3]]]
