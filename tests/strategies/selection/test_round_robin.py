"""Everybody in turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.strategies.selection import RoundRobin
from tests.tiers import examples

from .populations import draws, indicators, p_value, rng, roster


def rounds(
    selector: RoundRobin, n: int, k: int, times: int, there: list[list[bool]] | None = None, seed: int = 0
) -> list[list[int]]:
    """Return who was chosen in rounds 1, 2, …"""
    table = roster([1] * n)
    result = []
    for round in range(1, times + 1):
        if there is not None:
            table.attend(np.array(there[round - 1]))
        result.append(selector.select(round, table, k, rng(round, seed)).clients.tolist())
    return result


def least_separation(cohorts: list[list[int]]) -> int:
    """Return the fewest rounds between two turns of a device."""
    last: dict[int, int] = {}
    least = len(cohorts)
    for round, cohort in enumerate(cohorts):
        for client in cohort:
            least = min(least, round - last.get(client, -len(cohorts)))
            last[client] = round
    return least


@settings(max_examples=examples(60), deadline=None)
@given(cycle=st.integers(1, 6), k=st.integers(1, 5), separation=st.integers(0, 8), seed=st.integers(0, 1000))
def test_each_cycle_is_a_permutation(cycle: int, k: int, separation: int, seed: int) -> None:
    """Where k divides N and the separation fits, every N/k rounds have everybody once."""
    cohorts = rounds(RoundRobin(min(separation, cycle)), cycle * k, k, 3 * cycle, seed=seed)
    for start in range(0, 3 * cycle, cycle):
        turn = [client for cohort in cohorts[start : start + cycle] for client in cohort]
        assert sorted(turn) == list(range(cycle * k))


@settings(max_examples=examples(100), deadline=None)
@given(data=st.data(), n=st.integers(1, 12), k=st.integers(1, 5), separation=st.integers(1, 8))
def test_the_separation_is_kept_whoever_comes_and_goes(data: st.DataObject, n: int, k: int, separation: int) -> None:
    there = data.draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=12, max_size=12))
    cohorts = rounds(RoundRobin(separation), n, k, 12, there)
    assert least_separation(cohorts) >= separation
    last: dict[int, int] = {}
    for round, cohort in enumerate(cohorts, 1):
        # No place is left empty that a rested device could have had.
        rested = [c for c in range(n) if there[round - 1][c] and (c not in last or round - last[c] >= separation)]
        waited_for = len(cohort) < min(k, len(rested))
        assert not waited_for
        last.update(dict.fromkeys(cohort, round))


@settings(max_examples=examples(60), deadline=None)
@given(n=st.integers(1, 25), k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_without_a_number_it_is_as_wide_as_full_cohorts_allow(n: int, k: int, seed: int) -> None:
    cohorts = rounds(RoundRobin(), n, k, 20, seed=seed)
    assert all(len(cohort) == min(k, n) for cohort in cohorts)
    assert least_separation(cohorts) >= min(n // k, 20) or n < k


def test_cycles_have_different_orders() -> None:
    cohorts = rounds(RoundRobin(1), 20, 1, 60)
    orders = {tuple(client for cohort in cohorts[start : start + 20] for client in cohort) for start in (0, 20, 40)}
    assert len(orders) == 3


@pytest.mark.parametrize("seed", range(10))
def test_who_has_to_rest_keeps_its_turn_of_the_cycle(seed: int) -> None:
    """A short cohort is no reason to begin a new cycle in which those that had their turn compete again."""
    table, selector = roster([1] * 3), RoundRobin(3)

    def chosen(round: int, *away: int) -> list[int]:
        table.attend(np.array([client not in away for client in range(3)]))
        return sorted(selector.select(round, table, 2, rng(round, seed)).clients.tolist())

    first, second = chosen(1)
    (third,) = chosen(2)  # it ends the first cycle
    assert chosen(3) == []
    assert chosen(4, second) == [first]
    for round in (5, 6):
        assert chosen(round, 0, 1, 2) == []
    assert chosen(7) == sorted([second, third])


def test_a_separation_that_does_not_fit_gives_smaller_cohorts() -> None:
    assert [len(cohort) for cohort in rounds(RoundRobin(4), 6, 2, 9)] == [2, 2, 2, 0, 2, 2, 2, 0, 2]


def test_who_comes_late_is_not_chosen_over_and_over() -> None:
    """A newcomer has one turn a cycle like all others, the first in the cycle it finds, and none to catch up with."""
    there = [[True] * 4 + [False]] * 8 + [[True] * 5] * 11
    cohorts = rounds(RoundRobin(1), 5, 1, 19, there)
    assert cohorts[8] == [4]
    for start in (9, 14):
        assert sorted(client for cohort in cohorts[start : start + 5] for client in cohort) == [0, 1, 2, 3, 4]


def test_probabilities_are_the_share_while_nobody_comes_or_goes() -> None:
    table = roster([1] * 5)
    selector = RoundRobin()
    for round in (1, 2, 3):
        np.testing.assert_array_equal(selector.select(round, table, 2, rng(round)).probabilities, [0.4, 0.4])
    resumed = RoundRobin()
    resumed.load_state_dict(selector.state_dict())
    table.attend(np.array([True] * 4 + [False]))
    assert np.isnan(resumed.select(4, table, 2, rng(4)).probabilities).all()
    table.attend(None)
    assert np.isnan(resumed.select(5, table, 2, rng(5)).probabilities).all()


@pytest.mark.thorough
@pytest.mark.parametrize("separation", [0, 1, 2])
@pytest.mark.parametrize("round", [2, 3, 4])
def test_the_share_is_how_often_a_device_is_chosen_in_any_round(separation: int, round: int) -> None:
    """Over the draws of all rounds: five devices, two a round, so that a cycle ends within a round."""
    result = np.zeros((3000, 5))
    for seed, row in enumerate(result):
        row[rounds(RoundRobin(separation), 5, 2, round, seed=seed)[-1]] = 1
    assert p_value(result, np.full(5, 0.4)) > 1e-3


def test_given_the_past_the_choice_is_nearly_determined() -> None:
    """Why the share is no sampling probability that an accountant may use."""

    def later() -> RoundRobin:
        selector = RoundRobin()
        selector.select(1, roster([1] * 4), 2, rng(1))
        return selector

    first = set(rounds(RoundRobin(), 4, 2, 1)[0])
    result = indicators(draws(later, roster([1] * 4), 2, 200, round=2), 4).mean(axis=0)
    np.testing.assert_array_equal(result, [0.0 if client in first else 1.0 for client in range(4)])
