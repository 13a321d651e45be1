import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_ndtr, ndtr

from fedasr.errors import InputError
from fedasr.privacy.pate import mechanisms
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, analyse, query_costs, to_epsilon
from tests.fedasr.privacy.vectors import vectors
from tests.tiers import examples

ALPHAS = (1.5, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def mechanism_of(given):
    return VoteMechanism(
        given["mechanism"], given.get("sigma", given.get("lambda_")), given.get("threshold"), given.get("sigma1")
    )


@pytest.mark.parametrize("vector", vectors("pate/gnmax") + vectors("pate/lnmax"), ids=lambda v: v["id"])
def test_one_query(vector):
    given, wanted, rel = vector["inputs"], vector["expected"], vector["tolerance"]["rel"]
    kind, votes = mechanism_of(given), np.array([given["votes"]], float)
    assert kind.log_q(votes) == pytest.approx([wanted["log_q"]], rel=rel)
    result = analyse(votes, kind, 1e-5, orders=tuple(map(float, given["orders"])))
    assert result.rdp == pytest.approx(wanted["rdp"], rel=rel)


@pytest.mark.parametrize("vector", vectors("pate/threshold"), ids=lambda v: v["id"])
def test_the_check_alone(vector):
    given, wanted, rel = vector["inputs"], vector["expected"], vector["tolerance"]["rel"]
    kind, orders = mechanism_of(given), tuple(map(float, given["orders"]))
    for votes, chance in zip(given["votes_each"], wanted["p_answer"], strict=True):
        result = analyse([votes], kind, 1e-5, orders=orders)
        assert result.answered == pytest.approx(chance, rel=rel)
        assert result.rdp == pytest.approx(wanted["rdp"], rel=rel)


@pytest.mark.parametrize("vector", vectors("pate/total"), ids=lambda v: v["id"])
def test_many_queries_whatever_the_votes(vector):
    given, wanted = vector["inputs"], vector["expected"]
    result = analyse(np.ones((given["queries"], 10)), mechanism_of(given), given["delta"])
    epsilon, order = result.best_data_independent
    assert epsilon == pytest.approx(wanted["epsilon"], rel=vector["tolerance"]["rel"])
    assert order == wanted["optimal_order"]


@pytest.mark.parametrize(
    ("votes", "queries", "wanted"),
    [
        ([240, 5, 5], 10_000, 1.14), ([240, 5, 5], 1_000_000, 16.5),
        ([230, 10, 10], 100_000, 6.35), ([230, 10, 10], 1_000_000, 40.4),
        ([200, 30, 20], 10_000, 8.78), ([200, 30, 20], 1_000_000, 559),
    ],
)  # fmt: skip
def test_the_budgets_of_a_corpus(votes, queries, wanted):
    one = analyse([votes], VoteMechanism("gnmax", 40.0), 1e-6)
    assert to_epsilon(one.rdp * queries, ORDERS, 1e-6)[0] == pytest.approx(wanted, rel=0.01)


def test_the_grid_reaches_below_two():
    one = analyse([[1, 1]], VoteMechanism("gnmax", 40.0), 1e-6)
    assert to_epsilon(one.rdp_data_independent * 10**6, ORDERS, 1e-6)[0] == pytest.approx(811, rel=1e-3)


def test_a_confident_answer_pays_for_both_steps():
    votes = np.array([[200, 30, 20], [100, 90, 60], [240, 5, 5]], float)
    kind = VoteMechanism("confident-gnmax", 40.0, 150.0, 50.0)
    check = VoteMechanism("threshold", None, 150.0, 50.0)
    label = VoteMechanism("gnmax", 40.0)
    chance = ndtr((votes.max(axis=1) - 150) / 50)
    expected = query_costs(votes, check, ALPHAS) + chance[:, None] * query_costs(votes, label, ALPHAS)
    assert query_costs(votes, kind, ALPHAS) == pytest.approx(expected)
    result = analyse(votes, kind, 1e-5, orders=ALPHAS)
    assert result.expected
    assert result.answered == pytest.approx(chance.sum())
    assert result.rdp == pytest.approx(expected.sum(axis=0))
    with pytest.raises(InputError, match="which queries were answered"):
        result.event()
    known = analyse(votes, kind, 1e-5, orders=ALPHAS, answered=[1, 0, 1])
    both = query_costs(votes, check, ALPHAS).sum(axis=0) + query_costs(votes[[0, 2]], label, ALPHAS).sum(axis=0)
    assert known.rdp == pytest.approx(both)
    assert known.event().steps == 3
    assert known.event().data_dependent


def divergence(log_p, log_q, alpha):
    """Rényi divergence of two distributions on few outcomes, from the logarithms of their probabilities."""
    return float(np.logaddexp.reduce(alpha * np.asarray(log_p) + (1 - alpha) * np.asarray(log_q)) / (alpha - 1))


def two_class_laws(name, gap, scale):
    """How likely either of two classes is to win, exactly, with so many more votes for the first; logarithms."""
    if name == "gnmax":
        return log_ndtr([gap / (math.sqrt(2) * scale), -gap / (math.sqrt(2) * scale)])
    lose = (2 + abs(gap) / scale) / 4 * math.exp(-abs(gap) / scale)
    laws = [math.log1p(-lose), math.log(lose)]
    return laws if gap >= 0 else laws[::-1]


@settings(max_examples=examples(200), deadline=None)
@given(st.sampled_from(["gnmax", "lnmax"]), st.integers(0, 60), st.floats(0.7, 30.0), st.sampled_from(ALPHAS[:5]))
def test_the_bounds_hold_on_two_classes_where_the_truth_is_known(name, gap, scale, alpha):
    votes = [100 + gap, 100]
    bound = query_costs([votes], VoteMechanism(name, scale), (alpha,))[0, 0]
    here = two_class_laws(name, gap, scale)
    for change in (-2, 2):  # one teacher votes otherwise
        there = two_class_laws(name, gap + change, scale)
        assert divergence(here, there, alpha) <= bound + 1e-9


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 100), st.floats(1.0, 30.0), st.integers(0, 100), st.sampled_from(ALPHAS[:5]))
def test_the_bound_of_the_check_holds(most, scale, threshold, alpha):
    bound = mechanisms.threshold_rdp([[most, 0]], threshold, scale, (alpha,))[0, 0]
    here = log_ndtr([(most - threshold) / scale, (threshold - most) / scale])
    for change in (-1, 1):
        there = log_ndtr([(most + change - threshold) / scale, (threshold - most - change) / scale])
        assert divergence(here, there, alpha) <= bound + 1e-9


