"""Fréchet distance between two sets of features, each taken for a Gaussian (Heusel et al., 2017, eq. 6)."""

from __future__ import annotations

import numpy as np

from limner.errors import BadInput
from limner.metrics import Result


def frechet_distance(a: np.ndarray, b: np.ndarray, protocol: str) -> Result:
    """Between features (N, D) and (M, D), float64. It is biased upwards when N or M is small: compare equal sizes only.

    |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)); the last trace is the sum of the square roots of the
    eigenvalues of A^(1/2) B A^(1/2), which is symmetric, so that nothing imaginary can come out.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise BadInput(
            f"The Fréchet distance compares features (N, D) and (M, D), N and M from 2, not {a.shape} and {b.shape}."
        )
    shift = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    value = float(shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)
    return Result(max(0.0, value), min(len(a), len(b)), protocol)
