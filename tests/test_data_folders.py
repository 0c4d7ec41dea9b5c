"""Data of one's own: what the layouts are taken for, what a sample shows, and what becomes of broken files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_folders import (
    Files,
    captioned,
    classes,
    labelled,
    masked,
    paired,
    picture,
    png,
    posed,
    side_by_side,
    unpaired,
    write,
)
from limner.data.files import open_files
from limner.data.folder import Folder
from limner.data.kinds import Batch, Captioned, Labelled, Masked, Paired, Pictures, Posed, Unpaired
from limner.data.layouts import LAYOUTS, Listing, entry
from limner.data.prepare import Preparation
from limner.data.strokes import strokes
from limner.errors import BadInput

AS_IS = Preparation(resize=None, crop=None, flip=False)


def opened(path: Path, kind: type[Batch], preparation: Preparation = AS_IS, **options: object) -> Folder:
    return Folder(Listing(str(path), open_files(path)), kind, preparation=preparation, **options)


def whole(batch: torch.Tensor) -> np.ndarray:
    """Pictures as the uint8 (B, H, W, 3) that they were made of."""
    return ((batch + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def numbers(batch: torch.Tensor) -> list[int]:
    """The numbers that `data_folders.picture` wrote into the first pixels."""
    return [int(one[0, 0, 0]) for one in whole(batch)]


# Layouts

CITYSCAPES = {
    "gtFine/train/aachen/aachen_1_gtFine_labelIds.png": png(classes(0)),
    "gtFine/train/aachen/aachen_1_gtFine_instanceIds.png": png(classes(0).astype(np.uint16)),
    "gtFine/train/aachen/aachen_1_gtFine_color.png": png(picture(9)),
    "leftImg8bit/train/aachen/aachen_1_leftImg8bit.png": png(picture(0)),
    "leftImg8bit/test/bonn/bonn_1_leftImg8bit.png": png(picture(0)),
}
ADE = {"images/training/1.png": png(picture(0)), "annotations/training/1.png": png(classes(0))}


@pytest.mark.parametrize(
    ("files", "kind", "counts"),
    [
        (paired(3), Paired, [3]),
        (paired(3, ("train/A", "train/B")), Paired, [3]),
        (paired(3, ("A/train", "B/train")), Paired, [3]),
        (paired(3, ("trainA", "trainB")), Paired, [3]),
        (paired(3, ("train_A", "train_B")), Paired, [3]),
        (paired(3, ("facades/source", "facades/target")), Paired, [3]),
        (side_by_side(3), Paired, [3]),
        (side_by_side(3, "maps/train") | side_by_side(2, "maps/val"), Paired, [3]),
        (side_by_side(3, "everything"), Paired, [3]),
        (unpaired(3, 5), Unpaired, [3, 5]),
        (unpaired(3, 5) | {"testA/1.png": png(picture(1))}, Unpaired, [3, 5]),
        (paired(3), Unpaired, [3, 3]),
        (labelled(3), Labelled, [3]),
        (labelled(3, ""), Labelled, [3]),
        (CITYSCAPES, Labelled, [1]),
        (ADE, Labelled, [1]),
        (captioned(3), Captioned, [3]),
        (captioned(3, texts=True), Captioned, [3]),
        (masked(3, 2), Masked, [3, 2]),
        (posed(2, 3), Posed, [12]),
        (posed(2, 3, "train/{person}/{shot}"), Posed, [12]),
        (posed(2, 3, "WOMEN/Dresses/id_7/{person:02d}_{shot}_front"), Posed, [12]),
        (captioned(3), Masked, [3]),
        (captioned(3), Pictures, [3]),
        (unpaired(3, 5), Pictures, [8]),
        ({"a cat.png": png(picture(0)), "deep/er/dog.PNG": png(picture(1)), ".DS_Store": b"x"}, Pictures, [2]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar"])
def test_layouts_are_found_wherever_they_lie(
    tmp_path: Path, files: Files, kind: type[Batch], counts: list[int], suffix: str
) -> None:
    source = opened(write(files, tmp_path / f"data{suffix}"), kind)
    assert [len(stream.samples) for stream in source.layout.streams] == counts
    batch = source.take([0, 1])
    assert type(batch) is kind and len(batch) == 2


PART = st.sampled_from(["", "train", "val", "test"])
ROLE = st.sampled_from(["", "A", "B", "label", "inst", "img", "masks"])
NAMES = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_ ü.", min_size=3, max_size=12).filter(
    lambda name: entry(f"{name}/x.png").role == "pictures" and entry(f"{name}/x.png").part == "" and name.strip(".")
)


@given(PART, ROLE, st.lists(NAMES, max_size=2), NAMES, st.sampled_from(["joined", "_", "part first", "role first"]))
def test_part_role_and_key_are_read_whatever_the_spelling(
    part: str, role: str, around: list[str], stem: str, spelling: str
) -> None:
    folders = {
        "joined": [part + role], "_": [f"{part}_{role}" if part and role else part + role],
        "part first": [part, role], "role first": [role, part],
    }[spelling]  # fmt: skip
    name = "/".join([*around, *(folder for folder in folders if folder), f"{stem}.png"])
    roles = {"label": "labels", "inst": "instances", "img": "pictures", "": "pictures"}
    found = entry(name)
    assert found is not None
    assert (found.part, found.role, found.suffix) == (part, roles.get(role, role), ".png")
    assert found.key == "/".join([*around, stem])


def test_shards_group_by_the_name_before_the_first_dot(tmp_path: Path) -> None:
    for shard in range(2):
        files: Files = {}
        for n in range(3):
            number = 10 * shard + n
            files[f"{n:04d}.source.png"], files[f"{n:04d}.target.png"] = (
                png(picture(number)),
                png(255 - picture(number)),
            )
        write(files, tmp_path / f"shard-{shard}.tar")
    batch = opened(tmp_path, Paired).take(range(6))
    assert isinstance(batch, Paired) and sorted(numbers(batch.source)) == [0, 1, 2, 10, 11, 12]
    assert torch.allclose(batch.source, -batch.target, atol=1e-6)

    captions = {f"{n}.png": png(picture(n)) for n in range(3)} | {
        f"{n}.json": b'{"caption": "c%d"}' % n for n in range(3)
    }
    batch = opened(write(captions, tmp_path / "captions.tar"), Captioned).take(range(3))
    assert isinstance(batch, Captioned) and batch.captions == tuple(f"c{n}" for n in numbers(batch.pictures))


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        (captioned(2), Paired, "captions, not pairs"),
        (captioned(2, texts=True), Paired, "captions, not pairs"),
        (paired(2), Captioned, "metadata.jsonl"),
        (unpaired(2, 2), Paired, "no names in common"),
        (paired(2), Labelled, "train_label"),
        (side_by_side(2), Unpaired, "trainA and trainB"),
        ({"A/1.png": png(picture(0))}, Paired, "A and B"),
        (paired(2), Masked, "masks"),
        ({"test/1.png": png(picture(0))}, Pictures, "no pictures"),
        ({"notes.txt": b"hello"}, Pictures, "no pictures"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_data_of_another_kind_are_one_clear_error(tmp_path: Path, files: Files, kind: type[Batch], words: str) -> None:
    with pytest.raises(BadInput, match=words) as error:
        opened(write(files, tmp_path / "data"), kind)
    assert f"no {kind.__name__} data" in str(error.value) and "limner data check" in str(error.value)


def test_what_is_no_place_of_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and then nothing")
    (tmp_path / "broken.tar").write_bytes(b"no tar at all" * 100)
    (tmp_path / "data.tar.gz").write_bytes(b"\x1f\x8b")
    for name in ("nowhere", "broken.zip", "broken.tar", "data.tar.gz"):
        with pytest.raises(BadInput, match=name):
            open_files(tmp_path / name)


def test_links_in_circles_end(tmp_path: Path) -> None:
    write(side_by_side(2), tmp_path / "data")
    (tmp_path / "data" / "train" / "again").symlink_to(tmp_path / "data")
    assert len(open_files(tmp_path / "data").names) == 2


# Samples


@pytest.mark.parametrize("make", [lambda: paired(7), lambda: side_by_side(7)], ids=["by name", "side by side"])
def test_pairs_belong_together(tmp_path: Path, make: Callable[[], Files]) -> None:
    batch = opened(write(make(), tmp_path / "data"), Paired, Preparation(20, crop=(8, 9))).take(range(21))
    assert isinstance(batch, Paired) and batch.source.shape == (21, 3, 8, 9)
    assert torch.allclose(batch.source, -batch.target, atol=2 / 127.5)  # resampled and mirrored alike


def test_labels_are_cut_with_their_pictures_and_never_blended(tmp_path: Path) -> None:
    files: Files = {}
    for number in range(4):
        drawn = classes(number, 24, 16)
        colours = np.stack([drawn * 50, drawn * 20, drawn], 2)
        files[f"train_img/{number}.png"], files[f"train_label/{number}.png"] = png(colours), png(drawn)
    path = write(files, tmp_path / "data")
    batch = opened(path, Labelled, Preparation(None, crop=8)).take(range(12))
    assert isinstance(batch, Labelled) and batch.classes.dtype == torch.int64
    assert np.array_equal(whole(batch.pictures)[..., 2], batch.classes.numpy())
    assert not batch.instances.any()
    larger = opened(path, Labelled, Preparation(40, crop=32)).take(range(4))
    assert isinstance(larger, Labelled) and set(larger.classes.unique().tolist()) <= set(range(5))


def test_instances_keep_all_their_bits(tmp_path: Path) -> None:
    batch = opened(write(labelled(2), tmp_path / "data"), Labelled).take([0, 1])
    assert isinstance(batch, Labelled) and torch.equal(batch.instances, batch.classes * 1000 + 7)


def test_captions_belong_to_their_pictures(tmp_path: Path) -> None:
    for texts in (False, True):
        batch = opened(write(captioned(5, texts=texts), tmp_path / f"data{texts}"), Captioned).take(range(10))
        assert isinstance(batch, Captioned)
        assert batch.captions == tuple(f"picture {number}" for number in numbers(batch.pictures))


def test_of_several_captions_the_number_chooses(tmp_path: Path) -> None:
    files = {"1.png": png(picture(1)), "1.txt": "one\n\n two \nüber\n".encode()}
    batch = opened(write(files, tmp_path / "data"), Captioned).take(range(40))
    assert isinstance(batch, Captioned) and set(batch.captions) == {"one", "two", "über"}


def test_masks_are_bools_of_one_channel(tmp_path: Path) -> None:
    batch = opened(write(masked(3, 2), tmp_path / "data"), Masked).take(range(4))
    assert isinstance(batch, Masked) and batch.masks.shape == (4, 1, 12, 16) and batch.masks.dtype == torch.bool
    assert batch.masks.flatten(1).all(1).sum() == 2


def test_pictures_without_masks_get_strokes_by_number(tmp_path: Path) -> None:
    path = write({"images/1.png": png(picture(1)), "images/2.png": png(picture(2))}, tmp_path / "data")
    source = opened(path, Masked, Preparation((48, 64), crop=None))
    batch = source.take(range(40))
    assert isinstance(batch, Masked) and batch.masks.shape == (40, 1, 48, 64) and batch.masks.dtype == torch.bool
    covered = batch.masks.float().mean((1, 2, 3))
    assert covered.min() > 0 and covered.max() < 1 and len(covered.unique()) > 35
    again = source.take([7])
    assert isinstance(again, Masked) and torch.equal(again.masks[0], batch.masks[7])


def test_strokes_grow_with_the_picture() -> None:
    small, large = (
        np.mean([strokes(side, side, np.random.default_rng(number)).mean() for number in range(60)])
        for side in (64, 256)
    )
    assert abs(small - large) < 0.08 and 0.2 < large < 0.6


def marked(x: int, y: int) -> tuple[bytes, bytes]:
    """A picture, black but for one pixel, and a person of whom only the right shoulder is seen, which is there."""
    shown = np.zeros((12, 16, 3), np.uint8)
    shown[y, x] = 255
    points = np.zeros((25, 3))
    points[2] = x, y, 0.5
    return png(shown), json.dumps({"people": [{"pose_keypoints_2d": points.flatten().tolist()}]}).encode()


def test_joints_stay_where_they_are_in_the_picture(tmp_path: Path) -> None:
    files: Files = {}
    for name, (x, y) in {"1_a": (6, 5), "1_b": (9, 7)}.items():
        files[f"{name}.png"], files[f"{name}.json"] = marked(x, y)
    path = write(files, tmp_path / "data")
    batch = opened(path, Posed, Preparation(None, crop=(9, 10), flip=True)).take(range(20))
    assert isinstance(batch, Posed)
    shoulders = batch.target_joints.isfinite().all(2).int().argmax(1)
    assert set(shoulders.tolist()) == {2, 5}, "mirrored, it is the left one"
    for shown, points in ((batch.source, batch.source_joints), (batch.target, batch.target_joints)):
        places = points[range(20), shoulders].long()
        assert (whole(shown)[range(20), places[:, 1], places[:, 0]] == 255).all()
        assert points.isfinite().sum() == 2 * 20
    assert torch.equal(shoulders, batch.source_joints.isfinite().all(2).int().argmax(1))
    larger = opened(path, Posed, Preparation((36, 32), crop=None, flip=False)).take(range(2))
    assert isinstance(larger, Posed)
    assert sorted(larger.source_joints[:, 2].tolist()) == [[12.5, 16.0], [18.5, 22.0]], (
        "a pixel's middle stays its middle"
    )


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"people": []}, "nobody was found"),
        ({"people": [{"pose_keypoints_2d": [1, 2, 3]}]}, "18 or 25 points"),
        ({"persons": []}, "no joints as OpenPose writes them"),
        (["people"], "no joints as OpenPose writes them"),
    ],
)
def test_people_who_were_not_found_are_told(tmp_path: Path, told: object, words: str) -> None:
    heard: list[str] = []
    files = posed(1, 3) | {"0000_c1_keypoints.json": json.dumps(told).encode()}
    batch = opened(write(files, tmp_path / "data"), Posed, told=heard.append).take(range(6))
    assert isinstance(batch, Posed) and 1 not in numbers(batch.source) + numbers(batch.target)
    assert all(words in one and "0000_c1_keypoints.json" in one for one in heard) and heard


def test_the_person_who_is_seen_best_is_taken(tmp_path: Path) -> None:
    batch = opened(write(posed(1, 2), tmp_path / "data"), Posed).take(range(2))
    assert isinstance(batch, Posed)
    assert sorted(batch.source_joints[:, 0].tolist()) == [[0, 0], [1, 0]]
    assert batch.source_joints.isnan().all(2).nonzero().tolist() == [[0, 7], [1, 7]]


def test_an_epoch_shows_everything_once_and_the_next_in_another_order(tmp_path: Path) -> None:
    source = opened(write(unpaired(5, 8), tmp_path / "data"), Unpaired)
    batch = source.take(range(40))
    assert isinstance(batch, Unpaired)
    for shown, count in ((numbers(batch.a), 5), (numbers(batch.b), 8)):
        epochs = [shown[i : i + count] for i in range(0, 40, count)]
        assert len({tuple(sorted(epoch)) for epoch in epochs}) == 1 and len(set(epochs[0])) == count
        assert len({tuple(epoch) for epoch in epochs}) > 1


@settings(max_examples=20)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6), st.integers(0, 5))
def test_a_sample_is_a_function_of_seed_and_number(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[int], seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "pure"
    if not path.exists():
        write(paired(5), path)
    preparation = Preparation(20, crop=12)
    one = opened(path, Paired, preparation, seed=seed)
    batch = one.take(wanted)
    other = opened(path, Paired, preparation, seed=seed)
    for place, number in enumerate(wanted):
        again = other.take([number])
        assert torch.equal(batch.source[place], again.source[0]) and torch.equal(batch.target[place], again.target[0])


def test_memory_for_decoded_pictures_is_bounded_and_changes_nothing(tmp_path: Path) -> None:
    path = write(paired(6), tmp_path / "data")
    free, bounded = opened(path, Paired), opened(path, Paired)
    bounded._room = 2 * 2 * 12 * 16 * 3
    for first in (0, 6):
        wanted = range(first, first + 6)
        assert torch.equal(free.take(wanted).source, bounded.take(wanted).source)
    assert len(bounded._kept) == 2 and len(free._kept) == 6


def test_held_out_is_the_val_part_whole_and_in_order_of_no_chance(tmp_path: Path) -> None:
    files = side_by_side(3) | side_by_side(2, "val", first=50) | side_by_side(2, "test", first=90)
    source = opened(write(files, tmp_path / "data"), Paired, Preparation(20, crop=(12, 16)))
    held_out = source.held_out()
    assert held_out is not None and len(held_out) == 2
    assert sorted(numbers(held_out.take([0, 1]).source)) == [50, 51]
    assert opened(write(paired(2), tmp_path / "other"), Paired).held_out() is None


def test_backwards_turns_pairs_and_domains(tmp_path: Path) -> None:
    back = Preparation(None, crop=None, flip=False, backwards=True)
    pairs, domains = write(paired(3), tmp_path / "pairs"), write(unpaired(2, 2), tmp_path / "domains")
    forth, turned = opened(pairs, Paired).take([0]), opened(pairs, Paired, back).take([0])
    assert torch.equal(forth.source, turned.target) and torch.equal(forth.target, turned.source)
    assert numbers(opened(domains, Unpaired, back).take([0]).a)[0] >= 100
    with pytest.raises(BadInput, match="one direction"):
        opened(write(captioned(1), tmp_path / "captions"), Captioned, back)


def test_targets_may_be_a_factor_larger(tmp_path: Path) -> None:
    files: Files = {}
    for number in range(2):
        small = picture(number)
        files[f"A/{number}.png"], files[f"B/{number}.png"] = png(small), png(small.repeat(3, 0).repeat(3, 1))
    path = write(files, tmp_path / "data")
    batch = opened(path, Paired, Preparation(None, crop=5, factor=3)).take(range(8))
    assert isinstance(batch, Paired)
    assert torch.equal(batch.source.repeat_interleave(3, 2).repeat_interleave(3, 3), batch.target)


# Preparation


@given(
    st.integers(4, 60), st.integers(4, 60), st.sampled_from(["both", "shorter", "width"]), st.integers(4, 40),
    st.one_of(st.none(), st.integers(4, 40)), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_sizes_after_preparation(
    width: int, height: int, fit: str, resize: int, crop: int | None, flip: bool, seed: int
) -> None:
    drawn = picture(3, width, height)
    try:
        preparation = Preparation(resize, fit, crop, flip)
        layers = preparation.resized((drawn, drawn[..., 0].astype(np.int32)))
    except BadInput as error:
        assert crop is not None and "crop" in str(error)
        return
    tall, wide = layers[0].shape[:2]
    if fit == "both":
        assert (wide, tall) == (resize, resize)
    elif fit == "width":
        assert wide == resize and abs(tall - height * resize / width) <= 1
    else:
        assert min(wide, tall) == resize
    cut = preparation.cut(layers, np.random.default_rng(seed))
    assert cut[0].shape[:2] == cut[1].shape == ((crop, crop) if crop else (tall, wide))
    assert preparation.size() in (None, cut[1].shape[::-1])
    assert set(np.unique(cut[1])) <= set(np.unique(drawn[..., 0]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resize": 64, "crop": 65}, "crop=65"),
        ({"resize": (32, 64), "crop": 64}, "crop=64"),
        ({"resize": 0}, "resize=0"),
        ({"crop": -3}, "crop=-3"),
        ({"resize": (32, 64), "crop": 64, "fit": "width"}, "crop=64"),
        ({"factor": 0}, "factor=0"),
        ({"factor": 2}, "resize=null"),
    ],
    ids=str,
)
def test_impossible_preparations_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Preparation(**options)


# Broken files


def test_broken_files_are_told_once_and_passed_over(tmp_path: Path) -> None:
    files = paired(6)
    files["A/2.png"] = files["A/2.png"][:60]
    files["B/4.png"] = b""
    heard: list[str] = []
    source = opened(write(files, tmp_path / "data"), Paired, told=heard.append)
    shown = [number for first in range(0, 60, 6) for number in numbers(source.take(range(first, first + 6)).source)]
    assert set(shown) == {0, 1, 3, 5} and len(heard) == 2
    assert any("A/2.png is damaged" in told for told in heard) and any("B/4.png is empty" in told for told in heard)
    assert shown == [
        number
        for first in range(0, 60, 6)
        for number in numbers(opened(tmp_path / "data", Paired).take(range(first, first + 6)).source)
    ]


@pytest.mark.parametrize(
    ("files", "preparation", "words"),
    [
        ({"A/2.png": png(picture(2, 16, 13))}, AS_IS, "16x13.*16x12.*pixel by pixel"),
        ({"A/2.png": png(picture(2, 32, 12))}, Preparation(12, crop=8), "32x12.*16x12.*pixel by pixel"),
        (dict.fromkeys(("A/2.png", "B/2.png"), png(picture(2, 4, 12))), Preparation(None, crop=8), "4x12, smaller"),
        ({"A/2.png": png(picture(2, 1, 1))}, AS_IS, "1x1"),
    ],
    ids=["another size", "another shape", "too small", "one pixel"],
)
def test_a_pair_that_does_not_fit_is_told_and_left_out(
    tmp_path: Path, files: Files, preparation: Preparation, words: str
) -> None:
    heard: list[str] = []
    source = opened(write(paired(4) | files, tmp_path / "data"), Paired, preparation, told=heard.append)
    source.take(range(8))
    (told,) = heard
    assert re.search(words, told) and "A/2.png" in told


def test_pairs_without_a_partner_are_told(tmp_path: Path) -> None:
    files = paired(4) | {"A/extra.png": png(picture(9)), "B/1.jpg": png(picture(9))}
    layout = opened(write(files, tmp_path / "data"), Paired).layout
    assert str(layout) == "4 pairs of A and B by name"
    assert any("A/extra.png" in told for told in layout.complaints)
    assert any("same name" in told and "B/1." in told for told in layout.complaints)


def test_labels_out_of_range_are_told_and_left_out(tmp_path: Path) -> None:
    files = labelled(4)
    wild = classes(2)
    wild[3, 3], wild[0, 0] = 40, 255
    files["train_label/2.png"] = png(wild)
    heard: list[str] = []
    path = write(files, tmp_path / "data")
    assert opened(path, Labelled).decides(["classes", "unknown"]) == {"classes": 41, "unknown": True}
    source = opened(path, Labelled, classes=5, told=heard.append)
    source.take(range(8))
    assert len(heard) == 1 and "train_label/2.png has pixels of class 40" in heard[0]

    wild[3, 3] = 0
    write({"train_label/2.png": png(wild)}, path)
    assert opened(path, Labelled).decides(["classes"]) == {"classes": 5, "unknown": True}
    opened(path, Labelled, classes=5, told=pytest.fail).take(range(8))
    opened(path, Labelled, classes=5, unknown=False, told=heard.append).take(range(8))
    assert "class 255" in heard[-1]

    write({"classes.json": json.dumps(["sky"] * 30).encode()}, path)
    assert opened(path, Labelled).decides(["classes"])["classes"] == 30


def test_when_everything_is_broken_training_stops_with_the_first_reason(tmp_path: Path) -> None:
    files = {name: content[:50] for name, content in paired(3).items()}
    with pytest.raises(BadInput, match=r"Every sample .* is broken. The first: [AB]/\d.png is"):
        opened(write(files, tmp_path / "data"), Paired).take([0])


def test_a_batch_of_different_sizes_says_what_to_set(tmp_path: Path) -> None:
    files = {"1.png": png(picture(1)), "2.png": png(picture(2, 20, 20))}
    with pytest.raises(BadInput, match=r"16x12, 20x20: set crop"):
        opened(write(files, tmp_path / "data"), Pictures).take([0, 1])


def test_bad_captions_are_told(tmp_path: Path) -> None:
    files = captioned(4)
    lines = files["metadata.jsonl"].decode().splitlines()
    lines[1:3] = ["{not json", json.dumps({"file_name": "images/nothing.png", "text": "x"})]
    files["metadata.jsonl"] = "\n".join([*lines, json.dumps({"file_name": "images/2.png"}), ""]).encode()
    layout = opened(write(files, tmp_path / "data"), Captioned).layout
    assert len(layout.streams[0].samples) == 2
    told = "\n".join(layout.complaints)
    for words in ("line 2: should be", "line 3: there is no images/nothing.png", "line 5", "images/1.png is left out"):
        assert words in told

    heard: list[str] = []
    texts = captioned(3, texts=True) | {"images/1.txt": b"\xff\xfe\xff", "images/2.txt": b" \n"}
    batch = opened(write(texts, tmp_path / "texts"), Captioned, told=heard.append).take(range(6))
    assert set(batch.captions) == {"picture 0"} and len(heard) == 2


def test_a_tar_that_was_cut_or_scribbled_on_is_told(tmp_path: Path) -> None:
    path = write(side_by_side(5), tmp_path / "data.tar")
    content = bytearray(path.read_bytes())
    places = open_files(path).places
    _, offset, _ = places["train/3.png"]
    (tmp_path / "cut.tar").write_bytes(content[: offset + 100])
    heard: list[str] = []
    cut = opened(tmp_path / "cut.tar", Paired, told=heard.append)
    cut.take(range(8))
    assert any("cut off" in told or "damaged" in told for told in [*heard, *cut.listing.files.complaints])

    content[offset - 512 : offset - 400] = b"\xff" * 112
    (tmp_path / "scribbled.tar").write_bytes(content)
    files = open_files(tmp_path / "scribbled.tar")
    assert len(files.names) == 3 and "scribbled.tar is damaged after 3 files" in files.complaints[0]


def test_a_zip_that_lies_about_its_members_is_told(tmp_path: Path) -> None:
    path = write(side_by_side(3), tmp_path / "data.zip")
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT")
    content[place + 10 : place + 40] = bytes(30)  # the checksum no longer fits
    path.write_bytes(content)
    heard: list[str] = []
    opened(path, Paired, told=heard.append).take(range(6))
    assert len(heard) == 1 and "can't be read from data.zip" in heard[0]


def test_every_layout_is_told_in_words(tmp_path: Path) -> None:
    listing = Listing("empty", open_files(tmp_path))
    for find in LAYOUTS.values():
        with pytest.raises(BadInput):
            find(listing, "")
