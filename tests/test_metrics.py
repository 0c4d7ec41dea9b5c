"""Metrics that compare two sets of pictures by features, against closed forms, reference formulas and each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import BadInput
from limner.metrics import Average, Result
from limner.metrics.frechet import FrechetDistance, frechet, frechet_distance
from limner.metrics.inception_score import InceptionScore
from limner.metrics.kernel import KernelDistance
from limner.metrics.neighbours import Neighbours
from limner.metrics.sets import Kept, TwoSets

pytestmark = pytest.mark.filterwarnings("ignore:A Fréchet distance")

seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, n: int, width: int, shift: float = 0.0, decay: float = 0.0) -> np.ndarray:
    """(n, width): correlated, skewed like a network's features; the spectrum falls by exp(-decay) over its width."""
    mixing = np.random.default_rng(7).standard_normal((width, width))
    mixing *= np.exp(-decay * np.arange(width) / width)[:, None]
    return np.maximum(np.random.default_rng(seed).standard_normal((n, width)) @ mixing / math.sqrt(width), -0.3) + shift


def measured(metric: TwoSets, made: np.ndarray, real: np.ndarray) -> Result:
    metric.update(made=made, real=real)
    return metric.value()


# ------------------------------------------------------------------------------------------------ Fréchet distance


def by_square_root(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as TTUR's and pytorch-fid's programs compute it: a matrix square root of the product."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    shift = a.mean(0) - b.mean(0)
    return float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root).real)


def by_singular_values(a: np.ndarray, b: np.ndarray) -> float:
    """The same without covariances: tr((A B)^(1/2)) is the nuclear norm of the product of the centred samples."""
    one, other = ((x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (a, b))
    shift = a.mean(0) - b.mean(0)
    overlap = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    return float(shift @ shift + (one**2).sum() + (other**2).sum() - 2 * overlap)


@pytest.mark.parametrize("width", [1, 2, 48, 160])
def test_frechet_is_the_references_formula(width: int) -> None:
    a, b = drawn(1, 900, width), drawn(2, 700, width, shift=0.1)
    found = measured(FrechetDistance("x", rounds=0), a, b).value
    if width > 1:
        assert found == pytest.approx(by_square_root(a, b), rel=1e-6)
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "decay", "scale"), [(60, 0.0, 1.0), (900, 12.0, 1.0), (900, 30.0, 1.0), (60, 12.0, 1e-4), (900, 30.0, 1e4)]
)
def test_frechet_is_right_where_covariances_are_singular_or_nearly(n: int, decay: float, scale: float) -> None:
    a, b = (scale * drawn(seed, n, 128, 0.05 * seed, decay) for seed in (1, 2))
    found = measured(FrechetDistance("x", rounds=0), a, b).value
    assert found == pytest.approx(by_singular_values(a, b), rel=1e-6)
    assert found == pytest.approx(by_square_root(a, b), rel=1e-4)  # which is itself no better here


@given(seeds, st.integers(1, 6))
def test_frechet_of_gaussians_that_share_their_axes_has_a_closed_form(seed: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((width, width)))
    spread_a, spread_b = rng.uniform(0, 3, (2, width)) * (rng.random((2, width)) > 0.3)
    mean_a, mean_b = rng.standard_normal((2, width))
    covariances = ((axes * spread**2) @ axes.T for spread in (spread_a, spread_b))
    a, b = (torch.from_numpy(each) for each in covariances)
    found = frechet(torch.from_numpy(mean_a), a, torch.from_numpy(mean_b), b)
    assert found == pytest.approx(((mean_a - mean_b) ** 2).sum() + ((spread_a - spread_b) ** 2).sum(), abs=1e-6)


@settings(max_examples=30)
@given(seeds)
def test_frechet_is_symmetric_zero_on_equals_and_blind_to_turns_and_shifts(seed: int) -> None:
    a, b = drawn(seed, 40, 5), drawn(seed + 1, 30, 5, shift=0.2)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))
    value = frechet_distance(a, b, "x").value
    assert value >= 0
    assert frechet_distance(b, a, "x").value == pytest.approx(value, rel=1e-9)
    assert frechet_distance(a @ turn + 3, b @ turn + 3, "x").value == pytest.approx(value, rel=1e-8)
    assert frechet_distance(2 * a, 2 * b, "x").value == pytest.approx(4 * value, rel=1e-8)
    assert frechet_distance(a, a[::-1].copy(), "x").value == pytest.approx(0, abs=1e-9)


