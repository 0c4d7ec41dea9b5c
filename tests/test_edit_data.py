"""Edits as training data: folders, shards and latents of pairs, and what is left out of them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.data.files import open_files
from limner.data.folder import Folder
from limner.data.kinds import EditLatents, Edits
from limner.data.latents import LatentFolder
from limner.data.layouts import Listing
from limner.data.prepare import Preparation
from limner.edits.cost import cost
from limner.edits.shards import pairs_of, write_latents, write_shards
from limner.errors import BadInput
from limner.jobs.checking import check
from limner.jobs.sources import open_source
from limner.systems import find
from limner.systems.translation.pix2pix import Pix2Pix

AS_IT_IS = Preparation(resize=None, crop=None, flip=False)
Nothing = lambda *told: None


def jpeg(value: int, size: tuple[int, int] = (24, 16)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), value % 256, np.uint8)).save(file, "JPEG", quality=100)
    return file.getvalue()


def write_pairs(root: Path, prompts: int, seeds: Sequence[int] = (5, 70), key: str = "caption") -> Path:
    """The published layout; the picture before is as light as its prompt's number, the one after a bit lighter."""
    for n in range(prompts):
        folder = root / f"{n:07d}"
        folder.mkdir(parents=True)
        row = {key: f"caption {n}", "edit": f"make it {n}", "output": f"output {n}"}
        (folder / "prompt.json").write_text(json.dumps(row, indent=4))
        for place, seed in enumerate(seeds):
            (folder / f"{seed}_0.jpg").write_bytes(jpeg(4 * n))
            (folder / f"{seed}_1.jpg").write_bytes(jpeg(4 * n + 50 + 50 * place))
        rows = [
            {"seed": seed, "p2p_threshold": 0.5, "cfg_scale": 8.0, "clip_sim_0": 0.3, "clip_sim_1": 0.3}
            for seed in seeds
        ]
        lines = [json.dumps(row | {"clip_sim_dir": 0.3, "clip_sim_image": 0.8}) for row in rows]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return root


def opened(path: Path, told: list[str] | None = None, **options: Any) -> Folder:
    told = [] if told is None else told
    return Folder(Listing(str(path), open_files(path)), Edits, preparation=AS_IT_IS, told=told.append, **options)


def numbers(pictures: torch.Tensor) -> list[int]:
    return ((pictures.mean((1, 2, 3)) + 1) * 127.5).round().int().tolist()


# Folders


@pytest.mark.parametrize("key", ["caption", "input"])
def test_the_published_layout_is_read_with_both_key_names(tmp_path: Path, key: str) -> None:
    source = opened(write_pairs(tmp_path, 20, key=key))
    batch = source.take(range(18))
    assert isinstance(batch, Edits) and len(source) == 18  # 90 %
    order = [int(text.split()[-1]) for text in batch.instructions]
    assert sorted(order) == list(range(18)) and order != sorted(order)
    assert numbers(batch.before) == [4 * n for n in order]
    assert batch.captions_before == tuple(f"caption {n}" for n in order)
    assert batch.captions_after == tuple(f"output {n}" for n in order)


def test_every_draw_takes_one_of_a_prompts_pairs_by_chance(tmp_path: Path) -> None:
    source = opened(write_pairs(tmp_path, 2))
    batch = source.take(range(40))
    assert set(numbers(batch.after)) == {50, 100}
    assert numbers(batch.after) == numbers(opened(tmp_path).take(range(40)).after)
    assert numbers(source.take([7, 3]).after) == [numbers(batch.after)[7], numbers(batch.after)[3]]
    assert numbers(opened(tmp_path, seed=1).take(range(40)).after) != numbers(batch.after)


