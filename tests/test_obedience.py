from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.stickers.edits import EDITS, Edit
from limner.stickers.obedience import LEAST, WHOLE, changed, done, obedience
from limner.stickers.orders import trained_edit
from limner.stickers.world import ROWS, SceneTruth, render
from limner.systems.reader import Reading, Sighting


def read(truth: SceneTruth) -> Reading:
    """What a reader without faults would say."""
    things = tuple(
        Sighting(t.noun, 1.0, t.centre / truth.columns, (t.bottom - t.side / 2) / ROWS, t.colour or "", t.side)
        for t in truth.things
    )
    return Reading(things, truth.place, truth.time, truth.season, truth.style, truth.weather)


def pictures(edit: Edit) -> tuple[np.ndarray, np.ndarray]:
    return render(edit.before, 256, 144), render(edit.after, 256, 144)


@pytest.mark.parametrize("kind", EDITS)
def test_the_truth_obeys_and_the_picture_as_it_was_does_not(kind: str, sticker_art: Path) -> None:
    for number in range(8):
        edit = trained_edit(3, number, kind=kind)
        before, after = pictures(edit)
        best = obedience(edit, after, read(edit.after), read(edit.after))
        assert best.done and best.rest and best.kept in (1.0, None) and best.error in (0.0, None)
        idle = obedience(edit, before, read(edit.before), read(edit.after))
        assert not idle.done and idle.kept in (1.0, None)


def test_pixels_that_were_not_asked_about_count(sticker_art: Path) -> None:
    edit = trained_edit(3, 0, kind="remove")
    _, after = pictures(edit)
    rows = np.arange(144)[:, None, None] < 72
    darker = np.where(rows, after // 2, after).astype(np.uint8)
    verdict = obedience(edit, darker, read(edit.after), read(edit.after))
    assert verdict.done and verdict.kept is not None and verdict.error is not None
    assert 0.2 < verdict.kept < 0.8 and verdict.error > 8


def test_things_that_were_not_asked_about_count(sticker_art: Path) -> None:
    edit = trained_edit(3, 1, kind="time")
    _, after = pictures(edit)
    seen = read(edit.after)
    assert done(edit, replace(seen, things=seen.things[1:]))
    assert not obedience(edit, after, replace(seen, things=seen.things[1:]), seen).rest
    assert not obedience(edit, after, replace(seen, weather="unheard of"), seen).rest


def test_what_is_added_may_stand_anywhere(sticker_art: Path) -> None:
    number = next(n for n in range(50) if not trained_edit(3, n, kind="add").after.arranged)
    edit = trained_edit(3, number, kind="add")
    _, new = changed(edit)
    here = replace(new[0], left=0 if new[0].left > 12 else 31 - new[0].side)
    shown = replace(edit.after, things=tuple(here if thing == new[0] else thing for thing in edit.after.things))
    verdict = obedience(edit, render(shown, 256, 144), read(shown), read(edit.after))
    assert verdict.kept is not None and verdict.kept > 0.999


def test_a_thing_must_arrive_where_it_was_sent(sticker_art: Path) -> None:
    edit = trained_edit(3, 2, kind="move")
    _, (new,) = changed(edit)
    astray = replace(new, left=new.left + (4 if new.left < 14 else -4))
    assert not done(edit, read(replace(edit.after, things=(*(t for t in edit.after.things if t != new), astray))))


def test_edits_of_everything_leave_no_pixels_to_keep(sticker_art: Path) -> None:
    found = [
        obedience(e, pictures(e)[1], read(e.after), read(e.after))
        for e in (trained_edit(3, n, kind="style") for n in range(3))
    ]
    assert any(verdict.kept is None for verdict in found) and 0 < LEAST < 1 and "style" in WHOLE