COUNTS = st.lists(st.integers(0, 200), min_size=2, max_size=8).filter(any)


@settings(max_examples=examples(100), deadline=None)
@given(COUNTS, st.floats(0.5, 100.0), st.randoms())
def test_votes_cost_at_most_what_any_votes_cost_and_names_do_not_matter(counts, scale, random):
    for name in ("gnmax", "lnmax"):
        result = analyse([counts], VoteMechanism(name, scale), 1e-5, orders=ALPHAS)
        assert np.all(result.rdp >= 0)
        assert np.all(result.rdp <= result.rdp_data_independent)
        shuffled = list(counts)
        random.shuffle(shuffled)
        assert analyse([shuffled], VoteMechanism(name, scale), 1e-5, orders=ALPHAS).rdp == pytest.approx(result.rdp)


def test_many_queries_are_the_sum_of_each():
    votes = np.random.default_rng(0).integers(0, 100, (5000, 4)).astype(float)  # more than are analysed at once
    kind = VoteMechanism("gnmax", 20.0)
    assert analyse(votes, kind, 1e-5, orders=ALPHAS).rdp == pytest.approx(query_costs(votes, kind, ALPHAS).sum(axis=0))


def test_the_conversions():
    result = analyse([[200, 30, 20]] * 10, VoteMechanism("gnmax", 40.0), 1e-5)
    improved = analyse([[200, 30, 20]] * 10, VoteMechanism("gnmax", 40.0), 1e-5, conversion="improved")
    assert improved.best[0] < result.best[0]
    epsilon, order = result.best
    at = result.orders.index(order)
    assert epsilon == pytest.approx(result.rdp[at] + math.log(1e5) / (order - 1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: VoteMechanism("gnmx", 1.0), "did you mean 'gnmax'"),
        (lambda: VoteMechanism("gnmax"), "'scale' is missing"),
        (lambda: VoteMechanism("gnmax", -1.0), "'scale' is -1"),
        (lambda: VoteMechanism("gnmax", math.nan), "'scale' is nan"),
        (lambda: VoteMechanism("gnmax", 1.0, 5.0), "'threshold' has no use with gnmax"),
        (lambda: VoteMechanism("confident-gnmax", 1.0), "'threshold' is missing"),
        (lambda: VoteMechanism("confident-gnmax", 1.0, 5.0), "'threshold-scale' is missing"),
        (lambda: VoteMechanism("confident-gnmax", 1.0, 5.0, 0.0), "'threshold-scale' is 0"),
        (lambda: VoteMechanism("confident-gnmax", 1.0, math.inf, 1.0), "'threshold' is inf"),
        (lambda: analyse([[1, 2]], VoteMechanism("gnmax", 1.0), 2.0), "'delta' is 2"),
        (
            lambda: analyse([[1, 2]], VoteMechanism("gnmax", 1.0), 0.1, orders=(1.0, 2.0)),
            "'orders' expected numbers above 1",
        ),
        (
            lambda: analyse([[1, 2]], VoteMechanism("gnmax", 1.0), 0.1, answered=[0]),
            "'answered' says that 1 queries were not answered, but gnmax answers every one",
        ),
        (
            lambda: analyse([[1, 2]], VoteMechanism("confident-gnmax", 1.0, 5.0, 1.0), 0.1, answered=[1, 0]),
            "'answered' has 2 values for 1 queries",
        ),
    ],
)
def test_what_is_wrong_is_named(make, says):
    with pytest.raises(InputError, match=says):
        make()
