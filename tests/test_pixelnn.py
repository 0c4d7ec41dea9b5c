from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.data.kinds import Paired
from limner.errors import BadInput
from limner.rng import Rng, torch_rng
from limner.system import Translates, from_uint8, to_uint8
from limner.systems.translation.pixelnn import WAYS, PixelNet, PixelNN, luminance, match

TINY = PixelNN.Config(
    size=(8, 12), layers=("relu1_2", "relu2_1"), width=8, hidden=16, padding=2, descriptor_padding=4, pixels=20,
    exemplars=3,
)  # fmt: skip


def noise(name: str, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch_rng(0, name)) * 2 - 1


def pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    sources, targets = (draw.integers(0, 256, (count, 8, 12, 3), np.uint8) for _ in "ab")
    return sources, targets


def built(**options: object) -> PixelNN:
    torch.manual_seed(0)
    return PixelNN(replace(TINY, **options)).eval()


def test_the_match_is_the_best_within_the_window() -> None:
    query, key = (F.normalize(noise(name, 6, 7, 9), dim=0) for name in ("query", "key"))
    products = query.flatten(1).T @ key.flatten(1)
    rows, columns = torch.arange(63) // 9, torch.arange(63) % 9
    apart = torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())
    for window in (0, 1, 3, 20, -1):
        score, place = match(query, key, window)
        allowed = products.masked_fill(apart > window, -2) if window >= 0 else products
        assert torch.allclose(score.flatten(), allowed.max(1).values, atol=1e-6)
        assert torch.equal(place.flatten(), allowed.argmax(1))


def test_of_equal_matches_the_nearest_is_taken() -> None:
    alike = torch.ones(2, 5, 5)
    assert torch.equal(match(alike, alike, 2)[1], torch.arange(25).view(5, 5))


def test_a_column_holds_what_the_layers_have_at_its_pixel() -> None:
    config = replace(TINY, layers=("relu1_1",))
    torch.manual_seed(0)
    network = PixelNet(config, padding=3)
    picture = noise("picture", 1, 3, 8, 12)
    places = torch.tensor([[[0, 0], [7, 11], [3, 5]]])
    (whole,) = network.features(picture)
    assert whole.shape == (1, 8, 14, 18)
    wanted = torch.stack([whole[0, :, row + 3, column + 3] for row, column in places[0].tolist()], 1)
    assert torch.allclose(network.columns(picture, places)[0], wanted, atol=1e-5)
    full = network(picture)
    assert torch.allclose(network.at(picture, places)[0, 2], full[0, :, 3, 5], atol=1e-5)


def test_an_exemplar_of_the_same_source_gives_its_target() -> None:
    model = built()
    sources, targets = pairs(4)
    exemplars = model.exemplars(sources, targets)
    for neighbours, window in ((1, 0), (1, 3), (3, -1)):
        painted = model.synthesise(sources[1:3], exemplars, neighbours=neighbours, window=window)
        assert (painted == targets[1:3]).mean() > 0.99
    without = model.synthesise(sources[1:2], exemplars.chosen([0, 2, 3]), neighbours=1)
    assert not np.array_equal(without, targets[1:2])


def test_colours_come_from_the_chosen_exemplars_alone() -> None:
    model = built()
    sources, targets = pairs(4)
    painted = model.synthesise(sources[:1], model.exemplars(sources, targets).chosen([2, 3]), window=-1)
    there = {tuple(colour) for colour in targets[2:].reshape(-1, 3)}
    assert {tuple(colour) for colour in painted.reshape(-1, 3)} <= there


def test_luminance_is_copied_and_colour_kept() -> None:
    model = built(copies="luminance")
    sources, _ = pairs(3)
    targets = np.full_like(sources, 128)
    smooth = model.smooth(from_uint8(sources[:1])) * 0.5  # away from the ends of the range
    model.smooth = lambda source: smooth.expand(len(source), -1, -1, -1)
    painted = from_uint8(model.synthesise(sources[:1], model.exemplars(sources[:1], targets[:1]), window=0))
    assert torch.allclose(luminance(painted), luminance(from_uint8(targets[:1])), atol=0.02)
    kept = painted - luminance(painted)
    assert torch.allclose(kept, smooth - luminance(smooth), atol=0.02)


