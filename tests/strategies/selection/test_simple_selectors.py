"""Uniform, Poisson, activity, top-activity, threshold and mixed selection, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fedasr.errors import InputError
from fedasr.strategies.selection import Activity, Mixed, Poisson, RoundRobin, Threshold, TopActivity, Uniform

from .populations import draws, p_value, rng, roster


def test_uniform_reports_the_share() -> None:
    table = roster([1, 0, 9, 9, 9])
    table.attend(np.array([True, True, True, True, False]))
    chosen = Uniform().select(1, table, 2, rng())
    assert set(chosen.clients.tolist()) <= {0, 2, 3}
    np.testing.assert_array_equal(chosen.probabilities, [2 / 3, 2 / 3])
    np.testing.assert_array_equal(chosen.inverse_weights, [1.5, 1.5])


def test_the_size_of_a_poisson_cohort_is_binomial_and_may_be_zero() -> None:
    """Which, with uniform cohorts given their size, is what independent coins give."""
    sizes = np.bincount([len(s.clients) for s in draws(Poisson, roster([1] * 10), 2, 4000)], minlength=11)
    expected = 4000 * stats.binom.pmf(np.arange(11), 10, 0.2)
    assert sizes[0] > 300
    many = np.r_[sizes[:6], sizes[6:].sum()], np.r_[expected[:6], expected[6:].sum()]
    assert stats.chisquare(*many).pvalue > 1e-3


def test_poisson_clients_are_independent() -> None:
    drawn = draws(Poisson, roster([1] * 4), 2, 4000)
    both = np.array([[{0, 1} <= set(s.clients.tolist()), {2, 3} <= set(s.clients.tolist())] for s in drawn], float)
    assert p_value(both, np.array([0.25, 0.25])) > 1e-3
    everyone = np.mean([len(s.clients) == 4 for s in drawn])
    assert everyone == pytest.approx(1 / 16, abs=4 * np.sqrt(1 / 16 / 4000))


def test_poisson_with_more_places_than_devices_takes_all() -> None:
    chosen = Poisson().select(1, roster([1, 1, 0]), 5, rng())
    assert sorted(chosen.clients.tolist()) == [0, 1]
    np.testing.assert_array_equal(chosen.probabilities, [1.0, 1.0])


def test_activity_counts_what_it_is_told_to() -> None:
    table = roster([1, 2, 3], seconds=[30.0, 20.0, 10.0])
    table.store(table.utterances, table.seconds, np.array([0, 1, 1]), np.array([0.0, 3.0, 1.0]))
    expected = {
        "utterances": [1 / 6, 2 / 6, 3 / 6],
        "seconds": [3 / 6, 2 / 6, 1 / 6],
        "recent-utterances": [0, 1 / 2, 1 / 2],
        "recent-seconds": [0, 3 / 4, 1 / 4],
    }
    for count, probabilities in expected.items():
        seen = np.zeros(3)
        for selection in draws(lambda count=count: Activity(count), table, 1, 60):  # type: ignore[misc]
            seen[selection.clients] = selection.probabilities
        np.testing.assert_allclose(seen, probabilities, rtol=1e-12)


@pytest.mark.thorough
def test_the_exponent_tempers() -> None:
    table = roster([1, 4, 9, 16])
    for exponent, sizes in ((0.0, [1, 1, 1, 1]), (0.5, [1, 2, 3, 4]), (1.0, [1, 4, 9, 16]), (2.0, [1, 16, 81, 256])):
        seen = np.zeros(4)
        for selection in draws(lambda exponent=exponent: Activity(exponent=exponent), table, 1, 2000):  # type: ignore[misc]
            seen[selection.clients] = selection.probabilities
        np.testing.assert_allclose(seen, np.array(sizes) / sum(sizes), rtol=1e-12)


def test_an_exponent_that_would_overflow_takes_the_largest() -> None:
    chosen = Activity(exponent=5000.0).select(1, roster([1000, 999, 1, 1]), 1, rng())
    assert chosen.clients.tolist() == [0]
    assert chosen.probabilities[0] == pytest.approx(1.0, abs=0.01)


def test_devices_without_recent_speech_help_out_where_too_few_have_some() -> None:
    table = roster([5, 5, 5, 5])
    table.store(table.utterances, table.seconds, np.array([3, 0, 0, 0]), np.array([6.0, 0, 0, 0]))
    chosen = Activity("recent-utterances").select(1, table, 2, rng())
    assert 0 in chosen.clients
    np.testing.assert_allclose(np.sort(chosen.probabilities), [1 / 3, 1])


@pytest.mark.thorough
def test_with_replacement_by_hand() -> None:
    table = roster([1, 3, 0])
    drawn = draws(lambda: Activity(replacement=True), table, 2, 4000)
    for selection in drawn:
        assert selection.draws is not None
        assert selection.draws.sum() == 2
        p = np.array([0.25, 0.75])[selection.clients]
        np.testing.assert_allclose(selection.expected_draws, 2 * p)
        np.testing.assert_allclose(selection.probabilities, 1 - (1 - p) ** 2)
        np.testing.assert_allclose(selection.inverse_weights, selection.draws / (2 * p))
    outcomes = np.bincount([int(s.draw_counts[s.clients == 0].sum()) for s in drawn], minlength=3)
    assert stats.chisquare(outcomes, 4000 * np.array([9, 6, 1]) / 16).pvalue > 1e-3


def test_with_replacement_a_lone_device_is_certain() -> None:
    chosen = Activity(replacement=True).select(1, roster([0, 7]), 5, rng())
    assert chosen.clients.tolist() == [1]
    assert chosen.draw_counts.tolist() == [5]
    np.testing.assert_array_equal(chosen.probabilities, [1.0])


def test_top_activity_shares_the_tied_places() -> None:
    table = roster([5, 9, 5, 1, 5, 0])
    for selection in draws(TopActivity, table, 3, 50):
        by_client = dict(zip(selection.clients.tolist(), selection.probabilities.tolist(), strict=True))
        assert by_client.pop(1) == 1.0
        assert len(by_client) == 2
        assert set(by_client) < {0, 2, 4}
        assert set(by_client.values()) == {2 / 3}


def test_a_threshold_takes_only_the_active() -> None:
    table = roster([1, 5, 6, 7, 2])
    for selection in draws(lambda: Threshold(5), table, 2, 30):
        assert set(selection.clients.tolist()) < {1, 2, 3}
        np.testing.assert_array_equal(selection.probabilities, [2 / 3] * 2)
    few = Threshold(14.0, "seconds").select(1, table, 2, rng())
    assert few.clients.tolist() == [3]
    np.testing.assert_array_equal(few.probabilities, [1.0])


def test_a_threshold_nobody_reaches_is_a_mistake_and_nobody_being_there_is_not() -> None:
    table = roster([1, 5, 6])
    with pytest.raises(InputError) as caught:
        Threshold(9, "recent-utterances").select(4, table, 2, rng())
    assert str(caught.value) == (
        "'selection.min_activity' is 9, but in round 4 no device has so many recent utterances: the most is 6; lower it"
    )
    table.attend(np.array([True, False, False]))
    assert len(Threshold(5).select(1, table, 2, rng()).clients) == 0
    assert len(Threshold(5).select(1, roster([0, 0]), 2, rng()).clients) == 0


def test_mixed_changes_after_its_rounds_and_both_learn() -> None:
    table = roster([1, 100])
    mixed = Mixed(TopActivity(), Uniform(), 2)
    for round in (1, 2):
        assert mixed.select(round, table, 1, rng(round)).clients.tolist() == [1]
    np.testing.assert_array_equal(mixed.select(3, table, 1, rng(3)).probabilities, [0.5])
    turns = Mixed(RoundRobin(), RoundRobin(), 1)
    turns.select(1, table, 1, rng(1))
    other = Mixed(RoundRobin(), RoundRobin(), 1)
    other.load_state_dict(turns.state_dict())
    assert other.state_dict() == turns.state_dict()
    assert other.first.state_dict() != other.then.state_dict()
