"""`limner translate`: files in, files out that say what made them, and one clear line for what can't be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data_folders import classes, picture, png, write
from games import Duel
from limner.data.kinds import Labelled, Paired
from limner.errors import BadInput, CannotDo
from limner.jobs import translating
from limner.jobs.translating import Order, translate
from limner.provenance import read_marks
from limner.rng import Rng, torch_rng
from limner.system import Game, System


class Tinted(System):
    """Adds a style, one number for each channel; backwards takes it away. A mask says where."""

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(self) -> None:
        super().__init__(self.Config())
        self.calls: list[int] = []

    def play(self, batch: Paired, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(
        self, pictures: np.ndarray, *, seed: int = 0, style: torch.Tensor | None = None, backwards: bool = False,
        mask: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        self.calls.append(len(pictures))
        if pictures.shape[1] > 40:
            raise BadInput("Tinted takes at most 40 rows.")
        tint = (self.random_style(seed) if style is None else style).numpy().round().astype(np.int64)
        made = pictures + tint[:, None, None, :] * (-1 if backwards else 1)
        if mask is not None:
            made = np.where(mask[..., None], made, pictures)
        return made.clip(0, 255).astype(np.uint8)

    def style_of(self, pictures: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pictures.mean((1, 2)))

    def random_style(self, seed: int) -> torch.Tensor:
        return torch.randint(0, 50, (1, 3), generator=torch_rng(seed)).float()


class Painter(Duel):
    """Label maps in grey."""

    def play(self, batch: Labelled, rng: Rng) -> Game:
        raise NotImplementedError
        yield

    def translate(self, pictures: np.ndarray, *, instances: np.ndarray) -> np.ndarray:
        assert pictures.dtype == np.uint8 and instances.shape == pictures.shape
        return np.stack([pictures * 10, pictures * 10, instances.astype(np.uint8)], 3)


class Regional(Painter):
    """Classes in the colours that their regions have in an example on average; black where it has no such class."""

    def translate(self, pictures: np.ndarray, *, style: torch.Tensor) -> np.ndarray:
        return style[0].numpy().astype(np.uint8)[pictures]

    def style_of(self, pictures: np.ndarray, *, classes: np.ndarray | None = None) -> torch.Tensor:
        maps = np.zeros_like(pictures[..., 0]) if classes is None else classes
        means = [pictures[maps == k].mean(0) if (maps == k).any() else np.zeros(3) for k in range(5)]
        return torch.from_numpy(np.stack(means))[None]

    def random_style(self, seed: int) -> torch.Tensor:
        return torch.zeros(1, 5, 3)


class Plain(Duel):
    """One channel comes out, and nothing can be chosen."""

    def translate(self, pictures: np.ndarray) -> np.ndarray:
        return pictures[..., :1]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[System], System]:
    def use(system: System) -> System:
        monkeypatch.setattr(translating, "load", lambda name: system)
        return system

    monkeypatch.chdir(tmp_path)
    return use


def run(*paths: str, told: list[str] | None = None, **order: Any) -> dict[str, np.ndarray]:
    """Name of a written file -> the picture in it."""
    hear = pytest.fail if told is None else told.append
    written = list(translate("model", [Path(path) for path in paths], Path("out"), Order(**order), told=hear))
    assert all(path.is_file() for path in written)
    assert {path for path in Path("out").rglob("*") if path.is_file()} == set(written)
    return {path.relative_to("out").as_posix(): np.array(Image.open(path)) for path in written if path.suffix == ".png"}


def tint(seed: int, shown: np.ndarray) -> np.ndarray:
    return (shown + Tinted().random_style(seed).numpy().astype(int)[0]).clip(0, 255)


FIRST, SECOND = picture(1, 16, 12), picture(2, 16, 12)


def test_files_folders_and_archives_become_pngs_of_the_same_names(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"one.png": png(FIRST), "album/two.png": png(SECOND), "album/deep/three.png": png(FIRST)}, Path())
    write({"in/four.png": png(SECOND)}, Path("more.zip"))
    made = run("one.png", "album", "more.zip", seed=3)
    assert set(made) == {"one.png", "two.png", "deep/three.png", "in/four.png"}
    assert np.array_equal(made["one.png"], tint(3, FIRST)) and np.array_equal(made["in/four.png"], tint(3, SECOND))
    marks = read_marks(Path("out/two.png"))
    assert marks.source_type == "trainedAlgorithmicMedia"
    assert marks.recipe == {"picture": "two.png", "model": "model", "seed": 3}


def test_names_that_meet_are_kept_apart(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"a/x.png": png(FIRST), "b/x.png": png(SECOND), "b/x.bmp": png(FIRST)}, Path())
    assert set(run("a", "b")) == {"x.png", "x-2.png", "x-3.png"}


def test_a_picture_is_never_overwritten(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"out/one.png": png(FIRST)}, Path())
    with pytest.raises(BadInput, match=r"out/one\.png is one of the pictures"):
        run("out")
    assert np.array_equal(np.array(Image.open("out/one.png")), FIRST)


def test_several_outputs_come_from_consecutive_seeds(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"one.png": png(FIRST)}, Path())
    made = run("one.png", count=3, seed=5)
    assert set(made) == {"one-5.png", "one-6.png", "one-7.png"}
    assert np.array_equal(made["one-6.png"], tint(6, FIRST))


def test_styles_are_taken_from_pictures(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"one.png": png(FIRST), "dark.png": png(FIRST // 99), "red.png": png(FIRST // 200 + 20)}, Path())
    made = run("one.png", style=(Path("dark.png"), Path("red.png")))
    assert set(made) == {"one-dark.png", "one-red.png"} and not np.array_equal(
        made["one-dark.png"], made["one-red.png"]
    )
    recipe = read_marks(Path("out/one-red.png")).recipe
    assert recipe is not None and recipe["style"] == "red.png"


def test_styles_of_regions_are_taken_from_pictures_and_their_label_maps(use: Callable[[System], System]) -> None:
    use(Regional())
    flags = {"styles/a.png": np.full_like(FIRST, 7), "styles/b.png": np.full_like(FIRST, 50)}
    flags["styles/a.png"][:, 8:] = 200
    halves = np.repeat([[1] * 8 + [3] * 8], 12, 0).astype(np.uint8)
    maps = {"maps/a.png": halves, "maps/b.jpg": halves + 1, "map.png": classes(1)}
    write({name: png(content) for name, content in (flags | maps).items()}, Path())
    styles = Path("styles/a.png"), Path("styles/b.png")
    colours = {"map-a.png": [0, 7, 0, 200, 0], "map-b.png": [0, 0, 50, 0, 50]}
    for labels, shown in ((Path("maps"), colours), (Path("maps/a.png"), colours | {"map-b.png": [0, 50, 0, 50, 0]})):
        made = run("map.png", style=styles, style_labels=labels)
        for name, each in shown.items():
            assert np.array_equal(made[name][..., 0], np.array(each)[classes(1)])
    assert (read_marks(Path("out/map-a.png")).recipe or {})["style_labels"] == "a.png"

    Path("maps/b.jpg").unlink()
    with pytest.raises(BadInput, match=r"no picture called b to go with styles/b\.png"):
        run("map.png", style=styles, style_labels=Path("maps"))
    write({"maps/b.png": png(classes(1, 8, 8))}, Path())
    with pytest.raises(BadInput, match=r"maps/b\.png is 8x8, but styles/b\.png 16x12"):
        run("map.png", style=styles, style_labels=Path("maps"))


def test_a_walk_goes_straight_from_style_to_style(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"one.png": png(np.zeros_like(FIRST))}, Path())
    strip = run("one.png", walk=5, seed=1)["one-walk.png"]
    assert strip.shape == (12, 5 * 16, 3)
    ends = [Tinted().random_style(seed)[0].numpy() for seed in (1, 2)]
    for k in range(5):
        assert np.abs(strip[0, 16 * k] - (ends[0] + (ends[1] - ends[0]) * k / 4)).max() <= 0.51


def test_a_walk_may_be_a_film(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"one.png": png(picture(3, 33, 21))}, Path())
    assert run("one.png", walk=6, video=True) == {}
    marks = read_marks(Path("out/one-walk.mp4"))
    assert marks.recipe == {"picture": "one.png", "model": "model", "seeds": [0, 1]}


def test_masks_and_instances_go_with_pictures_by_name(use: Callable[[System], System]) -> None:
    use(Tinted())
    half = np.zeros((12, 16), np.uint8)
    half[:6] = 255
    write(
        {"p/one.png": png(FIRST), "p/two.png": png(SECOND), "m/one.png": png(half), "m/two.png": png(255 - half)},
        Path(),
    )
    made = run("p", mask=Path("m"))
    assert np.array_equal(made["one.png"][6:], FIRST[6:]) and np.array_equal(made["two.png"][:6], SECOND[:6])
    assert np.array_equal(made["one.png"][:6], tint(0, FIRST)[:6])
    assert read_marks(Path("out/one.png")).source_type == "compositeWithTrainedAlgorithmicMedia"
    told: list[str] = []
    write({"p/three.png": png(FIRST), "p/small.png": png(picture(0, 8, 8)), "m/small.png": png(half)}, Path())
    assert set(run("p", mask=Path("m"), told=told)) == {"one.png", "two.png"}
    assert "small.png is 16x12, but p/small.png 8x8" in told[0] and "no picture called three" in told[1]


def test_label_maps_are_read_as_numbers(use: Callable[[System], System]) -> None:
    use(Painter())
    write({"maps/1.png": png(classes(1)), "inst/1.png": png(classes(1) + 3)}, Path())
    made = run("maps", instances=Path("inst"), sheet=True)
    assert np.array_equal(made["1.png"][..., 0], classes(1) * 10) and np.array_equal(
        made["1.png"][..., 2], classes(1) + 3
    )
    assert "before-and-after.png" in made
    with pytest.raises(BadInput, match="needs --instances"):
        run("maps")


def test_neighbours_of_one_size_go_together(use: Callable[[System], System]) -> None:
    system = use(Tinted())
    sizes = [(16, 12), (16, 12), (16, 12), (8, 8), (16, 12)]
    write({f"p/{k}.png": png(picture(k, *size)) for k, size in enumerate(sizes)}, Path())
    together = run("p", batch=2)
    assert system.calls == [2, 1, 1, 1]
    assert {name: made.tobytes() for name, made in together.items()} == {n: m.tobytes() for n, m in run("p").items()}


def test_backwards_and_the_sheet(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"one.png": png(FIRST)}, Path())
    made = run("one.png", backwards=True, sheet=True)
    assert np.array_equal(
        made["one.png"], (2 * FIRST.astype(int) - tint(0, np.full_like(FIRST, 0)) - FIRST).clip(0, 255)
    )
    assert made["before-and-after.png"].shape[0] == translating.TILE + translating.GAP


def test_one_channel_becomes_grey(use: Callable[[System], System]) -> None:
    use(Plain())
    write({"one.png": png(FIRST)}, Path())
    assert np.array_equal(run("one.png")["one.png"], FIRST[..., :1].repeat(3, 2))


def test_what_cant_be_read_or_translated_is_told_and_the_rest_is_done(use: Callable[[System], System]) -> None:
    use(Tinted())
    write({"p/bad.png": b"\x89PNG", "p/good.png": png(FIRST), "p/tall.png": png(picture(1, 8, 60))}, Path())
    told: list[str] = []
    assert set(run("p", told=told)) == {"good.png"}
    assert "p/bad.png" in told[0] and "p/tall.png: Tinted takes at most 40 rows" in told[1]
    with pytest.raises(BadInput, match="at most 40 rows"):
        run("p/tall.png", told=[])
    with pytest.raises(BadInput, match="None of the pictures"):
        run("p/bad.png", told=[])


@pytest.mark.parametrize(
    ("system", "order", "words"),
    [
        (Plain(), {"seed": 1}, "takes no seed.*bicyclegan"),
        (Plain(), {"count": 2}, "takes no seed.*munit"),
        (Plain(), {"style": (Path("one.png"),)}, "takes no style.*munit"),
        (Plain(), {"walk": 4}, "takes no style"),
        (Plain(), {"backwards": True}, "takes no backwards.*cyclegan"),
        (Tinted(), {"instances": Path("one.png")}, "takes no instances.*pix2pixhd"),
        (Duel(), {}, "can't translate pictures.*pix2pix"),
        (Tinted(), {"style": (Path("one.png"),), "style_labels": Path("one.png")}, "no --style-labels.*: sean"),
    ],
)
def test_what_a_system_cant_do_names_those_that_can(
    use: Callable[[System], System], system: System, order: dict[str, Any], words: str
) -> None:
    use(system)
    write({"one.png": png(FIRST)}, Path())
    with pytest.raises(CannotDo, match=words):
        run("one.png", **order)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"count": 0}, "-n 0"),
        ({"walk": 1}, "--walk 1"),
        ({"walk": 4, "count": 2}, "--walk"),
        ({"walk": 4, "style": (Path("one.png"),)}, "two or more"),
        ({"style": (Path("one.png"),), "count": 2}, "-n is for"),
        ({"video": True}, "--video is for --walk"),
        ({"style_labels": Path("map.png")}, "label maps of --style pictures"),
        ({"batch": 0}, "--batch 0"),
    ],
    ids=str,
)
def test_orders_that_contradict_themselves_are_refused(order: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Order(**order)


@pytest.mark.parametrize(("path", "words"), [("nowhere.png", "nowhere.png"), ("empty", "no pictures in empty")])
def test_where_nothing_is_nothing_is_translated(use: Callable[[System], System], path: str, words: str) -> None:
    use(Tinted())
    Path("empty").mkdir()
    with pytest.raises(BadInput, match=words):
        run(path)
