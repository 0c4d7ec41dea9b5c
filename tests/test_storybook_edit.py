from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import BadInput
from limner.hub import load
from limner.stickers.edits import EDITS
from limner.stickers.orders import CHANGES, Orders, Retouches, scene_of, script, trained_edit
from limner.stickers.world import combination_is_held_out
from limner.systems.reader import Reading, Sighting, StickerReader
from limner.systems.text.dalle_mini import DalleMini
from limner.systems.text.layout_painter import LayoutPainter
from limner.systems.text.patch_codes import PatchCodes
from limner.systems.text.retoucher import Retoucher, filled, touched
from limner.systems.text.scene_edits import GONE, PUT, Piece, Scene, Script, Step, program
from limner.systems.text.storybook import Storybook
from limner.systems.text.storybook_edit import StorybookEdit

SCRIPT = Script(
    ("sea", "town"), ("day", "night"), ("summer", "winter"), ("clear", "fog"), ("fluent", "line"), ("fox", "tree"),
    ("foxes", "trees"), ("red", "blue"),
)  # fmt: skip
WORDS = "turn the fox into a tree"
SCENE = Scene("sea", "day", "summer", "clear", "fluent", (Piece("fox", "", 4, 2, 10), Piece("tree", "", 6, 20, 15)))


@pytest.mark.parametrize("kind", EDITS)
def test_every_kind_of_edit_is_a_program_that_can_be_written_and_read(kind: str) -> None:
    whole = script()
    for number in range(12):
        made = trained_edit(1, number, kind=kind)
        before, after = scene_of(made.before), scene_of(made.after)
        steps = program(before, after)
        row = whole.write(steps, before, made.instruction)
        assert (
            row is not None
            and len(row) == whole.length
            and Counter(whole.read(row, before, made.instruction)) == Counter(steps)
        )
        reached = whole.followed(before, steps)
        assert Counter(reached.things) == Counter(after.things)
        assert replace(reached, things=()) == replace(after, things=())


@given(st.lists(st.integers(0, 400), max_size=40))
def test_any_row_of_tokens_is_read_as_steps_that_fit_the_scene(row: list[int]) -> None:
    steps = SCRIPT.read(row, SCENE, WORDS)
    assert all(0 <= step.slot <= 2 and (step.piece is not None) == (step.change == PUT) for step in steps)
    SCRIPT.followed(SCENE, steps)


def test_what_stands_almost_where_it_stood_has_not_moved() -> None:
    fox, tree = SCENE.things
    seen = replace(SCENE, things=(replace(tree, left=21), replace(fox, bottom=11)))
    assert program(SCENE, seen, near=1.5) == ()
    assert {step.change for step in program(SCENE, seen)} == {GONE, PUT}
    assert program(SCENE, replace(SCENE, things=(replace(fox, colour="red"), tree))) == (Step("red", 1),)
    assert (
        SCRIPT.write([Step(PUT, 1, fox)] * 6, SCENE, WORDS) is None
        and SCRIPT.write([Step("green", 1)], SCENE, WORDS) is None
    )


def test_programs_are_told_by_what_is_new() -> None:
    def told(*steps: Step) -> list[tuple[str, object]]:
        row = SCRIPT.write(steps, SCENE, WORDS)
        assert row is not None and Counter(SCRIPT.read(row, SCENE, WORDS)) == Counter(steps)
        return [SCRIPT.tokens[number] for number in row if number]

    fox, tree = SCENE.things
    moved = [Step(GONE, 1), Step(PUT, 1, replace(fox, left=21))]
    assert told(*moved) == [("change", "moved"), ("slot", 1), ("where", 2)]  # to the middle of the tree
    larger = [Step(GONE, 2), Step(PUT, 2, replace(tree, side=8, left=19))]
    assert told(*larger) == [("change", "moved"), ("slot", 2), ("side", 8)]  # its middle stays
    assert told(*moved[:1], Step(PUT, 0, replace(fox, noun="tree"))) == [("named", 2), ("slot", 1)]
    copied = told(Step(PUT, 2, replace(tree, left=0)))
    assert copied == [("change", "put"), ("slot", 2), ("left", 0), ("bottom", 15)]


