"""User-level privacy on the server: exact values, the noise that was really added, and the clip norm's direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedasr.config import Config, load
from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.exact_mean import ExactMean
from fedasr.strategies.privacy.user_level import UserLevel
from fedasr.strategies.privacy.user_level_costs import noise_for_budget, sampling_of
from tests.tiers import examples

SIZE = 20_000
LAYOUT = Layout.of({"w": np.zeros(SIZE, np.float32)})


def config(**privacy: object) -> Config:
    return load(
        {
            "privacy": {"unit": "user", "noise_multiplier": 1.0, **privacy},
            "selection": {"name": "poisson", "clients_per_round": 20},
            "strategy": {"weighting": "uniform"},
        }
    )


def mean_of(mechanism: UserLevel, norms: list[float], cohort: float = 20.0) -> ExactMean:
    mean = ExactMean(LAYOUT, np.zeros(SIZE, np.float32), cohort, cohort, mechanism.clip())
    for norm in norms:
        update = np.zeros(SIZE, np.float32)
        update[0] = norm
        mean.add(LAYOUT.views(update), 1)
    return mean


def test_the_denominator_is_the_expected_cohort_whoever_took_part() -> None:
    mechanism = UserLevel(config(clip_norm=2.0), LAYOUT)
    for norms, expected in (([5.0], 2.0), ([5.0, 1.0], 3.0), ([], 0.0)):
        mean = mean_of(mechanism, norms)
        assert mean.mean()[0] == pytest.approx(expected / 20, rel=1e-5)


def test_the_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    """z·C over the expected cohort, Gaussian, and there even if nobody answered."""
    mechanism = UserLevel(config(clip_norm=0.5, noise_multiplier=3.0), LAYOUT)
    noise = mechanism.noisy(mean_of(mechanism, []), 1, 1000).astype(np.float64)
    assert stats.kstest(noise / (3.0 * 0.5 / 20), "norm").pvalue > 0.01
    again = UserLevel(config(clip_norm=0.5, noise_multiplier=3.0), LAYOUT)
    np.testing.assert_array_equal(again.noisy(mean_of(again, []), 1, 1000), noise.astype(np.float32))
    assert np.corrcoef(again.noisy(mean_of(again, []), 2, 1000), noise)[0, 1] < 0.05


def test_secret_noise_comes_from_elsewhere() -> None:
    mechanism, again = (UserLevel(config(secret_noise=True), LAYOUT) for _ in range(2))
    first = mechanism.noisy(mean_of(mechanism, []), 1, 1000)
    second = again.noisy(mean_of(again, []), 1, 1000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_a_small_population_is_everybody() -> None:
    mechanism = UserLevel(config(), LAYOUT)
    assert sampling_of(config(), 5).probability == 1.0
    assert sampling_of(config(), 1000).probability == 0.02
    noise = mechanism.noisy(mean_of(mechanism, [], 5.0), 1, 5)
    assert noise.std() == pytest.approx(1.0 / 5, rel=0.05)


def test_adaptive_clipping_moves_towards_the_quantile() -> None:
    """All updates are clipped: the norm grows. None is: it shrinks. (One indicator inverted, and it runs away.)"""
    for norms, direction in (([10.0] * 20, 1), ([0.001] * 20, -1)):
        mechanism = UserLevel(config(clipping="adaptive", noise_multiplier=0.5), LAYOUT)
        before = mechanism.bound
        for round in range(1, 4):
            mechanism.noisy(mean_of(mechanism, norms), round, 1000)
        assert (mechanism.bound - before) * direction > 0


def test_adaptive_clipping_settles_at_the_quantile() -> None:
    mechanism = UserLevel(config(clipping="adaptive", noise_multiplier=0.5, clip_norm=0.05), LAYOUT)
    norms = np.linspace(0.1, 2.0, 20).tolist()
    seen = []
    for round in range(1, 200):
        mechanism.noisy(mean_of(mechanism, norms), round, 1000)
        seen.append(mechanism.bound)
    assert np.mean(seen[100:]) == pytest.approx(1.05, rel=0.15)


def test_the_count_of_unclipped_updates_is_paid_for() -> None:
    mechanism = UserLevel(config(clipping="adaptive", noise_multiplier=0.5), LAYOUT)
    # σ_b = 1 on bits of ±½: together with z_Δ the two Gaussians are one with z = 0.5
    assert mechanism.bits_noise == 1.0
    combined = (mechanism.update_noise_multiplier**-2 + (2 * mechanism.bits_noise) ** -2) ** -0.5
    assert combined == pytest.approx(0.5)
    assert mechanism.update_noise_multiplier > 0.5
    restored = UserLevel(config(clipping="adaptive", noise_multiplier=0.5), LAYOUT)
    mechanism.noisy(mean_of(mechanism, [1.0]), 1, 1000)
    restored.load_state_dict(mechanism.state_dict())
    assert restored.bound == mechanism.bound


@pytest.mark.slow
def test_the_noise_of_a_budget_spends_it_and_no_more() -> None:
    asked = config(noise_multiplier=None, epsilon=4.0)
    asked.privacy.noise_multiplier = noise_for_budget(asked, 200)
    mechanism = UserLevel(asked, LAYOUT)
    for round in range(1, asked.rounds + 1):
        assert mechanism.affords(round, 200)
        mechanism.charge(round, 200)
    assert 3.9 < mechanism.epsilon() <= 4.0
    assert not mechanism.affords(asked.rounds + 1, 200)


@pytest.mark.thorough
def test_a_smaller_population_costs_more() -> None:
    large, small = UserLevel(config(), LAYOUT), UserLevel(config(), LAYOUT)
    large.charge(1, 1000)
    small.charge(1, 40)
    assert small.epsilon() > 2 * large.epsilon()


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "per-layer-dim"])
@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), magnitude=st.floats(-6, 12))
def test_one_user_more_or_another_moves_the_sum_by_no_more_than_the_bound(
    clipping: str, seed: int, magnitude: float
) -> None:
    """Whatever a user sends: C for one more, 2C for another instead; the denominator stays."""
    rng = np.random.default_rng(seed)
    layout = Layout.of({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32), "c": np.zeros(1, np.float32)})
    mechanism = UserLevel(config(clip_norm=0.7, clipping=clipping), layout)
    scales = 10.0 ** np.array([0.0, -2.0, 1.0, magnitude, magnitude])
    users = [(scale * rng.standard_normal(layout.size)).astype(np.float32) for scale in scales]

    def total(members: list[int]) -> np.ndarray:
        mean = ExactMean(layout, np.zeros(layout.size, np.float32), 20.0, 20.0, mechanism.clip())
        for member in members:
            mean.add(layout.views(users[member]), 1)
        return np.asarray(mean.mean(), np.float64) * 20.0

    rounding = 1e-6
    assert np.linalg.norm(total([0, 1, 2, 3]) - total([0, 1, 2])) <= 0.7 + rounding
    assert np.linalg.norm(total([0, 1, 2, 3]) - total([0, 1, 2, 4])) <= 1.4 + rounding
