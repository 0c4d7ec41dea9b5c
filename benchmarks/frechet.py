"""How long the Fréchet distance takes at the Inception's width, against the published programs' formulas.

    python benchmarks/frechet.py [--width 2048] [--samples 5000] [--rounds 1] [--threads 1]

In one run, on the same means and covariances: ours (`limner.metrics.frechet`), the matrix square root of the product
(TTUR, pytorch-fid, clean-fid; scipy's), and the eigenvalues of the product (torch-fidelity; numpy's). Prints the least
wall-clock seconds and CPU seconds of each, how many times ours they are, and how far the values are apart. The aim: at
least 5 times ours at 2048.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch

from limner.metrics.frechet import frechet

Moments = tuple[np.ndarray, np.ndarray]


def moments(seed: int, samples: int, width: int) -> Moments:
    """Of rows as a network gives them: not below 0, correlated, with a spectrum that falls over four decades."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((width, width)) * np.exp(-4.6 * np.arange(width) / width)[:, None]
    rows = np.maximum(rng.standard_normal((samples, width)) @ mixing / np.sqrt(width) + 0.1 * seed, 0)
    return rows.mean(0), np.cov(rows, rowvar=False)


def ours(a: Moments, b: Moments) -> float:
    return frechet(*(torch.from_numpy(each) for each in (*a, *b)))


def by_square_root(a: Moments, b: Moments) -> float:
    overlap = np.trace(scipy.linalg.sqrtm(a[1] @ b[1])).real
    return float(((a[0] - b[0]) ** 2).sum() + np.trace(a[1]) + np.trace(b[1]) - 2 * overlap)


def by_eigenvalues(a: Moments, b: Moments) -> float:
    overlap = np.sqrt(np.linalg.eigvals(a[1] @ b[1]).astype(complex)).real.sum()
    return float(((a[0] - b[0]) ** 2).sum() + np.trace(a[1]) + np.trace(b[1]) - 2 * overlap)


def least(function: Callable[[Moments, Moments], float], a: Moments, b: Moments, rounds: int) -> tuple[float, ...]:
    """Value, wall-clock seconds, CPU seconds."""
    wall, cpu, value = float("inf"), float("inf"), 0.0
    for _ in range(rounds):
        began, spent = time.perf_counter(), time.process_time()
        value = function(a, b)
        wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - spent)
    return value, wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)  # numpy and scipy take theirs from OPENBLAS_NUM_THREADS
    a, b = (moments(seed, options.samples, options.width) for seed in (1, 2))
    print(f"width {options.width}, {options.samples} samples, {options.threads} threads")
    print(f"{'':28} {'wall s':>8} {'CPU s':>8} {'of ours':>8} {'difference':>11}")
    first: tuple[float, ...] = ()
    for name, function in (
        ("ours", ours),
        ("matrix square root (scipy)", by_square_root),
        ("eigenvalues (numpy)", by_eigenvalues),
    ):
        value, wall, cpu = least(function, a, b, options.rounds)
        first = first or (value, wall, cpu)
        apart = abs(value - first[0]) / abs(first[0])
        print(f"{name:28} {wall:8.2f} {cpu:8.2f} {wall / first[1]:8.1f} {apart:11.1e}")


if __name__ == "__main__":
    main()
