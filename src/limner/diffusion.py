"""Diffusion in discrete time: noise schedules, what a network predicts, guidance, samplers, and walks between latents.

Notation, the same everywhere: `alpha_bar[t]` is the share of signal variance left at timestep t, so that

    x_t = sqrt(alpha_bar[t]) x_0 + sqrt(1 - alpha_bar[t]) noise          (Ho et al. 2020, eq. 4)

and `sigma[t] = sqrt((1 - alpha_bar[t]) / alpha_bar[t])` is the same noise level for the variance-exploding variable
`x_t / sqrt(alpha_bar[t]) = x_0 + sigma noise`, in which Euler's method is plain. Tensors are (B, ...); t is (B,), in
[0, T - 1], fractions allowed. Every draw of noise comes from a callable `noise(step)`, so a sampler is a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from limner.errors import BadInput

Prediction = Literal["epsilon", "velocity"]
Noise = Callable[[int], Tensor]
Watch = Callable[[int, Tensor], None]
Progress = Callable[[int, int], None]
"""Hears how many steps are done, of how many."""


class Denoised(NamedTuple):
    """A noisy tensor taken apart: `x_t = sqrt(alpha_bar) clean + sqrt(1 - alpha_bar) noise`."""

    clean: Tensor
    noise: Tensor


Denoise = Callable[[Tensor, Tensor], Denoised]
"""(x_t of unit variance, t) -> its estimated parts. `denoiser` makes one from a network."""


@dataclass(frozen=True)
class Schedule:
    """How much noise there is at each timestep: `alpha_bar` (T,), float32, falling from about 1 towards 0."""

    alpha_bar: Tensor

    @property
    def steps(self) -> int:
        """T, the number of timesteps in training (1000 for Stable Diffusion)."""
        return len(self.alpha_bar)

    @cached_property
    def sigmas(self) -> Tensor:
        """(T,) noise level per timestep, rising."""
        return ((1 - self.alpha_bar) / self.alpha_bar).sqrt()

    @cached_property
    def log_sigmas(self) -> Tensor:
        """(T,) natural logarithm of `sigmas`."""
        return self.sigmas.log()

    def sigma_at(self, t: Tensor) -> Tensor:
        """Noise level at fractional timesteps: linear interpolation in log sigma (k-diffusion's rule)."""
        table = self.log_sigmas.to(t.device)
        low, high = t.floor().long(), t.ceil().long()
        weight = t.frac()
        return ((1 - weight) * table[low] + weight * table[high]).exp()

    def timestep_at(self, sigma: Tensor) -> Tensor:
        """The timestep of a noise level, the inverse of `sigma_at`; outside the table it is clamped to 0 or T - 1."""
        table = self.log_sigmas.to(sigma.device)
        wanted = sigma.log()
        low = (torch.searchsorted(table, wanted, right=True) - 1).clamp(0, self.steps - 2)
        weight = ((wanted - table[low]) / (table[low + 1] - table[low])).clamp(0, 1)
        return low + weight

    def alpha_bar_at(self, t: Tensor) -> Tensor:
        """Signal share at timesteps t (any shape, float32): exact where t is whole, else by `sigma_at`."""
        if not t.is_floating_point():
            return self.alpha_bar.to(t.device)[t]
        whole = self.alpha_bar.to(t.device)[t.round().long()]
        return torch.where(t == t.round(), whole, 1 / (1 + self.sigma_at(t) ** 2))

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from x_0 and unit noise, both (B, ...)."""
        alpha_bar = _per_sample(self.alpha_bar_at(t), clean)
        return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor, prediction: Prediction) -> Tensor:
        """What a network is trained to return at x_t: the noise, or v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x_0
        (Salimans and Ho 2022)."""
        if prediction == "epsilon":
            return noise
        alpha_bar = _per_sample(self.alpha_bar_at(t), clean)
        return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean

    def split(self, output: Tensor, x: Tensor, t: Tensor, prediction: Prediction) -> Denoised:
        """Both parts of x_t from what the network returned; the inverse of `target`."""
        alpha_bar = _per_sample(self.alpha_bar_at(t), x)
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        if prediction == "epsilon":
            return Denoised((x - spread * output) / signal, output)
        return Denoised(signal * x - spread * output, signal * output + spread * x)


def scaled_linear_beta(start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> Tensor:
    """(steps,) float64 variance added per step, linear in its square root: Stable Diffusion's."""
    return torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float64) ** 2


