"""Metrics that compare pictures one by one, and label maps: against scikit-image, records, and what must hold."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from limner.errors import BadInput
from limner.metrics.features import StickerNetwork
from limner.metrics.frechet import FrechetDistance
from limner.metrics.inception_score import InceptionScore
from limner.metrics.perceptual import PerceptualDistance
from limner.metrics.segmentation import SegmentationScores
from limner.metrics.similarity import PROTOCOLS, PSNR, SCALES, SSIM, MultiScaleSSIM, Pairs
from limner.parity.fill import make_input

seeds = st.integers(0, 2**32 - 1)


def pictures(seed: int, n: int, height: int, width: int) -> np.ndarray:
    """Smooth pictures with noise, uint8 (n, height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = rng.uniform(0, 0.3, (2, n, 1, 1, 3))
    smooth = 127 + 90 * np.sin(waves[0] * y[..., None] + waves[1] * x[..., None])
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def noisy(seed: int, made: np.ndarray, much: float = 15) -> np.ndarray:
    changed = made + np.random.default_rng(seed).normal(0, much, made.shape)
    return np.clip(changed, 0, 255).astype(np.uint8)


def each(metric: Pairs, made: np.ndarray, real: np.ndarray) -> float:
    metric.update(made, real)
    return metric.value().value


# ------------------------------------------------------------------------------------------------ PSNR, SSIM


@pytest.mark.parametrize("seed", range(3))
def test_psnr_and_ssim_are_scikit_images(seed: int) -> None:
    real = pictures(seed, 2, 37, 52)
    made = noisy(seed, real)
    pairs = list(zip(made, real, strict=True))
    assert each(PSNR(), made, real) == pytest.approx(np.mean([peak_signal_noise_ratio(b, a) for a, b in pairs]))
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
    wanted = {
        "wang": [structural_similarity(a, b, data_range=255, **wang) for a, b in pairs],
        "deformable-gan": [
            structural_similarity(a, b, data_range=int(a.max()) - int(a.min()), **wang) for a, b in pairs
        ],
        "pg2": [structural_similarity(a, b, data_range=255, channel_axis=-1) for a, b in pairs],
    }
    grey = [[p @ np.array([0.2125, 0.7154, 0.0721]) / 255 for p in pair] for pair in pairs]
    wanted["dpig"] = [structural_similarity(a, b, data_range=np.ptp(b)) for a, b in grey]
    for protocol in PROTOCOLS:
        assert each(SSIM(protocol), made, real) == pytest.approx(np.mean(wanted[protocol]), abs=1e-9), protocol


def test_the_recorded_values_of_pose_transfer_papers() -> None:
    """Of the record pose-and-video-metrics-all, by the authors' calls."""
    made = np.round((make_input("generated", (2, 3, 128, 64)).numpy().transpose(0, 2, 3, 1) + 1) * 127.5)
    noise = 60 * make_input("noise", (2, 3, 128, 64)).numpy().transpose(0, 2, 3, 1)
    real = np.clip(np.round(made + noise), 0, 255).astype(np.uint8)
    made = made.astype(np.uint8)
    recorded: dict[Pairs, list[float]] = {
        SSIM("deformable-gan"): [0.9051889060990074, 0.9030279280209802],
        SSIM("pg2"): [0.9067055186661968, 0.9049218778631941],
        PSNR(): [17.895594613513722, 17.88071061050619],
    }
    for metric, values in recorded.items():
        assert metric.each(made, real) == pytest.approx(values, rel=1e-6), metric.protocol
    a, b = (make_input(f"features {k}", (300, 16)).double().numpy() for k in "ab")
    distance = FrechetDistance("x", rounds=0)
    distance.update(made=a, real=0.5 * b + 0.3)
    chances = (3 * make_input("logits", (200, 10)).double()).softmax(1).numpy()
    scores = [InceptionScore("x", 200, splits=splits) for splits in (10, 1)]
    for score in scores:
        score.update(chances)
    with pytest.warns(UserWarning, match="mostly bias"):
        assert distance.value().value == pytest.approx(2.796167602558287, rel=1e-6)
    assert (scores[0].value().value, scores[0].value().error) == pytest.approx(
        (1.976002199346589, 0.0898473562715114), rel=1e-6
    )
    assert scores[1].value().value == pytest.approx(2.055318109368854, rel=1e-6)


PAIRS: dict[str, Callable[[], Pairs]] = {
    "psnr": PSNR,
    **{protocol: (lambda p=protocol: SSIM(p)) for protocol in PROTOCOLS},
}


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
@settings(max_examples=20)
@given(seed=seeds, n=st.integers(1, 5), parts=st.integers(1, 3))
def test_pairs_are_averaged_whatever_the_batches_and_processes(
    make: Callable[[], Pairs], seed: int, n: int, parts: int
) -> None:
    real = pictures(seed, n, 12, 14)
    made = noisy(seed, real)
    whole, shares = make(), [make() for _ in range(parts)]
    whole.update(made, real)
    for i in np.random.default_rng(seed).permutation(n):
        shares[i % parts].update(made[i : i + 1], real[i : i + 1])
    for share in shares[1:]:
        shares[0].merge(share)
    one, other = whole.value(), shares[0].value()
    assert other.value == pytest.approx(one.value, rel=1e-9) and other.n == n
    assert other.error == (None if n == 1 else pytest.approx(one.error, rel=1e-6, abs=1e-12))
    assert one.value == pytest.approx(whole.each(made, real).mean(), rel=1e-9)


@settings(max_examples=20)
@given(seeds, st.floats(1, 60))
def test_ssim_is_one_for_equals_symmetric_and_bounded(seed: int, much: float) -> None:
    real = pictures(seed, 1, 24, 18)
    made = noisy(seed, real, much)
    assert each(SSIM(), real, real) == pytest.approx(1)
    for protocol in ("wang", "pg2"):
        value = each(SSIM(protocol), made, real)
        assert -1 <= value < 1 and value == pytest.approx(each(SSIM(protocol), real, made))
    assert each(PSNR(), noisy(seed, real, 5), real) > each(PSNR(), noisy(seed, real, 50), real)


def test_equal_pictures_have_infinite_psnr_and_it_says_so() -> None:
    real = pictures(1, 3, 8, 8)
    metric = PSNR()
    metric.update(noisy(2, real[:2]), real[:2])
    assert math.isfinite(metric.value().value)
    metric.update(real[2:], real[2:])
    found = metric.value()
    assert (found.value, found.n, found.error) == (math.inf, 3, None)


def test_a_picture_of_one_colour_has_no_range_of_its_own() -> None:
    flat, real = np.full((1, 16, 16, 3), 90, np.uint8), pictures(1, 1, 16, 16)
    assert each(SSIM("deformable-gan"), flat, real) == pytest.approx(each(SSIM(), flat, real))


def by_gaussian_filters(a: np.ndarray, b: np.ndarray, *, luminance: bool) -> np.ndarray:
    """Each colour's mean of SSIM's terms, of float pictures (H, W, 3)."""

    def mean(x: np.ndarray) -> np.ndarray:
        blurred = [gaussian_filter(x[..., c], 1.5, truncate=3.5) for c in range(3)]
        return np.stack(blurred)[:, 5:-5, 5:-5]

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b, covariance = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2, mean(a * b) - mean_a * mean_b
    terms = (2 * covariance + 7.65**2) / (var_a + var_b + 7.65**2)
    if luminance:
        terms *= (2 * mean_a * mean_b + 2.55**2) / (mean_a**2 + mean_b**2 + 2.55**2)
    return terms.mean((1, 2))


def test_ms_ssim_is_its_definition() -> None:
    """Wang et al. (2003), eq. 7."""
    real = pictures(4, 1, 176, 192)
    made = noisy(4, real, 40)
    a, b = made[0].astype(float), real[0].astype(float)
    score = np.ones(3)
    for scale, power in enumerate(SCALES):
        score *= by_gaussian_filters(a, b, luminance=scale == 4) ** power
        if scale < 4:
            a, b = (x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, 3).mean((1, 3)) for x in (a, b))
    assert each(MultiScaleSSIM(), made, real) == pytest.approx(score.mean(), abs=1e-9)
    assert each(MultiScaleSSIM(), real, real) == pytest.approx(1)
    assert each(MultiScaleSSIM(), pictures(1, 1, 163, 161), pictures(2, 1, 163, 161)) < 0.9
    with pytest.raises(BadInput, match="161 pixels a side; these are 161x160"):
        MultiScaleSSIM().update(made[:, :160, :161], real[:, :160, :161])