def test_video_balanced_weights_let_every_clip_count_the_same() -> None:
    clips = [drawn(seed, length, 6, shift=0.1 * seed) for seed, length in enumerate((3, 50, 8, 20))]
    made = drawn(9, 60, 6)
    frames, shares = np.concatenate(clips), np.concatenate([np.full(len(clip), 1 / len(clip)) for clip in clips])
    balanced = FrechetDistance("x", population=True, rounds=0)
    balanced.update(made=made)
    for part in np.array_split(np.arange(len(frames)), 7):
        balanced.update(real=frames[part], real_weights=shares[part])
    mean = np.mean([clip.mean(0) for clip in clips], 0)
    covariance = np.mean([(clip - mean).T @ (clip - mean) / len(clip) for clip in clips], 0)
    ours = np.cov(made, rowvar=False, bias=True)
    root = scipy.linalg.sqrtm(ours @ covariance)
    wanted = ((made.mean(0) - mean) ** 2).sum() + np.trace(ours) + np.trace(covariance) - 2 * np.trace(root).real
    assert balanced.value().value == pytest.approx(wanted, rel=1e-9)
    assert "weighted" in balanced.value().protocol


def test_equal_weights_are_no_weights() -> None:
    a, b = drawn(1, 30, 4), drawn(2, 25, 4)
    weighted = FrechetDistance("x", rounds=0)
    weighted.update(made=a, real=b, real_weights=np.full(25, 0.2))
    assert weighted.value().value == pytest.approx(frechet_distance(a, b, "x").value, rel=1e-9)


def test_the_bootstraps_error_is_the_spread_of_repeated_measurements() -> None:
    def once(seed: int, rounds: int) -> Result:
        return measured(FrechetDistance("x", rounds=rounds), drawn(seed, 400, 8, 0.5), drawn(seed + 500, 400, 8))

    spread = np.std([once(seed, 0).value for seed in range(40)], ddof=1)
    errors = [once(seed, 20).error for seed in range(5)]
    assert np.mean([e for e in errors if e]) == pytest.approx(spread, rel=0.5)


