from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.nn import init
from limner.rng import Rng
from limner.system import Styled, Translates
from limner.systems.translation.cross_domain import Critic, CrossDomain, Decoder, Encoder, reverse

TINY = CrossDomain.Config(size=64, width=4, exclusive=3)


@pytest.fixture(scope="module")
def model() -> CrossDomain:
    torch.manual_seed(0)
    return CrossDomain(TINY).eval()


def photos(count: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def test_the_full_size_is_the_published_one() -> None:
    config = CrossDomain.Config()
    with torch.device("meta"):
        networks = Encoder(config), Decoder(520, 64), Decoder(8, 64), Critic(64)
    sizes = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert sizes == [8_002_760, 7_018_307, 2_824_003, 2_763_713]


def test_it_translates_both_ways_and_keeps_the_size(model: CrossDomain) -> None:
    assert isinstance(model, Translates) and isinstance(model, Styled)
    given = photos(2, 40, 90)
    there, back = model.translate(given), model.translate(given, backwards=True)
    assert there.shape == back.shape == given.shape and not np.array_equal(there, back)
    alone = model.translate(given[1:], style=model.random_style(0))
    assert np.array_equal(there[1:], alone), "batch norms must not mix the pictures of a call"
    assert not np.array_equal(there, model.translate(given, seed=1))


def test_parts_have_their_shapes_and_domains(model: CrossDomain) -> None:
    given = photos(2)
    assert model.style_of(given).shape == (2, 3) and model.shared_of(given).shape == (2, 32, 2, 2)
    assert not torch.allclose(model.style_of(given), model.style_of(given, backwards=True))
    assert not torch.allclose(model.shared_of(given), model.shared_of(given, backwards=True))


def test_the_encoders_learn_to_defeat_the_exclusive_decoders() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    (plain,) = torch.autograd.grad((x**2).sum(), x)
    (reversed_,) = torch.autograd.grad((reverse(x) ** 2).sum(), x)
    assert torch.equal(reversed_, -plain) and torch.equal(reverse(x), x)


def test_a_critic_scores_every_eight_cells_by_themselves() -> None:
    critic, draw = Critic(2), torch.Generator().manual_seed(0)
    picture = torch.rand(1, 3, 256, 256, generator=draw)
    changed = picture.clone()
    changed[..., :40, :40] += 1  # the reach of a cell is a patch around it
    scores = [critic(picture, each) for each in (picture, changed)]
    assert scores[0].shape == (1, 32)
    moved = (scores[0] != scores[1])[0].nonzero().flatten()
    assert 0 < len(moved) <= 4 and set(moved.tolist()) <= {0, 2, 4, 6}, "the left halves of the upper rows"


def test_what_is_the_same_in_every_cell_reaches_the_picture() -> None:
    torch.manual_seed(0)
    decoder, code = Decoder(3, 4).eval(), torch.rand(1, 3, 1, 1).expand(-1, -1, 2, 2)
    init.normal(decoder)
    weak, strong = decoder(code), decoder(100 * code)  # a norm over one picture would make them the same
    assert (strong - weak).abs().mean() > 0.5 * strong.abs().mean() > 0


def test_other_sizes_are_refused(model: CrossDomain) -> None:
    batch = Paired(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 96))
    with pytest.raises(BadInput, match="64x64, not 96x64"):
        next(model.play(batch, Rng(0, [0])))
    with pytest.raises(BadInput, match="multiple of 64"):
        CrossDomain.Config(size=96)
