"""Averages of posteriors with noise: what is released, what it costs, and that the cost is enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest, laplace, norm

from fedasr.errors import InputError
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import GNMAX_SENSITIVITY, Gaussian
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, analyse
from fedasr.privacy.pate.mechanisms import soft_laplace_rdp
from fedasr.privacy.pate.smooth import total_local_sensitivity
from tests.strategies.pate.test_aggregator import aggregator
from tests.tiers import examples

SOFT = ["soft-gaussian", "soft-laplace"]
LAWS = {"soft-gaussian": norm(scale=2.0), "soft-laplace": laplace(scale=2.0)}


@pytest.mark.parametrize("mechanism", SOFT)
def test_the_whole_sum_is_released_with_noise_on_every_class(mechanism: str) -> None:
    result = aggregator(3, mechanism=mechanism, scale=2.0)
    sums = np.array([5.5, 3.25, 1.25])
    for _ in range(2000):
        assert result.release(0, sums)
    noise = result.record.votes - sums
    assert kstest(noise.ravel(), LAWS[mechanism].cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise.T)[np.triu_indices(3, 1)]).max() < 0.1
    assert result.record.labels == result.record.votes.argmax(axis=1).tolist()


@pytest.mark.parametrize("mechanism", SOFT)
def test_what_teachers_have_made_noisy_is_released_as_it_is(mechanism: str) -> None:
    result = aggregator(3, mechanism=mechanism, scale=2.0, noise_at="teachers")
    result.release(0, np.array([0.5, -1.25, 0.75]))
    assert result.record.votes.tolist() == [[0.5, -1.25, 0.75]]
    assert result.record.labels == [2]


def test_gaussian_noise_costs_what_the_gaussian_mechanism_does() -> None:
    result = aggregator(4, mechanism="soft-gaussian", scale=20.0)
    for _ in range(30):
        result.release(0, np.array([6.0, 3.0, 1.0, 0.0]))
    epsilon, independent = result.epsilons()
    assert epsilon == independent
    event = Gaussian(
        unit="teacher", adjacency="replace-one", noise_multiplier=20.0, sensitivity=GNMAX_SENSITIVITY, steps=30
    )
    alone = epsilon_of([event], 1e-5, "rdp").epsilon
    assert alone <= epsilon <= 1.05 * alone  # the same curve on another grid of orders


def test_laplace_noise_costs_what_its_divergence_is() -> None:
    """RDP of two classes moved by one, by integration of each density; and less than pure DP of 2/b says."""
    scale = 3.0
    for order in (1.5, 4.0, 20.0):

        def integrand(x: float, order: float = order) -> float:
            return float(np.exp(-(order * abs(x - 1.0) + (1 - order) * abs(x)) / scale) / (2 * scale))

        one = np.log(sum(quad(integrand, a, b)[0] for a, b in ((-300, 0), (0, 1), (1, 300)))) / (order - 1)
        assert soft_laplace_rdp(scale, (order,))[0] == pytest.approx(2 * one, rel=1e-6)
        assert soft_laplace_rdp(scale, (order,))[0] < 2 / scale


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.data())
def test_no_exchange_of_posteriors_costs_more_than_is_paid_for(first: list[float], data: st.DataObject) -> None:
    """Any two posteriors: RDP of the shift between them, class by class, is within what both mechanisms charge."""
    second = data.draw(st.lists(st.floats(0, 1), min_size=len(first), max_size=len(first)))
    p, q = (np.array(v) / max(sum(v), 1.0) for v in (first, second))
    shift, scale, order = np.abs(p - q), 2.5, 8.0
    assert np.sqrt((shift**2).sum()) <= GNMAX_SENSITIVITY + 1e-12
    down = np.log(order / (2 * order - 1)) + (order - 1) * shift / scale
    up = np.log((order - 1) / (2 * order - 1)) - order * shift / scale
    spent = np.logaddexp(down, up).sum() / (order - 1)
    assert spent <= soft_laplace_rdp(scale, (order,))[0] + 1e-12


@pytest.mark.parametrize("mechanism", SOFT)
def test_it_costs_the_same_whatever_the_votes(mechanism: str) -> None:
    sure, unsure = np.array([[90.0, 10, 0]] * 5), np.array([[34.0, 33, 33]] * 5)
    kind = VoteMechanism(mechanism, 10.0)
    assert analyse(sure, kind, 1e-5).best == analyse(unsure, kind, 1e-5).best
    assert analyse(sure, kind, 1e-5).best == analyse(sure, kind, 1e-5).best_data_independent
    with pytest.raises(InputError, match="costs the same whatever the votes"):
        total_local_sensitivity(sure, kind, 100, 4.0)


def test_the_budget_holds() -> None:
    result = aggregator(3, {"epsilon": 2.0}, mechanism="soft-gaussian", scale=20.0)
    assert len(ORDERS) > 10
    while result.release(0, np.array([5.0, 3.0, 2.0])):
        pass
    assert result.epsilons()[0] <= 2.0
    result.config.privacy.epsilon = None
    result.release(0, np.array([5.0, 3.0, 2.0]))
    assert result.epsilons()[0] > 2.0
