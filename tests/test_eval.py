"""`limner eval`: what is measured of what, that every number says how, and one clear line for what can't be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from data_folders import Files, classes, labelled, masked, paired, picture, png, unpaired, write
from limner import cli, hub
from limner.data.kinds import Labelled, Masked, Paired, Unpaired
from limner.data.prepare import Preparation
from limner.errors import BadInput, CannotDo
from limner.jobs import evaluating
from limner.jobs.evaluating import Order, Report, evaluate_folders, evaluate_model
from limner.metrics.similarity import PSNR, SSIM
from limner.rng import Rng, torch_rng
from limner.system import Game, System
from limner.systems.segmenter import Segmenter
from limner.systems.translation.pix2pix import Pix2Pix

AS_IS = Preparation(resize=None, crop=None, flip=False)


class Stub(System):
    """What all of them here have: no training, pictures taken as they are."""

    preparation: ClassVar[Preparation] = AS_IS

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(self) -> None:
        super().__init__(self.Config())
        self.given: list[tuple[Any, ...]] = []


class Negative(Stub):
    """Right for `paired`, but for one grey level."""

    def play(self, batch: Paired, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(self, pictures: np.ndarray) -> np.ndarray:
        self.given.append(pictures.shape)
        return np.clip(255 - pictures.astype(int) + 1, 0, 255).astype(np.uint8)


class Tinted(Stub):
    """Two domains; a style drawn by the seed."""

    def play(self, batch: Unpaired, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(self, pictures: np.ndarray, *, seed: int = 0, backwards: bool = False) -> np.ndarray:
        self.given.append((int(pictures[0, 0, 0, 0]), seed, backwards))
        tint = self.random_style(seed).numpy().astype(int)
        return np.clip(pictures + tint[:, None, None], 0, 255).astype(np.uint8)

    def style_of(self, pictures: np.ndarray) -> torch.Tensor:
        return torch.zeros(len(pictures), 3)

    def random_style(self, seed: int) -> torch.Tensor:
        return torch.randint(0, 90, (1, 3), generator=torch_rng(seed)).float()


class Painter(Stub):
    """Label maps as grey, told their instances."""

    def play(self, batch: Labelled, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(self, pictures: np.ndarray, *, instances: np.ndarray) -> np.ndarray:
        self.given.append((pictures.dtype, int(instances.min())))
        return np.repeat(pictures[..., None] * 50, 3, 3)


class Filler(Stub):
    """Fills what is masked with white."""

    def play(self, batch: Masked, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(self, pictures: np.ndarray, *, mask: np.ndarray) -> np.ndarray:
        return np.where(mask[..., None], 255, pictures).astype(np.uint8)


class Styled(Stub):
    def play(self, batch: Unpaired, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(self, pictures: np.ndarray, *, style: torch.Tensor) -> np.ndarray:
        raise NotImplementedError


class Reads(Segmenter):
    """Says of a grey of 50 n that it is class n."""

    def __init__(self) -> None:
        super().__init__(Segmenter.Config(classes=5, width=1))

    def segment(self, pictures: np.ndarray) -> np.ndarray:
        return (pictures[..., 0] // 50).astype(np.int64)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `limner eval NAME` find these systems."""
    made: dict[str, System] = {}
    monkeypatch.setattr(evaluating, "load", lambda name: made[str(name)])

    def take(name: str, system: System) -> System:
        made[name] = system
        return system

    return take


def told(lines: list[str]) -> dict[str, Any]:
    return {"told": lines.append}


def values(report: Report) -> dict[str, float]:
    return {name: result.value for name, result in report.results.items()}


# ------------------------------------------------------------------------------------------------ models


