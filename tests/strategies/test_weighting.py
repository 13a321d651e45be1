"""The weights of updates: exact values, and what they estimate."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.data.roster import Roster
from fedasr.errors import RunFailed
from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.exact_mean import ExactMean
from fedasr.strategies.aggregation.weighting import FIXED_POINT, Weighting, weighting_of
from fedasr.strategies.selection import Activity, Selection, Uniform
from fedasr.strategies.selection.base import Selector

METRICS = {"num-examples": 3, "audio-milliseconds": 4500}
LAYOUT = Layout.of({"w": np.zeros(2, np.float32)})


def roster(counts: list[int]) -> Roster:
    stored = np.array(counts)
    return Roster.from_counts(stored, stored * 1.5)


def selected(clients: list[int], probabilities: list[float], **more: np.ndarray) -> Selection:
    return Selection(np.array(clients), np.array(probabilities), **more)


def test_examples_seconds_and_uniform() -> None:
    table, choice = roster([3, 5, 0, 2]), selected([0, 3], [0.5, 0.5])
    for name, weight, expected in (("examples", 3, 5), ("seconds", 4500, 7500), ("uniform", 1, 2)):
        result = weighting_of(name, choice, table)
        assert (result.weight(0, METRICS), result.expected, result.denominator) == (weight, expected, None)


def test_a_client_that_was_drawn_twice_counts_twice() -> None:
    draws, expected_draws = np.array([2, 1]), np.array([1.5, 0.5])
    choice = selected([0, 3], [0.8, 0.4], draws=draws, expected_draws=expected_draws)
    table = roster([3, 5, 0, 2])
    assert weighting_of("examples", choice, table).weight(0, METRICS) == 6
    assert weighting_of("uniform", choice, table).weight(0, METRICS) == 2
    assert weighting_of("inverse-probability", choice, table).weight(0, METRICS) == 3 * round(2 / 1.5 * FIXED_POINT)


@pytest.mark.parametrize("counts", [[10, 20, 10**6], [10, 10**6], [10, 12, 14]])
def test_who_boasts_counts_for_two_others_at_most(counts: list[int]) -> None:
    clients = list(range(len(counts)))
    boast = {"num-examples": 10**6, "audio-milliseconds": 10**9}
    table, choice = roster(counts), selected(clients, [1.0] * len(counts))
    most = 2 * sorted(counts)[(len(counts) - 1) // 2]
    result = weighting_of("examples", choice, table, 2.0)
    assert result.weight(len(counts) - 1, boast) == most
    assert result.weight(0, {"num-examples": 10, "audio-milliseconds": 15000}) == 10
    assert weighting_of("seconds", choice, table, 2.0).weight(0, boast) == 1500 * most
    horvitz = weighting_of("inverse-probability", choice, table, 2.0)
    assert horvitz.weight(0, boast) == most * FIXED_POINT
    assert horvitz.denominator == sum(min(count, most) for count in counts) * FIXED_POINT
    assert weighting_of("examples", choice, table).weight(0, boast) == 10**6


def test_inverse_probability_divides_by_the_population() -> None:
    result = weighting_of("inverse-probability", selected([0, 3], [0.5, 0.25]), roster([3, 5, 0, 2]))
    assert result.weight(0, METRICS) == 6 * FIXED_POINT
    assert result.weight(3, METRICS) == 12 * FIXED_POINT
    assert result.denominator == 10 * FIXED_POINT
    assert result.expected == (6 + 8) * FIXED_POINT


def test_unknown_probabilities_are_refused() -> None:
    with pytest.raises(RunFailed, match="knows no inclusion probabilities"):
        weighting_of("inverse-probability", selected([0], [np.nan]), roster([1]))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "selector",
    [Uniform(), Activity(), Activity(exponent=0.5), Activity(replacement=True)],
    ids=["uniform", "activity", "tempered", "with replacement"],
)
def test_inverse_probability_is_unbiased_through_the_aggregate(selector: Selector) -> None:
    """Horvitz and Thompson 1952: over many rounds the mean update is the population's, whoever is selected."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 30, 40).tolist()
    table = roster(counts)
    updates = rng.normal(size=(40, 2)).astype(np.float32)
    exact = np.average(updates, axis=0, weights=counts)
    rounds = []
    for round in range(3000):
        choice = selector.select(round, table, 8, np.random.default_rng([1, round]))
        weighting: Weighting = weighting_of("inverse-probability", choice, table)
        mean = ExactMean(LAYOUT, np.zeros(2, np.float32), weighting.expected, weighting.denominator)
        for client in choice.clients.tolist():
            metrics = {"num-examples": counts[client], "audio-milliseconds": 1}
            mean.add(LAYOUT.views(updates[client]), weighting.weight(client, metrics))
        rounds.append(mean.mean())
    error = np.mean(rounds, axis=0) - exact
    assert (np.abs(error) < 4 * np.std(rounds, axis=0) / np.sqrt(3000)).all()
    plain = np.mean(updates, axis=0)
    assert (np.abs(plain - exact) > 4 * np.std(rounds, axis=0) / np.sqrt(3000)).any(), "the test could not fail"
