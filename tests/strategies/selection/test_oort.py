"""Oort by hand, and where its public implementations break."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence

import numpy as np
import pytest

from fedasr.config.schema import OortConfig
from fedasr.data.roster import Roster
from fedasr.strategies.selection import Oort
from fedasr.strategies.selection.drawing import inclusion

from .populations import draws, feedback, indicators, p_value, rng, roster

GREEDY = OortConfig(exploration=0.0, exploration_floor=0.0)
CURIOUS = OortConfig(exploration=1.0, exploration_decay=1.0, exploration_floor=1.0)


def explored(config: OortConfig, loss: Sequence[float], **columns: Sequence[float]) -> Oort:
    """Return an Oort to which all clients have answered in round 1."""
    selector = Oort(config)
    selector.observe(feedback(1, range(len(loss)), loss, **columns))  # type: ignore[arg-type]
    return selector


def equal(n: int) -> Roster:
    return roster([1] * n)


def test_the_utility_is_the_samples_times_the_root_of_the_mean_squared_loss() -> None:
    selector = Oort()
    report = feedback(1, [2, 0], [9.0, 9.0], [4, 10])
    report.loss_square[:] = [(1 + 4 + 9 + 36) / 4, 0.25]  # the first client's losses are 1, 2, 3 and 6
    selector.observe(report)
    assert selector.utility[2] == 4 * np.sqrt(12.5)
    assert selector.utility[0] == 5.0
    assert np.isnan(selector.utility[1])
    assert selector.last.tolist() == [1, 0, 1]


def test_the_score_by_hand() -> None:
    """Round 10: scaled utility, plus √(0.1·ln 10 / last round), times (T/t)² for who is slower than T."""
    config = OortConfig(clip=1.0, start_percentile=50.0)
    selector = explored(config, [1.0, 2.0, 3.0], duration=[10.0, 20.0, 40.0])
    selector.observe(feedback(4, [2], [3.0], duration=[40.0]))
    preferred = selector.preferred_duration()
    assert preferred == 20.0
    low, spread = 0.999, 3.0 - 0.999
    bonus = [np.sqrt(0.1 * np.log(10) / last) for last in (1, 1, 4)]
    expected = [
        (1.0 - low) / spread + bonus[0],
        (2.0 - low) / spread + bonus[1],
        (1.0 + bonus[2]) * (20 / 40) ** 2,
    ]
    np.testing.assert_allclose(selector.scores(10, np.arange(3), preferred), expected, rtol=1e-12)


def test_utilities_above_the_quantile_are_clipped() -> None:
    selector = explored(OortConfig(clip=0.5, staleness=0.0), [1.0, 2.0, 3.0, 4.0, 1e9])
    score = selector.scores(5, np.arange(5), float("inf"))
    np.testing.assert_array_equal(score[2:], [1.0, 1.0, 1.0])
    assert 0 < score[0] < score[1] < 1


@pytest.mark.thorough
def test_exploitation_draws_by_score_among_those_above_the_cut_off() -> None:
    config = OortConfig(exploration=0.0, exploration_floor=0.0, cutoff=0.5, clip=1.0, staleness=0.0)
    loss = [1.0, 2.0, 6.0, 8.0, 10.0]
    score = explored(config, loss).scores(2, np.arange(5), float("inf"))
    above = score >= 0.5 * np.sort(score)[-2]
    assert above.tolist() == [False, False, True, True, True]
    expected = np.zeros(5)
    expected[above] = inclusion(score[above], 2)
    drawn = draws(lambda: explored(config, loss), equal(5), 2, 3000, round=2)
    assert p_value(indicators(drawn, 5), expected) > 1e-3


def test_new_devices_are_drawn_by_what_they_store() -> None:
    counts = [1, 2, 3, 4, 40, 0]
    drawn = draws(lambda: Oort(CURIOUS), roster(counts), 2, 3000)
    assert p_value(indicators(drawn, 6), inclusion(np.array(counts, float), 2)) > 1e-3


@pytest.mark.thorough
def test_new_devices_of_a_slow_tier_are_drawn_less() -> None:
    """Durations seen: 10 s in tier 0, 40 s in tier 1, so T is 10 at first and tier 1 has a sixteenth of the weight."""
    table = equal(7)
    table.tier[:] = [0, 0, 1, 0, 1, 1, 2]
    config = OortConfig(exploration=1.0, exploration_decay=1.0, exploration_floor=1.0)

    def one() -> Oort:
        return explored(config, [1.0] * 3, duration=[10.0, 10.0, 40.0])

    drawn = draws(one, table, 1, 4000, round=2)
    weight = np.array([0, 0, 0, 1, 1 / 16, 1 / 16, 1])  # of tier 2 nothing is known
    assert p_value(indicators(drawn, 7), weight / weight.sum()) > 1e-3


def test_the_share_that_explores_shrinks_to_its_floor() -> None:
    config = OortConfig(exploration=0.9, exploration_decay=0.5, exploration_floor=0.2)
    selector = Oort(config)
    for round, share in ((1, 0.9), (2, 0.45), (3, 0.225), (4, 0.2), (50, 0.2)):
        explorers = [selector.explorers(round, 3, rng(round, seed)) for seed in range(2000)]
        assert set(explorers) <= {int(3 * share), int(3 * share) + 1}
        assert np.mean(explorers) == pytest.approx(3 * share, abs=4 * 0.5 / np.sqrt(2000))


def test_the_pacer_relaxes_where_utility_falls() -> None:
    selector = Oort(OortConfig(pacer_rounds=2, pacer_step=30.0, start_percentile=50.0))
    seen = []
    for round, loss in enumerate([5.0, 5.0, 4.0, 4.0, 6.0, 6.0, 1.0, 1.0, 0.5, 0.5], 1):
        selector.observe(feedback(round, [0, 1], [loss, loss]))
        seen.append(selector.percentile)
    # windows of utility 20, 16, 24, 4, 2: it falls at rounds 4, 8 and 10, and 100 is the end
    assert seen == [50, 50, 50, 80, 80, 80, 80, 100, 100, 100]


def test_the_preferred_duration_follows_the_pacer() -> None:
    selector = explored(OortConfig(start_percentile=25.0), [1.0] * 5, duration=[10, 20, 30, 40, np.nan])
    assert selector.preferred_duration() == 17.5
    selector.percentile = 100.0
    assert selector.preferred_duration() == 40.0
    assert Oort().preferred_duration() == float("inf")


def test_a_device_that_does_not_answer_loses_utility_and_its_staleness() -> None:
    selector = explored(GREEDY, [4.0, 1.0])
    selector.observe(feedback(5, [], [], missing=[0, 3]))
    assert selector.utility[0] == 2.0
    assert selector.last.tolist() == [5, 1, 0, 5]
    assert selector.turns.tolist() == [1, 1, 0, 0]
    assert np.isnan(selector.utility[3])


def test_who_took_part_often_is_the_last_resort() -> None:
    config = OortConfig(exploration=0.0, exploration_floor=0.0, blacklist_rounds=2)
    selector = explored(config, [9.0, 1.0, 1.0])
    selector.observe(feedback(2, [0], [9.0]))
    for seed in range(20):
        assert set(selector.select(3, equal(3), 2, rng(3, seed)).clients.tolist()) == {1, 2}
    assert set(selector.select(3, equal(4), 3, rng(3)).clients.tolist()) == {1, 2, 3}
    assert set(selector.select(3, equal(4), 4, rng(3)).clients.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("answered", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("config", [OortConfig(), GREEDY, CURIOUS, OortConfig(blacklist_rounds=1)])
def test_any_number_of_explored_devices_fills_the_cohort(config: OortConfig, answered: int, k: int) -> None:
    """Public code raises IndexError where as many are explored as are needed, and TypeError at its blacklist."""
    selector = explored(config, [1.0 + i for i in range(answered)])
    for round in (1, 2, 3):
        chosen = selector.select(round, equal(5), k, rng(round)).clients.tolist()
        assert len(set(chosen)) == len(chosen) == min(k, 5)


@pytest.mark.parametrize(
    "loss",
    [[2.0] * 4, [0.0] * 4, [np.nan] * 4, [np.inf] * 4, [np.nan, 0.0, 0.0, 0.0], [1e-300, 1e-300, 0.0, 1e150]],
)
def test_utilities_without_a_range_or_a_value_are_no_error(loss: list[float]) -> None:
    """Public code divides by the range of the utilities, and by a round of zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        selector = explored(GREEDY, loss, duration=[np.nan, 0.0, 5.0, 5.0])
        for round in (1, 2):
            assert np.isfinite(selector.scores(round, np.arange(4), 1.0)).all()
            assert len(set(selector.select(round, equal(4), 2, rng(round)).clients.tolist())) == 2


