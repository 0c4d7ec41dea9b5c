"""Pairs of pictures: units that any process can make, thresholds that can be chosen anew, kills at any moment."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edit_factory import LESS, TOY, ToyPairing, draw, triplets
from limner import cli
from limner.edits.filters import PRESETS, Filter, Sample, distribution
from limner.edits.pair import DONE, Recipe, Studio, claim, needed, read_samples
from limner.edits.spread import part_of, spread
from limner.edits.triplets import Triplet
from limner.errors import BadInput, CannotDo, LimnerError, MissingExtra
from limner.hub import load, save
from limner.jobs.edits import Thresholds, choose
from limner.provenance import read_marks
from limner.systems.text.plan_pairs import draw_plan_pairs, lending, plan
from small_diffusion import small_diffusion

UNITS = 12
NUMBER = st.floats(-1, 1, allow_nan=False)
SAMPLES = st.lists(
    st.builds(Sample, st.integers(0, 9), NUMBER, NUMBER, NUMBER, NUMBER, st.sampled_from([0.2, 0.5, -0.1]), NUMBER),
    max_size=12,
)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of triplets, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("made")
    lines = triplets(folder / "triplets.jsonl", UNITS)
    draw(lines, folder / "pairs")
    return lines, folder / "pairs"


# The filter


@given(SAMPLES, NUMBER, NUMBER, NUMBER, st.integers(1, 5))
@settings(deadline=None)
def test_what_is_chosen_passes_is_the_best_and_no_more_than_asked(
    samples: list[Sample], image: float, text: float, direction: float, keep: int
) -> None:
    by = Filter(image, text, direction, keep)
    chosen = by.chosen(samples)
    assert len(chosen) == min(keep, sum(map(by.passes, samples)))
    assert [(s.clip_sim_dir, s.seed) for s in chosen] == sorted(
        [(s.clip_sim_dir, s.seed) for s in chosen], reverse=True
    )
    for sample in chosen:
        assert sample.clip_sim_image >= image and sample.clip_sim_0 >= text and sample.clip_sim_1 >= text


def test_presets_are_those_of_the_code_and_of_the_thesis() -> None:
    assert PRESETS["code"] == Filter(0.7, 0.2, 0.2, 4) and PRESETS["thesis"] == Filter(0.75, 0.2, 0.2, 4)
    assert all(PRESETS["none"].passes(Sample(0, 0, 0, value, value, value, value)) for value in (-1.0, 1.0))
    assert Thresholds("thesis", None, 0.3, None, 2).filter() == Filter(0.75, 0.3, 0.2, 2)
    with pytest.raises(BadInput, match="one pair of a triplet or more"):
        Filter(keep=0)


def test_ties_go_to_the_larger_seed() -> None:
    alike = [Sample(seed, 0.5, 7.5, 0.9, 0.9, 0.9, 0.9) for seed in (3, 9, 1, 7, 5)]
    assert [sample.seed for sample in Filter().chosen(alike)] == [9, 7, 5, 3]


# Units


def test_a_units_folder_is_in_the_published_layout(made: tuple[Path, Path]) -> None:
    _, root = made
    kept = [folder for folder in sorted(root.iterdir()) if list(folder.glob("*.jpg"))]
    assert kept and len([f for f in root.iterdir() if f.is_dir()]) == UNITS
    assert json.loads((root / "0000003/prompt.json").read_text())["caption"] == "caption 3"
    for folder in kept:
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        assert list(rows[0]) == [
            "seed", "p2p_threshold", "cfg_scale", "clip_sim_0", "clip_sim_1", "clip_sim_dir", "clip_sim_image",
        ]  # fmt: skip
        assert {path.name for path in folder.glob("*.jpg")} == {
            f"{row['seed']}_{n}.jpg" for row in rows for n in (0, 1)
        }
        assert [row["clip_sim_dir"] for row in rows] == sorted((row["clip_sim_dir"] for row in rows), reverse=True)
        assert len(rows) <= 2 and len(read_samples(folder / "scores.jsonl")) == TOY.samples
        with Image.open(folder / f"{rows[0]['seed']}_0.jpg") as picture:
            assert picture.format == "JPEG" and picture.size == (24, 16)
        marks = read_marks(folder / f"{rows[0]['seed']}_1.jpg")
        assert marks.source_type == "trainedAlgorithmicMedia" and marks.recipe is not None
        assert marks.recipe["seed"] == rows[0]["seed"] and marks.recipe["injected"] == rows[0]["p2p_threshold"]


def test_seeds_are_functions_of_job_seed_and_index_and_none_comes_twice() -> None:
    recipe = Recipe(seed=1, samples=500)
    seeds = recipe.seeds(7)
    assert len(set(seeds)) == 500 and all(0 <= seed < 2**32 for seed in seeds)
    assert seeds[:3] == replace(recipe, samples=3).seeds(7)
    assert not set(seeds) & set(recipe.seeds(8)) and not set(seeds) & set(replace(recipe, seed=2).seeds(7))


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_processes_makes_the_same_files(made: tuple[Path, Path], tmp_path: Path, workers: int) -> None:
    lines, root = made
    assert {report.index for report in draw(lines, tmp_path / "pairs", workers=workers)} == set(range(UNITS))
    assert files(tmp_path / "pairs") == files(root)


def test_parts_in_any_order_make_the_same_files(made: tuple[Path, Path], tmp_path: Path) -> None:
    lines, root = made
    claim(tmp_path, TOY)
    for which in (2, 0, 1):
        list(spread(part_of(UNITS, which, 3), ToyPairing(lines, tmp_path, TOY, LESS)))
    assert files(tmp_path) == files(root)
    assert [n for which in range(5) for n in part_of(UNITS, which, 5)] == list(range(UNITS))


def test_killed_at_any_moment_it_loses_one_unit_at_most(made: tuple[Path, Path], tmp_path: Path) -> None:
    lines, root = made
    out, moments, had = tmp_path / "pairs", random.Random(3), set[str]()
    script = [sys.executable, str(Path(__file__).with_name("edit_factory.py")), "pair", str(lines), str(out), "0.05"]
    for _ in range(4):
        process = subprocess.Popen(script)
        try:
            process.wait(3 + 3 * moments.random())
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        have = {folder.name for folder in out.glob("0*")} if out.exists() else set()
        assert had <= have and len(list(out.glob(".*"))) <= 1
        for name in have:
            assert files(out / name) == files(root / name)
        had = have
    draw(lines, out)
    assert files(out) == files(root) and not list(out.glob(".*"))


def test_a_killed_process_is_said_and_the_rest_stays(made: tuple[Path, Path], tmp_path: Path) -> None:
    lines, root = made
    claim(tmp_path, TOY)
    with pytest.raises(LimnerError, match="killed or ran out of memory"):
        list(spread(range(UNITS), Doomed(lines, tmp_path, TOY, LESS), workers=2))
    draw(lines, tmp_path)
    assert files(tmp_path) == files(root)


@dataclass(frozen=True)
class Doomed(ToyPairing):
    def open(self):
        make = super().open()
        return lambda index: os.kill(os.getpid(), signal.SIGKILL) if index == 5 else make(index)


@dataclass(frozen=True)
class Failing:
    def open(self):
        raise MissingExtra("This", "edits")  # its argument isn't its message


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_another_process_is_told_as_it_is(workers: int) -> None:
    with pytest.raises(LimnerError, match=r"limner\[edits\]") as raised:
        list(spread([0, 1], Failing(), workers=workers))
    assert raised.value.exit_code == 3


def test_ray_is_asked_for_where_it_is_missing(made: tuple[Path, Path], tmp_path: Path) -> None:
    lines, root = made
    claim(tmp_path, TOY)
    work = spread(range(UNITS), ToyPairing(lines, tmp_path, TOY, LESS), workers=2, ray="local")
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(MissingExtra, match=r"limner\[scale\]"):
            list(work)
    else:
        assert {report.index for report in work} == set(range(UNITS))
        assert files(tmp_path) == files(root)


# Choosing anew


def test_thresholds_are_chosen_anew_and_lacking_pictures_drawn_to_the_bit(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    lines, root = made
    more = Filter(0.0, 0.0, 0.0, keep=3)
    draw(lines, tmp_path / "more", chosen_by=more)
    list(choose(tmp_path / "more", more))
    again = tmp_path / "again"
    shutil.copytree(root, again)
    said = "\n".join(choose(again, more))
    assert "have no pictures" in said
    assert needed(range(UNITS), again, more)
    draw(lines, again, chosen_by=more)
    assert not needed(range(UNITS), again, more)
    list(choose(again, more, prune=True))
    assert files(again) == files(tmp_path / "more")


def test_seeds_json_lists_what_is_chosen_and_what_isnt_stays_unless_pruned(
    made: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(made[1], tmp_path / "pairs")
    root, strict = tmp_path / "pairs", replace(LESS, direction=0.6, keep=1)
    before = len(list(root.rglob("*.jpg")))
    assert "stay; --prune" in "\n".join(choose(root, strict))
    listed = json.loads((root / "seeds.json").read_text())
    assert listed == sorted(listed) and all(len(seeds) == 1 and isinstance(seeds[0], str) for _, seeds in listed)
    assert 0 < len(listed) < UNITS and len(list(root.rglob("*.jpg"))) == before
    list(choose(root, strict, prune=True))
    assert len(list(root.rglob("*.jpg"))) == 2 * len(listed)
    list(choose(root, LESS))  # and back again: the pictures are gone, the scores aren't
    assert needed(range(UNITS), root, LESS)


def test_a_filter_that_keeps_nothing_shows_the_scores_and_changes_nothing(made: tuple[Path, Path]) -> None:
    _, root = made
    before = files(root)
    with pytest.raises(BadInput, match="keeps none of 72 pairs") as raised:
        list(choose(root, Filter(0.99, 0.99, 0.99)))
    message = str(raised.value)
    assert "passed by" in message and "Half of the samples pass each of: --image" in message
    assert files(root) == before


@given(SAMPLES.filter(bool))
@settings(deadline=None)
def test_half_of_the_samples_pass_each_of_the_thresholds_that_are_told(samples: list[Sample]) -> None:
    *_, last = distribution(samples, Filter())
    told = last.split(": ")[1].split()
    given = {name[2:]: float(value) for name, value in zip(told[::2], told[1::2], strict=True)}
    for name, value in given.items():
        alone = Filter(**{**{"image": -1.0, "text": -1.0, "direction": -1.0}, name: value})
        assert 2 * sum(map(alone.passes, samples)) >= len(samples)


# Bad days


def test_other_options_triplets_and_folders_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    _, root = made
    with pytest.raises(BadInput, match=r"other options \(samples"):
        claim(root, replace(TOY, samples=7))
    shutil.copytree(root, tmp_path / "pairs")
    other = triplets(tmp_path / "other.jsonl", UNITS)
    other.write_text(other.read_text().replace("caption 3", "caption X"))
    with pytest.raises(BadInput, match="another triplet"):
        draw(other, tmp_path / "pairs", chosen_by=PRESETS["none"])
    older = json.loads((root / "job.json").read_text())
    del older["guidance"]  # an option that came later
    (tmp_path / "older").mkdir()
    (tmp_path / "older/job.json").write_text(json.dumps(older))
    claim(tmp_path / "older", TOY)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.jpg").touch()
    with pytest.raises(BadInput, match="not empty"):
        claim(tmp_path / "mine", TOY)
    with pytest.raises(BadInput, match="counted from 0"):
        part_of(3, 3, 3)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]\n", b'{"seed": 1}\n', b"\xff\n"])
def test_damaged_scores_are_named(made: tuple[Path, Path], tmp_path: Path, content: bytes) -> None:
    shutil.copytree(made[1], tmp_path / "pairs")
    (tmp_path / "pairs/0000002/scores.jsonl").write_bytes(content)
    try:
        list(choose(tmp_path / "pairs", LESS))
    except BadInput as error:
        assert "0000002" in str(error) and content
    else:
        assert not content  # no samples at all are none that pass


# The storybook and the command


@pytest.fixture(scope="module")
def storybook():
    return load("storybook")


FOX, NIGHT = "a fox and a tree in a meadow by day", "a fox and a tree in a meadow at night"


@torch.inference_mode()
def test_plans_share_what_captions_share(storybook) -> None:
    seeds, scales = [1, 2, 3], [1.5, 1.5, 1.5]
    first = plan(storybook, storybook.tokenise([FOX]), seeds, scales)
    alone = plan(storybook, storybook.tokenise([FOX]), seeds[1:2], scales[:1])
    assert torch.equal(first[1:2], alone)  # a sample depends on its own seed alone
    text = storybook.tokenise([NIGHT])
    held = plan(storybook, text, seeds, scales, lending(storybook, first, [1.0] * 3))
    assert (held[:, 1] != first[:, 1]).all()  # the time has changed
    for before, after in zip(first[:, 2:].view(3, -1, 3).tolist(), held[:, 2:].view(3, -1, 3).tolist(), strict=True):
        nouns = {thing[0] for thing in before} & {thing[0] for thing in after}
        assert nouns and all(thing in before for thing in after if thing[0] in nouns)  # and things stand where they did
    before, after = draw_plan_pairs(storybook, FOX, FOX, seeds, [0.5] * 3, scales)
    assert torch.equal(before, after) and before.shape == (3, 3, 144, 256)


def test_a_storybooks_unit_is_drawn_scored_and_scored_the_same_again() -> None:
    studio, seeds = Studio(Recipe(samples=2)), [11, 12]
    triplet = Triplet(FOX, "make it night", NIGHT)
    samples, pictures = studio.draw(triplet, seeds)
    again, same = studio.draw(triplet, seeds)
    assert samples == again and all(np.array_equal(pictures[seed][0], same[seed][0]) for seed in seeds)
    for sample in samples:
        assert sample.clip_sim_dir > 0.5 and 0.1 <= sample.p2p_threshold <= 0.9 and 1 <= sample.cfg_scale <= 3
        assert pictures[sample.seed][1].mean() < pictures[sample.seed][0].mean()  # it is night
    backwards, _ = studio.draw(Triplet(NIGHT, "make it day", FOX), seeds)
    assert backwards[0].p2p_threshold == samples[0].p2p_threshold


def test_a_diffusion_model_draws_with_shared_noise_at_the_published_guidance(tmp_path: Path) -> None:
    model = small_diffusion()
    save(model, "latent-diffusion", tmp_path / "model", card="A small one.")
    recipe = Recipe(samples=2, model=str(tmp_path / "model"), steps=2, together=2)
    studio = Studio(recipe)
    samples, pictures = studio.draw(Triplet("a fox", "make it night", "a fox at night"), recipe.seeds(0))
    assert [sample.seed for sample in samples] == recipe.seeds(0)
    for sample in samples:
        assert 7.5 <= sample.cfg_scale <= 15 and 0.1 <= sample.p2p_threshold <= 0.9
        before, after = pictures[sample.seed]
        assert before.dtype == np.uint8 and before.shape == after.shape == (*model.config.size, 3)
    same, _ = studio.draw(Triplet("a fox", "nothing", "a fox"), recipe.seeds(0))
    assert [sample.clip_sim_image for sample in same] == pytest.approx([1.0, 1.0])
    gentle, _ = Studio(replace(recipe, guidance=(1.0, 2.0))).draw(Triplet("a fox", "", "a fox"), recipe.seeds(0))
    assert all(1 <= sample.cfg_scale <= 2 for sample in gentle)
    with pytest.raises(BadInput, match="--guidance 3 2"):
        replace(recipe, guidance=(3.0, 2.0))


def test_a_caption_that_says_nothing_to_the_model_is_one_clear_error() -> None:
    with pytest.raises(BadInput, match="knows none of the words"):
        Studio(Recipe(samples=1)).draw(Triplet("zeppelins", "more", "more zeppelins"), [1])


def test_from_the_command_line_to_a_filter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["edits", "write", "-n", "3", "-o", "t.jsonl"]) == 0
    order: Sequence[str] = ["edits", "pair", "t.jsonl", "-o", "pairs", "--samples", "2", "--filter", "none"]
    assert cli.run(order) == 0
    first = files(tmp_path / "pairs")
    assert cli.run(order) == 0 and files(tmp_path / "pairs") == first
    assert "6 of 6 pairs are kept, of 3 of 3 triplets" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "pairs/seeds.json").read_text())) == 3
    with pytest.raises(BadInput, match="Half of the samples pass"):
        cli.run(["edits", "filter", "pairs", "--image", "1.0", "--direction", "1.0"])
    assert (tmp_path / "pairs/0000000" / DONE).exists()
    with pytest.raises(CannotDo, match="can't draw pairs"):
        cli.run(["edits", "pair", "t.jsonl", "-o", "other", "--model", "sticker-reader"])
