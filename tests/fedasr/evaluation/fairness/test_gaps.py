"""Gaps between groups, on cases that can be worked out, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.contrasts import deviation, intervals, log_rates, pairs, rates
from fedasr.evaluation.fairness.gaps import change, gap
from fedasr.evaluation.fairness.power import power
from fedasr.evaluation.intervals import speaker_interval


def cells(speakers: str, groups: str, words: list[int], errors: list[int]) -> Cells:
    return Cells.of(np.array(list(speakers)), np.array(list(groups)), np.array(words), np.array(errors))


def simulated(
    rng: np.random.Generator, speakers: int, rates_of: list[float], spread: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return speakers, groups, words and errors of utterances; a speaker's rate is log-normal around the group's."""
    groups = np.repeat(np.arange(len(rates_of)), speakers)
    rate = np.array(rates_of)[groups] * np.exp(spread * rng.standard_normal(len(groups)) - spread**2 / 2)
    counts = rng.integers(5, 16, len(groups))
    who = np.repeat(np.arange(len(groups)), counts)
    words = np.full(len(who), 6)
    return who, groups[who], words, rng.binomial(words, np.minimum(rate, 0.9)[who])


def test_speakers_with_0_and_10_of_10_errors_have_a_standard_error_of_354_not_of_112() -> None:
    statistic = rates(cells("ab", "gg", [10, 10], [0, 10]), seed=0)
    plug_in = deviation(np.ones((1, 1)), statistic.influence.T @ statistic.influence)
    assert plug_in[0] == pytest.approx(0.125**0.5)
    assert statistic.draws.std() == pytest.approx(0.354, abs=0.01)
    independent = (0.5 * 0.5 / 20) ** 0.5  # of twenty words
    assert independent == pytest.approx(0.112, abs=0.001)


def test_gap_and_ratio_are_those_of_the_worst_and_the_best_group() -> None:
    result = gap(cells("aabbccddeeff", "xxxxyyyyzzzz", [5] * 12, [0, 1, 1, 0, 2, 2, 1, 1, 1, 1, 1, 1]), seed=0)
    assert (result.worst, result.best) == ("y", "x")
    assert result.difference.value == pytest.approx(0.3 - 0.1)
    assert result.ratio.value == pytest.approx(3.0)


def test_groups_that_are_alike_have_a_gap_of_nothing_at_least() -> None:
    result = gap(cells("abcdefgh", "xxxxyyyy", [10] * 8, [0, 2, 4, 2, 1, 3, 2, 3]), seed=0)
    assert result.difference.value == pytest.approx(0.025)
    assert result.difference.low == 0
    assert result.ratio.low == 1


def test_the_gap_of_groups_that_are_alike_is_between_two_of_them() -> None:
    """So that another model's gap, which is compared with it, is one."""
    alike, other = cells("abcd", "xxyy", [10] * 4, [5] * 4), cells("abcd", "xxyy", [10] * 4, [5, 5, 9, 9])
    between, moved = gap(alike, seed=0), change(alike, other, seed=0)
    assert (between.worst, between.best) == (moved.worst, moved.best) == ("x", "y")
    assert moved.gap.value == pytest.approx(0.4)


def test_a_group_without_errors_has_no_ratio() -> None:
    result = gap(cells("abcd", "xxyy", [10] * 4, [0, 0, 2, 3]), seed=0)
    assert np.isnan(result.ratio.value)
    assert result.difference.low >= 0


def test_speakers_of_several_groups_are_drawn_with_all_that_they_say() -> None:
    # Each speaker errs half as often again in y as in x: the gap is the same in every resample but for its size.
    crossed = cells("aabbccdd", "xyxyxyxy", [100] * 8, [10, 15, 20, 30, 40, 60, 60, 90])
    assert not crossed.nested
    statistic = log_rates(crossed, seed=0)
    assert (statistic.draws[:, 1] - statistic.draws[:, 0]).std() < 0.01
    assert statistic.draws[:, 0].std() > 0.2


def test_speakers_who_happen_to_err_alike_do_not_make_a_gap_certain() -> None:
    # Two speakers of a kind each: their spread is nothing, that of forty words is not.
    result = gap(cells("abcd", "xxyy", [20] * 4, [4, 4, 5, 5]), seed=0)
    assert result.difference.low == 0
    assert result.ratio.low == 1


