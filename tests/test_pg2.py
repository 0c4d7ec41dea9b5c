from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.data.kinds import Posed
from limner.errors import BadCheckpoint, BadInput
from limner.parity.fill import fill_tensor
from limner.parity.game import moves
from limner.published import open_as
from limner.rng import Rng, torch_rng
from limner.system import Reposes
from limner.systems.pose.pg2 import PG2, body, discs
from playing import learn

RECORDS = Path(__file__).parent / "parity"
TINY = PG2.Config(size=(32, 16), width=4, code=8, discriminator_width=4)
NAN = math.nan


def joints(**seen: tuple[float, float]) -> torch.Tensor:
    """(1, 18, 2) with the joints that are given as `j0` (the nose) to `j17`."""
    points = torch.full((1, 18, 2), NAN)
    for name, place in seen.items():
        points[0, int(name[1:])] = torch.tensor(place)
    return points


def people(numbers: Sequence[int]) -> Posed:
    """A shirt of random colour, which is where the neck is; nothing else is seen."""
    shots = []
    for shot in ("source", "target"):
        shown, points = [], []
        for n in numbers:
            colour = torch.rand(3, 1, 1, generator=torch_rng(0, "colour", n)) * 2 - 1
            row = int(torch.randint(6, 26, (), generator=torch_rng(0, shot, n)))
            picture = torch.full((3, 32, 16), -1.0)
            picture[:, row - 4 : row + 5, 4:13] = colour
            shown.append(picture)
            points.append(joints(j1=(8, row), j2=(5, row), j5=(11, row)))
        shots += [torch.stack(shown), torch.cat(points)]
    return Posed(*shots)


def test_a_disc_is_what_is_four_pixels_away() -> None:
    found = discs(torch.tensor([[8.9, 9.0]]), 20, 20)
    assert found.sum() == 49 and found[9, 4:13].all() and found[5:14, 8].all() and not found[9, 3]
    assert discs(torch.tensor([[0.0, 0.0], [NAN, NAN]]), 20, 20).sum() == 17, "cut off at the corner"
    assert not discs(torch.tensor([[NAN, NAN]]), 20, 20).any()


def test_a_body_is_along_limbs_whose_ends_are_both_seen() -> None:
    arm = body(joints(j2=(10, 10), j3=(40, 10), j7=(30, 40)), 60, 60)[0, 0]
    assert arm[6:15, 10:41].all() and not arm[5].any() and not arm[15].any()
    assert arm[10, 6:45].all() and arm[10].sum() == 39
    assert not body(joints(j3=(40, 10)), 60, 60).any()
    assert torch.isfinite(body(joints(j2=(10, 10), j3=(1e9, 10)), 60, 60)).all()


SKELETON = (
    "2-3 2-6 3-4 4-5 6-7 7-8 2-9 9-10 10-11 2-12 12-13 13-14 2-1 1-15 15-17 1-16 16-18 2-17 2-18 9-12 12-6 9-3 17-18"
)


