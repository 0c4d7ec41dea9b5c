"""The small stage of editing by instruction: its data are what they say, and its page says what was measured."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes/edits"))
stage: Any = import_module("stage")
curves: Any = import_module("curves")

from limner.edits.triplets import same  # noqa: E402  (after the path)
from limner.jobs.plots import Point  # noqa: E402  (after the path)
from limner.stickers.world import combination_is_held_out  # noqa: E402  (after the path)
from limner.systems.diffusion.pairs import draw_pairs  # noqa: E402  (after the path)
from limner.systems.diffusion.prompt_to_prompt import Control, PromptToPrompt  # noqa: E402  (after the path)
from limner.systems.diffusion.sdedit import SDEdit  # noqa: E402  (after the path)
from limner.systems.reader import Reading, Sighting  # noqa: E402  (after the path)
from small_diffusion import small_diffusion  # noqa: E402  (after the path)


def test_scenes_are_of_the_stage_and_on_its_grid() -> None:
    for number in range(40):
        for truth in (stage.scene(0, number), stage.crowd(0, number)):
            assert truth.place in stage.PLACES and {thing.noun for thing in truth.things} <= set(stage.NAMES)
            assert all(
                value % 2 == 0 for t in truth.things for value in (t.left, t.bottom, t.side) if not truth.arranged
            )
            assert not combination_is_held_out(truth)


def test_what_is_held_out_is_nowhere_else() -> None:
    edits = [stage.held_out_edit(number) for number in range(6)]
    assert all(combination_is_held_out(e.before) or combination_is_held_out(e.after) for e, _ in edits)
    trained = [stage.Stage("storybook", 0).told(number) for number in range(20)]
    assert not any(combination_is_held_out(truth) for e, _ in trained for truth in (e.before, e.after))
    assert all({e.before.place, e.after.place} <= set(stage.PLACES) for e, _ in edits + trained)
    assert all(t.edit and not same(t.caption, t.output) for _, t in edits + trained)


def test_neighbours_of_a_lineup_show_one_place_at_one_time() -> None:
    shown = {(truth.place, truth.time) for truth in (stage._lineup(0, n) for n in range(8, 16))}
    assert len(shown) == 1


@pytest.mark.parametrize("source", [stage.Views(), stage.Lineups(), stage.HeldOut()])
def test_data_are_a_function_of_the_samples_numbers(source: Any) -> None:
    both, later = source.take([5, 6]), source.take([6])
    assert all(np.array_equal(getattr(both, name)[1:], getattr(later, name)) for name in vars(both))


def test_all_is_right_only_where_nothing_is_missing_and_nothing_is_too_much() -> None:
    truth = next(t for t in (stage.scene(0, n) for n in range(50)) if len(t.things) == 2)
    seen = tuple(Sighting(thing.noun, 0.9, 0.5, 0.5) for thing in truth.things)
    absent = next(name for name in stage.NAMES if name not in {thing.noun for thing in truth.things})

    def reading(things: tuple[Sighting, ...], place: str = truth.place) -> Reading:
        return Reading(things, place, truth.time, "summer", "fluent")

    assert curves.right(truth, reading(seen))
    assert not curves.right(truth, reading(seen[:1])) and not curves.right(truth, reading(seen, "moon"))
    assert not curves.right(truth, reading((*seen, Sighting(absent, 0.9, 0.5, 0.5))))


def test_a_curve_is_above_another_where_both_reach() -> None:
    low = [Point(0.0, 1.0), Point(1.0, 0.0)]
    assert curves.above([Point(1.0, 0.2), Point(0.2, 1.0)], low) == pytest.approx(0.2)
    assert curves.above([Point(2.0, 1.0), Point(3.0, 1.0)], low) is None


def test_errors_are_over_seeds_once_there_are_several() -> None:
    one = {"sim_direction": 0.2, "sim_image": 0.9, "errors": {"sim_direction": 0.07, "sim_image": None}}
    assert curves.averaged([one]) == Point(0.2, 0.9, 0.07, 0.0)
    both = curves.averaged([one, one | {"sim_direction": 0.4}])
    assert (both.x, both.x_error, both.y_error) == pytest.approx((0.3, 0.1, 0.0))


def test_the_page_has_what_is_measured_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "RUNS", tmp_path)
    monkeypatch.setattr(curves, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(curves, "PAGE", tmp_path / "page.md")
    curves.page()
    assert "## " not in curves.PAGE.read_text()
    rows = [
        {"curve": curve, "value": value, "sim_direction": value / 10, "sim_image": 1 - value / 10,
         "errors": {"sim_direction": 0.01, "sim_image": 0.01}}
        for curve in ("all", "tenth", "SDEdit, caption") for value in (1.0, 2.0)
    ]  # fmt: skip
    folder = tmp_path / "sweep-storybook-0"
    folder.mkdir()
    (folder / "points.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "judged-0.json").write_text(json.dumps({"all@1": 0.25}))
    curves.page()
    text = curves.PAGE.read_text()
    assert "figure 4.19" in text and "figure 4.21" in text and "figure 4.20" not in text
    assert "| InstructPix2Pix | 1 | 1 | 0.100 ± 0.010 | 0.900 ± 0.010 | 25 |" in text
    assert (tmp_path / "images/methods.png").is_file() and not (tmp_path / "images/second-encoder.png").exists()


def test_every_plan_has_the_same_steps_and_a_seed_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    every = list(curves.steps())
    assert every[0] == "autoencoder" and every[-1] == "page"
    assert [name for name in every if name.startswith("seed-")] == [f"seed-{k}" for k in range(curves.PLAN.seeds)]
    monkeypatch.setattr(curves, "PLAN", curves.TINY)
    assert [name for name in curves.steps() if name.startswith("seed-")] == ["seed-0"]


def test_every_method_works_on_latents_with_an_odd_number_of_rows() -> None:
    model = small_diffusion((12, 20))  # 3 x 5, of which the U-Net's next level has 2 x 3
    picture = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    pairs = draw_pairs(model, "a fox", "a fox at night", [1, 2], steps=2)
    assert pairs.before.shape == (2, 3, 12, 20) and not torch.equal(pairs.before, pairs.after)
    assert SDEdit(model).edit(picture, "a fox", steps=2).pictures.shape == (1, 24, 40, 3)
    held = Control(blend=("fox", "hare"))
    swapped = PromptToPrompt(model).edit(picture, "a hare", before="a fox", steps=2, inversion="ddim", control=held)
    assert swapped.pictures.shape == (1, 24, 40, 3)
