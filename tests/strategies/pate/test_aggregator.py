"""Noisy winners, their accounts and the budget, on votes that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, laplace, norm

from fedasr.config import Config, load
from fedasr.privacy.pate.analysis import ORDERS, VoteMechanism, analyse
from fedasr.privacy.pate.noise import noise
from fedasr.strategies.pate.aggregator import Aggregator, count_votes
from fedasr.strategies.pate.record import NO_LABEL, Record
from tests.tiers import examples

CONFIDENT = {"mechanism": "confident-gnmax", "scale": 2.0, "threshold": 8.0, "threshold_scale": 3.0}


def config(privacy: dict[str, object] | None = None, seed: int = 0, **pate: object) -> Config:
    tree = {"seed": seed, "strategy": {"name": "pate"}, "pate": pate}
    return load(tree | {"privacy": {"unit": "teacher"} | (privacy or {})})


def aggregator(classes: int = 3, privacy: dict[str, object] | None = None, seed: int = 0, **pate: object) -> Aggregator:
    return Aggregator(config(privacy, seed, **pate), 10, Record(classes, len(ORDERS)))


USUAL = config(scale=1.5)


def test_counts_of_votes_by_hand() -> None:
    counts = np.zeros((3, 4))
    count_votes(counts, np.array([0, 3, -1]))
    count_votes(counts, np.array([0, 1, 2]))
    assert counts.tolist() == [[2, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]


@settings(max_examples=examples(30), deadline=None)
@given(votes=st.lists(st.lists(st.integers(-1, 4), min_size=3, max_size=3), min_size=1, max_size=8), data=st.data())
def test_the_order_of_the_teachers_changes_nothing(votes: list[list[int]], data: st.DataObject) -> None:
    def released(order: list[list[int]]) -> tuple[list[int], list[float]]:
        counts = np.zeros((3, 5))
        for one in order:
            count_votes(counts, np.array(one))
        result = Aggregator(USUAL, 10, Record(5, len(ORDERS)))
        for utterance in range(3):
            result.release(utterance, counts[utterance])
        return result.record.labels, result.record.rdp.ravel().tolist()

    assert released(votes) == released(data.draw(st.permutations(votes)))


def test_without_much_noise_the_plurality_wins() -> None:
    result = aggregator(scale=1e-3)
    for votes in ([1, 8, 1], [6, 3, 1], [0, 4, 6]):
        assert result.release(0, np.array(votes, float))
    assert result.record.labels == [1, 0, 2]
    assert result.record.answered.all()


def test_no_consensus_has_no_label_and_costs_the_check_alone() -> None:
    result = aggregator(**CONFIDENT)
    mechanism = VoteMechanism(**{"name": "confident-gnmax", **{k: v for k, v in CONFIDENT.items() if k != "mechanism"}})
    votes = np.array([[10.0, 0, 0], [4, 3, 3], [0, 9, 1], [3, 3, 4]])
    for row in votes:
        result.release(0, row)
    assert NO_LABEL in result.record.labels
    assert result.record.labels[0] == 0
    alone = analyse(votes, mechanism, 1e-5, answered=result.record.answered)
    assert result.record.rdp.min(axis=0) == pytest.approx(np.array(alone.rdp), rel=1e-9)
    assert result.record.rdp[1] == pytest.approx(np.array(alone.rdp_data_independent), rel=1e-9)
    epsilon, independent = result.epsilons()
    assert 0 < epsilon <= independent


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "law"), [("gnmax", norm), ("lnmax", laplace)], ids=["gnmax", "lnmax"])
def test_how_often_the_runner_up_wins(name: str, law: object) -> None:
    """Two classes: the winner is decided by the difference of two noises, whose law is known by simulation."""
    scale, runs = 3.0, 4000
    result = aggregator(2, mechanism=name, scale=scale)
    lost = np.mean([result.label(np.array([7.0, 4.0]), number) == 1 for number in range(runs)])
    noise = law.rvs(scale=scale, size=(200_000, 2), random_state=np.random.default_rng(1))  # type: ignore[attr-defined]
    expected = np.mean(noise[:, 1] - noise[:, 0] > 3.0)
    assert abs(lost - expected) < 4 * np.sqrt(expected * (1 - expected) / runs)


def test_the_check_says_yes_as_often_as_it_should() -> None:
    result, runs = aggregator(**CONFIDENT), 4000
    share = np.mean([result.label(np.array([6.0, 2.0, 2.0]), number) != NO_LABEL for number in range(runs)])
    expected = norm.sf((8.0 - 6.0) / 3.0)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / runs)


@pytest.mark.thorough
@pytest.mark.parametrize("mechanism", ["gnmax", "lnmax"])
def test_the_noise_is_what_the_account_assumes(mechanism: str) -> None:
    """Of the law and the scale that were asked for; independent from count to count and from query to query."""
    result = aggregator(mechanism=mechanism, scale=5.0)
    drawn = np.stack([noise(mechanism, 5.0, 3, result.generator(number)) for number in range(3000)])
    law = laplace(scale=5.0) if mechanism == "lnmax" else norm(scale=5.0)
    assert kstest(drawn.ravel(), law.cdf).pvalue > 1e-3
    related = np.corrcoef(np.hstack([drawn[:-1], drawn[1:]]), rowvar=False)
    assert np.abs(related - np.eye(6)).max() < 4.5 / np.sqrt(3000)


LAWS: dict[str, dict[str, Any]] = {
    "gnmax": {"scale": 2.0},
    "lnmax": {"scale": 2.0},
    "confident-gnmax": {"scale": 2.0, "threshold": 3.0, "threshold_scale": 3.0},
}


def chances(kind: VoteMechanism, counts: tuple[int, ...]) -> np.ndarray:
    """Return the probability of each winner, and of no consensus where that is checked: integrals on a grid."""
    grid = np.linspace(-40, 45, 8501)  # the kinks of Laplace densities are on it
    law = laplace if kind.name == "lnmax" else norm
    density = [law.pdf(grid, c, kind.scale) for c in counts]
    below = [law.cdf(grid, c, kind.scale) for c in counts]
    result = []
    for j in range(len(counts)):
        others = np.prod([below[k] for k in range(len(counts)) if k != j], axis=0)
        result.append(np.trapezoid(density[j] * others, grid))
    assert sum(result) == pytest.approx(1, abs=1e-5)
    if kind.threshold is None:
        return np.array(result)
    consensus = norm.sf(kind.threshold - max(counts), scale=kind.threshold_scale)
    return np.array([*(consensus * np.array(result)), 1 - consensus])


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", LAWS)
def test_labels_are_released_as_often_as_the_claim_is_checked_for(mechanism: str) -> None:
    """Ties the next test, which integrates, to what is drawn."""
    result, runs = aggregator(mechanism=mechanism, **LAWS[mechanism]), 2500
    for counts in ((5, 0, 0), (2, 3, 0), (2, 1, 2), (0, 1, 3)):
        votes = np.array(counts, float)
        drawn = [result.label(votes, number) for number in range(runs)]
        expected = chances(result.mechanism, counts)
        outcomes = [0, 1, 2, NO_LABEL][: len(expected)]
        observed = [drawn.count(outcome) for outcome in outcomes]
        assert chisquare(observed, runs * expected / expected.sum()).pvalue > 1e-3
        record = Record(3, len(ORDERS))
        releasing = Aggregator(result.config, 5, record)
        for number in range(20):
            assert releasing.release(number, votes)
        assert record.labels == drawn[:20]


@pytest.mark.parametrize("mechanism", LAWS)
def test_one_teacher_moves_the_released_distribution_within_the_claim(mechanism: str) -> None:
    """All neighbours of all votes of five teachers over three classes: the hockey-stick divergence stays below δ.

    A neighbour has another vote, or one vote less: a teacher that is exchanged, or removed. Two queries are composed,
    and that there is no consensus is an outcome.
    """
    delta, teachers = 1e-3, 5
    kind = VoteMechanism(mechanism, **LAWS[mechanism])
    every = [(a, b, n - a - b) for n in (teachers - 1, teachers) for a in range(n + 1) for b in range(n + 1 - a)]
    table = {counts: chances(kind, counts) for counts in every}
    answered = [1, 1] if kind.has_threshold else None  # the dearest outcome
    neighbours = 0
    for counts in (c for c in every if sum(c) == teachers):
        claims = analyse(np.array([counts] * 2), kind, delta, answered=answered, conversion="improved")
        for other in every:
            if sum(abs(a - b) for a, b in zip(counts, other, strict=True)) > (2 if sum(other) == teachers else 1):
                continue
            neighbours += counts != other
            p, q = np.outer(table[counts], table[counts]), np.outer(table[other], table[other])
            for first, second in ((p, q), (q, p)):
                independent = claims.best_data_independent[0]
                assert np.maximum(first - np.exp(independent) * second, 0).sum() <= delta + 1e-9
            assert np.maximum(p - np.exp(claims.best[0]) * q, 0).sum() <= delta + 1e-9
    assert neighbours == 135


def test_what_costs_the_same_whatever_the_votes_is_not_asked_for_beyond_the_budget() -> None:
    """And what is asked for can be paid for: the sums that teachers send with noise on them are released by that."""
    for pate in ({"noise_at": "teachers"}, {"mechanism": "soft-gaussian"}):
        result = aggregator(3, {"epsilon": 3.0, "delta": 1e-5}, scale=4.0, **pate)
        asked = result.affordable(1000)
        assert 2 < asked < 1000
        assert result.affordable(2) == 2
        for number in range(asked):
            assert result.release(number, np.array([4.0, 3, 3]))
            assert result.affordable(1000) == asked - number - 1
        assert not result.release(asked, np.array([4.0, 3, 3]))
        assert result.epsilons()[0] <= 3.0
    assert aggregator(3, {"epsilon": 3.0}, scale=4.0).affordable(1000) == 1000, "only their votes tell what they cost"


@pytest.mark.parametrize("budget", ["data-independent", "data-dependent"])
@pytest.mark.parametrize("mechanism", ["gnmax", "lnmax", "confident-gnmax"])
def test_labelling_ends_before_the_budget_is_exceeded(mechanism: str, budget: str) -> None:
    pate = {**CONFIDENT, "scale": 4.0} if mechanism == "confident-gnmax" else {"mechanism": mechanism, "scale": 4.0}
    result = aggregator(privacy={"epsilon": 6.0}, budget=budget, **pate)
    votes = np.array([8.0, 1, 1])
    while result.release(0, votes):
        assert len(result.record) < 2000
    assert len(result.record) > 2
    epsilon, independent = result.epsilons()
    assert (epsilon if budget == "data-dependent" else independent) <= 6.0 + 1e-9
    before = len(result.record)
    result.record.rdp += result.cost(votes, answered=mechanism != "confident-gnmax" or result.affords(votes, False))
    rdp = result.record.rdp[1] if budget == "data-independent" else result.record.rdp.min(axis=0)
    from fedasr.privacy.pate.analysis import to_epsilon

    assert to_epsilon(rdp, ORDERS, 1e-5, "improved")[0] > 6.0
    assert len(result.record) == before


@pytest.mark.parametrize("budget", ["data-independent", "data-dependent"])
def test_a_check_is_paid_for_by_itself_and_a_label_only_where_there_is_consensus(budget: str) -> None:
    """A query that could not be paid for if it were answered may still be asked; what it costs is what was released."""
    pate = {"mechanism": "confident-gnmax", "scale": 40.0, "threshold": 800.0, "threshold_scale": 100.0}
    result = aggregator(privacy={"epsilon": 0.1}, budget=budget, **pate)
    split, close = np.array([300.0, 300.0, 0]), np.array([1400.0, 1390.0, 0])
    assert not result.affords(split, answered=True)
    assert [result.release(0, split) for _ in range(3)] == [True] * 3
    checks = 3 * result.mechanism.check_rdp_data_independent(ORDERS)
    assert result.record.rdp[1] == pytest.approx(checks)
    # There is consensus, but the label is too dear: that is the end, and the check has been paid for.
    assert not result.release(1, close)
    assert result.record.labels == [NO_LABEL] * 4
    assert result.record.rdp[1] == pytest.approx(checks * 4 / 3)
    assert max(result.epsilons()) <= 0.1
    assert result.ledger().spent(1e-5)[0].epsilon == result.epsilons()[0]
    if budget == "data-dependent":  # beyond doubt, so hardly more than the check
        again = aggregator(privacy={"epsilon": 0.1}, budget=budget, **pate)
        assert again.release(0, np.array([2400.0, 0, 0]))
        assert again.record.labels == [0]


@pytest.mark.thorough
def test_a_data_dependent_budget_labels_more() -> None:
    counts = {}
    for budget in ("data-independent", "data-dependent"):
        result = aggregator(privacy={"epsilon": 5.0}, budget=budget, scale=4.0)
        while len(result.record) < 300 and result.release(0, np.array([30.0, 0, 0])):
            pass
        counts[budget] = len(result.record)
    assert counts["data-dependent"] > counts["data-independent"] > 0


def test_with_noise_at_the_teachers_nobody_knows_the_votes_and_the_account_says_so() -> None:
    result = aggregator(scale=4.0, noise_at="teachers")
    result.release(0, np.array([0.3, 7.9, -2.2]))
    assert result.record.labels == [1]
    assert result.epsilons()[0] == result.epsilons()[1]
    [entry] = result.ledger().entries
    assert not entry.event.data_dependent  # type: ignore[attr-defined]


def test_nothing_asked_costs_nothing() -> None:
    result = aggregator()
    assert result.epsilons() == (0.0, 0.0)
    assert result.document()["spent"] == []


def test_the_ledger_has_one_entry_of_unit_teacher() -> None:
    result = aggregator(scale=2.0)
    for _ in range(3):
        result.release(0, np.array([6.0, 3, 1]))
    document = result.document()
    assert (document["unit"], document["adjacency"], document["population"]) == ("teacher", "replace-one", 10)
    [entry] = result.ledger().entries
    assert entry.event.steps == 3


def test_a_record_goes_on_from_its_arrays() -> None:
    result = aggregator(**CONFIDENT)
    for votes in ([10.0, 0, 0], [3, 3, 4], [1, 8, 1]):
        result.release(2, np.array(votes, float))
    again = Record(3, len(ORDERS))
    again.load_arrays(result.record.arrays())
    assert (again.labels, again.utterances) == (result.record.labels, result.record.utterances)
    assert np.array_equal(again.votes, result.record.votes)
    assert np.array_equal(again.rdp, result.record.rdp)
