"""Camera moves, dissolves, reframing and the two frame layouts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.film.motion import STILL, Move, dissolve, ease, frame_at, plan_move, quietest, reframe, subject
from limner.film.planes import planes, size_of, to_i420, to_rgb

SHARES = st.floats(0, 1)


def dot(width: int, height: int, x: float, y: float, radius: float = 12) -> np.ndarray:
    """A soft white dot on black, RGB."""
    distance = np.hypot(np.arange(width)[None, :] + 0.5 - x, np.arange(height)[:, None] + 0.5 - y)
    return np.repeat(np.clip((radius - distance) * 40, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def centre(frame: np.ndarray) -> tuple[float, float]:
    light = frame[..., 0].astype(float)
    return float(light.sum(0) @ (np.arange(light.shape[1]) + 0.5) / light.sum()), float(
        light.sum(1) @ (np.arange(light.shape[0]) + 0.5) / light.sum()
    )


@given(st.integers(0, 2**60), st.integers(0, 10**6), st.sampled_from([16 / 9, 9 / 16, 1.0]), SHARES, SHARES, SHARES)
def test_a_move_never_leaves_the_picture(seed: int, index: int, aspect: float, x: float, y: float, t: float) -> None:
    move = plan_move(seed, index, aspect, (x, y))
    left, top, right, bottom = move.view(t)
    assert -1e-9 <= left < right <= 1 + 1e-9
    assert -1e-9 <= top < bottom <= 1 + 1e-9
    assert 1 / 1.12 - 1e-9 <= right - left <= 1 + 1e-9
    assert right - left == pytest.approx(bottom - top)


@given(*[st.floats(0, 1)] * 5, st.floats(0.5, 3))
def test_even_a_hand_made_move_stays_inside(x0: float, y0: float, x1: float, y1: float, t: float, zoom: float) -> None:
    left, top, right, bottom = Move(x0, y0, zoom, x1, y1, 1.0).view(t)
    assert min(left, top) >= -1e-9 and max(right, bottom) <= 1 + 1e-9


def test_moves_are_planned_by_seed_and_scene() -> None:
    moves = [plan_move(7, index) for index in range(40)]
    assert moves == [plan_move(7, index) for index in range(40)]
    assert len(set(moves)) == 40
    assert plan_move(8, 0) != moves[0]
    assert all(move.view(0) != move.view(1) for move in moves)


def test_easing_is_smooth_and_complete() -> None:
    shares = np.array([ease(t) for t in np.linspace(0, 1, 1001)])
    assert shares[0] == 0 and shares[-1] == 1
    speed = np.diff(shares) * 1000
    assert speed.min() >= 0 and speed.max() < 1.4
    assert speed[0] < 0.05 and speed[-1] < 0.05
    assert np.abs(np.diff(speed)).max() < 0.02


def test_slow_moves_do_not_tremble() -> None:
    """The dot drifts by a fraction of a pixel a frame, and by nearly the same fraction each frame."""
    picture = dot(640, 360, 200, 120)
    move = Move(0.48, 0.5, 1.1, 0.52, 0.5, 1.1)
    places = np.array([centre(frame_at(picture, move, 0.3 + 0.4 * n / 60, (640, 360)))[0] for n in range(60)])
    steps = np.diff(places)
    assert np.abs(steps.mean()) < 0.5
    assert np.abs(steps - steps.mean()).max() < 0.08


def test_what_the_camera_sees_is_where_it_should_be() -> None:
    picture = dot(640, 360, 400, 200)
    left, top, right, bottom = (0.25, 0.25, 0.75, 0.75)
    seen = frame_at(picture, Move(0.5, 0.5, 2.0, 0.5, 0.5, 2.0), 0.5, (640, 360))
    x, y = centre(seen)
    assert x == pytest.approx((400 / 640 - left) / (right - left) * 640, abs=0.3)
    assert y == pytest.approx((200 / 360 - top) / (bottom - top) * 360, abs=0.3)


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (240, 240)])
def test_both_layouts_show_the_same(size: tuple[int, int]) -> None:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    picture = np.stack([x * 255 // size[0], y * 255 // size[1], (x + y) % 256 // 2], axis=2).astype(np.uint8)
    move = plan_move(1, 2, size[0] / size[1])
    plain = frame_at(picture, move, 0.4, size)
    planar = frame_at(to_i420(picture), move, 0.4, size)
    assert size_of(plain) == size_of(planar) == size
    assert np.abs(to_rgb(planar).astype(int) - plain)[4:-4, 4:-4].mean() < 4


def test_colours_are_those_of_hd_television() -> None:
    for colour, luma, blue, red in (
        ((255, 0, 0), 63, 102, 240),
        ((255, 255, 255), 235, 128, 128),
        ((0, 0, 0), 16, 128, 128),
    ):
        y, u, v = planes(to_i420(np.full((32, 32, 3), colour, np.uint8)))
        assert (int(y[5, 5]), int(u[5, 5]), int(v[5, 5])) == (luma, blue, red)
        assert np.abs(to_rgb(to_i420(np.full((32, 32, 3), colour, np.uint8))).astype(int) - colour).max() <= 2


def test_a_still_shot_is_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    assert np.array_equal(frame_at(picture, STILL, 0.7, (160, 90)), picture)


def test_a_dissolve_begins_with_one_and_ends_with_the_other() -> None:
    a, b = np.full((4, 4, 3), 10, np.uint8), np.full((4, 4, 3), 210, np.uint8)
    assert np.array_equal(dissolve(a, b, 0), a)
    assert np.array_equal(dissolve(a, b, 1), b)
    values = [int(dissolve(a, b, t)[0, 0, 0]) for t in np.linspace(0, 1, 25)]
    assert values == sorted(values) and abs(values[12] - 110) <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 600), st.integers(30, 310))
def test_reframing_keeps_the_subject(x: int, y: int) -> None:
    picture = dot(640, 360, x, y, 16) // 2 + 60
    for size in ((90, 160), (120, 120)):
        framed = reframe(picture, size)
        assert framed.shape == (size[1], size[0], 3)
        assert framed.max() > 150, "the dot is outside the frame"


def test_a_flat_picture_has_its_subject_in_the_middle() -> None:
    assert subject(np.full((50, 80, 3), 7, np.uint8)) == pytest.approx((0.5, 0.5))


def test_the_quietest_box_hides_least_and_the_first_is_kept_in_doubt() -> None:
    low, high = (0.1, 0.7, 0.9, 0.95), (0.1, 0.05, 0.9, 0.3)
    assert quietest(dot(640, 360, 320, 290), [low, high]) == 1
    assert quietest(dot(640, 360, 320, 60), [low, high]) == 0
    assert quietest(np.full((360, 640, 3), 9, np.uint8), [low, high]) == 0
    both = np.maximum(dot(640, 360, 320, 290), dot(640, 360, 320, 60))
    assert quietest(both, [low, high]) == 0