def disc_by_disc(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The published mask (18, 2) -> (H, W), one disc after the other."""
    found = np.zeros((height, width), bool)
    rows, columns = np.mgrid[:height, :width]
    for limb in SKELETON.split():
        (x0, y0), (x1, y1) = (points[int(joint) - 1] for joint in limb.split("-"))
        if np.isnan([x0, x1]).any():
            continue
        count = int(math.hypot(x1 - x0, y1 - y0) / 4)
        places = [(x0, y0), (x1, y1)] + [
            (x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(1, count)
        ]
        for x, y in places:
            found |= (rows - int(y)) ** 2 + (columns - int(x)) ** 2 <= 16
    windows = [(down, across) for down in range(-2, 3) for across in range(-2, 3)]
    for fold, rim in ((np.any, False), (np.all, True)):
        padded = np.pad(found, 2, constant_values=rim)
        found = fold([padded[2 + y : 2 + y + height, 2 + x : 2 + x + width] for y, x in windows], 0)
    return found


def test_bodies_are_the_published_masks() -> None:
    points = np.random.default_rng(0).uniform(0, 64, (4, 18, 2)).astype(np.float32)
    points[np.random.default_rng(1).random((4, 18)) < 0.3] = NAN
    found = body(torch.from_numpy(points), 70, 60)[:, 0].numpy()
    for mask, place in zip(found, points, strict=True):
        assert np.array_equal(mask, disc_by_disc(place, 70, 60))


def test_stage_one_moves_the_person() -> None:
    torch.manual_seed(0)
    model = PG2(replace(TINY, width=8))
    learn(model, people, steps=60, rate=6e-3, batch=8)
    batch = people(range(2000, 2032))
    with torch.no_grad():
        coarse, _ = model(batch.source, model.pose(batch.target_joints))
        elsewhere, _ = model(batch.source, model.pose(batch.source_joints))
    error = (coarse - batch.target).abs().mean()
    assert error < 0.8 * (batch.source - batch.target).abs().mean(), "better than to leave the person where it was"
    assert error < 0.8 * (elsewhere - batch.target).abs().mean(), "and it is the pose that says where"


def test_the_second_stage_leaves_the_first_as_it_is() -> None:
    torch.manual_seed(0)
    model, batch = PG2(replace(TINY, first_stage=3)), people(range(4))
    first, second = (moves(model, batch, Rng(0, range(4), step)) for step in (2, 3))
    assert first.keys() == {"integrator"} and second.keys() == {"refiner", "discriminator"}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(gradient.any() for gradient in second["refiner"].gradients.values() if gradient.ndim > 1)


def test_the_discriminator_judges_what_the_stepped_refiner_paints() -> None:
    torch.manual_seed(0)
    model, batch = PG2(replace(TINY, first_stage=0)), people(range(4))
    scores = []
    for change in (0.0, 0.5):
        game = model.play(batch, Rng(0, range(4), 0))
        next(game)
        with torch.no_grad():
            model.refiner.last.bias.add_(change)
        scores.append(next(game)[1]["fake"].item())
    assert scores[0] != scores[1]


def test_the_programs_judge_different_batches() -> None:
    torch.manual_seed(0)
    market = PG2(TINY)
    deepfashion = PG2(replace(TINY, program="deepfashion"))
    deepfashion.discriminator.load_state_dict(market.discriminator.state_dict())
    shots = [torch.rand(2, 3, 32, 16) for _ in range(4)]
    one, other = market.judge(*shots), deepfashion.judge(*shots)
    assert one.keys() - other.keys() == {"coarse"}
    assert not torch.allclose(one["target"], other["target"]), "batch norm sees what else is judged"
    market.eval()
    market.judge(*(10 * shot for shot in shots))
    assert torch.equal(one["target"], market.judge(*shots)["target"]), "and remembers nothing"


def test_people_of_any_size_come_back_at_their_own() -> None:
    torch.manual_seed(0)
    model = PG2(TINY).eval()
    assert isinstance(model, Reposes)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), np.uint8)
    points = np.random.default_rng(1).uniform(0, 32, (2, 18, 2))
    points[0, 3] = NAN
    painted = model.repose(pictures, points)
    assert painted.shape == pictures.shape and painted.dtype == np.uint8
    assert np.array_equal(model.repose(pictures[1:], points[1:]), painted[1:])
    assert not np.array_equal(model.repose(pictures, points[::-1]), painted)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="multiples of 16"):
        PG2.Config(size=(128, 72))
    model, pictures = PG2(TINY), np.zeros((1, 32, 16, 3), np.uint8)
    with pytest.raises(BadInput, match=r"uint8 pictures \(N, H, W, 3\)"):
        model.repose(pictures[0], np.zeros((1, 18, 2)))
    with pytest.raises(BadInput, match=r"joints of 1 people, numbers \(1, 18, 2\)"):
        model.repose(pictures, np.zeros((1, 25, 2)))
    batch = people([0])
    with pytest.raises(BadInput, match="16x64 and should be 16x32"):
        next(model.play(replace(batch, target=torch.zeros(1, 3, 64, 16)), Rng(0, [0])))


@pytest.mark.filterwarnings("ignore:.*first weights")
@pytest.mark.parametrize("program", ["market", "deepfashion"])
def test_a_checkpoint_opens_with_all_its_variables(program: str) -> None:
    shapes = json.loads((RECORDS / f"pg2-{program}.json").read_text())["state"]
    released = {
        name: fill_tensor(name, (*shape[2:], *shape[1::-1]) if len(shape) > 1 else tuple(shape))  # as TensorFlow has it
        for name, shape in shapes.items()
        if not name.startswith("Discriminator")
    }
    slots = {f"{name}/Adam_1": torch.zeros(1) for name in released} | {"beta1_power": torch.zeros(())}
    model = open_as("pg2", released | slots | {"step": torch.tensor(3)}, "model.ckpt", {"discriminator_width": 4})
    assert isinstance(model, PG2) and model.config.program == program
    assert model.config.size == {"market": (128, 64), "deepfashion": (256, 256)}[program]
    kernel = released["UAEnoFC/G/Conv_1/weights"]
    assert torch.equal(model.refiner.encoder[0][0].weight, kernel.permute(3, 2, 0, 1))
    with pytest.raises(BadCheckpoint, match="doesn't have: UAEnoFC/G/Conv_99"):
        open_as("pg2", released | {"UAEnoFC/G/Conv_99/biases": torch.zeros(1)}, "model.ckpt", {})
    del released["UAEnoFC/G/Conv_3/biases"]
    with pytest.raises(BadCheckpoint, match="lacks"):
        open_as("pg2", released, "model.ckpt", {"discriminator_width": 4})
