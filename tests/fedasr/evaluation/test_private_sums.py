"""Sums of counts with noise: how far one device moves them, what they say without noise, and with it how often the
interval is right."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedasr.evaluation.prediction_powered import Noise
from fedasr.evaluation.private_sums import PrivateSums
from fedasr.evaluation.secure_sums import ALL, OTHER, Count
from studies.estimate_noise import markdown, survey

GROUPS = [("accent", "north"), ("accent", OTHER), ("age", "adult"), ("age", OTHER)]
NORTH, ELSEWHERE = json.dumps(["accent", "north"]), json.dumps(["accent", OTHER])


def test_without_noise_the_sums_are_exact() -> None:
    sums = PrivateSums(GROUPS[:2], 10)
    fleet = {ALL: Count(False, [2.0, 8.0]), NORTH: Count(False, [2.0, 8.0])}
    west = json.dumps(["accent", "west"])
    panel = {ALL: Count(True, [1.0, 5.0, 2.0, 4.0], 5, (1, 5)), west: Count(True, [1.0, 5.0, 2.0, 4.0], 5, (1, 5))}
    exact = sums.summed([fleet, panel])
    result = sums.noisy(exact, sums.weighed(exact), 0.0)
    assert set(result) == {ALL, NORTH, ELSEWHERE}
    np.testing.assert_allclose(result[ALL].fleet.first, [2, 8])
    np.testing.assert_allclose(result[ALL].fleet.second, [[4, 16], [16, 64]])
    np.testing.assert_allclose(result[ALL].panel.second[0], [1, 5, 2, 4])
    assert result[ALL].panel.speakers == result[ELSEWHERE].panel.speakers == 1
    assert result[NORTH].panel.speakers == 0
    assert result[ALL].spoken == 5
    assert result[ELSEWHERE].truth == (1, 5)


def test_a_device_counts_in_one_group_of_a_column_and_for_no_more_than_its_words() -> None:
    sums = PrivateSums(GROUPS[:2], 10)
    west, south = (json.dumps(["accent", name]) for name in ("west", "south"))
    told = {
        ALL: Count(False, [10.0, 40.0]),
        NORTH: Count(False, [9.0, 10.0]),
        west: Count(False, [1.0, 30.0]),
        south: Count(False, [0.0, 0.0]),
    }
    entered = sums.entered(told)
    assert entered == {ALL: Count(False, [2.5, 10.0]), ELSEWHERE: Count(False, [1 / 3, 10.0])}


counts = st.one_of(
    st.tuples(st.just(False), st.lists(st.floats(0, 1e6), min_size=2, max_size=2)),
    st.tuples(st.just(True), st.lists(st.floats(0, 1e6), min_size=4, max_size=4)),
).map(lambda drawn: Count(drawn[0], drawn[1], 10**6))
names = st.sampled_from([ALL, NORTH, *(json.dumps([c, v]) for c in ("accent", "age") for v in ("a", "adult", "z"))])


@given(st.dictionaries(names, counts), counts, st.integers(1, 1000))
def test_nobody_moves_the_sums_by_more_than_their_sensitivity(told: dict[str, Count], whole: Count, words: int) -> None:
    sums = PrivateSums(GROUPS, words)
    alone = sums.weighed(sums.summed([{**told, ALL: whole}]))
    assert np.linalg.norm(alone) <= sums.sensitivity * (1 + 1e-12)


def test_the_sensitivity_is_reached() -> None:
    sums = PrivateSums(GROUPS[:2], 7)
    most = Count(True, [7.0] * 4, 7)
    assert np.linalg.norm(sums.weighed(sums.summed([{ALL: most, NORTH: most}]))) == pytest.approx(sums.sensitivity)


def test_the_noise_that_is_said_is_the_noise_that_is_there() -> None:
    sums, scale = PrivateSums([], 20), 3.0
    nobody = sums.summed([])
    rng = np.random.default_rng(0)
    drawn = [sums.noisy(nobody, rng.normal(0, scale, len(sums.weights)), scale)[ALL] for _ in range(2000)]
    noise: Noise = drawn[0].fleet.noise
    assert np.var([each.fleet.speakers for each in drawn]) == pytest.approx(noise.speakers, rel=0.15)
    assert np.var([each.panel.first for each in drawn]) == pytest.approx(noise.first, rel=0.1)
    assert np.var([each.panel.second[0, 1] for each in drawn]) == pytest.approx(noise.second, rel=0.15)
    assert np.array_equal(drawn[0].panel.second, drawn[0].panel.second.T)


@pytest.mark.thorough
@pytest.mark.parametrize("noise_multiplier", [1.0, 4.0])
def test_with_noise_the_interval_covers_the_truth_in_nine_of_ten(noise_multiplier: float) -> None:
    runs = [survey(seed, noise_multiplier, 2000, 400).estimate for seed in range(100)]
    assert np.mean([run.low <= 0.25 <= run.high for run in runs]) >= 0.9
    assert abs(np.mean([run.wer for run in runs]) - 0.25) < 0.01
    quiet = np.mean([run.high - run.low for run in (survey(seed, 0.0, 2000, 400).estimate for seed in range(20))])
    assert np.mean([run.high - run.low for run in runs]) > quiet


def test_what_noise_hides_is_not_estimated() -> None:
    hidden = survey(1, 20.0, 300, 30)
    assert np.isnan(hidden.estimate.wer)
    assert np.isnan(hidden.expected_wer)
    assert not np.isnan(survey(1, 20.0, 10_000, 3000).estimate.wer)


def test_the_table_says_what_noise_costs_and_hides() -> None:
    lines = markdown([200], [0.0, 4.0], 3).splitlines()
    assert lines[2].startswith("| 200 | 0 | no ε | no ε | 3 of 3 |")
    assert re.match(r"\| 200 \| 4 \| 0\.9\d \| 3\.\d\d \| 0 of 3 \| none \|", lines[3])
