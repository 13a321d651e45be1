"""The mixed-effects Poisson regression against closed forms, plain integration, and data whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gammaln

from fedasr.evaluation.fairness.mixed_poisson import MixedPoisson
from fedasr.evaluation.fairness.regression import Adjusted, adjusted


def drawn(
    seed: int, speakers: int, sigma: float, effect: float, utterances: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return groups, speakers, words and errors of utterances from the model itself."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(speakers), utterances)
    group = who % 2
    words = rng.integers(3, 9, len(who))
    rate = 0.15 * np.exp(effect * group + sigma * rng.standard_normal(speakers)[who])
    return group, who, words, rng.poisson(words * rate)


def test_10_of_100_against_20_of_100_words() -> None:
    fit = MixedPoisson([10, 20], [100, 100], np.array([[1.0, 0.0], [1.0, 1.0]]), np.array(["a", "b"])).fit()
    ratio, error = fit.coefficients[1], fit.errors[1]
    assert math.exp(ratio) == pytest.approx(2, abs=1e-4)
    assert error == pytest.approx(0.3873, abs=1e-4)
    assert math.exp(ratio - 1.96 * error) == pytest.approx(0.936, abs=1e-3)
    assert math.exp(ratio + 1.96 * error) == pytest.approx(4.273, abs=1e-3)
    assert fit.sigma == 0


@pytest.mark.parametrize("sigma", [0.05, 0.6, 2.0])
def test_the_likelihood_is_that_of_plain_integration(sigma: float) -> None:
    # 500 errors of a speaker: a rule whose nodes stay at the prior's misses the peak.
    errors, words, who = np.array([1, 0, 2, 260, 240]), np.array([5, 6, 7, 900, 800]), np.array([0, 0, 0, 1, 1])
    design = np.ones((5, 1))
    beta = np.log(0.2)
    value, _ = MixedPoisson(errors, words, design, who).likelihood(np.array([beta, math.log(sigma)]))
    expected = 0.0
    for speaker in (0, 1):
        of = who == speaker
        rate = words[of] * math.exp(beta)

        def log_density(u: float, of: np.ndarray = of, rate: np.ndarray = rate) -> float:
            poisson = (errors[of] * (np.log(rate) + u) - rate * math.exp(u) - gammaln(errors[of] + 1)).sum()
            return float(poisson) - u**2 / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))

        peak = max(np.linspace(-5, 5, 2001), key=log_density)
        top = log_density(peak)

        def density(u: float, top: float = top, log_density: Callable[[float], float] = log_density) -> float:
            return math.exp(log_density(u) - top)

        parts = [quad(density, *ends, limit=200)[0] for ends in ((-9, peak), (peak, 9))]
        expected += top + math.log(sum(parts))
    assert value == pytest.approx(expected, abs=1e-5)


def test_the_gradient_is_that_of_the_likelihood() -> None:
    group, who, words, errors = drawn(0, 20, 0.5, 0.4)
    model = MixedPoisson(errors, words, np.stack([np.ones(len(who)), group], axis=1), who)
    at = np.array([-1.5, 0.3, -0.4])
    steps = 1e-5 * np.eye(3)
    numeric = [(model.likelihood(at + step)[0] - model.likelihood(at - step)[0]) / 2e-5 for step in steps]
    assert model.likelihood(at)[1] == pytest.approx(numeric, abs=1e-5)


def test_more_points_change_nothing() -> None:
    group, who, words, errors = drawn(1, 30, 0.7, 0.4)
    design = np.stack([np.ones(len(who)), group], axis=1)
    twenty, forty = (MixedPoisson(errors, words, design, who, points).fit() for points in (20, 40))
    assert twenty.coefficients == pytest.approx(forty.coefficients, abs=1e-6)
    assert twenty.log_likelihood == pytest.approx(forty.log_likelihood, abs=1e-6)


def test_what_the_data_were_drawn_from_is_found() -> None:
    group, who, words, errors = drawn(2, 400, 0.6, math.log(1.5))
    fit = MixedPoisson(errors, words, np.stack([np.ones(len(who)), group], axis=1), who).fit()
    assert fit.sigma == pytest.approx(0.6, abs=0.08)
    assert abs(fit.coefficients[1] - math.log(1.5)) < 3 * fit.errors[1]
    assert fit.dispersion == pytest.approx(1, abs=0.15)
    # Independent words would have an error of less than half of that.
    assert fit.errors[1] > 1.5 * math.sqrt(sum(1 / errors[group == g].sum() for g in (0, 1)))


def test_a_covariate_that_explains_a_gap_takes_it_away() -> None:
    rng = np.random.default_rng(4)
    who = np.repeat(np.arange(60), 10)
    noise = rng.standard_normal(60)
    groups = np.where(noise + 0.5 * rng.standard_normal(60) > 0, "noisy", "quiet")
    words = np.full(600, 6)
    errors = rng.poisson(words * 0.15 * np.exp(0.6 * noise[who]))
    raw = adjusted(groups[who], who, words, errors, {})
    fair = adjusted(groups[who], who, words, errors, {"noise": noise[who], "length": np.log(words)})
    assert isinstance(raw, Adjusted)
    assert isinstance(fair, Adjusted)
    (apart,) = raw.ratios.values()
    (alike,) = fair.ratios.values()
    assert not apart.low <= 1 <= apart.high
    assert alike.low <= 1 <= alike.high
    assert fair.covariates["noise"].low > 1
    assert fair.left_out == {"length": "the same for all"}
    assert raw.p_value < 0.01 < fair.p_value


def test_a_covariate_that_the_group_decides_is_left_out() -> None:
    group, who, words, errors = drawn(5, 20, 0.3, 0.2)
    result = adjusted(group, who, words, errors, {"twin": 3.0 * group, "unknown": np.full(len(who), np.nan)})
    assert isinstance(result, Adjusted)
    assert set(result.left_out) == {"twin", "unknown"}


def test_groups_without_errors_have_no_ratio() -> None:
    words = np.full(6, 10)
    result = adjusted(np.array(list("xxyyzz")), np.arange(6), words, np.array([0, 0, 2, 3, 1, 2]), {})
    assert isinstance(result, Adjusted)
    assert set(result.ratios) | {result.reference} == {"y", "z"}
    assert isinstance(adjusted(np.array(list("xxyy")), np.arange(4), words[:4], np.array([0, 0, 2, 3]), {}), str)


def test_errors_that_come_in_clumps_widen_the_intervals() -> None:
    group, who, words, errors = drawn(6, 60, 0.0, 0.0, utterances=20)
    single = adjusted(group, who, 4 * words, errors, {})
    clumped = adjusted(group, who, 4 * words, 4 * errors, {})
    assert isinstance(single, Adjusted)
    assert isinstance(clumped, Adjusted)
    assert single.dispersion == pytest.approx(1, abs=0.15)
    assert clumped.dispersion > 2.5
    (one,), (four,) = single.ratios.values(), clumped.ratios.values()
    # Four times the errors say no more where they come four at a time.
    assert np.log(four.high / four.low) == pytest.approx(np.log(one.high / one.low), rel=0.3)
