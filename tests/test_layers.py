"""Scenes as layers: drawn alone, kept in a book of layers, painted by plan and laid one over the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from limner.data.kinds import Planned
from limner.errors import BadInput
from limner.rng import Rng, numpy_rng
from limner.stickers.codes import Plans, as_layers, empty, layer, painter_config, stranger
from limner.stickers.source import storybook_scene
from limner.stickers.world import COLUMNS, ROWS, is_held_out, render
from limner.system import to_uint8
from limner.systems.text.layout_painter import LayoutPainter
from limner.systems.text.patch_codes import CLEAR, PatchCodes, over

NOUNS = ("boat", "owl", "house")
CONFIG = LayoutPainter.Config(
    ("sea", "town"), ("day", "night"), NOUNS, (4, 2, 4), (0.3, 0.0, 0.0), things=3, codebook=16, width=16
)


@pytest.mark.usefixtures("sticker_art")
@pytest.mark.parametrize("number", range(12))
def test_layers_laid_over_each_other_are_the_scene(number: int) -> None:
    truth = replace(storybook_scene(0, number), arranged=())
    place, *things = as_layers([layer(truth, k) for k in range(-1, len(truth.things))]).split(1)
    picture = place[:, :3]
    for thing in things:
        picture = over(thing, picture)
    apart = to_uint8(picture)[0].astype(int) - render(truth, 256, 144)
    assert np.abs(apart).max() <= 1 + len(things)  # a rounding each


def test_a_clear_layer_changes_nothing_and_an_opaque_one_hides_all() -> None:
    below = torch.rand(1, 3, 4, 4) * 2 - 1
    assert torch.allclose(over(torch.full((1, 4, 4, 4), -1.0), below), below, atol=1e-6)
    opaque = torch.cat([torch.rand(1, 3, 4, 4) * 2 - 1, torch.ones(1, 1, 4, 4)], 1)
    assert torch.allclose(over(opaque, below), opaque[:, :3], atol=1e-6)


def test_a_book_of_layers_begins_with_the_clear_patch() -> None:
    book = PatchCodes(PatchCodes.Config(codebook=6, patch=2, channels=4))
    patches = torch.rand(40, 16) * 2 - 1
    patches[17] = -1
    book.fit(patches, torch.ones(40).index_fill(0, torch.tensor([17]), 50.0))
    assert CLEAR == 0 and (book.book[CLEAR] == -1).all()
    with pytest.raises(BadInput, match="4 channels, not 3"):
        book.encode(torch.zeros(1, 3, 4, 4))


def plan(painter: LayoutPainter, *things: tuple[str, int, int]) -> torch.Tensor:
    return torch.tensor([painter.tokens("sea", "day", things)])


def test_layers_come_back_to_front_and_a_boat_s_front_hides_who_sits_in_it() -> None:
    painter = LayoutPainter(CONFIG)

    def order(*things: tuple[str, int, int]) -> list[tuple[str, float]]:
        found = []
        for alone, first in painter.layered(plan(painter, *things)):
            noun, _, _, real = painter.things(alone)
            if float(first) < CONFIG.grid[0]:
                found.append((NOUNS[int(noun[0, 0])] if bool(real[0, 0]) else "place", round(float(first), 3)))
        return found

    alone = [("place", 0.0), ("boat", 0.0), ("owl", 0.0)]
    assert order(("boat", 4, 7), ("owl", 5, 6)) == [*alone, ("boat", 5.8)]  # its rim: 0.3 of 4 cells above 7
    assert order(("boat", 4, 7), ("owl", 10, 6)) == alone  # beside it
    assert order(("boat", 4, 7), ("owl", 5, 8)) == alone  # in front of it
    assert order(("boat", 4, 7), ("owl", 5, 3)) == alone  # above it
    assert order(("house", 4, 7), ("owl", 5, 6)) == [("place", 0.0), ("house", 0.0), ("owl", 0.0)]  # on it


def test_layers_of_several_plans_are_those_of_each() -> None:
    painter = LayoutPainter(CONFIG)
    plans = torch.cat([plan(painter, ("boat", 4, 7), ("owl", 5, 6)), plan(painter, ("house", 2, 5))])
    shown = [
        [(alone[i].tolist(), float(first[i])) for alone, first in painter.layered(plans) if first[i] < CONFIG.grid[0]]
        for i in range(2)
    ]
    for i in range(2):
        one = [(alone[0].tolist(), float(first)) for alone, first in painter.layered(plans[i : i + 1])]
        assert shown[i] == [layer for layer in one if layer[1] < CONFIG.grid[0]]


def test_a_thing_s_layer_is_clear_far_from_the_thing_and_a_place_fills_the_picture() -> None:
    painter = LayoutPainter(CONFIG)
    codes = painter.paint(plan(painter, ("owl", 5, 6)))[0]
    around = torch.zeros_like(codes, dtype=torch.bool)
    around[3:7, 4:8] = True  # the square of 2 x 2 cells and those around it
    assert (codes[~around] == CLEAR).all()
    _, matter = painter(plan(painter))
    assert matter.all()


def test_the_painter_learns_what_it_is_shown() -> None:
    painter = LayoutPainter(replace(CONFIG, rate=0.01))
    plans = torch.cat([plan(painter), plan(painter, ("owl", 5, 6))])
    codes = torch.randint(16, (2, 9, 16), generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(painter.parameters(), 0.01)
    for _ in range(120):
        ((_, losses),) = painter.play(Planned(plans, codes.flatten(1)), Rng(0, [0, 1]))
        optimiser.zero_grad()
        losses["cross_entropy"].backward()
        optimiser.step()
    found = painter.paint(plans)
    assert (found[0] == codes[0]).all() and (found[1, 3:7, 4:8] == codes[1, 3:7, 4:8]).all()


def test_the_storybook_s_painter_knows_what_holds_things() -> None:
    config = painter_config(16)
    holding = {name for name, rim in zip(config.nouns, config.holds, strict=True) if rim}
    assert "boat" in holding and "fox" not in holding


@pytest.mark.usefixtures("sticker_art")
def test_the_painter_s_data_are_layers_of_one_thing_or_none() -> None:
    book = PatchCodes(PatchCodes.Config(codebook=4, channels=4))
    data = Plans(book, seed=1)
    batch = data.take(range(60))
    real = data.painter.things(batch.plans)[3]
    assert not real[:, 1:].any() and 0 < real[:, 0].float().mean() < 1
    again = data.take([7])
    assert (again.plans[0] == batch.plans[7]).all() and (again.codes[0] == batch.codes[7]).all()


@pytest.mark.usefixtures("sticker_art")
def test_strangers_keep_to_the_split_and_the_picture() -> None:
    scene = empty(storybook_scene(0, 3))
    for number in range(300):
        thing = stranger(numpy_rng(5, number), scene)
        assert not is_held_out({thing.noun}, scene.place, scene.time)
        assert 0 <= thing.left <= COLUMNS - thing.side and thing.side <= thing.bottom <= ROWS