# ------------------------------------------------------------------------------------------------ perceptual


def test_the_stickers_perceptual_distance_orders_what_eyes_order() -> None:
    judge = StickerNetwork()
    real = pictures(3, 2, 50, 60)
    assert each(PerceptualDistance(judge), real, real) == 0
    little, much = (each(PerceptualDistance(judge), noisy(1, real, noise), real) for noise in (5, 80))
    assert 0 < little < much
    assert each(PerceptualDistance(judge), real, noisy(1, real, 5)) == pytest.approx(little)


def test_the_sticker_readers_features_and_chances() -> None:
    network = StickerNetwork()
    seen = network.see(pictures(3, 3, 32, 48))
    assert seen.features.shape == (3, 128) and seen.features.dtype == np.float32
    assert seen.chances.sum(1) == pytest.approx(np.ones(3)) and (seen.chances >= 0).all()
    assert seen.features == pytest.approx(network.reader.features(pictures(3, 3, 32, 48)), abs=1e-5)
    assert network.see(pictures(3, 1, 33, 47)).features.shape == (1, 128)  # any size


# ------------------------------------------------------------------------------------------------ segmentation


def by_hand(confusion: np.ndarray, *, skip: bool = False) -> list[float]:
    """pix2pix's FCN score: accuracy over pixels, mean accuracy over classes, mean IoU over classes."""
    right = np.diag(confusion)
    accuracy, iou = (right / (of + 1e-12) for of in (confusion.sum(1), confusion.sum(1) + confusion.sum(0) - right))
    if skip:
        accuracy = accuracy[confusion.sum(1) > 0]
        iou = iou[confusion.sum(1) + confusion.sum(0) > 0]
    return [right.sum() / confusion.sum(), accuracy.mean(), iou.mean()]