def test_a_higher_rank_leaves_out_the_most_similar() -> None:
    model = built()
    sources, targets = pairs(4)
    exemplars = model.exemplars(sources, targets)
    first, second = (model.synthesise(sources[:1], exemplars, neighbours=1, rank=rank, window=0) for rank in (0, 1))
    assert (first == targets[:1]).mean() > 0.99
    assert sum(np.array_equal(second, target[None]) for target in targets[1:]) == 1
    last = model.synthesise(sources[:1], exemplars, neighbours=1, rank=100, window=0)
    assert sum(np.array_equal(last, target[None]) for target in targets[1:]) == 1


def test_both_networks_learn() -> None:
    model = built(pixels=96).train()
    batch = Paired(noise("source", 2, 3, 8, 12), noise("shade", 2, 3, 1, 1).expand(-1, -1, 8, 12) * 0.8)
    errors: dict[str, list[float]] = {"regressor": [], "descriptor": []}
    optimisers = {name: player.optimiser(player.parameters()) for name, player in model.players.items()}
    for step in range(30):
        for name, losses in model.play(batch, Rng(0, [2 * step, 2 * step + 1])):
            for group in optimisers[name].param_groups:
                group["lr"] = 3e-3
            optimisers[name].zero_grad()
            losses["error"].backward()
            optimisers[name].step()
            errors[name].append(losses["error"].item())
    assert all(each[-1] < each[0] / 2 for each in errors.values())


def test_training_keeps_each_pair_once_and_the_newest() -> None:
    model = built()
    sources, targets = pairs(5)
    batch = Paired(from_uint8(sources), from_uint8(targets))
    for numbers in ([0, 1], [1, 0], [2, 2]):
        model.remember(Paired(batch.source[numbers], batch.target[numbers]))
    assert int(model.known) == 3
    model.remember(Paired(batch.source[3:], batch.target[3:]))
    assert int(model.known) == 5
    kept = model.targets.movedim(1, -1).numpy()
    assert np.array_equal(kept, targets[[3, 4, 2]])


def test_translating_copies_from_what_was_kept() -> None:
    model = built()
    assert isinstance(model, Translates)
    sources, targets = pairs(3)
    with pytest.raises(BadInput, match="no exemplars"):
        model.translate(sources)
    model.remember(Paired(from_uint8(sources[:2]), from_uint8(targets[:2])))
    painted = model.translate(sources[2:])
    assert np.array_equal(painted, model.translate(sources[2:]))
    assert np.array_equal(painted, model.synthesise(sources[2:], model.exemplars(sources[:2], targets[:2])))
    assert len(WAYS) == 72 and not np.array_equal(painted, model.translate(sources[2:], seed=2))
    model.remember(Paired(from_uint8(sources[2:]), from_uint8(targets[2:])))
    assert (model.translate(sources[2:]) == targets[2:]).mean() > 0.9
    large = to_uint8(F.interpolate(from_uint8(sources[:1]), scale_factor=2.0))
    assert model.translate(large).shape == large.shape == (1, 16, 24, 3)


def test_what_does_not_fit_is_refused() -> None:
    model = built()
    sources, targets = pairs(2)
    exemplars = model.exemplars(sources, targets)
    for wrong in ({"neighbours": 0}, {"rank": -1}, {"window": -2}):
        with pytest.raises(BadInput, match="window from -1"):
            model.synthesise(sources, exemplars, **wrong)
    with pytest.raises(BadInput, match="there are 0"):
        model.synthesise(sources, exemplars.chosen([]))
    with pytest.raises(BadInput, match="2 sources and 1 targets"):
        model.exemplars(sources, targets[:1])
    with pytest.raises(BadInput, match="9x8 and should be 12x8"):
        next(model.play(Paired(torch.zeros(1, 3, 8, 9), torch.zeros(1, 3, 8, 9)), Rng(0, [0])))
    with pytest.raises(BadInput, match="at least one layer"):
        replace(TINY, layers=())
    with pytest.raises(BadInput, match="relu3_1: no layer of VGG-16, or deeper"):
        PixelNN(replace(TINY, layers=("relu3_1", "relu1_2")))
