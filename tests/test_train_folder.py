"""Training on data of one's own, from the command's job: what decides, what is measured, stopped and gone on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_folders import Files, captioned, classes, labelled, paired, picture, png, side_by_side, unpaired, write
from games import Duel
from limner.data.files import open_files
from limner.data.folder import Folder
from limner.data.kinds import Labelled, Paired
from limner.data.layouts import Listing
from limner.data.prepare import Preparation
from limner.errors import BadInput
from limner.jobs.checking import check
from limner.jobs.sources import open_source
from limner.jobs.training import fitting_config, resume, running_metric, train
from limner.runs import Run
from limner.stickers.kinds import StickerData
from limner.systems import find
from limner.train import Options, Progress

TINY = {"width": 2, "depth": 2, "discriminator_width": 2, "field": 16}
CROPS = {"resize": 20, "crop": 16}


def options(**changes: Any) -> Options:
    return Options(**({"batch": 2, "threads": 1, "save": 1e9, "log": 1, "sample": 2, "precision": "fp32"} | changes))


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint, complaints = Run(run).newest(training=True)
    assert checkpoint is not None and not complaints
    return checkpoint.weights | checkpoint.optimizer


def facades(path: Path) -> Path:
    return write(side_by_side(5) | side_by_side(2, "val", first=50), path)


def test_a_folder_trains_is_measured_and_resumes_to_the_bit(tmp_path: Path) -> None:
    data, heard, said = facades(tmp_path / "facades"), list[Progress](), list[str]()
    common: dict[str, Any] = {"changes": TINY, "prepare": CROPS}
    train("pix2pix", str(data), tmp_path / "whole", options(steps=6), listener=heard.append, told=said.append, **common)
    train("pix2pix", str(data), tmp_path / "parts", options(steps=3), **common)
    resume(tmp_path / "parts", options(), steps=5)
    train("pix2pix", str(data / ".." / "facades"), tmp_path / "parts", options(steps=6), **common)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)

    assert said == [f"{data}: 5 pairs side by side in one file"]
    assert [bool(progress.measured) for progress in heard] == [False, True, True, True, True, True]
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if "held-out/PSNR" in entry] == [2, 4, 6]
    assert all(0 < entry["held-out/L1"] < 1 for entry in log if "held-out/L1" in entry)


def test_other_preparation_is_another_run(tmp_path: Path) -> None:
    data = facades(tmp_path / "facades")
    train("pix2pix", str(data), tmp_path / "run", options(steps=1), changes=TINY, prepare=CROPS)
    with pytest.raises(BadInput, match="data"):
        train("pix2pix", str(data), tmp_path / "run", options(steps=2), changes=TINY, prepare=CROPS | {"flip": False})
    with pytest.raises(BadInput, match="crops"):
        train("pix2pix", str(data), tmp_path / "other", options(), changes=TINY, prepare={"crops": 3})


def test_a_budget_ends_with_samples_a_metric_and_a_checkpoint(tmp_path: Path) -> None:
    data, heard = facades(tmp_path / "facades"), list[Progress]()
    newest = train(
        "pix2pix", str(data), tmp_path / "run", options(steps=10**6, budget=1e-6, log=10**6, sample=10**6),
        changes=TINY, prepare=CROPS, listener=heard.append,
    )  # fmt: skip
    assert heard[-1].measured and heard[-1].seconds_left == 0 and heard[-1].step == int(newest.name)
    assert [path.stem for path in (tmp_path / "run" / "samples").iterdir()] == [newest.name]


def test_broken_files_are_told_while_training(tmp_path: Path) -> None:
    files, said = paired(40), list[str]()
    files["A/3.png"] = b"\x89PNG"
    for number in range(10, 30):
        del files[f"B/{number}.png"]
    data = write(files, tmp_path / "data")
    train("pix2pix", str(data), tmp_path / "run", options(steps=12), changes=TINY, prepare=CROPS, told=said.append)
    assert "20 pairs" in said[0] and "A/10.png" in said[1] and "15 more" in said[6]
    assert "A/3.png" in said[7] and len(said) == 8


def test_the_metric_knows_a_perfect_answer_and_a_bad_one(tmp_path: Path) -> None:
    class Negative(Duel):
        def translate(self, pictures: np.ndarray) -> np.ndarray:
            return 255 - pictures

    class Same(Duel):
        def translate(self, pictures: np.ndarray) -> np.ndarray:
            return pictures

    listing = Listing("data", open_files(write(paired(2) | paired(3, ("val/A", "val/B")), tmp_path / "data")))
    source = Folder(listing, Paired, preparation=Preparation(None, crop=(12, 16)))
    perfect, same = (running_metric(system, source) for system in (Negative(), Same()))
    assert perfect is not None and perfect() == {"held-out/L1": 0, "held-out/PSNR": 100}
    assert same is not None and same()["held-out/L1"] > 0.3 and same()["held-out/PSNR"] < 10
    assert running_metric(Duel(), source) is None


def test_label_maps_are_measured_with_their_instances(tmp_path: Path) -> None:
    class Painter(Duel):
        def translate(self, pictures: np.ndarray, *, instances: np.ndarray) -> np.ndarray:
            assert np.array_equal(instances, pictures * 1000 + 7) and pictures.shape == (1, 12, 16)
            return np.zeros((*pictures.shape, 3), np.uint8)

    listing = Listing("data", open_files(write(labelled(2) | labelled(2, "val_"), tmp_path / "data")))
    metric = running_metric(Painter(), Folder(listing, Labelled, preparation=Preparation(None, crop=None)))
    assert metric is not None and 0.3 < metric()["held-out/L1"] < 0.7


# What data decide


def test_data_decide_what_isnt_set(tmp_path: Path) -> None:
    maps = write(labelled(3), tmp_path / "maps")
    source = open_source(str(maps), find("pix2pixhd"), 0)
    assert fitting_config("pix2pixhd", source).classes == 5
    assert fitting_config("pix2pixhd", source, {"classes": 9, "width": 8}).classes == 9

    domains = write(unpaired(2, 2), tmp_path / "domains")
    source = open_source(str(domains), find("cyclegan"), 0, {"resize": None, "crop": [8, 12]})
    assert fitting_config("cyclegan", source).size == (8, 12)


def test_a_system_for_squares_takes_the_side(tmp_path: Path) -> None:
    pairs = write(paired(2), tmp_path / "pairs")
    source = open_source(str(pairs), find("cross-domain"), 0, {"resize": None, "crop": 128})
    assert fitting_config("cross-domain", source).size == 128
    source = open_source(str(pairs), find("cross-domain"), 0, {"resize": None, "crop": [64, 128]})
    with pytest.raises(BadInput, match="squares, not on 128x64"):
        fitting_config("cross-domain", source)


def test_an_upscaler_learns_from_small_and_large_pictures(tmp_path: Path) -> None:
    files: Files = {}
    for number in range(3):
        files[f"A/{number}.png"], files[f"B/{number}.png"] = png(picture(number)), png(picture(number, 32, 24))
    data, prepare = write(files, tmp_path / "pairs"), {"crop": 8, "factor": 2}
    train("upscaler", str(data), tmp_path / "run", options(steps=2), changes={"width": 4, "blocks": 1}, prepare=prepare)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["factor"] == 2
    with pytest.raises(BadInput, match=r"32x24.*has to be 80x60"):
        train("upscaler", str(data), tmp_path / "other", options(steps=2), prepare={"crop": 8})


def test_classes_of_the_config_bound_the_labels(tmp_path: Path) -> None:
    files, said = labelled(4), list[str]()
    wild = classes(1)
    wild[0, 0] = 77
    files["train_label/1.png"] = png(wild)
    path = write(files, tmp_path / "maps")
    small = {
        "classes": 5,
        "unknown": False,
        "width": 2,
        "blocks": 1,
        "downsamplings": 1,
        "discriminator_width": 2,
        "scales": 1,
    }
    train(
        "pix2pixhd", str(path), tmp_path / "run", options(steps=3, batch=1, sample=0),
        changes=small, prepare={"resize": None, "crop": [8, 16]}, told=said.append,
    )  # fmt: skip
    assert any("train_label/1.png has pixels of class 77" in told for told in said)


def test_the_sticker_world_gives_what_a_system_trains_on() -> None:
    source = open_source("stickers:night:64x48", find("pix2pix"), 3)
    assert source == StickerData("paired", 64, 48, 3, pairing="night")
    source = open_source("stickers:labelled", find("pix2pixhd"), 0)
    config = fitting_config("pix2pixhd", source)
    assert 50 < config.classes < 255 and config.classes == len(source.classes)
    assert open_source("stickers:unpaired", find("cyclegan"), 0).held_out().split == "held-out"


def test_sticker_classes_are_numbered_without_gaps(sticker_art: Path) -> None:
    source = open_source("stickers:labelled:48x32", find("pix2pixhd"), 0)
    batch = source.take(range(6))
    assert batch.classes.min() >= 0 and batch.classes.max() < len(source.classes)


# limner data check


def test_a_check_names_all_that_is_wrong(tmp_path: Path) -> None:
    files: Files = paired(6) | paired(2, ("val/A", "val/B"))
    files |= {"A/2.png": b"", "B/3.png": png(picture(3, 30, 12)), "A/lonely.png": png(picture(8)), "notes.pdf": b"%PDF"}
    path = write(files, tmp_path / "data")
    done: list[tuple[int, int]] = []
    report = check(path, "pix2pix", lambda *count: done.append(count))
    assert report.usable and done[-1] == (6, 6)
    text = "\n".join(report.lines())
    for words in (
        "6 pairs of A and B by name",
        "2 of 6",
        "A/2.png is empty",
        "A/lonely.png is left out",
        "30x12",
        "pdf",
    ):
        assert words in text
    assert ("held out", "2 pairs of A and B by name") in report.uses

    general = check(path, None)
    assert general.usable and ("Unpaired", "7 and 6 pictures of A and of B") in general.uses
    assert any(kind == "Captioned" and told.startswith("no: ") for kind, told in general.uses)


def test_a_check_without_anything_usable_says_so(tmp_path: Path) -> None:
    assert not check(write({"notes.txt": b"x"}, tmp_path / "notes"), None).usable
    assert not check(write({"A/1.png": b"", "B/1.png": b""}, tmp_path / "broken"), "pix2pix").usable
    with pytest.raises(BadInput, match="captions, not pairs"):
        check(write(captioned(2), tmp_path / "captions"), "pix2pix")
