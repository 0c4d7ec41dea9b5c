"""Text2LIVE: what its layer does to a picture, what it descends along, and how pictures are shown to CLIP."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.errors import BadInput, NotFinite
from limner.nn.clip import CLIP, Sizes, build_clip
from limner.rng import torch_rng
from limner.system import Edits
from limner.systems.diffusion import text2live
from limner.systems.diffusion.text2live import Config, Generator, Madgrad, Text2LIVE, render
from limner.systems.diffusion.tokens import vocabulary, word_tokenizer

WORDS = ("red", "blue", "fox", "house", "photo", "image", "of", "a", "the", "green", "screen")
SMALL = Config(down=8, up=8, skip=2, scales=2, size=24, views=3, view=16, longest_view=24, longest_structure=24)


@pytest.fixture(scope="module")
def clip():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_clip(Sizes(16, 16, 4, 64, 2, 1, len(vocabulary(WORDS)[0]), 77, 64, 1, 1))
    return CLIP(network, word_tokenizer(WORDS, 77))


def photo(height=20, width=31):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_an_edit_is_its_layer_over_the_picture(clip):
    system = Text2LIVE(clip, SMALL)
    assert isinstance(system, Edits)
    made = system.edit(photo(), "red fox", before="fox", steps=3, count=2, seed=4)
    assert made.pictures.shape == (2, 20, 31, 3) and made.layers.shape == (2, 20, 31, 4)
    assert made.seeds == (4, 5) and made.layers.dtype == np.uint8
    opacity = made.layers[..., 3:] / 255
    over = opacity * made.layers[..., :3] + (1 - opacity) * photo()
    assert np.abs(over - made.pictures).max() <= 0.51
    assert not np.array_equal(made.layers[0], made.layers[1])
    again = system.edit(photo(), "red fox", before="fox", steps=3, seed=5)
    assert np.array_equal(again.layers[0], made.layers[1])  # whatever the count, and whatever was drawn before


class Colours:
    """What CLIP would be if pictures were their mean colour, and words the names of colours."""

    mean = torch.zeros(1)
    names = ("red", "green", "blue")

    def normalised(self, pictures):
        return pictures

    def look(self, pixels, published_grid=False):
        return pixels.mean((2, 3))

    def states(self, pixels, published_grid=False):
        return F.avg_pool2d(pixels, 4).flatten(2).mT

    def tokens(self, words):
        return [next(i for i, name in enumerate(self.names) if name in text) for text in words]

    def read(self, tokens):
        return torch.eye(3)[tokens]


def test_training_finds_what_its_losses_ask_for():
    seen = []
    painter = Text2LIVE(Colours(), replace(SMALL, rate=0.03, sparsity=0.0))
    made = painter.edit(photo(), "blue", before="red", steps=25, watch=lambda step, losses: seen.append(losses))
    assert set(seen[0]) == {"caption", "direction", "screen", "structure", "sparsity"}
    assert seen[-1]["caption"] < 0.85 * seen[0]["caption"]
    red, _, blue = (made.pictures[0].astype(float) - photo()).mean((0, 1))
    assert blue > 20 and red < -10
    lean = Text2LIVE(Colours(), replace(SMALL, sparsity=2000.0)).edit(photo(), "blue", before="red", steps=25)
    assert lean.layers[..., 3].mean() < made.layers[..., 3].mean() / 2


def test_a_region_begins_the_layer_and_fades(clip):
    def run(region):
        seen = []
        Text2LIVE(clip, replace(SMALL, bootstrap=1000.0, sparsity=0.0)).edit(
            photo(), "red fox", before="fox", region=region, steps=12, watch=lambda step, losses: seen.append(losses)
        )
        return seen

    seen = run("house")
    assert "bootstrap" in seen[0] and "bootstrap" not in run(None)[0]
    assert np.mean([losses["bootstrap"] for losses in seen[-4:]]) < np.mean(
        [losses["bootstrap"] for losses in seen[:4]]
    )
    picture = torch.from_numpy(photo()).movedim(-1, 0)[None] / 255
    where = text2live.relevance(clip, picture, clip.read(clip.tokens(["house"])))
    assert where.min() == 0 and where.max() == 1 and where.shape == (1, 16, 16)


def test_the_step_also_sees_the_whole_picture_at_times(clip, monkeypatch):
    sizes = []
    forward = Generator.forward
    monkeypatch.setattr(Generator, "forward", lambda self, x: sizes.append(tuple(x.shape[-2:])) or forward(self, x))
    Text2LIVE(clip, replace(SMALL, whole_every=2)).edit(photo(), "red fox", before="fox", steps=4)
    whole = (24, 37)
    assert [i for i, size in enumerate(sizes) if size == whole][-1] == len(sizes) - 1  # the final layer's
    assert len(sizes) == 4 + 2 + 1 and sizes[1] == sizes[4] == whole


def test_rendering():
    layer = torch.rand(2, 4, 5, 6, generator=torch_rng(0, "layer"))
    layer[0, 3], layer[1, 3] = 0, 1
    picture = torch.rand(2, 3, 5, 6, generator=torch_rng(0, "picture"))
    made = render(layer, picture)
    assert torch.equal(made.composite[0], picture[0]) and torch.equal(made.composite[1], layer[1, :3])
    torch.testing.assert_close(made.screen[0, :, 2, 3], torch.tensor([0, 177 / 255, 64 / 255]))


@pytest.mark.parametrize("size", [(33, 47), (40, 32), (34, 35)])
def test_the_layer_is_as_large_as_its_picture(size):
    assert Generator(4, 6, 2, 4)(torch.rand(1, 3, *size)).shape == (1, 4, *size)


def test_the_published_size():
    with torch.device("meta"):
        assert sum(p.numel() for p in Generator().parameters()) == 3_115_548


# ------------------------------------------------------------------------------------------------ views


def test_turning_keeps_shapes_whatever_the_pictures():
    wide = torch.zeros(1, 1, 40, 80)
    wide[..., 18:22, 50:54] = 1  # a little square to the right of the middle
    turned = text2live.warped(wide.expand(-1, 3, -1, -1), text2live.turning(math.pi / 2, (0, 0), 2.0), fill=0.0)[0, 0]
    assert turned.sum().item() == pytest.approx(16, rel=0.05)
    rows, columns = turned.nonzero(as_tuple=True)
    assert abs(columns.float().mean() - 39.5) < 1 and abs(abs(rows.float().mean() - 19.5) - 12) < 1


def test_corners_go_where_they_are_sent():
    old = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    new = old * torch.tensor([[0.7, 0.9], [0.8, 0.6], [1.0, 0.75], [0.65, 0.95]])
    homography = text2live.through(new, old)
    found = torch.cat([new, torch.ones(4, 1)], 1) @ homography.T
    torch.testing.assert_close(found[:, :2] / found[:, 2:], old)
    picture = torch.rand(1, 3, 9, 12, generator=torch_rng(0, "picture"))
    torch.testing.assert_close(text2live.warped(picture, text2live.through(old, old), fill=1.0), picture)
    outside = text2live.warped(picture, text2live.turning(0.0, (2.5, 0), 1.0), fill=1.0)
    assert torch.equal(outside, torch.ones_like(picture))


def test_hues_turn_on_their_circle():
    picture = torch.rand(1, 3, 4, 5, generator=torch_rng(0, "picture"))
    picture[0, :, 0, 0] = 0.3  # grey has none
    torch.testing.assert_close(text2live.hue_turned(picture, 1 / 3), picture.roll(1, 1))
    torch.testing.assert_close(text2live.hue_turned(picture, 1.0), picture)
    picture.requires_grad_()
    text2live.hue_turned(picture, 0.1).sum().backward()
    assert picture.grad.isfinite().all()


def test_views_are_of_one_size_and_differ():
    picture = torch.rand(1, 3, 30, 60, generator=torch_rng(0, "picture"))
    found = text2live.views(picture, replace(SMALL, views=5), torch_rng(0, "views"))
    assert found.shape == (5, 3, 12, 24)  # the longer side is the limit
    assert len({tuple(view.flatten()[:5].tolist()) for view in found}) == 5
    assert torch.equal(found, text2live.views(picture, replace(SMALL, views=5), torch_rng(0, "views")))
    assert found.min() >= -1e-6 and found.max() <= 1 + 1e-6


def test_madgrad_finds_the_bottom():
    x = torch.nn.Parameter(torch.tensor([3.0, -4.0]))
    optimiser = Madgrad([x], 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        ((x - torch.tensor([1.0, 2.0])) ** 2 * torch.tensor([1.0, 100.0])).sum().backward()
        optimiser.step()
    torch.testing.assert_close(x.detach(), torch.tensor([1.0, 2.0]), atol=0.02, rtol=0)


def test_similarity_losses():
    x, y = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    assert text2live.spherical(x, y).item() == pytest.approx(2 * (math.pi / 4) ** 2)  # half of a right angle, squared
    assert text2live.directional(x, x + y, y, 2 * y).item() == pytest.approx(0)
    assert text2live.directional(x, x - y, y, 2 * y).item() == pytest.approx(2)


# ------------------------------------------------------------------------------------------------ what can't be


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"before": ""}, "what the picture shows"),
        ({"words": "  "}, "what it is to show"),
        ({"steps": 0}, "one step"),
        ({"count": 0}, "one edit"),
        ({"picture": np.zeros((4, 4, 4), np.uint8)}, "H, W, 3"),
        ({"picture": np.zeros((4, 0, 3), np.uint8)}, "H, W, 3"),
    ],
)
def test_what_cannot_be_edited(clip, wrong, says):
    order = {"picture": photo(), "words": "red fox", "before": "fox", "steps": 1} | wrong
    with pytest.raises(BadInput, match=says):
        Text2LIVE(clip, SMALL).edit(order.pop("picture"), order.pop("words"), **order)


@pytest.mark.parametrize("size", [(1, 1), (2, 90)])
def test_pictures_of_odd_sizes(clip, size):
    assert Text2LIVE(clip, SMALL).edit(photo(*size), "red fox", before="fox", steps=1).pictures.shape == (1, *size, 3)


def test_a_size_too_small_for_its_scales_is_refused():
    with pytest.raises(BadInput, match="size=190"):
        Config(size=128)


def test_what_is_not_finite_is_named(clip):
    with pytest.raises(NotFinite, match="sparsity"):
        Text2LIVE(clip, replace(SMALL, area=math.inf)).edit(photo(), "red fox", before="fox", steps=2)