@pytest.mark.thorough
def test_equal_utilities_are_drawn_alike() -> None:
    drawn = draws(lambda: explored(GREEDY, [2.0] * 4), equal(4), 2, 2000, round=2)
    assert p_value(indicators(drawn, 4), np.full(4, 0.5)) > 1e-3


def test_a_reply_without_a_loss_is_chosen_after_those_with_one() -> None:
    selector = explored(GREEDY, [np.nan, 1.0, 1.0, np.inf])
    for seed in range(20):
        assert set(selector.select(1, equal(4), 2, rng(1, seed)).clients.tolist()) == {1, 2}


def test_devices_that_are_away_do_not_set_the_cut_off() -> None:
    table = equal(4)
    table.attend(np.array([False, True, True, True]))
    chosen = explored(GREEDY, [1000.0, 3.0, 2.0, 1.0]).select(2, table, 3, rng(2))
    assert set(chosen.clients.tolist()) == {1, 2, 3}


def test_the_state_holds_the_explored_only_and_all_of_it() -> None:
    selector = Oort(OortConfig(pacer_rounds=2))
    table = roster([3] * 1_000_000)
    for round in (1, 2, 3):
        chosen = selector.select(round, table, 10, rng(round)).clients
        selector.observe(feedback(round, chosen[:8], [1.0 / round] * 8, [3] * 8, [5.0] * 8, chosen[8:]))
    text = json.dumps(selector.state_dict(), allow_nan=False)
    assert len(text) < 3000
    resumed = Oort(selector.config)
    resumed.load_state_dict(json.loads(text))
    for name in ("utility", "duration", "last", "turns"):
        column = getattr(resumed, name)
        np.testing.assert_array_equal(column, getattr(selector, name)[: len(column)])
        assert column.dtype == getattr(selector, name).dtype
    assert (resumed.percentile, resumed.achieved, resumed.before, resumed.observed) == (
        selector.percentile,
        selector.achieved,
        selector.before,
        selector.observed,
    )
    np.testing.assert_array_equal(
        resumed.select(4, table, 10, rng(4)).clients, selector.select(4, table, 10, rng(4)).clients
    )


def test_it_finds_the_devices_that_are_worth_it() -> None:
    """Ten of a hundred devices have a high loss; after exploring they have most of the places."""
    loss = np.where(np.arange(100) < 10, 5.0, 0.1)
    selector, table = Oort(OortConfig(exploration_decay=0.9)), equal(100)
    late = []
    for round in range(1, 61):
        chosen = selector.select(round, table, 10, rng(round)).clients
        selector.observe(feedback(round, chosen, loss[chosen]))
        if round > 40:
            late.append((chosen < 10).mean())
    assert np.mean(late) > 0.6
