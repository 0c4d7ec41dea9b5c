"""The small stage of the translation recipes: a task fits its systems, and its scores know the truth."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

RECIPES = Path(__file__).parent.parent / "recipes/translation"
sys.path.insert(0, str(RECIPES))
run: Any = import_module("run")
tables: Any = import_module("tables")
world: Any = import_module("world")

from limner.system import config_from  # noqa: E402  (after the path)
from limner.systems import find  # noqa: E402  (after the path)

EVERY = run.RECIPES | tables.RUN


@pytest.mark.parametrize("name", EVERY)
def test_a_recipes_options_and_data_fit_its_system(name: str) -> None:
    recipe = EVERY[name]
    kind, task = find(recipe.system), world.TASKS[recipe.task](0)
    config_from(kind.Config, dict(recipe.options), name)  # or BadInput
    assert type(task.take([3, 4])) is get_type_hints(kind.play)["batch"]


JUDGED_OTHERWISE = "answers", "any style", "reading", "drawn", *(name for name in world.TASKS if "labels" in name)


@pytest.mark.parametrize("name", [name for name in world.TASKS if name not in JUDGED_OTHERWISE])
def test_the_truth_scores_above_every_baseline(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "TEST", 4)
    task = world.TASKS[name](0)
    measure = task.measures[0]
    best = task.score(task.test.truth)[measure]
    assert all(scores[measure] < best for scores in task.baseline_scores().values())


def test_one_true_answer_among_wrong_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "TEST", 3)
    task = world.Answers(0)
    wrong = np.stack([255 - task.test.truth] * world.ANSWERS)
    one = wrong.copy()
    one[-1] = task.test.truth
    measure = task.measures[0]
    assert task.score(one)[measure] == pytest.approx(0, abs=1e-6)
    assert task.score(wrong)[measure] > 1


@pytest.mark.parametrize("name", world.TASKS)
def test_training_data_are_a_function_of_the_samples_numbers(name: str) -> None:
    task = world.TASKS[name](0)
    both, later = task.take([5, 6]), task.take([6])
    for field in vars(both):
        assert np.array_equal(getattr(both, field)[1:], getattr(later, field))


@pytest.mark.parametrize("name", world.TASKS)
def test_what_recipes_are_tuned_on_is_not_what_they_are_scored_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "TEST", 3)
    test, other = (world.TASKS[name](0, validate=validate) for validate in (False, True))
    if isinstance(test, world.Reading):
        asked = [task.unread[0] for task in (test, other)]
    else:
        asked = [task.test.given for task in (test, other)]
    assert not any(np.array_equal(a, b) for a in asked[0] for b in asked[1])


def test_a_claim_holds_only_beyond_the_scatter_of_the_seeds() -> None:
    table = tables.TABLES["constraints"]
    claim = table.claims[0]

    def said(more: list[float], less: list[float]) -> str:
        found = {
            f"{table.rows[row]} #{seed}": {"scores": {claim.measure: value}}
            for row, values in ((claim.more, more), (claim.less, less))
            for seed, value in enumerate(values)
        }
        return str(tables.verdict(table, claim, found))

    assert "holds here" in said([20.0, 20.1], [18.0, 18.1])
    assert "the other way round" in said([18.0, 18.1], [20.0, 20.1])
    assert "within the seeds' scatter" in said([18.0, 20.0], [18.5, 19.0])