def test_pairs_are_translated_one_at_a_time_and_held_against_the_truth(tmp_path: Path, use: Any) -> None:
    system = use("negative", Negative())
    data = write(paired(5, ("trainA", "trainB")) | paired(8, ("testA", "testB"), first=20), tmp_path / "data")
    done: list[tuple[int, int]] = []
    order = Order(metrics=("psnr", "ssim", "lpips", "fid"), bootstrap=3)
    report = evaluate_model("negative", str(data), order, progress=lambda *far: done.append(far))
    assert system.given == [(1, 12, 16, 3)] * 8  # the held-out ones
    psnr, ssim = PSNR(), SSIM()
    for number in range(20, 28):
        made, real = system.translate(picture(number)[None]), 255 - picture(number)[None]
        psnr.update(made, real)
        ssim.update(made, real)
    for name, metric in (("psnr", psnr), ("ssim", ssim)):
        assert values(report)[name] == pytest.approx(metric.value().value)
        assert report.results[name].protocol == metric.protocol
    assert 0 < report.results["lpips"].value < 0.1 and report.results["fid"].error is not None
    assert {result.n for result in report.results.values()} == {8} and done[-1] == (8, 8)
    assert [note.split(" of ")[0] for note in report.notes] == ["A Fréchet distance"]


def test_data_without_a_held_out_part_are_measured_as_a_whole_and_it_is_said(tmp_path: Path, use: Any) -> None:
    use("negative", Negative())
    lines: list[str] = []
    data = write(paired(3) | {"A/9.png": b"broken", "B/9.png": png(picture(9))}, tmp_path / "data")
    report = evaluate_model("negative", str(data), Order(metrics=("psnr",)), **told(lines))
    assert report.results["psnr"].n == 3
    assert "held out" in lines[0] and "A/9.png" in lines[-1] and lines[-1].startswith("Left out: ")
    assert evaluate_model("negative", str(data), Order(metrics=("psnr",), count=2)).results["psnr"].n == 2


def test_two_domains_are_compared_as_sets_in_both_directions(tmp_path: Path, use: Any) -> None:
    system = use("tinted", Tinted())
    data = write(unpaired(12, 17), tmp_path / "data")
    report = evaluate_model("tinted", str(data), Order(bootstrap=0))
    assert list(report.results) == ["fid", "kid", "precision", "recall", "density", "coverage"]
    assert (report.results["precision"].n, report.results["recall"].n) == (12, 17)
    assert len({seed for _, seed, _ in system.given}) == 12  # a style of its own for every picture
    system.given.clear()
    back = evaluate_model("tinted", str(data), Order(("kid", "diversity"), backwards=True, count=6))
    assert system.given[0][0] == 100 and all(backwards for _, _, backwards in system.given)
    assert len(system.given) == 12 and back.results["diversity"].n == 6 and back.results["diversity"].value > 0
    with pytest.raises(BadInput, match="psnr compares with the right answer, and Unpaired data have none"):
        evaluate_model("tinted", str(data), Order(("fid", "psnr")))


def test_label_maps_are_painted_and_read_again(tmp_path: Path, use: Any) -> None:
    system, _ = use("painter", Painter()), use("reads", Reads())
    data = write(labelled(4), tmp_path / "data")
    report = evaluate_model("painter", str(data), Order(("segmentation", "psnr"), segmenter="reads"))
    assert values(report)["per-pixel"] == values(report)["iou"] == 1
    assert report.results["psnr"].n == report.results["iou"].n == 4
    assert system.given[0] == (np.uint8, 7)
    for order, message in (
        (Order(("segmentation",)), "--segmenter MODEL"),
        (Order(("segmentation",), segmenter="painter"), "painter is no segmenter, but a Painter"),
    ):
        with pytest.raises(BadInput, match=message):
            evaluate_model("painter", str(data), order)


def test_what_is_masked_is_filled_and_held_against_the_whole(tmp_path: Path, use: Any) -> None:
    use("filler", Filler())
    data = write(masked(6, 2), tmp_path / "data")  # every other mask is empty: such a picture stays as it is
    report = evaluate_model("filler", str(data), Order(("psnr",)))
    assert report.results["psnr"].value == np.inf and report.results["psnr"].n == 6
    assert report.plain()["results"]["psnr"]["value"] is None


