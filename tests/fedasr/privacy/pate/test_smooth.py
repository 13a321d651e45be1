import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from fedasr.errors import InputError
from fedasr.privacy.pate import smooth
from fedasr.privacy.pate.analysis import VoteMechanism, analyse, query_costs
from fedasr.seeds import generator
from tests.fedasr.privacy.vectors import vectors
from tests.tiers import examples


@pytest.mark.parametrize("vector", vectors("pate/smooth/check"), ids=lambda v: v["id"])
def test_the_conditions(vector):
    given, wanted = vector["inputs"], vector["expected"]
    result = smooth.check_conditions(given["sigma"], given["num_classes"], given["order"])
    assert result == (wanted["c5"], wanted["c6"])


@pytest.mark.parametrize("vector", vectors("pate/smooth/ls"), ids=lambda v: v["id"])
def test_local_sensitivity_at_every_distance(vector):
    given, wanted, tolerance = vector["inputs"], vector["expected"], vector["tolerance"]
    result = smooth.local_sensitivity_gnmax(given["votes"], given["num_teachers"], given["sigma"], given["order"])
    assert result == pytest.approx(wanted["local_sensitivity"], rel=tolerance["rel"], abs=tolerance["abs"])


@pytest.mark.parametrize(
    ("sigma", "turning"),
    [(1.5, [2.95, 2.78, 427.4]), (15, [4.87, 4.05, 4.76, 275.6]), (1500, [9.74, 8.88, 6.17, 4.06]),
     (15000, [12.16, 11.30, 8.62, 6.43])],
)  # fmt: skip
def test_turning_points(sigma, turning):
    result = [-smooth.log_q0(sigma, order) for order in (1.1, 2.5, 32, 250)[: len(turning)]]
    assert result == pytest.approx(turning, abs=0.05)


def neighbours(votes):
    """All votes that differ by one teacher."""
    for loser in range(len(votes)):
        for winner in range(len(votes)):
            if loser != winner and votes[loser] > 0:
                other = list(votes)
                other[loser] -= 1
                other[winner] += 1
                yield other


@settings(max_examples=examples(60), deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=4).filter(any),
    st.sampled_from([5.0, 10.0, 20.0]),
    st.sampled_from([2.0, 5.0]),
)
def test_no_neighbour_changes_more_than_the_bound(votes, sigma, order):
    assume(all(smooth.check_conditions(sigma, len(votes), order)))
    teachers = sum(votes)
    bound = smooth.local_sensitivity_gnmax(votes, teachers, sigma, order)
    q = VoteMechanism("gnmax", sigma).log_q
    here = smooth.rdp_at(q(np.array([votes], float)), sigma, order)[0]
    for other in neighbours(votes):
        there = smooth.rdp_at(q(np.array([other], float)), sigma, order)[0]
        assert abs(there - here) <= bound[0] * (1 + 1e-6) + 1e-15


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.integers(0, 15), min_size=2, max_size=3).filter(any), st.sampled_from([5.0, 10.0]))
def test_the_maximum_is_smooth(votes, sigma):
    order, beta, teachers = 2.0, 0.2, sum(votes)
    assume(all(smooth.check_conditions(sigma, len(votes), order)))
    here = smooth.smooth_maximum(smooth.local_sensitivity_gnmax(votes, teachers, sigma, order), beta)
    for other in neighbours(votes):
        there = smooth.smooth_maximum(smooth.local_sensitivity_gnmax(other, teachers, sigma, order), beta)
        assert here <= math.exp(beta) * there * (1 + 1e-6) + 1e-15


@pytest.mark.parametrize("threshold", [2.0, 16.0, 50.0])
def test_no_neighbour_changes_the_check_more_than_its_bound(threshold):
    votes, teachers, scale, order = [20, 10, 0], 30, 2.0, 10.0
    check = VoteMechanism("threshold", None, threshold, scale)
    bound = smooth.local_sensitivity_threshold(votes, teachers, threshold, scale, order)
    assert bound.shape == (teachers,)
    here = query_costs([votes], check, (order,))[0, 0]
    largest = max(abs(query_costs([other], check, (order,))[0, 0] - here) for other in neighbours(votes))
    assert bound[0] == pytest.approx(largest)
    far = [query_costs([[v, 0, 0]], check, (order,))[0, 0] for v in range(teachers + 1)]
    assert max(bound) == pytest.approx(np.abs(np.diff(far)).max())


def test_smoothing_discounts_what_is_far():
    assert smooth.smooth_maximum([1.0, 2.0, 8.0], math.log(2)) == 2.0
    assert smooth.smooth_maximum([1.0, 2.0, 8.0], math.log(4)) == 1.0


@pytest.mark.parametrize("margin", [0.0, 5.0])
@pytest.mark.parametrize(("alpha", "beta", "sigma"), [(10.0, 0.04, 7.0), (20.0, 0.01, 13.0), (2.0, 0.05, 4.0)])
def test_the_cost_of_a_release_bounds_every_neighbour(alpha, beta, sigma, margin):
    """Two Gaussians, their divergence summed up numerically; the published theorem is below it for αβ = 0.4."""

    def divergence(shift, factor):
        x = np.linspace(-60 * sigma, 60 * sigma, 400_001)
        first = -0.5 * (x / sigma) ** 2 - math.log(sigma)
        second = -0.5 * ((x - shift) / (factor * sigma)) ** 2 - math.log(factor * sigma)
        log_terms = alpha * first + (1 - alpha) * second - 0.5 * math.log(2 * math.pi) + math.log(x[1] - x[0])
        return float(logsumexp(log_terms)) / (alpha - 1)

    cost = smooth.release_cost(beta, sigma, alpha, margin)
    for t in np.linspace(-beta, beta, 9):
        shift = min(1.0, math.exp(t)) + margin * abs(math.expm1(t))
        assert divergence(shift, math.exp(t)) <= cost * (1 + 1e-6)
    worst = divergence(1 + margin * math.expm1(beta), math.exp(-beta))
    assert cost == pytest.approx(worst, rel=1e-4)


