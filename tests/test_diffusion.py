import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner import diffusion
from limner.errors import BadInput

SD = diffusion.scaled_linear()
ZERO = diffusion.zero_terminal_snr(SD)
MEAN, SPREAD = 2.0, 0.5


def exact(schedule):
    """The true denoiser of data drawn from N(2, 0.5^2), as a velocity, so that it has a value at zero signal too."""

    def velocity(x, t):
        alpha_bar = schedule.alpha_bar_at(t)[:, None]
        signal, spread = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        clean = (MEAN * (1 - alpha_bar) + SPREAD**2 * signal * x) / (1 - alpha_bar + SPREAD**2 * alpha_bar)
        return signal * (x - signal * clean) / spread - spread * clean

    return diffusion.denoiser(velocity, schedule, "velocity")


def solution(schedule, noise):
    """Where the probability flow takes unit noise: Gaussians go to Gaussians by a straight map."""
    first = schedule.alpha_bar[-1]
    return MEAN + SPREAD * (noise - first.sqrt() * MEAN) / (1 - first + first * SPREAD**2).sqrt()


NOISE = torch.linspace(-2, 2, 9)[:, None]


def test_stable_diffusions_schedule():
    assert SD.sigmas[0].item() == pytest.approx(0.0292, abs=5e-5)
    assert SD.sigmas[-1].item() == pytest.approx(14.6146, abs=5e-5)
    assert diffusion.leading_timesteps(SD, 50)[:2] == [981, 961]
    assert diffusion.leading_timesteps(SD, 50)[-1] == 1
    assert len(diffusion.leading_timesteps(SD, 7)) == 8  # 7 doesn't divide 1000
    assert max(diffusion.leading_timesteps(SD, 1000)) == 999
    assert diffusion.trailing_timesteps(SD, 4) == [999, 749, 499, 249]
    for steps in (0, 1001):
        with pytest.raises(BadInput, match="1 to 1000"):
            diffusion.leading_timesteps(SD, steps)


def test_zero_terminal_snr_keeps_the_first_step_and_empties_the_last():
    assert ZERO.alpha_bar[-1] == 0
    assert ZERO.alpha_bar[0].item() == pytest.approx(SD.alpha_bar[0].item(), rel=1e-6)
    assert (ZERO.alpha_bar.diff() < 0).all()


@given(st.floats(0, 999, allow_nan=False))
def test_timesteps_and_sigmas_are_each_others_inverse(t):
    there = SD.sigma_at(torch.tensor([t]))
    assert SD.timestep_at(there).item() == pytest.approx(t, abs=2e-2)
    assert SD.alpha_bar_at(torch.tensor([t])).item() == pytest.approx(1 / (1 + there.item() ** 2), rel=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "velocity"])
def test_target_and_split_are_each_others_inverse(prediction):
    clean, noise = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 400, 999])
    x = SD.noised(clean, noise, t)
    parts = SD.split(SD.target(clean, noise, t, prediction), x, t, prediction)
    assert torch.allclose(parts.clean, clean, atol=1e-4)
    assert torch.allclose(parts.noise, noise, atol=1e-5)


def test_guidance():
    away, towards = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(diffusion.guided(away, towards, 1.0), towards, atol=1e-6)
    assert torch.allclose(diffusion.guided(away, towards, 3.0) - towards, 2 * (towards - away), atol=1e-5)
    tamed = diffusion.guided(away, towards, 7.5, rescale=1.0)
    assert torch.allclose(tamed.std((1, 2, 3)), towards.std((1, 2, 3)), rtol=1e-4)


def test_every_sampler_reaches_the_exact_solution():
    """On Gaussian data the answer is known. First-order samplers halve their error with twice the steps; the
    second-order one does far better."""

    def error(result):
        return (result - solution(SD, NOISE)).abs().max().item()

    def euler(steps):
        sigmas = diffusion.karras_sigmas(SD, steps)
        return error(diffusion.euler(exact(SD), NOISE * (1 + sigmas[0] ** 2).sqrt(), SD, sigmas))

    def multistep(steps):
        timesteps = SD.timestep_at(diffusion.karras_sigmas(SD, steps)[:-1]).tolist()
        return error(diffusion.dpm_solver_2m(exact(SD), NOISE, SD, timesteps))

    def ddim(steps):
        return error(diffusion.ddim(exact(SD), NOISE, SD, diffusion.trailing_timesteps(SD, steps)))

    assert ddim(200) < 0.6 * ddim(100) < 0.05
    assert euler(100) < 0.6 * euler(50) < 0.1
    assert multistep(50) < 0.2 * euler(50)