@pytest.mark.parametrize(("prompts", "parts"), [(20, (18, 1, 1)), (45, (40, 2, 3)), (110, (99, 5, 6))])
def test_parts_are_cut_at_the_floor(tmp_path: Path, prompts: int, parts: tuple[int, int, int]) -> None:
    write_pairs(tmp_path, prompts, seeds=[1])
    found = [opened(tmp_path, part=part) for part in ("", "val", "test")]
    assert tuple(map(len, found)) == parts
    samples = [sample for source in found for sample in source.layout.streams[0].samples]
    assert samples == sorted(samples) and len(samples) == prompts
    held_out = found[0].held_out()
    assert held_out is not None and held_out.layout.streams == found[1].layout.streams


def test_seeds_json_decides_where_there_is_one(tmp_path: Path) -> None:
    write_pairs(tmp_path, 4)
    (tmp_path / "seeds.json").write_text(json.dumps([["0000001", ["70"]], ["0000002", ["5", "70"]]]))
    source = opened(tmp_path, part="train")
    assert [len(stream.every) for stream in source.layout.streams] == [1]
    assert set(numbers(source.take(range(9)).after)) == {104}
    for content, message in ((b"[]", "chooses none"), (b"{", "should be a list"), (b"[1]", "should be a list")):
        (tmp_path / "seeds.json").write_bytes(content)
        with pytest.raises(BadInput, match=message):
            opened(tmp_path)


