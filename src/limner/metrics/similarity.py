"""How alike two pictures are, pixel by pixel: PSNR, SSIM (Wang et al., 2004) and MS-SSIM (Wang et al., 2003)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import BadInput
from limner.metrics import Average, Metric, Result

GREY = (0.2125, 0.7154, 0.0721)
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's five scales, the finest first (Wang et al., 2003, section 3.2)."""


class Pairs(Metric):
    """The mean over pictures of a number for each pair of them."""

    name: str
    protocol: str

    def __init__(self) -> None:
        self.average = Average()

    def update(self, made: np.ndarray, real: np.ndarray) -> None:
        """Pictures uint8 (N, H, W, 3), the i-th of `made` to be held against the i-th of `real`."""
        for pictures in (made, real):
            if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
                raise BadInput(f"{self.name} takes uint8 pictures (N, H, W, 3), not {pictures.dtype} {pictures.shape}.")
        if made.shape != real.shape:
            raise BadInput(f"{self.name} compares pictures of one size: these are {made.shape} and {real.shape}.")
        if len(made):
            self.average.update(self.each(made, real))

    @abstractmethod
    def each(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        """The pairs' own numbers, float64 (N,)."""

    def merge(self, other: Self) -> None:
        if self.protocol != other.protocol:
            raise BadInput(f"{self.protocol} and {other.protocol} can't be merged.")
        self.average.merge(other.average)

    def value(self) -> Result:
        return self.average.result(self.protocol)

    def values(self) -> dict[str, Result]:
        return {self.name: self.value()}


class PSNR(Pairs):
    """Peak signal-to-noise ratio in dB, 10 log10(255^2 / MSE), more is better; infinite for equal pictures."""

    name = "psnr"
    protocol = "PSNR in dB of 8-bit RGB, mean over pictures"

    def each(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        error = ((made.astype(np.float64) - real) ** 2).mean((1, 2, 3))
        with np.errstate(divide="ignore"):
            return np.asarray(10 * np.log10(255.0**2 / error))


@dataclass(frozen=True)
class Protocol:
    """What papers leave unsaid about SSIM; numbers of different protocols can't be compared.

    window: a Gaussian of standard deviation 1.5 on 11 x 11 pixels, or a plain mean of 7 x 7
    sample: covariances divided by n - 1 instead of n
    peak: what the constants take for the range of values: 255 (or 1 for grey), or that of one of the pictures
    grey: on luminance in [0, 1] instead of each colour
    """

    name: str
    window: Literal["gaussian", "uniform"] = "gaussian"
    sample: bool = False
    peak: Literal["full", "made", "real"] = "full"
    grey: bool = False

    def __str__(self) -> str:
        window = "Gaussian 11x11" if self.window == "gaussian" else "mean 7x7"
        peak = "255" if self.peak == "full" else f"range of the {self.peak} picture"
        return f"{self.name}: {window}, {'grey' if self.grey else 'RGB'}, {peak}"


PROTOCOLS = {
    "wang": Protocol("wang"),
    "deformable-gan": Protocol("deformable-gan", peak="made"),
    "pg2": Protocol("pg2", window="uniform", sample=True),
    "dpig": Protocol("dpig", window="uniform", sample=True, peak="real", grey=True),
}
"""By name: Wang et al. (2004), Siarohin et al. (2018), Ma et al. (2017), Ma et al. (2018)."""


class SSIM(Pairs):
    """Structural similarity, mean over the windows inside the picture and over colours; up to 1, more is better."""

    name = "ssim"

    def __init__(self, protocol: str = "wang") -> None:
        super().__init__()
        if protocol not in PROTOCOLS:
            raise BadInput(f"There is no SSIM protocol {protocol!r}. There are: {', '.join(PROTOCOLS)}.")
        self.how = PROTOCOLS[protocol]
        self.protocol = f"SSIM, {self.how}"

    def each(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        a, b = (_planes(pictures, self.how.grey) for pictures in (made, real))  # (N, C, H, W)
        full = torch.full((len(a),), 1.0 if self.how.grey else 255.0, dtype=torch.float64)
        if self.how.peak == "full":
            peak = full
        else:
            own = a if self.how.peak == "made" else b
            peak = own.amax((1, 2, 3)) - own.amin((1, 2, 3))
            peak = torch.where(peak > 0, peak, full)  # a picture of one colour has no range of its own
        window = _window(self.how.window)
        luminance, structure = _terms(a, b, window, peak, sample=self.how.sample)
        return (luminance * structure).mean((1, 2, 3)).numpy()


class MultiScaleSSIM(Pairs):
    """SSIM whose contrast and structure are compared at five scales, halved from one to the next; in [0, 1].

    Pictures need 161 pixels a side. Negative terms count as 0, an odd last row or column is repeated before halving.
    """

    name = "ms-ssim"
    protocol = "MS-SSIM, five scales, Gaussian 11x11, RGB, 255"

    def each(self, made: np.ndarray, real: np.ndarray) -> np.ndarray:
        if min(made.shape[1:3]) < 161:
            height, width = made.shape[1:3]
            raise BadInput(f"MS-SSIM's five scales need 161 pixels a side; these are {width}x{height}. Use ssim.")
        a, b = _planes(made), _planes(real)
        window, peak = _window("gaussian"), torch.full((len(a),), 255.0, dtype=torch.float64)
        score = torch.ones(a.shape[:2], dtype=torch.float64)  # (N, 3)
        for scale, power in enumerate(SCALES):
            luminance, structure = _terms(a, b, window, peak, sample=False)
            last = scale == len(SCALES) - 1
            score *= (luminance * structure if last else structure).mean((2, 3)).clamp(min=0) ** power
            a, b = _halved(a), _halved(b)
        return score.mean(1).numpy()


def _planes(pictures: np.ndarray, grey: bool = False) -> Tensor:
    """uint8 (N, H, W, 3) -> float64 (N, 3, H, W) from 0 to 255, or grey (N, 1, H, W) from 0 to 1."""
    planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).double()
    if grey:
        planes = (planes * planes.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True) / 255
    return planes


def _window(kind: Literal["gaussian", "uniform"]) -> Tensor:
    """One side of a separable window, of sum 1."""
    if kind == "uniform":
        return torch.full((7,), 1 / 7, dtype=torch.float64)
    side = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    return side / side.sum()


def _terms(a: Tensor, b: Tensor, window: Tensor, peak: Tensor, *, sample: bool) -> tuple[Tensor, Tensor]:
    """SSIM's luminance term and its contrast and structure term (eq. 13 of the paper), of every window inside."""
    if min(a.shape[-2:]) < len(window):
        height, width = a.shape[-2:]
        raise BadInput(f"SSIM's windows are {len(window)} pixels a side; these pictures are {width}x{height}.")

    def mean(x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)[:, None]
        flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
        return flat.view(*x.shape[:2], *flat.shape[-2:])

    unbiased = len(window) ** 2 / (len(window) ** 2 - 1) if sample else 1.0
    mean_a, mean_b = mean(a), mean(b)
    variances = unbiased * (mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2)
    covariance = unbiased * (mean(a * b) - mean_a * mean_b)
    first, second = ((k * peak.view(-1, 1, 1, 1)) ** 2 for k in (0.01, 0.03))
    luminance = (2 * mean_a * mean_b + first) / (mean_a**2 + mean_b**2 + first)
    return luminance, (2 * covariance + second) / (variances + second)


def _halved(x: Tensor) -> Tensor:
    height, width = x.shape[-2:]
    return F.avg_pool2d(F.pad(x, (0, width % 2, 0, height % 2), "replicate"), 2)