def test_a_runs_own_data_are_measured_as_they_were_prepared(tmp_path: Path, use: Any) -> None:
    data = write(paired(4, ("trainA", "trainB")) | paired(3, ("valA", "valB"), first=50), tmp_path / "data")
    run = tmp_path / "run"
    write(
        {"config.json": json.dumps({"data": {"folder": str(data), "prepare": {"resize": 8, "crop": 8}}}).encode()}, run
    )
    system = use(str(run), Negative())
    assert evaluate_model(str(run), None, Order(("psnr",))).results["psnr"].n == 3
    assert set(system.given) == {(1, 8, 8, 3)}
    system.given.clear()
    evaluate_model(str(run), None, Order(("psnr",), prepare={"resize": 6, "crop": 4}))
    assert set(system.given) == {(1, 4, 4, 3)}
    with pytest.raises(BadInput, match="on what"):
        use("bare", Negative())
        evaluate_model("bare", None, Order(("psnr",)))


def test_what_a_system_can_not_do_is_said(tmp_path: Path, use: Any) -> None:
    use("negative", Negative())
    use("styled", Styled())
    use("reads", Reads())
    pairs, domains = write(paired(3), tmp_path / "pairs"), write(unpaired(3, 3), tmp_path / "domains")
    for name, data, order, message in (
        ("negative", pairs, Order(backwards=True), "one direction only"),
        ("negative", pairs, Order(("diversity",)), "makes one picture of each"),
        ("styled", domains, Order(), "needs a style to translate"),
        ("reads", pairs, Order(), "translate"),
    ):
        with pytest.raises(CannotDo, match=message):
            evaluate_model(name, str(data), order)
    with pytest.raises(BadInput, match="segmentation needs label maps"):
        evaluate_model("negative", str(pairs), Order(("segmentation",)))


def test_a_trained_model_is_measured_from_its_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    hub.save(
        Pix2Pix(Pix2Pix.Config(width=4, depth=3, field=34, discriminator_width=4)), "pix2pix", tmp_path / "m", card=""
    )
    data = write(paired(4), tmp_path / "data")
    order = Order(("psnr", "kid"), prepare={"resize": 16, "crop": 16})
    one, other = (evaluate_model(str(tmp_path / "m"), str(data), order) for _ in range(2))
    assert one == other and one.results["kid"].n == 4


# ------------------------------------------------------------------------------------------------ folders