def test_an_order_without_a_finite_cost_is_refused():
    with pytest.raises(InputError, match=r"'beta' is 0\.06; at order 10 expected a number below 0\.0526"):
        smooth.release_cost(0.06, 7.0, 10.0)


VOTES, KIND, ORDER = np.array([[200, 30, 20]] * 30, float), VoteMechanism("gnmax", 40.0), 8.0


def test_a_release_is_noise_above_the_truth_and_repeats_by_its_seed():
    local = smooth.total_local_sensitivity(VOTES, KIND, 250, ORDER)
    assert local == pytest.approx(30 * smooth.local_sensitivity_gnmax(VOTES[0], 250, 40.0, ORDER))
    rdp = float(query_costs(VOTES, KIND, (ORDER,)).sum())
    first = smooth.release(rdp, local, ORDER, 1e-5, generator(7, "test"))
    assert smooth.release(rdp, local, ORDER, 1e-5, generator(7, "test")) == first
    assert first.epsilon * smooth.GRID == pytest.approx(round(first.epsilon * smooth.GRID))
    # Neither follows from the votes.
    assert (first.beta, first.sigma) == (smooth.PUBLIC_BETA / ORDER, smooth.PUBLIC_SIGMA * math.sqrt(ORDER))
    fixed = smooth.release(rdp, local, ORDER, 1e-5, generator(7, "test"), beta=0.04, sigma=9.0)
    assert (fixed.beta, fixed.sigma, fixed.smooth_sensitivity) == (0.04, 9.0, smooth.smooth_maximum(local, 0.04))


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95, 0.99])
def test_a_published_epsilon_is_a_bound_as_often_as_it_says(coverage):
    """An unbiased estimate, as it was published, is below the truth in half of the draws."""
    local = smooth.total_local_sensitivity(VOTES, KIND, 250, ORDER)
    rdp = float(query_costs(VOTES, KIND, (ORDER,)).sum())
    draws, rng = 4000, generator(0, "coverage")
    result = [smooth.release(rdp, local, ORDER, 1e-5, rng, coverage=coverage) for _ in range(draws)]
    truth = rdp + result[0].cost + math.log(1e5) / (ORDER - 1)
    held = sum(release.epsilon >= truth for release in result)
    assert stats.binomtest(held, draws, coverage).pvalue > 1e-4
    assert {release.coverage for release in result} == {coverage}


def test_a_published_epsilon_is_neither_negative_nor_above_what_holds_anyway():
    local = smooth.total_local_sensitivity(VOTES, KIND, 250, ORDER)
    plain = analyse(VOTES, KIND, 1e-5)
    most = smooth.whatever_the_votes(plain.rdp_data_independent, plain.orders, ORDER, 1e-5)
    assert plain.best_data_independent[0] < most < math.inf
    rng = generator(0, "bounds")
    result = [smooth.release(0.0, 1000 * local, ORDER, 0.5, rng, most=most).epsilon for _ in range(200)]
    assert min(result) == 0
    assert max(result) == most
    with pytest.raises(InputError, match=r"'coverage' is 0\.3; expected a number from 0\.5"):
        smooth.release(0.0, local, ORDER, 0.5, rng, coverage=0.3)


def test_confident_votes_release_what_was_answered():
    votes, kind = np.array([[200, 30, 20], [100, 90, 60]], float), VoteMechanism("confident-gnmax", 40.0, 150.0, 50.0)
    with pytest.raises(InputError, match="which queries were answered"):
        smooth.total_local_sensitivity(votes, kind, 250, 8.0)
    result = smooth.total_local_sensitivity(votes, kind, 250, 8.0, [1, 0])
    checks = sum(smooth.local_sensitivity_threshold(row, 250, 150.0, 50.0, 8.0) for row in votes)
    assert result == pytest.approx(checks + smooth.local_sensitivity_gnmax(votes[0], 250, 40.0, 8.0))
    assert analyse(votes, kind, 1e-5, answered=[1, 0]).answered == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: smooth.total_local_sensitivity([[1, 2]], VoteMechanism("lnmax", 1.0), 3, 2.0), "lnmax is not known"),
        (
            lambda: smooth.total_local_sensitivity([[1, 2]], VoteMechanism("gnmax", 9.0), 2, 2.0),
            "a query has more votes",
        ),
        (
            lambda: smooth.total_local_sensitivity([[9] * 10], VoteMechanism("gnmax", 20.0), 90, 25.0),
            "C5 and C6 do not hold",
        ),
        (lambda: smooth.local_sensitivity_gnmax([3], 3, 9.0, 2.0), "at least two classes"),
        (lambda: smooth.local_sensitivity_threshold([9, 0], 3, 2.0, 1.0, 2.0), "'teachers' is 3, but a class has 9"),
    ],
)
def test_what_cannot_be_released_is_named(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(("sigma", "votes", "teachers"), [(15.0, 55, 62), (10.0, 35, 42)])
def test_one_that_abstains_may_still_join_the_winner(sigma, votes, teachers):
    """At every distance the bound is no less than what votes that near to these really have."""
    order, counts = 5.0, np.array([votes, *[0] * 9], float)
    result = smooth.local_sensitivity_gnmax(counts, teachers, sigma, order)
    for distance in range(teachers - votes):
        nearer = np.array([[votes + distance, *[0] * 9]], float)
        real = smooth.local_sensitivity_at(smooth.log_q_gnmax(nearer, sigma), sigma, 10, order)[0]
        assert result[distance] >= real - 1e-12
