"""What this machine can do at this moment, for times to be held against."""

from __future__ import annotations

import time

import numpy as np


def matrix_product(size: int = 1500) -> float:
    """CPU seconds of a product of two `size` x `size` float32 matrices (the best of five)."""
    matrix = np.random.default_rng(0).random((size, size), np.float32)
    times = []
    for _ in range(5):
        begun = time.process_time()
        matrix @ matrix
        times.append(time.process_time() - begun)
    return min(times)
