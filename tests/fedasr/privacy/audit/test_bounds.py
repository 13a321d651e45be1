"""Lower bounds on ε: published figures, coverage of true claims, power against false ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from fedasr.errors import InputError
from fedasr.privacy.accountants import calibrate
from fedasr.privacy.audit import scores
from fedasr.privacy.audit.bounds import gaussian_dp, gaussian_t, one_shot, pointwise, ranks_of, rates, upper
from fedasr.privacy.audit.contradiction import contradicts, ledger_bound
from fedasr.privacy.audit.curves import curve_of
from fedasr.privacy.audit.one_run import f_dp_one_run, guesses, one_run
from fedasr.privacy.events import Event, FixedSizeGaussian, Gaussian, PoissonGaussian
from fedasr.privacy.pld import gaussian_epsilon
from fedasr.typing import Floats

DELTA = 1e-5
GUESSED = 0.2
MU = {
    epsilon: 1 / calibrate(lambda z: [Gaussian(unit="user", noise_multiplier=z)], epsilon, DELTA)
    for epsilon in (1, 4, 8)
}
"""Gaussian μ of ε = 1, 4, 8."""


def single(kind: Callable[[int, int, int, float], object]) -> Callable[[Floats, Floats], float]:
    def bound(inside: Floats, outside: Floats) -> float:
        guessed, right = guesses(inside, outside, GUESSED)
        result: float = kind(len(inside) + len(outside), guessed, right, DELTA).epsilon  # type: ignore[attr-defined]
        return result

    return bound


BOUNDS: dict[str, Callable[[Floats, Floats], float]] = {
    "pointwise": lambda a, b: pointwise(a, b, DELTA).epsilon,
    "GDP": lambda a, b: gaussian_dp(a, b, DELTA).epsilon,
    "t": lambda a, b: gaussian_t(a, b, DELTA).epsilon,
    "one-run": single(one_run),
    "f-DP": single(f_dp_one_run),
}


def draws(mu: float, seed: int, canaries: int = 1000, noise: float = 1.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return noise * rng.standard_normal(canaries // 2) + mu, noise * rng.standard_normal(canaries - canaries // 2)


def test_upper_bound_of_clopper_and_pearson() -> None:
    assert upper(0, 100, 0.025) == pytest.approx(0.03622, abs=1e-5)
    assert upper(100, 100, 0.025) == 1.0


def test_epsilon_of_mu() -> None:
    for mu, epsilon in ((1, 4.377), (2, 9.997), (4, 24.38)):
        assert gaussian_epsilon(mu, DELTA) == pytest.approx(epsilon, abs=5e-3)
    for epsilon, mu in MU.items():
        assert gaussian_epsilon(mu, DELTA) == pytest.approx(epsilon, rel=2e-3)


def test_all_guesses_right_in_one_run() -> None:
    assert one_run(100, 100, 100, DELTA).epsilon == pytest.approx(3.490, abs=1e-3)
    assert one_run(100, 100, 50, DELTA).epsilon == 0.0
    assert one_run(100, 0, 0, DELTA).epsilon == 0.0
    assert f_dp_one_run(100, 100, 50, DELTA).epsilon == 0.0


def test_few_canaries_cannot_prove_much() -> None:
    far = np.full(100, 99.0), np.arange(100.0) / 100
    assert pointwise(*far, 1e-5, ranks=[0]).epsilon == pytest.approx(3.28, abs=0.05)
    many = np.full(1000, 99.0), np.arange(1000.0) / 1000
    assert pointwise(*many, 1e-5, ranks=[0]).epsilon == pytest.approx(5.6, abs=0.05)


def test_threshold_is_the_next_largest_score_outside() -> None:
    inside, outside = np.array([3.0, 1.0]), np.arange(10.0)
    assert rates(inside, outside, 1, 0.1) == (upper(1, 10, 0.05), upper(2, 2, 0.05))  # threshold 8
    assert rates(inside, outside, 7, 0.1) == (upper(7, 10, 0.05), upper(1, 2, 0.05))  # threshold 2
    assert ranks_of(100, (0.0, 0.001, 0.5, 1.0)) == (0, 50, 99)


@pytest.mark.parametrize("name", BOUNDS)
def test_without_a_leak_the_bound_is_zero(name: str) -> None:
    silent = [BOUNDS[name](*draws(0.0, seed)) for seed in range(1000)]
    # The t test has exactly 5 % false alarms, and a thousand seeds some more or fewer.
    assert np.mean(np.array(silent) == 0.0) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 1000)


MEDIANS = {"pointwise": (1.0, 2.1), "one-run": (1.5, 3.0), "GDP": (2.8, 6.5), "t": (3.4, 7.3)}
"""At ε = 4 and 8, of 1,000 canaries; f-DP depends on how many are guessed."""


@pytest.mark.thorough
@pytest.mark.parametrize("name", BOUNDS)
def test_true_claims_are_above_the_bound(name: str) -> None:
    for number, epsilon in enumerate((4, 8, 1)):
        result = np.array([BOUNDS[name](*draws(MU[epsilon], seed)) for seed in range(300)])
        assert np.mean(result <= epsilon) >= 0.95
        if number < 2 and name in MEDIANS:
            assert np.median(result) == pytest.approx(MEDIANS[name][number], rel=0.2)


def test_one_shot_is_an_estimate_and_no_bound() -> None:
    result = [one_shot(*draws(MU[1], seed, 50), DELTA) for seed in range(20)]
    assert all(bound.estimate and math.isnan(bound.confidence) for bound in result)
    assert 0.5 < np.median([bound.epsilon for bound in result]) < 5.0
    assert max(bound.epsilon for bound in result) > 1.0  # above the truth, as no bound may be
    exact = draws(MU[4], 0, 200_000)
    assert one_shot(*exact, DELTA).epsilon == pytest.approx(4, rel=0.1)


def test_less_noise_than_claimed_is_a_contradiction() -> None:
    curve = curve_of([Gaussian(unit="user", noise_multiplier=1 / MU[8])])
    right = [contradicts(*draws(MU[8], seed), curve, 0.05) for seed in range(300)]
    wrong = [contradicts(*draws(MU[8] * 2**0.5, seed), curve, 0.05) for seed in range(300)]
    assert np.mean(right) <= 0.05
    assert np.mean(wrong) >= 0.95


def test_trade_off_of_a_curve_is_that_of_the_mechanism() -> None:
    from scipy.special import ndtr, ndtri

    curve = curve_of([Gaussian(unit="user", noise_multiplier=1.0)])
    for false in (0.001, 0.1, 0.5, 0.9):
        exact = float(ndtr(-ndtri(false) - 1.0))
        assert exact - 0.01 <= curve.least_missed(false) <= exact + 1e-9
    assert curve.least_missed(1.0) == 0.0


def test_bound_lies_below_the_truth_within_the_family() -> None:
    for seed in range(5):
        bound = ledger_bound(
            *draws(MU[4], seed),
            lambda factor: [Gaussian(unit="user", noise_multiplier=factor)],
            DELTA,
            alpha=0.05,
        )
        assert 1.0 < bound.epsilon <= 4.0
        assert bound.assumes


@pytest.mark.thorough
def test_a_curve_is_never_below_the_accountants_answer() -> None:
    """Poisson by pld, fixed size by rdp; fewer orders are farther above."""
    from fedasr.privacy.accountants import delta_of

    poisson: list[Event] = [PoissonGaussian(unit="user", noise_multiplier=1.0, sampling_probability=0.1, steps=5)]
    fixed: list[Event] = [FixedSizeGaussian(unit="user", noise_multiplier=2.0, sampling_probability=0.1, steps=5)]
    for events, accountant in ((poisson, "pld"), (fixed, "rdp")):
        curve = curve_of(events, accountant)
        assert curve.words == accountant
        for place in (0, 40, 120):
            assert curve.deltas[place] == pytest.approx(
                delta_of(events, float(curve.epsilons[place]), accountant), rel=0.05, abs=1e-8
            )
        assert (curve_of(events, "rdp", 8).least_missed(0.01)) <= curve.least_missed(0.01) + 1e-9


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="some of both kinds"):
        pointwise(np.array([]), np.array([1.0]), DELTA)
    with pytest.raises(InputError, match="some of both kinds"):
        gaussian_t(np.array([np.nan]), np.array([1.0]), DELTA)
    with pytest.raises(InputError, match="right ≤ guessed"):
        one_run(10, 5, 6, DELTA)


STEPS, Q, HELD_OUT = 30, 0.1, 20_000


def sampled(z: float, inserted: int, seed: int, noise: float = 1.0, length: float = 1.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    x = noise * z * rng.standard_normal((STEPS, inserted + HELD_OUT))
    x[:, :inserted] += length * (rng.random((STEPS, inserted)) < Q)
    result = scores.poisson(x, z, Q)
    return result[:inserted], result[inserted:]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("epsilon", "inserted"),
    [pytest.param(1.0, 1000, marks=pytest.mark.slow), (2.0, 200), pytest.param(4.0, 200, marks=pytest.mark.slow)],
)
def test_halved_noise_and_doubled_sensitivity_are_caught_under_sampling(epsilon: float, inserted: int) -> None:
    def claim(z: float) -> list[Event]:
        return [PoissonGaussian(unit="user", noise_multiplier=z, sampling_probability=Q, steps=STEPS)]

    z = calibrate(claim, epsilon, DELTA, "pld", 1e-2)
    curve, seeds = curve_of(claim(z)), range(20)
    assert np.mean([contradicts(*sampled(z, inserted, s), curve, 0.05) for s in seeds]) <= 0.1
    assert np.mean([contradicts(*sampled(z, inserted, s, noise=0.5), curve, 0.05) for s in seeds]) >= 0.95
    assert np.mean([contradicts(*sampled(z, inserted, s, length=2.0), curve, 0.05) for s in seeds]) >= 0.95
