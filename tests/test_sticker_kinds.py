"""Sticker World data: every kind in memory and as folders, the same again whenever it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.errors import BadInput, DiskFull
from limner.stickers import folders, kinds
from limner.stickers.folders import make
from limner.stickers.kinds import KINDS, PAIRINGS, Kind, StickerData, scene
from limner.stickers.source import Crowds, Lineups
from limner.stickers.vocabulary import storybook_nouns
from limner.stickers.world import SceneTruth, combination_is_held_out


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_in_range_and_repeat(sticker_art: Path, kind: Kind) -> None:
    data = StickerData(kind, 64, 48, seed=4)
    batch, again, other = data.batch(7, 3), data.batch(7, 3), data.batch(8, 3)
    assert len(batch) == 3
    for name, value in vars(batch).items():
        if not isinstance(value, torch.Tensor):
            assert len(value) == 3 and all(isinstance(text, str) and text for text in value)
            assert value == getattr(again, name)
            continue
        assert torch.equal(value, getattr(again, name))
        assert not torch.equal(value, getattr(other, name))
        if value.dtype == torch.int64:
            assert value.shape == (3, 48, 64) and value.min() >= 0
        else:
            assert value.shape == (3, 3, 48, 64) and value.min() >= -1 and value.max() <= 1 and value.std() > 0.1


def test_a_sample_does_not_depend_on_the_batch_it_is_in(sticker_art: Path) -> None:
    data = StickerData("captioned", 64, 36)
    assert torch.equal(data.batch(5, 4).pictures[:2], data.batch(5, 2).pictures)


def test_training_never_sees_a_held_out_combination() -> None:
    train = [scene(1, index) for index in range(400)]
    held_out = [scene(1, index, split="held-out") for index in range(25)]
    assert not any(map(combination_is_held_out, train))
    assert all(map(combination_is_held_out, held_out))


@pytest.mark.parametrize("told", [Crowds(1).told, Lineups(1).told], ids=["crowds", "lineups"])
def test_nor_does_what_the_storybook_learns_from(told: Callable[[int], tuple[SceneTruth, str]]) -> None:
    assert not any(combination_is_held_out(told(number)[0]) for number in range(400))


def test_held_out_edits_and_training_edits_do_not_meet(sticker_art: Path) -> None:
    for index in range(40):
        _, _, made = kinds.edited(1, index, 64, 36)
        assert not combination_is_held_out(made.before) and not combination_is_held_out(made.after)
    for index in range(3):
        _, _, made = kinds.edited(1, index, 64, 36, split="held-out")
        assert combination_is_held_out(made.before) or combination_is_held_out(made.after)


def test_only_the_nouns_asked_for_appear() -> None:
    allowed = {noun.name for noun in storybook_nouns()}
    seen = {thing.noun for index in range(150) for thing in scene(3, index, nouns=storybook_nouns()).things}
    assert seen <= allowed and len(seen) > 60


def test_pairs_are_decided_by_their_source(sticker_art: Path) -> None:
    for index in range(30):
        source, target, truth = kinds.paired(2, index, 96, 54)
        assert truth.weather == "clear" and all(thing.colour is None for thing in truth.things)
        assert np.ptp(source.astype(int), axis=2).max() <= 12  # ink and paper
        assert source.shape == target.shape and not np.array_equal(source, target)
    day, night, _ = kinds.paired(2, 0, 96, 54, pairing="night")
    assert day.mean() > night.mean() + 10


@pytest.mark.parametrize("mistake", [{"kind": "clips"}, {"split": "test"}])
def test_unknown_kinds_and_splits_are_named(mistake: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="captioned" if "kind" in mistake else "held-out"):
        StickerData(**mistake)
    with pytest.raises(BadInput, match="lines, labels, night"):
        kinds.paired(0, 0, pairing="sepia")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_folders_hold_what_memory_holds_and_resume_where_they_stopped(
    sticker_art: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    whole = contents(make(kind, 5, (64, 36), tmp_path / "whole", seed=9))
    writes = 0
    write = folders.write_whole

    def failing(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == 6:
            raise OSError(28, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(folders, "write_whole", failing)
    with pytest.raises(DiskFull, match="same command again"):
        make(kind, 5, (64, 36), tmp_path / "stopped", seed=9)
    monkeypatch.undo()
    monkeypatch.setenv("LIMNER_HOME", str(sticker_art))
    assert 0 < len(contents(tmp_path / "stopped")) < len(whole)
    assert contents(make(kind, 5, (64, 36), tmp_path / "stopped", seed=9)) == whole


def test_a_captioned_folder_tells_the_truth(sticker_art: Path, tmp_path: Path) -> None:
    folder = make("captioned", 4, (128, 72), tmp_path / "data", seed=1)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for index, line in enumerate(lines):
        picture, text, truth = kinds.captioned(1, index, 128, 72)
        assert np.array_equal(np.asarray(Image.open(folder / line["file_name"])), picture)
        assert line["text"] == text and line["place"] == truth.place
        assert [thing["noun"] for thing in line["objects"]] == [thing.noun for thing in truth.things]
        assert all(0 <= edge <= 1 for thing in line["objects"] for edge in thing["box"])
        assert all(relation["subject"] < len(truth.things) for relation in line["relations"])


def test_label_maps_keep_all_sixteen_bits(sticker_art: Path, tmp_path: Path) -> None:
    folder = make("labelled", 3, (128, 72), tmp_path / "data", seed=1)
    names = json.loads((folder / "classes.json").read_text())
    for index in range(3):
        _, classes, instances, truth = kinds.labelled(1, index, 128, 72)
        assert np.array_equal(np.asarray(Image.open(folder / f"classes/{index:06d}.png")), classes)
        assert np.array_equal(np.asarray(Image.open(folder / f"instances/{index:06d}.png")), instances)
        assert {names[number] for number in np.unique(classes[instances > 0])} <= {t.noun for t in truth.things}


def test_edit_folders_use_the_columns_of_the_hub(sticker_art: Path, tmp_path: Path) -> None:
    folder = make("edits", 3, (64, 36), tmp_path / "data")
    for line in map(json.loads, (folder / "metadata.jsonl").read_text().splitlines()):
        assert {"original_image", "edited_image", "edit_prompt"} <= set(line)
        assert (folder / line["original_image"]).is_file() and (folder / line["edited_image"]).is_file()


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_pairs_share_their_names(sticker_art: Path, tmp_path: Path, pairing: kinds.Pairing) -> None:
    folder = make("paired", 3, (64, 36), tmp_path / "data", pairing=pairing)
    assert [p.name for p in sorted((folder / "A").iterdir())] == [p.name for p in sorted((folder / "B").iterdir())]


def test_foreign_folders_and_impossible_orders_are_refused(sticker_art: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("private")
    with pytest.raises(BadInput, match="not empty"):
        make("captioned", 1, (64, 36), tmp_path / "mine")
    make("captioned", 1, (64, 36), tmp_path / "other", seed=1)
    with pytest.raises(BadInput, match="another recipe"):
        make("captioned", 1, (64, 36), tmp_path / "other", seed=2)
    for size in ((8, 8), (90_000, 50_000), (36, 640), (640, 36)):
        with pytest.raises(BadInput, match="can't be made"):
            make("captioned", 1, size, tmp_path / "new")
    with pytest.raises(BadInput, match="one or more"):
        make("captioned", 0, (64, 36), tmp_path / "new")


def test_every_kind_has_a_contact_sheet(sticker_art: Path, tmp_path: Path) -> None:
    from limner.stickers.sheet import show

    for path in show(tmp_path / "sheets"):
        assert Image.open(path).size[0] > 1000
    assert sorted(path.stem for path in (tmp_path / "sheets").iterdir()) == sorted(KINDS)