def test_what_an_instruction_names_is_marked_in_it_and_in_the_scene() -> None:
    assert SCRIPT.ask("swap the tree and the Foxes, then the fox", replace(SCENE, things=SCENE.things[:1])) == (
        "swap the n1 tree and the n2 Foxes, then the n2 fox : sea day summer clear fluent t1  n2 fox s4 x2 y10"
    )
    assert SCRIPT.named("make it night") == []
    whole = script()
    assert whole.named("put two honey pots behind the cat") == ["honey pot", "cat"]
    row = SCRIPT.write([Step(PUT, 0, SCENE.things[1])], SCENE, "add a tree")
    assert row is not None and SCRIPT.write([Step(PUT, 0, SCENE.things[1])], SCENE, "add it") is None
    assert SCRIPT.read(row, SCENE, "add it") == ()  # what isn't named can't be put


def test_orders_are_functions_of_their_number_and_can_all_be_read(sticker_art: Path) -> None:
    orders = Orders(3)
    batch = orders.take(range(6))
    again = orders.take([4])
    assert torch.equal(batch.text[4:5], again.text) and torch.equal(batch.image[4:5], again.image)
    for number in range(40):
        told, row = orders.told(number)
        assert not orders.tokenise.unknown(told) and len(orders.tokenise.split(told)) <= orders.tokenise.length - 2
        assert max(row) < len(orders.script.tokens) and any(row)


def test_retouches_change_nothing_outside_of_their_region(sticker_art: Path) -> None:
    source = Retouches(2)
    batch = source.take(range(16))
    changed = touched(batch.before, batch.after).bool()
    assert changed.flatten(1).any(1).all()
    whole = batch.nouns == 0
    assert bool(batch.regions[whole].all()) and not bool(batch.regions[~whole].flatten(1).all(1).any())
    outside = (changed & ~batch.regions).float().sum((1, 2, 3)) / changed.float().sum((1, 2, 3))
    assert outside.max() < 0.02  # a region that is seen half a cell off may cut a shadow's edge
    assert {CHANGES[int(k)] for k in batch.changes[1::2]} == {GONE}
    assert not any(
        combination_is_held_out(truth) for k in range(16) for truth in (source.changed(k)[0], source.changed(k)[3])
    )


def test_regions_are_filled_from_both_sides() -> None:
    row = torch.tensor([0.0, 9.0, 9.0, 9.0, 4.0, 9.0]).expand(1, 3, 2, 6)
    region = torch.tensor([[False, True, True, True, False, True], [True] * 6])[None, None]
    found = filled(row, region)
    assert torch.equal(found[0, 0, 0], torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 4.0]))
    assert torch.equal(found[0, :, 1], row[0, :, 1])


# An editor whose parts do what they are told to

PAINTER = LayoutPainter.Config(
    SCRIPT.places, SCRIPT.times, SCRIPT.nouns, sides=(2, 3), holds=(0.0, 0.0), codebook=4, width=8
)
RED = torch.tensor([1.0, -1.0, -1.0])[None, :, None, None]


class Paints:
    """A storybook that paints every thing as a blue square, and every place grey."""

    def __init__(self) -> None:
        self.painter = LayoutPainter(PAINTER)
        self.book = PatchCodes(PatchCodes.Config(codebook=4, channels=4))
        blue = torch.full((4, 4, 16, 16), -1.0)
        blue[1:, 2:] = 1.0
        self.book.book.copy_(torch.nn.functional.pixel_unshuffle(blue, 16).flatten(1))
        self.painter.paint = lambda plans: self.square(plans)
        self.upscaler = torch.nn.Upsample(scale_factor=5)

    def square(self, plans: torch.Tensor) -> torch.Tensor:
        noun, left, bottom, _ = (int(found[0, 0]) for found in self.painter.things(plans))
        codes = torch.zeros(1, 9, 16, dtype=torch.int64)
        side = PAINTER.sides[noun]
        codes[:, bottom - side : bottom, left : left + side] = 1
        return codes

    def paint(self, plans: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(plans), 3, 144, 256)