def scaled_linear(start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> Schedule:
    """Stable Diffusion's schedule: computed in float64 from `scaled_linear_beta`, kept as float32."""
    return Schedule((1 - scaled_linear_beta(start, end, steps)).cumprod(0).float())


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The schedule shifted and stretched so that its last step is pure noise and its first is unchanged (Lin et al.
    2024, algorithm 1). It needs the velocity prediction: at the last step the noise says nothing about the picture."""
    signal = schedule.alpha_bar.double().sqrt()
    signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return Schedule((signal**2).float())


def guided(unconditional: Tensor, conditional: Tensor, scale: float | Tensor, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022): extrapolate from the unconditional prediction. `scale` is one
    number, or (B, 1, ...) with one for each sample.

    `rescale` in [0, 1] pulls each sample's standard deviation back to the conditional one's, against the overexposure
    that strong guidance brings (Lin et al. 2024, section 3.4; they use 0.7).
    """
    output = unconditional + scale * (conditional - unconditional)
    if rescale:
        axes = tuple(range(1, output.ndim))
        matched = output * (conditional.std(axes, keepdim=True) / output.std(axes, keepdim=True))
        output = rescale * matched + (1 - rescale) * output
    return output


def denoiser(model: Callable[[Tensor, Tensor], Tensor], schedule: Schedule, prediction: Prediction) -> Denoise:
    """A sampler's view of `model(x_t, t) -> output` (guidance already inside)."""
    return lambda x, t: schedule.split(model(x, t), x, t, prediction)


# Which timesteps a sampler visits


def leading_timesteps(schedule: Schedule, steps: int) -> list[int]:
    """Published DDIM timesteps, falling: 981, ..., 21, 1 for 50 of 1000. Where `steps` doesn't divide T there are more
    of them than asked for, as published."""
    _check_steps(schedule, steps)
    last = schedule.steps - 1
    return [min(t + 1, last) for t in range(0, schedule.steps, schedule.steps // steps)][::-1]


def trailing_timesteps(schedule: Schedule, steps: int) -> list[int]:
    """Evenly spaced timesteps from T - 1 down: for zero-terminal-SNR schedules (Lin et al. 2024, section 3.3)."""
    _check_steps(schedule, steps)
    return [round(schedule.steps * (steps - i) / steps) - 1 for i in range(steps)]


def uniform_sigmas(schedule: Schedule, steps: int) -> Tensor:
    """(steps + 1,) falling noise levels at evenly spaced timesteps from T - 1 to 0, then 0 (k-diffusion's default)."""
    _check_steps(schedule, steps)
    sigmas = schedule.sigma_at(torch.linspace(schedule.steps - 1, 0, steps))
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def karras_sigmas(schedule: Schedule, steps: int, rho: float = 7.0) -> Tensor:
    """(steps + 1,) noise levels falling over the schedule's range, then 0 (Karras et al. 2022, eq. 5)."""
    _check_steps(schedule, steps)
    ramp = torch.linspace(0, 1, steps)
    low, high = schedule.sigmas[0] ** (1 / rho), schedule.sigmas[-1] ** (1 / rho)
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


# Samplers


def counting(progress: Progress | None, total: int) -> Watch | None:
    """What watches one sampler after the other, `total` steps in all, and says how many they have made."""
    if progress is None:
        return None
    progress(0, total)
    made = 0

    def stepped(step: int, x: Tensor) -> None:
        nonlocal made
        made = min(made + 1, total)  # published DDIM makes more than it is asked for, at some numbers
        progress(made, total)

    return stepped


def ddim(
    denoise: Denoise,
    x: Tensor,
    schedule: Schedule,
    timesteps: Sequence[float],
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Denoising diffusion implicit models (Song et al. 2021, eq. 12 and 16).

    `x` (B, ...) is x_t at `timesteps[0]`, unit noise as a rule; `timesteps` fall. Returns the latent at timestep 0's
    noise level, where the published sampler ends. `eta` 0 is deterministic, 1 is DDPM-like and needs `noise(step)`,
    which the last step uses too. `watch(step, x)` sees the latent after every step.
    """
    if eta and noise is None:
        raise BadInput("DDIM with eta above 0 is stochastic: give it a `noise(step)` callable, or set eta to 0")
    levels = schedule.alpha_bar_at(torch.tensor([*timesteps, 0.0])).tolist()
    for step, (t, (now, after)) in enumerate(zip(timesteps, pairwise(levels), strict=True)):
        clean, direction = denoise(x, x.new_full((len(x),), t, dtype=torch.float32))
        sigma = eta * math.sqrt((1 - after) / (1 - now) * (1 - now / after))
        x = math.sqrt(after) * clean + math.sqrt(1 - after - sigma**2) * direction
        if noise is not None and sigma:
            x = x + sigma * noise(step)
        if watch:
            watch(step, x)
    return x


def euler(denoise: Denoise, x: Tensor, schedule: Schedule, sigmas: Tensor, *, watch: Watch | None = None) -> Tensor:
    """Euler's method on the probability flow ODE, dx / dsigma = noise (Karras et al. 2022, algorithm 1 without churn).

    `x` (B, ...) is `x_0 + sigmas[0] * noise`, or `sigmas[0] * noise` to draw from nothing; `sigmas` (n + 1,) fall to 0.
    Returns x_0. For schedules whose last sigma is infinite take `ddim`, which makes the same steps.
    """
    for step, (sigma, after) in enumerate(_pairs(sigmas)):
        x = x + (after - sigma) * _at_sigma(denoise, x, schedule, sigma).noise
        if watch:
            watch(step, x)
    return x


def euler_ancestral(
    denoise: Denoise, x: Tensor, schedule: Schedule, sigmas: Tensor, noise: Noise, *, watch: Watch | None = None
) -> Tensor:
    """Euler steps to a lower noise level, with fresh `noise(step)` added back up to the next one (k-diffusion).

    Arguments as for `euler`; no noise is drawn on the last step.
    """
    for step, (sigma, after) in enumerate(_pairs(sigmas)):
        down, up = ancestral_levels(sigma, after)
        x = x + (down - sigma) * _at_sigma(denoise, x, schedule, sigma).noise
        if after > 0:
            x = x + up * noise(step)
        if watch:
            watch(step, x)
    return x


def ancestral_levels(sigma: float, after: float) -> tuple[float, float]:
    """Where an ancestral step from `sigma` goes down to, and the noise that is added from there up to `after`: the
    variances add up, and `up` is what the posterior of DDPM has."""
    up = min(after, math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2))
    return math.sqrt(after**2 - up**2), up


def dpm_solver_2m(
    denoise: Denoise, x: Tensor, schedule: Schedule, timesteps: Sequence[float], *, watch: Watch | None = None
) -> Tensor:
    """DPM-Solver++(2M), the second-order multistep solver (Lu et al. 2022, algorithm 2); good at 15 to 25 steps.

    Arguments as for `ddim`; `schedule.timestep_at(karras_sigmas(...)[:-1]).tolist()` are its most accurate timesteps.
    Returns x_0 itself: the last step goes to no noise at all, at first order, as the first.
    """
    levels = [*schedule.alpha_bar_at(torch.tensor([float(t) for t in timesteps])).tolist(), 1.0]
    before: Tensor | None = None
    stride_before = math.inf
    for step, (t, (now, after)) in enumerate(zip(timesteps, pairwise(levels), strict=True)):
        clean = denoise(x, x.new_full((len(x),), t, dtype=torch.float32)).clean
        stride = _half_log_snr(after) - _half_log_snr(now)
        estimate = clean
        if before is not None and math.isfinite(stride):
            slope = stride / (2 * stride_before)  # 0 after a step from pure noise, which has no finite length
            estimate = (1 + slope) * clean - slope * before
        x = math.sqrt((1 - after) / (1 - now)) * x - math.sqrt(after) * math.expm1(-stride) * estimate
        before, stride_before = clean, stride
        if watch:
            watch(step, x)
    return x


# Walks between latents


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at share `t` of the arc from `a` to `b`, (B, ...) each, sample by sample; 0 is a and 1 is b exactly.

    The angle is that of the flattened samples, the weights go to the samples as they are, so their norms are blended
    too. Samples that point (nearly) the same or opposite ways are blended straight. Computed in float32.
    """
    first, second = a.float(), b.float()
    cosine = (_unit(first) * _unit(second)).flatten(1).sum(1).clamp(-1, 1)
    angle = cosine.arccos()
    straight = cosine.abs() > 0.9995
    sine = torch.where(straight, 1.0, angle.sin())
    weight_a = torch.where(straight, 1 - t, (angle - angle * t).sin() / sine)
    weight_b = torch.where(straight, t, (angle * t).sin() / sine)
    return (_per_sample(weight_a, first) * first + _per_sample(weight_b, second) * second).to(a.dtype)


def walk(frames: Sequence[int], curve: Callable[[float], float] = float) -> Iterator[tuple[int, float]]:
    """(segment, share) of every frame of a walk whose segments have that many frames, both ends counted.

    The point shared by two segments comes once, so a walk has `sum(frames) - len(frames) + 1` frames. `curve` maps
    [0, 1] onto itself, rising: an easing, or the share of a song's energy heard so far.
    """
    if not frames or min(frames) < 2:
        raise BadInput("a walk needs at least one segment, and every segment at least 2 frames: its two ends")
    for segment, count in enumerate(frames):
        for frame in range(1 if segment else 0, count):
            yield segment, curve(frame / (count - 1))


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype).reshape(-1, *(1,) * (like.ndim - 1))


def _unit(x: Tensor) -> Tensor:
    return x / _per_sample(x.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny), x)


def _pairs(sigmas: Tensor) -> Iterator[tuple[float, float]]:
    return pairwise(sigmas.tolist())


def _at_sigma(denoise: Denoise, x: Tensor, schedule: Schedule, sigma: float) -> Denoised:
    """Call a denoiser, which sees unit variance and timesteps, on `x_0 + sigma noise`."""
    t = schedule.timestep_at(x.new_full((len(x),), sigma, dtype=torch.float32))
    return denoise(x / math.sqrt(sigma**2 + 1), t)


def _half_log_snr(alpha_bar: float) -> float:
    if alpha_bar <= 0:
        return -math.inf
    return math.inf if alpha_bar >= 1 else 0.5 * math.log(alpha_bar / (1 - alpha_bar))


def _check_steps(schedule: Schedule, steps: int) -> None:
    if not 1 <= steps <= schedule.steps:
        raise BadInput(f"{steps} sampling steps: ask for 1 to {schedule.steps}")
