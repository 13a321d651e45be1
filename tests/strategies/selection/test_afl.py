"""Active Federated Learning."""

from __future__ import annotations

import numpy as np

from fedasr.config.schema import AflConfig
from fedasr.strategies.selection import ActiveFederatedLearning
from fedasr.strategies.selection.afl import valuation

from .populations import draws, rng, roster


def test_the_valuation_is_the_root_of_the_count_times_the_loss() -> None:
    table = roster([4, 9, 0, 25, 1])
    np.testing.assert_array_equal(valuation(table), [0, 0, 0, 0])
    table.last_loss[:] = [1.0, 3.0, 9.0, np.nan, np.inf]  # the third stores nothing, the last two count as the mean, 2
    np.testing.assert_array_equal(valuation(table), [2.0, 9.0, 10.0, 2.0])


def test_the_first_round_is_uniform() -> None:
    chosen = ActiveFederatedLearning().select(1, roster([1, 20, 300, 4000]), 2, rng())
    np.testing.assert_allclose(chosen.probabilities, 0.5)


def test_probabilities_by_hand() -> None:
    """Four devices, the two of lower value dropped, one place by value (e⁰ against e^(ln 3)) and one at random."""
    config = AflConfig(drop_share=0.5, random_share=0.5, temperature=float(np.log(3)))
    table = roster([1, 1, 1, 1])
    table.last_loss[:] = [0.0, 1.0, 2.0, 3.0]
    seen = np.zeros(4)
    for selection in draws(lambda: ActiveFederatedLearning(config), table, 2, 100):
        seen[selection.clients] = selection.probabilities
    # by value 1/4 and 3/4; whoever is left shares one place with two others
    np.testing.assert_allclose(seen, [1 / 3, 1 / 3, 1 / 4 + 3 / 4 / 3, 3 / 4 + 1 / 4 / 3], rtol=1e-6)


def test_ties_at_the_edge_stay_in() -> None:
    config = AflConfig(drop_share=0.75, random_share=0.0, temperature=1.0)
    table = roster([1] * 8)
    table.last_loss[:] = [1, 1, 1, 1, 0, 0, 0, 0]
    chosen = ActiveFederatedLearning(config).select(1, table, 2, rng())
    np.testing.assert_allclose(chosen.probabilities, 0.5)


def test_dropping_nearly_all_still_fills_the_cohort() -> None:
    config = AflConfig(drop_share=1.0, random_share=0.0)
    table = roster([1] * 8)
    table.last_loss[:] = np.arange(8)
    chosen = ActiveFederatedLearning(config).select(1, table, 3, rng())
    assert sorted(chosen.clients.tolist()) == [5, 6, 7]
    np.testing.assert_array_equal(chosen.probabilities, 1.0)


def test_the_random_share_is_rounded_up_but_not_by_rounding_errors() -> None:
    """0.07·100 is 7.000000000000001 in floating point; seven of a hundred are drawn at random, and not eight."""
    config = AflConfig(drop_share=0.0, random_share=0.07, temperature=1e9)
    table = roster([1] * 200)
    table.last_loss[:] = np.arange(200)
    chosen = ActiveFederatedLearning(config).select(1, table, 100, rng())
    by_value = chosen.clients >= 200 - 93
    assert by_value.sum() == 93
    np.testing.assert_array_equal(chosen.probabilities[by_value], 1.0)
    np.testing.assert_allclose(chosen.probabilities[~by_value], 7 / 107)
