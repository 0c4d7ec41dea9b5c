"""Training that looks through a published VGG, which limner doesn't ship: given once, or its lack is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from data_folders import masked, unpaired, write
from limner.errors import BadCheckpoint, BadInput, CannotDo
from limner.hub import load
from limner.jobs.training import resume, train
from limner.nn.vgg import VGG
from limner.published.adain import ENCODER_NAMES
from limner.published.vgg import USES
from limner.runs import Run
from limner.systems import TABLE, find
from limner.systems.translation.adain import AdaIN, Encoder
from limner.systems.translation.rfr_inpainting import RFRInpainting
from limner.train import Options

CROPS = {"resize": 32, "crop": 32, "fit": "both"}
TINY = {"width": 16, "iterations": 1}


def options(**changes: Any) -> Options:
    return Options(**({"batch": 2, "threads": 1, "save": 1e9, "sample": 0, "steps": 1, "precision": "fp32"} | changes))


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in torchvision's layout, up to the third pool, with a classifier."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(VGG(16, "relu4_1").state_dict() | {"classifier.0.weight": torch.ones(2, 2)}, path)
    return path


def holes(path: Path) -> str:
    return str(write(masked(4, 2), path / "holes"))


def test_the_file_turns_the_published_losses_on_and_is_needed_once(tmp_path: Path, vgg16: Path) -> None:
    data, said, run = holes(tmp_path), list[str](), tmp_path / "run"
    train("rfr-inpainting", data, run, options(), changes=TINY, prepare=CROPS, vgg_file=vgg16, told=said.append)
    assert not any("--vgg" in line for line in said)
    model = load(str(run))
    assert isinstance(model, RFRInpainting) and (model.config.perceptual, model.config.style) == (0.05, 120.0)
    assert torch.equal(model.vgg.features[0].weight, torch.load(vgg16)["features.0.weight"])
    log = (run / "log.jsonl").read_text()
    resume(run, steps=2)
    assert "network/perceptual" in log + (run / "log.jsonl").read_text()


def test_a_run_that_is_stopped_before_its_first_checkpoint_goes_on_with_the_file(tmp_path: Path, vgg16: Path) -> None:
    data, run = holes(tmp_path), tmp_path / "run"

    class Stop(Exception):
        pass

    def stop(progress: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(
            "rfr-inpainting", data, run, options(log=1, steps=2),
            changes=TINY, prepare=CROPS, vgg_file=vgg16, listener=stop,
        )  # fmt: skip
    assert [path.name for path in Run(run).checkpoints] == ["00000000"]
    resume(run, steps=2)
    assert torch.equal(load(str(run)).vgg.features[0].weight, torch.load(vgg16)["features.0.weight"])


def test_options_win_over_the_published_weights_of_the_losses(tmp_path: Path, vgg16: Path) -> None:
    off = TINY | {"style": 0.0, "perceptual": 0.0}
    data = holes(tmp_path)
    with pytest.raises(BadInput, match=r"no VGG: leave --vgg out, or give --set perceptual=0\.05 --set style=120"):
        train("rfr-inpainting", data, tmp_path / "run", options(), changes=off, prepare=CROPS, vgg_file=vgg16)


def test_without_the_file_its_lack_is_told_and_asking_for_its_losses_is_refused(tmp_path: Path) -> None:
    data, said = holes(tmp_path), list[str]()
    train("rfr-inpainting", data, tmp_path / "run", options(), changes=TINY, prepare=CROPS, told=said.append)
    assert [line for line in said if "--vgg" in line] == [
        "Without --vgg (torchvision's vgg16-397923af.pth, which limner doesn't ship) it trains without its perceptual "
        "and style losses (published: perceptual=0.05, style=120)."
    ]
    with pytest.raises(BadInput, match=r"RFR: .*--vgg FILE"):
        train("rfr-inpainting", data, tmp_path / "other", options(), changes=TINY | {"style": 1.0}, prepare=CROPS)


def test_adain_takes_its_own_vgg_and_no_other(tmp_path: Path, vgg16: Path) -> None:
    data, said = str(write(unpaired(2, 2), tmp_path / "data")), list[str]()
    torch.manual_seed(2)
    encoder, narrow = Encoder(), {"width": 64}
    published = tmp_path / "vgg_normalised.pth"
    state = encoder.state_dict()
    torch.save({theirs: state[ours] for theirs, ours in ENCODER_NAMES.items() if ours in state}, published)
    train("adain", data, tmp_path / "run", options(batch=1), changes=narrow, prepare=CROPS, vgg_file=published)
    model = load(str(tmp_path / "run"))
    assert isinstance(model, AdaIN) and torch.equal(model.encoder.colours.weight, encoder.colours.weight)

    with pytest.raises(BadCheckpoint, match=r"--vgg wants vgg_normalised\.pth .* for adain"):
        train("adain", data, tmp_path / "other", options(), changes=narrow, prepare=CROPS, vgg_file=vgg16)
    train("adain", data, tmp_path / "third", options(), changes={"width": 4}, prepare=CROPS, told=said.append)
    assert any("its encoder keeps random weights" in line for line in said)


def test_a_system_without_a_vgg_takes_none(tmp_path: Path, vgg16: Path) -> None:
    with pytest.raises(CannotDo, match=r"pix2pix looks through no VGG.*Systems that do: adain, munit"):
        train("pix2pix", str(tmp_path), tmp_path / "run", options(), vgg_file=vgg16)


def test_what_is_told_of_systems_names_options_that_they_have() -> None:
    for name, use in USES.items():
        assert name in TABLE
        config = find(name).Config()
        assert all(getattr(config, option) == 0 for option in use.losses)