def test_few_samples_are_warned_about() -> None:
    with pytest.warns(UserWarning, match="2047 samples is mostly bias"):
        frechet_distance(drawn(1, 2048, 2), drawn(2, 2047, 2), "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance(drawn(1, 2048, 2), drawn(2, 2048, 2), "x")


# ------------------------------------------------------------------------------------------------ kernel distance


def by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """Binkowski et al. (2018), eq. 3: means over all pairs of different rows."""
    kernel: Callable[[np.ndarray, np.ndarray], float] = lambda x, y: (x @ y / len(x) + 1) ** 3
    within = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    return float(within[0] + within[1] - 2 * np.mean([kernel(x, y) for x in a for y in b]))


@pytest.mark.parametrize(("n", "m"), [(3, 3), (12, 7)])
def test_the_kernel_distance_and_its_jackknife_are_their_definitions(n: int, m: int) -> None:
    a, b = drawn(1, n, 6), drawn(2, m, 6, shift=0.3)
    found = measured(KernelDistance("x"), a, b)
    assert found.value == pytest.approx(by_definition(a, b), rel=1e-9)
    if n > 3:
        without = [[by_definition(np.delete(a, i, 0), b) for i in range(n)]]
        without += [[by_definition(a, np.delete(b, i, 0)) for i in range(m)]]
        assert found.error == pytest.approx(sum((len(w) - 1) * np.var(w) for w in without) ** 0.5, rel=1e-8)


def test_the_kernel_distance_has_no_bias_and_knows_its_error() -> None:
    found = [measured(KernelDistance("x"), drawn(s, 60, 8), drawn(s + 1000, 60, 8)) for s in range(200)]
    mean, spread = np.mean([each.value for each in found]), np.std([each.value for each in found])
    assert abs(mean) < 4 * spread / math.sqrt(200)
    assert np.mean([each.error for each in found if each.error]) == pytest.approx(spread, rel=0.5)


# ------------------------------------------------------------------------------------------------ neighbours


def by_sorting(made: np.ndarray, real: np.ndarray, k: int) -> dict[str, float]:
    """Kynkäänniemi et al. (2019) and Naeem et al. (2020), written as their equations."""

    def reach(rows: np.ndarray) -> np.ndarray:
        return np.array([sorted(np.linalg.norm(rows - row, axis=1))[k] for row in rows])

    gap = np.linalg.norm(real[:, None] - made[None], axis=2)
    around_real, around_made = reach(real), reach(made)
    return {
        "precision": float((gap < around_real[:, None]).any(0).mean()),
        "recall": float((gap < around_made).any(1).mean()),
        "density": float((gap < around_real[:, None]).sum(0).mean() / k),
        "coverage": float((gap.min(1) < around_real).mean()),
    }


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_are_the_papers_equations(k: int) -> None:
    made, real = drawn(1, 40, 5, shift=0.3), drawn(2, 55, 5)
    metric = Neighbours("x", nearest=k)
    metric.update(made=made, real=real)
    found = metric.values()
    assert {name: each.value for name, each in found.items()} == pytest.approx(by_sorting(made, real, k))
    assert (found["precision"].n, found["recall"].n) == (40, 55)
    assert metric.value() == found["precision"]


@given(seeds, st.integers(1, 4))
def test_neighbours_stay_in_their_bounds_and_swap_with_the_sets(seed: int, k: int) -> None:
    made, real = drawn(seed, 12, 3), drawn(seed + 1, 15, 3)
    found, swapped = Neighbours("x", nearest=k), Neighbours("x", nearest=k)
    found.update(made=made, real=real)
    swapped.update(made=real, real=made)
    one, other = found.values(), swapped.values()
    assert all(0 <= one[name].value <= 1 for name in ("precision", "recall", "coverage"))
    assert 0 <= one["density"].value <= 15 / k
    assert one["precision"].value == other["recall"].value and one["recall"].value == other["precision"].value


def test_far_sets_share_nothing_and_equal_ones_everything() -> None:
    near, far = drawn(1, 30, 4), drawn(1, 30, 4, shift=50)
    for made, wanted in ((near, 1.0), (far, 0.0)):
        metric = Neighbours("x")
        metric.update(made=made, real=near)
        assert {name: each.value for name, each in metric.values().items() if name != "density"} == dict.fromkeys(
            ("precision", "recall", "coverage"), wanted
        )


def test_a_picture_many_times_over_has_a_neighbourhood_of_nothing() -> None:
    metric = Neighbours("x", nearest=2)
    rows = 1e3 + np.repeat(drawn(1, 4, 3), 4, axis=0)  # every one has three equals: its second nearest is at 0
    metric.update(made=rows, real=rows)
    assert [each.value for each in metric.values().values()] == [0, 0, 0, 0]


# ------------------------------------------------------------------------------------------------ inception score


@given(seeds, st.integers(1, 5), st.integers(0, 4))
def test_the_inception_score_is_its_definition_however_it_is_cut(seed: int, splits: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(splits, 23))
    chances = rng.dirichlet(np.full(6, 0.3), n)
    parts = [InceptionScore("x", n, splits=splits) for _ in range(cut + 1)]
    borders = [0, *sorted(rng.integers(0, n + 1, cut)), n]
    for part, first, last in zip(parts, borders, borders[1:], strict=False):
        part.update(chances[first:last], first=int(first))
    rng.shuffle(parts)
    for part in parts[1:]:
        parts[0].merge(part)
    wanted = []
    for k in range(splits):
        p = chances[k * n // splits : (k + 1) * n // splits]
        ratio = np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(p.mean(0), 1e-300))
        wanted.append(np.exp((p * ratio).sum(1).mean()))
    found = parts[0].value()
    assert found.value == pytest.approx(np.mean(wanted), rel=1e-9) and found.n == n
    assert found.error == (pytest.approx(np.std(wanted), abs=1e-9) if splits > 1 else None)
    assert 1 - 1e-9 <= found.value <= 6 + 1e-9


def test_the_inception_scores_ends_are_one_and_the_number_of_classes() -> None:
    for chances, wanted in ((np.full((20, 5), 0.2), 1), (np.eye(5)[np.arange(20) % 5], 5)):
        score = InceptionScore("x", 20, splits=1)
        score.update(chances)
        assert score.value().value == pytest.approx(wanted)


def test_an_inception_score_of_other_pictures_than_were_said_is_refused() -> None:
    score = InceptionScore("x", 10, splits=2)
    score.update(np.full((4, 3), 1 / 3))
    with pytest.raises(BadInput, match="10 pictures; it has 4"):
        score.value()
    with pytest.raises(BadInput, match="more than those"):
        score.update(np.full((7, 3), 1 / 3))
    with pytest.raises(BadInput, match="each row positive"):
        score.update(np.full((2, 3), 0.5))
    with pytest.raises(BadInput, match="into 3 splits"):
        InceptionScore("x", 2, splits=3)


# ------------------------------------------------------------------------------------------------ all of them


METRICS: dict[str, Callable[[], TwoSets]] = {
    "frechet": lambda: FrechetDistance("x", rounds=3),
    "kernel": lambda: KernelDistance("x"),
    "neighbours": lambda: Neighbours("x", nearest=2),
    "a few kept": lambda: KernelDistance("x", capacity=9),
}


@pytest.mark.parametrize("make", METRICS.values(), ids=METRICS)
@settings(max_examples=20)
@given(seed=seeds, parts=st.integers(1, 5))
def test_batches_and_merging_change_nothing(make: Callable[[], TwoSets], seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    made, real = drawn(seed, 24, 4), drawn(seed + 1, 31, 4)
    whole = make()
    whole.update(made=made, real=real)
    shares = [make() for _ in range(parts)]
    for side, rows in (("made", made), ("real", real)):
        for batch in np.array_split(rows[rng.permutation(len(rows))], 6):
            shares[int(rng.integers(parts))].update(**{side: batch})
    total = make()
    for number in rng.permutation(parts):
        total.merge(shares[number])
    for name, one in whole.values().items():
        other = total.values()[name]
        assert other.value == pytest.approx(one.value, rel=1e-7, abs=1e-9) and other.n == one.n
        assert other.error == (None if one.error is None else pytest.approx(one.error, rel=1e-6, abs=1e-9))


def test_what_is_kept_is_bounded_a_fair_sample_and_said() -> None:
    rows = np.arange(4000, dtype=np.float64)[:, None]
    kept = Kept(500)
    for batch in np.array_split(rows, 40):
        kept.update(batch, np.ones(len(batch)))
        assert sum(len(part[0]) for part in kept.parts) <= 500 * 5 // 4 + len(batch)
    found, _ = kept.rows()
    assert len(found) == 500 and len(np.unique(found)) == 500
    assert found.mean() == pytest.approx(2000, abs=4 * 1155 / math.sqrt(500))
    metric = KernelDistance("x", capacity=500)
    metric.update(made=rows, real=rows[:300])
    assert metric.value().n == 300 and "by 500 of up to 4000" in metric.value().protocol


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (np.zeros(4), "a row a picture"),
        (np.zeros((3, 4), np.uint8), "floats"),
        (np.zeros((3, 5)), "5 wide, those before 4"),
        (np.full((3, 4), np.nan), "NaN or infinite"),
    ],
)
def test_what_are_no_features_of_the_same_network_is_refused(features: np.ndarray, told: str) -> None:
    metric = KernelDistance("x")
    metric.update(made=np.zeros((3, 4)))
    with pytest.raises(BadInput, match=told):
        metric.update(real=features)
    with pytest.raises(BadInput, match="At least 3 real pictures are needed; there are 0"):
        metric.value()
    other = KernelDistance("x")
    other.update(real=np.zeros((3, 7)))
    with pytest.raises(BadInput, match="can't be merged"):
        metric.merge(other)
    with pytest.raises(BadInput, match="positive"):
        metric.update(made=np.zeros((2, 4)), made_weights=np.array([1.0, 0.0]))


def test_a_result_says_how_it_was_taken() -> None:
    assert str(Result(1.5, 10, "PSNR", 0.25)) == "1.5 +- 0.25 (n=10; PSNR)"
    assert "sticker reader" in measured(FrechetDistance("sticker reader"), drawn(1, 9, 2), drawn(2, 9, 2)).protocol


@given(seeds, st.integers(1, 6))
def test_averages_are_numpys_whatever_the_batches(seed: int, parts: int) -> None:
    numbers = np.random.default_rng(seed).standard_normal(20) + 1e6
    averages = [Average() for _ in range(parts)]
    for number, batch in enumerate(np.array_split(numbers, 8)):
        averages[number % parts].update(batch)
    for other in averages[1:]:
        averages[0].merge(other)
    found = averages[0].result("x")
    assert (found.value, found.n) == (pytest.approx(numbers.mean(), rel=1e-12), 20)
    assert found.error == pytest.approx(numbers.std(ddof=1) / math.sqrt(20), rel=1e-6)