def editor(steps: tuple[Step, ...], scene: Scene = SCENE) -> StorybookEdit:
    reader = StickerReader.Config(
        SCRIPT.nouns, SCRIPT.places, SCRIPT.times, SCRIPT.seasons, SCRIPT.styles, width=8, features=8
    )
    planner = DalleMini.Config(
        text_vocabulary=4 + 3, image_vocabulary=len(SCRIPT.tokens), width=8, encoder_layers=1, decoder_layers=1,
        heads=2, glu_width=8, text_length=32, grid=(1, SCRIPT.length), vqgan=None, words=("fox", "the", "move"),
    )  # fmt: skip
    changes = (GONE, *SCRIPT.colours, *SCRIPT.times, *SCRIPT.weathers)
    retoucher = Retoucher.Config(changes, SCRIPT.nouns, widths=(8, 8), told=8)
    model = StorybookEdit(StorybookEdit.Config(SCRIPT, reader, planner, retoucher)).eval()
    model.lend(Paints())
    seen = tuple(
        Sighting(p.noun, 0.9, (p.left + p.side / 2) / 32, (p.bottom - p.side / 2) / 18, p.colour, p.side)
        for p in scene.things
    )
    reading = Reading(seen, scene.place, scene.time, scene.season, scene.style, scene.weather)
    model.eyes.read = lambda pictures: [reading]
    row = torch.tensor([SCRIPT.write(steps, scene, WORDS)])
    model.planner.sample = lambda text, seeds, **_: row.expand(len(seeds), -1)

    def retouch(pictures: torch.Tensor, regions: torch.Tensor, nouns: torch.Tensor, changed: torch.Tensor) -> object:
        """What is gone turns black where it was red; anything else makes the whole region white."""
        new = regions & (pictures == RED).all(1, keepdim=True) if changed.item() == 0 else regions
        return torch.where(new, -1.0 if changed.item() == 0 else 1.0, pictures), new

    model.retoucher.retouch = retouch
    return model


def shown(scale: int = 1) -> np.ndarray:
    """The fox and the tree as red squares before dots."""
    picture = np.random.default_rng(0).integers(60, 200, (144 * scale, 256 * scale, 3), dtype=np.uint8)
    for piece in SCENE.things:
        x, y, side = (8 * scale * at for at in (piece.left, piece.bottom, piece.side))
        picture[y - side : y, x : x + side] = (255, 0, 0)
    return picture


def red(picture: np.ndarray) -> set[tuple[int, int]]:
    """The cells that are all red."""
    scale = len(picture) // 18
    cells = picture.reshape(18, scale, 32, scale, 3)
    return {(int(y), int(x)) for y, x in np.argwhere((abs(cells.astype(int) - (255, 0, 0)) < 3).all((1, 3, 4)))}


def square(piece: Piece) -> set[tuple[int, int]]:
    return {
        (y, x)
        for y in range(piece.bottom - piece.side, piece.bottom)
        for x in range(piece.left, piece.left + piece.side)
    }


@pytest.mark.parametrize("there", [Piece("fox", "", 4, 10, 16), Piece("fox", "", 8, 10, 16), Piece("fox", "", 2, 1, 3)])
def test_a_thing_is_lifted_off_and_laid_down_elsewhere(there: Piece) -> None:
    fox, tree = SCENE.things
    picture = shown()
    made = editor((Step(GONE, 1), Step(PUT, 1, there))).edit(picture, "move the fox").pictures[0]
    core = replace(there, side=there.side - 2, left=there.left + 1, bottom=there.bottom - 1)  # edges are smoothed
    assert square(tree) | square(there if there.side <= 4 else core) <= red(made) <= square(tree) | square(there)
    assert all((made[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] == 0).all() for y, x in square(fox) - square(there))
    kept = np.ones((18, 32), bool)
    for y, x in square(fox) | {(y + dy, x + dx) for y, x in square(there) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}:
        kept[min(y, 17), min(x, 31)] = False
    where = kept.repeat(8, 0).repeat(8, 1)
    assert (made == picture)[where].all()