@settings(max_examples=40)
@given(seeds, st.integers(2, 6), st.booleans(), st.integers(1, 3))
def test_segmentation_scores_are_pix2pixs_whatever_the_batches(seed: int, classes: int, skip: bool, parts: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes + 1, (4, 5, 6))
    truth[truth == classes] = 255  # no class
    made = np.where(rng.random(truth.shape) < 0.5, truth % 255 % classes, rng.integers(0, classes, truth.shape))
    confusion = np.zeros((classes, classes))
    for t, m in zip(truth.flat, made.flat, strict=True):
        if t != 255:
            confusion[t, m] += 1
    make = lambda: SegmentationScores(classes, absent="skip" if skip else "zero")
    whole, shares = make(), [make() for _ in range(parts)]
    whole.update(made, truth)
    for i in rng.permutation(4):
        shares[i % parts].update(made[i : i + 1], truth[i : i + 1], first=int(i))
    for share in shares[1:]:
        shares[0].merge(share)
    assert shares[0].values() == whole.values()
    found = [each.value for each in whole.values().values()]
    assert found == pytest.approx(by_hand(confusion, skip=skip), rel=1e-9)
    assert all(0 <= value <= 1 for value in found) and list(whole.values()) == ["per-pixel", "per-class", "iou"]


def test_segmentations_bootstrap_is_the_spread_of_repeated_measurements() -> None:
    def once(seed: int) -> SegmentationScores:
        rng, scores = np.random.default_rng(seed), SegmentationScores(3)
        truth = rng.integers(0, 3, (40, 4, 4))
        right = rng.random((40, 1, 1)) < 0.7  # pictures are right or wrong as a whole
        scores.update(np.where(right, truth, (truth + 1) % 3), truth)
        return scores

    spread = np.std([once(seed).value().value for seed in range(100)])
    assert once(200).value().error == pytest.approx(spread, rel=0.4)


def test_perfect_and_absent_classes() -> None:
    truth = np.array([[[0, 0, 1, 255]]])
    for absent, wanted in (("zero", (1, 2 / 3, 2 / 3)), ("skip", (1, 1, 1))):
        scores = SegmentationScores(3, absent=absent)
        scores.update(np.array([[[0, 0, 1, 2]]]), truth)
        assert tuple(each.value for each in scores.values().values()) == pytest.approx(wanted)
        assert scores.value().error is None and scores.value().n == 1


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("make", PAIRS.values(), ids=PAIRS)
def test_what_are_no_pairs_of_pictures_is_refused(make: Callable[[], Pairs]) -> None:
    real = pictures(1, 2, 16, 16)
    for made, told in (
        (real[:1], "one size"),
        (real[:, :12], "one size"),
        (real / 255, "uint8 pictures"),
        (real[..., 0], "uint8 pictures"),
    ):
        with pytest.raises(BadInput, match=told):
            make().update(made, real)
    with pytest.raises(BadInput, match="nothing to average"):
        make().value()


def test_small_pictures_unknown_protocols_and_foreign_maps_are_refused() -> None:
    small = pictures(1, 1, 10, 20)
    with pytest.raises(BadInput, match="11 pixels a side; these pictures are 20x10"):
        SSIM().update(small, small)
    with pytest.raises(BadInput, match="wang, deformable-gan, pg2, dpig"):
        SSIM("matlab")
    with pytest.raises(BadInput, match="can't be merged"):
        SSIM("pg2").merge(SSIM("wang"))
    scores = SegmentationScores(3)
    with pytest.raises(BadInput, match="Picture 0 has class 7"):
        scores.update(np.full((1, 2, 2), 7), np.zeros((1, 2, 2), int))
    with pytest.raises(BadInput, match="two integer maps"):
        scores.update(np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int))
    with pytest.raises(BadInput, match="no pixel has a class"):
        scores.value()
    with pytest.raises(BadInput, match="2 to 256"):
        SegmentationScores(1)