@pytest.mark.parametrize("sampler", [diffusion.ddim, diffusion.dpm_solver_2m])
def test_samplers_start_from_pure_noise(sampler):
    result = sampler(exact(ZERO), NOISE, ZERO, diffusion.trailing_timesteps(ZERO, 200))
    assert (result - solution(ZERO, NOISE)).abs().max() < 0.02


@pytest.mark.parametrize("name", ["ddim", "euler_ancestral"])
def test_stochastic_samplers_draw_from_the_data(name):
    generator = torch.Generator().manual_seed(0)

    def noise(step):
        return torch.randn(4000, 1, generator=generator)

    if name == "ddim":
        timesteps = diffusion.trailing_timesteps(SD, 100)
        drawn = diffusion.ddim(exact(SD), noise(-1), SD, timesteps, eta=1.0, noise=noise)
    else:
        sigmas = diffusion.uniform_sigmas(SD, 100)
        drawn = diffusion.euler_ancestral(exact(SD), sigmas[0] * noise(-1), SD, sigmas, noise)
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.05)
    assert drawn.std().item() == pytest.approx(SPREAD, abs=0.06)


def test_noise_is_asked_for_by_step_and_states_are_shown():
    asked, seen = [], []

    def noise(step):
        asked.append(step)
        return torch.zeros_like(NOISE)

    diffusion.ddim(
        exact(SD),
        NOISE,
        SD,
        diffusion.leading_timesteps(SD, 4),
        eta=0.5,
        noise=noise,
        watch=lambda step, x: seen.append(step),
    )
    assert asked == seen == [0, 1, 2, 3]
    asked.clear()
    diffusion.euler_ancestral(exact(SD), NOISE, SD, diffusion.uniform_sigmas(SD, 4), noise)
    assert asked == [0, 1, 2]  # none on the step to zero
    with pytest.raises(BadInput, match="noise"):
        diffusion.ddim(exact(SD), NOISE, SD, [1], eta=0.5)


def test_slerp_meets_its_ends_exactly():
    a, b = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(diffusion.slerp(a, b, 0.0), a)
    assert torch.equal(diffusion.slerp(a, b, 1.0), b)
    assert diffusion.slerp(a.half(), b.half(), 0.3).dtype == torch.float16


@given(st.floats(0, 1))
def test_slerp_of_orthogonal_unit_vectors_keeps_their_length(t):
    a, b = torch.eye(8)[:2].view(2, 1, 2, 2, 2)
    assert diffusion.slerp(a, b, t).norm().item() == pytest.approx(1, abs=1e-6)


def test_slerp_takes_each_sample_on_its_own():
    a, b = torch.randn(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    b = b * torch.tensor([1.0, 10.0, 0.1])[:, None, None, None]
    alone = torch.cat([diffusion.slerp(a[i : i + 1], b[i : i + 1], 0.3) for i in range(3)])
    assert torch.equal(diffusion.slerp(a, b, 0.3), alone)


def test_slerp_goes_straight_where_there_is_no_arc():
    a = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    for b in (a, 3 * a, -a, a + 1e-3, torch.zeros_like(a)):
        middle = diffusion.slerp(a, b, 0.25)
        assert middle.isfinite().all()
        if b.any():
            assert torch.allclose(middle, 0.75 * a + 0.25 * b)
    right_angle = torch.tensor([[0.0, 1.0]])
    assert torch.allclose(
        diffusion.slerp(torch.tensor([[1.0, 0.0]]), right_angle, 0.5), torch.full((1, 2), math.sqrt(0.5))
    )


def test_a_walk_counts_shared_ends_once():
    assert list(diffusion.walk([3, 2])) == [(0, 0.0), (0, 0.5), (0, 1.0), (1, 1.0)]
    eased = [share for _, share in diffusion.walk([11], lambda t: t * t * (3 - 2 * t))]
    assert eased == sorted(eased)
    assert (eased[0], eased[-1]) == (0, 1)
    for frames in ([], [1], [5, 1]):
        with pytest.raises(BadInput, match="2 frames"):
            list(diffusion.walk(frames))