def test_what_is_broken_is_told_and_the_prompts_other_pair_taken(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    (tmp_path / "0000000/5_1.jpg").unlink()
    (tmp_path / "0000001/5_0.jpg").write_bytes(b"\xff\xd8 no")
    (tmp_path / "0000002/prompt.json").write_text('{"caption": "c", "edit": 3}')
    (tmp_path / "0000003/70_1.jpg").write_bytes(jpeg(9, (16, 16)))
    told: list[str] = []
    source = opened(tmp_path, told)
    assert "5_0.jpg is left out" in source.layout.complaints[0]
    batch = source.take(range(40))
    found = {
        (int(text.split()[-1]), value) for text, value in zip(batch.instructions, numbers(batch.after), strict=True)
    }
    assert found == {(0, 100), (1, 104), (3, 62)}
    assert len(told) == 4 and len(set(told)) == 3  # both pairs of prompt 2 have its one prompt.json
    assert sum(complaint is not None for complaint in source.complaints()) == 4


def test_a_broken_pair_changes_no_other_draw(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    before = opened(tmp_path).take(range(30))
    (tmp_path / "0000001/70_0.jpg").write_bytes(b"")
    source = opened(tmp_path)
    first, again = source.take(range(30)), source.take(range(30))
    assert torch.equal(first.after, again.after)
    changed = [n for n in range(30) if not torch.equal(before.after[n], first.after[n])]
    assert all(before.instructions[n] == "make it 1" for n in changed)


def test_the_hubs_columns_are_read_too(tmp_path: Path) -> None:
    for name, value in (("a", 10), ("b", 200)):
        (tmp_path / f"{name}.png").write_bytes(jpeg(value))
    rows = [
        {"original_image": "a.png", "edited_image": "b.png", "edit_prompt": "brighten it"},
        {"original_image": "a.png", "edited_image": "c.png", "edit_prompt": "lose it"},
        {"file_name": "a.png", "text": "another sort of row"},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join([*map(json.dumps, rows), "{"]))
    source = opened(tmp_path)
    assert source.layout.complaints == ("metadata.jsonl, line 2: there is no c.png.",)
    batch = source.take([0])
    assert batch.instructions == ("brighten it",) and numbers(batch.after) == [200] and batch.captions_after == ("",)


@given(
    st.lists(
        st.sampled_from(["1_0.jpg", "1_1.jpg", "x_0.jpg", "prompt.json", "2_0.jpg", "1_2.jpg", "1_0.txt"]), unique=True
    )
)
@settings(deadline=None, max_examples=40)
def test_a_folder_of_anything_is_edits_or_one_error(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any") / "0000000"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(
            b'{"caption": "a", "edit": "b", "output": "c"}' if name == "prompt.json" else jpeg(7)
        )
    whole = {"1_0.jpg", "1_1.jpg", "prompt.json"} <= set(names)
    try:
        assert opened(folder.parent).take([0]).instructions == ("b",)
    except BadInput:
        assert not whole
    else:
        assert whole


def test_data_check_says_what_an_editor_would_train_on(tmp_path: Path) -> None:
    write_pairs(tmp_path, 40)
    (tmp_path / "0000003/5_0.jpg").write_bytes(b"no")
    report = check(tmp_path, "instruct-pix2pix")
    text = "\n".join(report.lines())
    assert report.usable and "36 prompts of edits" in text and "1 of 72" in text and "2 prompts of edits" in text
    assert isinstance(open_source(str(tmp_path), find("instruct-pix2pix"), 0), Folder)


# Shards


def test_shards_have_what_the_folder_has(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", 20)
    count = write_shards(pairs_of(root, Nothing), tmp_path / "shards", size=7, told=Nothing, progress=Nothing)
    assert count == 40 and len(list((tmp_path / "shards").iterdir())) == 6
    folder, shards = opened(root), opened(tmp_path / "shards")
    assert len(shards) == len(folder) == 18  # a prompt whose pairs are in two shards is one prompt
    one, other = folder.take(range(40)), shards.take(range(40))
    assert one.instructions == other.instructions and torch.equal(one.before, other.before)
    assert sorted(numbers(one.after)) != [] and set(numbers(one.after)) == set(numbers(other.after))
    with tarfile.open(tmp_path / "shards/pairs-00000.tar") as tar:
        assert tar.getnames()[:3] == ["0000000-5.before.jpg", "0000000-5.after.jpg", "0000000-5.json"]


def test_shards_go_on_leave_out_what_is_broken_and_refuse_others(tmp_path: Path) -> None:
    root, told = write_pairs(tmp_path / "pairs", 4), list[str]()
    (root / "0000002/5_1.jpg").write_bytes(b"no picture")
    out = tmp_path / "shards"
    write_shards(pairs_of(root, told.append), out, size=3, told=told.append, progress=Nothing)
    assert len(told) == 1 and "0000002/5_1.jpg" in told[0]
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "pairs-00001.tar").unlink()
    write_shards(pairs_of(root, told.append), out, size=3, told=told.append, progress=Nothing)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    with pytest.raises(BadInput, match="holds other pairs"):
        write_shards(pairs_of(root, Nothing)[3:], out, size=3, told=Nothing, progress=Nothing)


def test_only_what_was_chosen_is_packed_and_nothing_to_pack_is_said(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", 2)
    (root / "0000000/metadata.jsonl").write_text("")
    assert [(pair.prompt, pair.seed) for pair in pairs_of(root, Nothing)] == [("0000001", "5"), ("0000001", "70")]
    (root / "0000001/metadata.jsonl").unlink()  # of a program that lists nothing: all of it
    assert len(pairs_of(root, Nothing)) == 2
    (root / "0000001/prompt.json").write_text("{")
    told: list[str] = []
    with pytest.raises(BadInput, match="limner edits filter"):
        pairs_of(root, told.append)
    assert "prompt.json should be a JSON object" in told[0]


# Latents


class Averages:
    """An autoencoder: a cell is the mean of 8 x 8 pixels, and its variance that of a picture's first number."""

    class autoencoder:
        @staticmethod
        def to(device: object) -> type:
            return Averages.autoencoder

        @staticmethod
        def encode(pictures: torch.Tensor, return_dict: bool) -> list[Any]:
            class Posterior:
                mean = torch.nn.functional.avg_pool2d(pictures, 8)
                logvar = mean - 1

            return [Posterior]


def stripes(root: Path) -> None:
    """Makes the pictures tell left from right."""
    for path in root.rglob("*.jpg"):
        picture = np.array(Image.open(path))
        picture[:, :12] //= 2
        Image.fromarray(picture).save(path, quality=100)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("latents")
    root = write_pairs(folder / "pairs", 20)
    stripes(root)
    write(root, folder / "latents")
    return root, folder / "latents"


def write(root: Path, out: Path, size: int = 7) -> None:
    write_latents(
        pairs_of(root, Nothing), out, Averages(), "averages",
        resolution=(16, 24), size=size, told=Nothing, progress=Nothing,
    )  # fmt: skip


def test_latents_are_those_of_the_pictures_mirrored_or_not(encoded: tuple[Path, Path]) -> None:
    root, out = encoded
    source = LatentFolder(out)
    batch = source.take(range(60))
    assert isinstance(batch, EditLatents) and len(source) == 18 and batch.mean.shape == (60, 3, 2, 3)
    mirrored = 0
    for n in range(60):
        number = int(batch.instructions[n].split()[-1])
        picture = torch.from_numpy(np.array(Image.open(root / f"{number:07d}/5_0.jpg"))).permute(2, 0, 1) / 127.5 - 1
        cells = torch.nn.functional.avg_pool2d(picture, 8)
        straight, flipped = (torch.allclose(batch.before[n], c, atol=2e-3) for c in (cells, cells.flip(-1)))
        assert straight or flipped
        mirrored += flipped and not straight
        assert torch.allclose(batch.std[n].log() * 2, batch.mean[n] - 1, atol=2e-2)
    assert 10 < mirrored < 50
    unflipped = LatentFolder(out, flip=False).take(range(60))
    assert unflipped.instructions == batch.instructions
    assert sum(bool((a != b).any()) for a, b in zip(unflipped.before, batch.before, strict=True)) == mirrored
    assert torch.equal(source.take([17, 4]).mean, batch.mean[[17, 4]])
    held_out = source.held_out()
    assert held_out is not None and len(held_out) == 1 and held_out.take([0]).instructions == ("make it 18",)


def test_latents_go_on_where_they_were_stopped(encoded: tuple[Path, Path], tmp_path: Path) -> None:
    root, out = encoded
    for file in out.iterdir():
        if "00003" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    write(root, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {p.name: p.read_bytes() for p in out.iterdir()}
    (root / "0000019/5_0.jpg").rename(root / "0000019/gone.jpg")
    with pytest.raises(BadInput, match="other latents"):
        write(root, tmp_path)
    (root / "0000019/gone.jpg").rename(root / "0000019/5_0.jpg")


def test_an_editor_trains_on_latents_and_others_say_why_not(encoded: tuple[Path, Path]) -> None:
    _, out = encoded
    source = open_source(str(out), find("instruct-pix2pix"), 3)
    assert isinstance(source, LatentFolder) and source.decides(["size"]) == {"size": (16, 24)}
    with pytest.raises(BadInput, match="holds latents of edits"):
        open_source(str(out), Pix2Pix, 0)
    with pytest.raises(BadInput, match="--prepare is for pictures"):
        open_source(str(out), find("instruct-pix2pix"), 0, {"crop": 8})
    assert check(out, "instruct-pix2pix").usable and "40" not in str(LatentFolder(out, part="val"))


@pytest.mark.parametrize("name", ["latents.json", "latents-00001.jsonl", "latents-00001.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00garbage"])
def test_damaged_latents_are_one_clear_error(
    encoded: tuple[Path, Path], tmp_path: Path, name: str, content: bytes
) -> None:
    for file in encoded[1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(content)
    if (name, content) == ("latents-00001.jsonl", b""):
        assert len(LatentFolder(tmp_path)) < 18  # fewer pairs than there were
        return
    with pytest.raises(BadInput, match=name):
        LatentFolder(tmp_path).take(range(40))


# Cost


def test_the_cost_of_the_published_size_is_the_published_arithmetic() -> None:
    table = "\n".join(cost(454_445, 100, [100, 25], 125, 1))
    assert "45.4 million" in table and "18.2 billion" in table and "1.5e+22" in table and "3.9e+21" in table
    assert "32,973" in table and "8,645" in table
    with pytest.raises(BadInput, match="at least 1"):
        list(cost(0, 1, [1], 1, 1))