def test_folders_are_matched_by_name_and_measured_as_sets(tmp_path: Path) -> None:
    reals: Files = {f"deep/{n}.png": png(picture(n, 32, 32)) for n in range(9)}
    mades: Files = {f"deep/{n}.png": png(picture(n, 32, 32) // 2) for n in range(7)}
    made, real = write(mades, tmp_path / "made.zip"), write(reals, tmp_path / "real")
    report = evaluate_folders(made, real, Order(bootstrap=0))
    assert list(report.results) == ["psnr", "ssim", "lpips", "fid", "kid"]
    psnr = PSNR()
    psnr.update(np.stack([picture(n, 32, 32) // 2 for n in range(7)]), np.stack([picture(n, 32, 32) for n in range(7)]))
    assert report.results["psnr"] == psnr.value()
    lines: list[str] = []
    extra = write(mades | {"other.png": png(picture(80, 32, 32)), "bad.png": b""}, tmp_path / "extra")
    found = evaluate_folders(extra, real, Order(("psnr", "prdc")), **told(lines))
    assert (found.results["psnr"].n, found.results["precision"].n, found.results["recall"].n) == (7, 8, 9)
    assert "psnr: of the 7 of 9 pictures" in lines[0] and "bad.png is empty" in lines[1]
    assert list(evaluate_folders(extra, real, Order(bootstrap=0)).results) == [
        "fid",
        "kid",
        "precision",
        "recall",
        "density",
        "coverage",
    ]
    assert evaluate_folders(made, real, Order(("psnr",), count=3)).results["psnr"].n == 3


def test_pictures_of_many_sizes_are_measured_together(tmp_path: Path) -> None:
    files = {f"{n}.png": png(picture(n, 16 + 4 * (n % 3), 20)) for n in range(9)}
    folder = write(files, tmp_path / "a")
    report = evaluate_folders(folder, folder, Order(("ssim", "lpips", "fid", "inception-score"), splits=3, bootstrap=0))
    assert values(report) | {"inception-score": 0} == pytest.approx(
        {"ssim": 1, "lpips": 0, "fid": 0, "inception-score": 0}, abs=1e-5
    )
    assert report.results["inception-score"].value > 1 and report.results["inception-score"].n == 9


def test_folders_of_label_maps_are_scored(tmp_path: Path, use: Any) -> None:
    maps = {f"{n}.png": png(classes(n)) for n in range(4)}
    wrong = {f"{n}.png": png((classes(n) + (n == 0)) % 5) for n in range(4)}
    painted = {f"{n}.png": png(np.repeat(classes(n)[..., None] * 50, 3, 2)) for n in range(4)}
    made, real, pictures = (write(f, tmp_path / n) for f, n in ((wrong, "made"), (maps, "real"), (painted, "painted")))
    found = evaluate_folders(made, real, Order(("segmentation",), classes=5))
    assert values(found)["per-pixel"] == 0.75 and found.results["iou"].error is not None
    use("reads", Reads())
    assert values(evaluate_folders(pictures, real, Order(("segmentation",), segmenter="reads")))["iou"] == 1
    for order, message in (
        (Order(("segmentation",)), "--classes N"),
        (Order(("segmentation", "fid"), classes=5), "ask for it alone"),
    ):
        with pytest.raises(BadInput, match=message):
            evaluate_folders(made, real, order)


def test_a_metric_that_has_nothing_to_say_does_not_silence_the_others(tmp_path: Path) -> None:
    folder = write({f"{n}.png": png(picture(n)) for n in range(3)}, tmp_path / "a")
    report = evaluate_folders(folder, folder, Order(("psnr", "prdc")))
    assert list(report.results) == ["psnr"] and report.notes == [
        "prdc: At least 6 made pictures are needed; there are 3."
    ]
    with pytest.raises(BadInput, match="At least 6 made pictures"):
        evaluate_folders(folder, folder, Order(("prdc",)))


def test_what_can_not_be_compared_is_refused(tmp_path: Path) -> None:
    a, b = (write({f"{name}.png": png(picture(1))}, tmp_path / name) for name in "ab")
    text = write({"words.txt": b""}, tmp_path / "text")
    larger = write({"a.png": png(picture(1, 40, 40))}, tmp_path / "larger")
    for made, real, order, message in (
        (a, b, Order(("psnr",)), "no names in common"),
        (a, text, Order(), "no pictures in"),
        (a, tmp_path / "nowhere", Order(), "There is no"),
        (a, larger, Order(("psnr",)), "one size"),
        (a, a, Order(("diversity",)), "limner eval MODEL --data"),
        (a, a, Order(("inception-score",)), "can't be put into 10 splits"),
    ):
        with pytest.raises(BadInput, match=message):
            evaluate_folders(made, real, order)
    with pytest.raises(BadInput, match="no metric 'fred'"):
        Order(("fred",))
    with pytest.raises(BadInput, match="one picture or more"):
        Order(count=0)


# ------------------------------------------------------------------------------------------------ the command line


def test_the_verb_prints_a_table_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = write({f"{n}.png": png(picture(n, 16, 16) // 2) for n in range(4)}, tmp_path / "a")
    real = write({f"{n}.png": png(picture(n, 16, 16)) for n in range(4)}, tmp_path / "b")
    assert cli.run(["eval", str(made), str(real), "--metrics", "psnr, fid", "--bootstrap", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["results"]["psnr"]) == {"value", "n", "protocol", "error"} and report["results"]["fid"]["n"] == 4
    assert "mostly bias" in report["notes"][0]
    assert cli.run(["eval", str(made), str(real), "--metrics", "psnr"]) == 0
    table = capsys.readouterr().out
    assert f"{report['results']['psnr']['value']:.4g}" in table and "PSNR in dB" in table and " 4 " in table
    with pytest.raises(BadInput, match="give one of them"):
        cli.run(["eval", str(made), str(real), "--data", str(real)])