def test_a_new_thing_is_the_storybooks_and_takes_its_colour() -> None:
    new = Piece("tree", "", 6, 10, 8)
    made = editor((Step(PUT, 0, new),)).edit(shown(), WORDS).pictures[0]
    assert (made[16:64, 80:128] == (0, 0, 255)).all() and (made[80:, 200:] == shown()[80:, 200:]).all()
    dyed = editor((Step(PUT, 0, replace(new, colour="red")),)).edit(shown(), WORDS).pictures[0]
    assert (dyed[16:64, 80:128] == 255).all()


def test_what_stands_nearer_is_in_front_of_what_is_put() -> None:
    fox, _ = SCENE.things
    made = editor((Step(PUT, 0, Piece("tree", "", 6, 1, 9)),)).edit(shown(), WORDS).pictures[0]
    assert square(fox) <= red(made)
    assert (made[24:48, 8:16] == (0, 0, 255)).all()
    before = editor((Step(PUT, 0, Piece("tree", "", 6, 1, 11)),)).edit(shown(), WORDS).pictures[0]
    assert not square(fox) & red(before)


def test_elsewhere_everything_but_what_goes_is_laid_upon_the_new_place() -> None:
    fox, tree = SCENE.things
    made = editor((Step("town"), Step(GONE, 1))).edit(shown(), "the fox").pictures[0]
    assert red(made) == square(tree)
    assert all((made[8 * y + 4, 8 * x + 4] == 128).all() for y, x in square(fox))


def test_elsewhere_the_weather_is_what_it_was() -> None:
    fox, tree = SCENE.things
    made = editor((Step("town"),), replace(SCENE, weather="fog")).edit(shown(), "the fox").pictures[0]
    assert red(made) == square(fox) | square(tree) and (made[:8] == 255).all()


def test_a_large_picture_keeps_its_own_pixels_where_nothing_changes() -> None:
    picture = shown(3)
    made = editor((Step(GONE, 1),)).edit(picture, "the fox").pictures[0]
    assert made.shape == picture.shape
    x, y, side = (24 * at for at in (2, 10, 4))
    assert (made[y - side + 3 : y - 3, x + 3 : x + side - 3] == 0).all()
    same = (made == picture).all(-1)
    same[y - side - 3 : y + 3, max(0, x - 3) : x + side + 3] = True
    assert same.all()


def test_candidates_come_with_their_seeds_and_what_was_not_read() -> None:
    made = editor((Step(GONE, 1),)).edit(shown(), "move the fox, gryphon", count=3, seed=5)
    assert made.seeds == (5, 6, 7) and made.unknown == ("gryphon",) and len(made.scores or ()) == 3


def test_words_that_ask_for_nothing_are_told_so() -> None:
    with pytest.raises(BadInput, match="knows none of the words in 'xyzzy'"):
        editor((Step(GONE, 1),)).edit(shown(), "xyzzy")
    with pytest.raises(BadInput, match=r"doesn't see what 'move' asks of this picture\. It sees: fox, tree"):
        editor(()).edit(shown(), "move")
    with pytest.raises(
        BadInput, match="doesn't see what 'move the dragon' asks"
    ):  # whatever the transformer makes of it
        editor((Step(GONE, 1),)).edit(shown(), "move the dragon")


def test_the_editor_that_ships_edits_what_the_storybook_draws() -> None:
    model, reader, storybook = load("storybook-edit"), load("sticker-reader"), load("storybook")
    assert isinstance(model, StorybookEdit) and isinstance(reader, StickerReader) and isinstance(storybook, Storybook)
    picture = storybook.draw("a fox and a boat at a lake by day", seed=1, large=False).pictures[0]
    (before,) = reader.read(picture[None])
    assert before.count("fox") == before.count("boat") == 1 and before.time == "day"

    def edited(words: str) -> tuple[np.ndarray, Reading]:
        (after,) = model.edit(picture, words).pictures
        return after, reader.read(after[None])[0]

    night, seen = edited("make it night")
    assert seen.time == "night" and (night != picture).any(-1).mean() > 0.9
    without, seen = edited("remove the fox")
    assert seen.count("fox") == 0 and seen.count("boat") == 1 and (without == picture).all(-1).mean() > 0.8
    _, seen = edited("replace the fox with a cat")
    assert seen.count("fox") == 0 and seen.count("cat") == 1