def test_groups_of_different_speakers_are_drawn_apart() -> None:
    statistic = rates(cells("abcdef", "xxxyyy", [10] * 6, [0, 3, 6, 0, 3, 6]), seed=0)
    assert abs(np.corrcoef(statistic.draws.T)[0, 1]) < 0.1


def test_the_same_seed_gives_the_same_gap_whatever_else_is_compared() -> None:
    three = cells("abcdef", "xxyyzz", [10] * 6, [0, 3, 6, 1, 3, 6])
    assert gap(three, seed=3) == gap(three, seed=3)
    assert (rates(three, 3).draws[:, :2] == rates(three.only([0, 1]), 3).draws).all()


def test_a_model_does_not_differ_from_itself() -> None:
    one = cells("abcd", "xxyy", [10] * 4, [0, 3, 6, 1])
    result = change(one, one, seed=0)
    assert result.gap == type(result.gap)(0.0, 0.0, 0.0)
    assert all(value.value == value.low == value.high == 0 for value in result.groups.values())


def test_a_model_with_twice_the_errors_in_one_group_widens_the_gap() -> None:
    rng = np.random.default_rng(0)
    who, groups, words, errors = simulated(rng, 20, [0.15, 0.15])
    before = Cells.of(who, groups, words, errors)
    after = Cells.of(who, groups, words, np.where(groups == 1, np.minimum(2 * errors, 6), errors))
    result = change(after, before, seed=0)
    assert result.groups["0"].value == 0
    assert result.groups["1"].low > 0
    assert (result.worst, result.best) == ("1", "0")
    assert result.gap.low > 0
    # Paired, the interval is narrower than that of the gap of either model.
    assert result.gap.high - result.gap.low < gap(after, 0).difference.high - gap(after, 0).difference.low


def test_power_is_that_of_a_test_of_two_means() -> None:
    # A standard deviation of .1 between speakers: 2·(.1·2.8016/.05)² = 62.8 in each group.
    balanced = cells("abcdefgh", "xxxxyyyy", [100] * 8, [10, 30, 10, 30, 20, 40, 20, 40])
    result = power(balanced, 0.05, "y", "x", seed=0)
    assert result.spread == pytest.approx(0.1 * (4 / 3) ** 0.5)
    assert result.speakers == int(np.ceil(2 * (4 / 3) * 0.01 * (2.80158 / 0.05) ** 2))
    assert result.smallest == pytest.approx(2.80158 * (2 * 0.01 / 3) ** 0.5, rel=1e-4)


@pytest.mark.thorough
def test_the_speaker_interval_covers_where_that_of_utterances_does_not() -> None:
    """500 groups of 20 speakers whose rates differ by half of their mean."""
    rng = np.random.default_rng(1)
    rate, covered, of_utterances = 0.15, 0, 0
    for number in range(500):
        who, _, words, errors = simulated(rng, 20, [rate])
        low, high, _ = speaker_interval(who, words, errors, seed=number)
        covered += low <= rate <= high
        result = errors.sum() / words.sum()
        half = 1.96 * np.sqrt(((errors - result * words) ** 2).sum()) / words.sum()
        of_utterances += result - half <= rate <= result + half
    assert covered >= 0.93 * 500
    assert of_utterances < 0.85 * 500


@pytest.mark.thorough
@pytest.mark.parametrize("rates_of", [[0.15, 0.25], [0.15] * 3])
def test_the_interval_of_the_gap_covers_where_the_plain_bootstrap_of_max_less_min_does_not(
    rates_of: list[float],
) -> None:
    rng = np.random.default_rng(2)
    true, covered, plain = max(rates_of) - min(rates_of), 0, 0
    for number in range(100):
        one = Cells.of(*simulated(rng, 20, rates_of))
        result = gap(one, seed=number).difference
        covered += result.low <= true <= result.high
        resampled = np.ptp(rates(one, number).draws, axis=1)
        low, high = np.quantile(resampled, (0.025, 0.975))
        plain += low <= true <= high
    assert covered >= 0.92 * 100
    if not true:
        assert plain == 0  # it never contains that there is no gap


def test_intervals_of_all_pairs_are_wider_than_that_of_one() -> None:
    rng = np.random.default_rng(3)
    one = rates(Cells.of(*simulated(rng, 10, [0.15] * 6)), seed=0)
    contrasts = pairs(6)
    assert contrasts.shape == (30, 6)
    together, alone = intervals(one, contrasts)[0], intervals(one, contrasts[:1])[0]
    assert together[1] - together[0] > 1.2 * (alone[1] - alone[0])
