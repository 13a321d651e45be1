"""Uniform and activity-proportional selection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr import seeds
from fedasr.data.roster import Roster
from strategies.selection import Activity, Uniform
from strategies.selection.activity import inclusion


def roster(counts: list[int]) -> Roster:
    stored = np.array(counts)
    return Roster.from_counts(stored, stored * 2.0)


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    k=st.integers(1, 50),
    seed=st.integers(0, 2**31),
    exponent=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_laws(counts: list[int], k: int, seed: int, exponent: float) -> None:
    table = roster(counts)
    holders = int((table.utterances > 0).sum())
    for selector in (Uniform(), Activity(exponent=exponent), Activity("seconds", exponent)):
        chosen = selector.select(1, table, k, np.random.default_rng(seed))
        again = selector.select(1, table, k, np.random.default_rng(seed))
        np.testing.assert_array_equal(chosen.clients, again.clients)
        assert len(chosen.clients) == len(set(chosen.clients.tolist())) == min(k, holders)
        assert (table.utterances[chosen.clients] > 0).all()
        assert ((chosen.probabilities > 0) & (chosen.probabilities <= 1 + 1e-12)).all()


def test_inclusion_probabilities_are_exact() -> None:
    np.testing.assert_allclose(inclusion(np.array([1.0, 1.0, 2.0]), 2), [0.5, 0.5, 1.0])
    np.testing.assert_allclose(inclusion(np.array([1.0, 1.0, 100.0]), 2), [0.5, 0.5, 1.0])
    np.testing.assert_allclose(inclusion(np.array([1.0, 2.0, 3.0, 4.0]), 1), [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(inclusion(np.array([5.0, 1.0]), 2), [1.0, 1.0])


def test_the_draws_have_the_probabilities_that_are_reported() -> None:
    counts = [1, 2, 3, 4, 40, 0]
    table, selector = roster(counts), Activity()
    expected = np.append(inclusion(np.array(counts[:5], float), 2), 0.0)
    hits = np.zeros(len(counts))
    draws = 4000
    for round in range(draws):
        hits[selector.select(round, table, 2, seeds.generator(0, "selection", round)).clients] += 1
    assert expected[4] == 1.0
    np.testing.assert_allclose(hits / draws, expected, atol=4 * np.sqrt(0.25 / draws))


def test_exponent_zero_is_uniform() -> None:
    chosen = Activity(exponent=0.0).select(1, roster([1, 10, 100, 1000]), 2, np.random.default_rng(0))
    np.testing.assert_allclose(chosen.probabilities, 0.5)


def test_a_million_clients() -> None:
    table = Roster.from_counts(np.arange(1, 1_000_001), np.arange(1, 1_000_001) * 1.5)
    for selector in (Uniform(), Activity()):
        chosen = selector.select(1, table, 100, np.random.default_rng(0))
        assert len(set(chosen.clients.tolist())) == 100
        if isinstance(selector, Activity):
            assert chosen.clients.mean() == pytest.approx(2 / 3 * 1e6, rel=0.2)
