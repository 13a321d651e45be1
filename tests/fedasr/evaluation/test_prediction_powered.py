"""Error rates without transcripts: by hand, against the plain formulas, and how often the interval is right."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.evaluation.calibration import Calibration, fitted
from fedasr.evaluation.prediction_powered import Estimate, Sums, estimated, from_triangle, triangle


def rates(expected: list[float]) -> Sums:
    """Return a fleet of speakers of one word each."""
    return Sums.of([[each, 1.0] for each in expected])


def panel_of(true: list[float], expected: list[float]) -> Sums:
    return Sums.of([[y, 1.0, f, 1.0] for y, f in zip(true, expected, strict=True)])


FLEET, PANEL = rates([0.2, 0.4, 0.2, 0.4]), panel_of([0.1, 0.5], [0.2, 0.4])


def test_the_estimate_by_hand() -> None:
    result = estimated(FLEET, PANEL, weight=1.0)
    assert result.wer == pytest.approx(0.30)
    assert result.variance == pytest.approx(0.04 / 12 + 0.02 / 2)
    assert round(result.variance, 4) == 0.0133
    classical = estimated(FLEET, PANEL, weight=0.0)
    assert classical.wer == pytest.approx(0.30)
    assert classical.variance == pytest.approx(0.04)


def test_the_tuned_weight_has_the_smallest_variance() -> None:
    rng = np.random.default_rng(3)
    skill = rng.uniform(0.1, 0.5, 60)
    words = rng.integers(20, 60, 60).astype(float)
    fleet = Sums.of(np.column_stack([words * (0.5 * skill + 0.1), words])[20:])
    noisy = words * (skill + rng.normal(0, 0.05, 60))
    panel = Sums.of(np.column_stack([noisy, words, words * (0.5 * skill + 0.1), words])[:20])
    best = estimated(fleet, panel)
    assert 0 < best.weight <= 1
    paid = 19 / 18  # the weight is one number more that is fitted to twenty speakers
    assert all(best.variance <= estimated(fleet, panel, w).variance * paid * 1.02 for w in np.linspace(0, 1, 21))


def test_a_tuned_weight_costs_a_degree_of_freedom() -> None:
    """Three speakers: of the two degrees one is left, whose t is 12.7."""
    panel = panel_of([0.1, 0.5, 0.2], [0.2, 0.4, 0.3])
    tuned = estimated(FLEET, panel)
    given = estimated(FLEET, panel, tuned.weight)
    assert given.wer == pytest.approx(tuned.wer)
    assert tuned.variance > given.variance
    assert tuned.high - tuned.wer == pytest.approx(12.706 * tuned.variance**0.5, rel=1e-3)
    assert given.high - given.wer == pytest.approx(4.303 * given.variance**0.5, rel=1e-3)
    assert estimated(FLEET, PANEL).weight == 0  # of two speakers nothing is left


def test_expectations_that_say_nothing_are_not_used() -> None:
    rng = np.random.default_rng(4)
    panel = Sums.of(
        np.column_stack([rng.uniform(0, 9, 30), np.full(30, 10.0), rng.uniform(0, 9, 30), np.full(30, 10.0)])
    )
    fleet = Sums.of(np.column_stack([rng.uniform(0, 9, 300), np.full(300, 10.0)]))
    assert estimated(fleet, panel).variance <= estimated(fleet, panel, 0.0).variance
    constant = panel_of([0.1, 0.5, 0.2], [0.3, 0.3, 0.3])
    assert estimated(rates([0.3] * 9), constant).weight == 0


def test_too_small_a_panel_says_nothing() -> None:
    assert np.isnan(estimated(FLEET, panel_of([0.1], [0.2])).wer)
    assert np.isnan(estimated(FLEET, Sums.nobody(4)).wer)
    assert np.isnan(estimated(FLEET, Sums.of(np.zeros((3, 4)))).wer)
    assert estimated(Sums.nobody(2), PANEL) == estimated(FLEET, PANEL, 0.0)


def test_sums_add_up_and_are_sent_as_numbers() -> None:
    rows = np.random.default_rng(0).uniform(0, 9, (7, 4))
    whole = sum((Sums.of(row) for row in rows), Sums.nobody(4))
    for sums in (whole, from_triangle(triangle(whole), 4)):
        assert sums.speakers == 7
        np.testing.assert_allclose(sums.first, Sums.of(rows).first)
        np.testing.assert_allclose(sums.second, Sums.of(rows).second)
    with pytest.raises(ValueError, match="numbers for"):
        from_triangle([1.0, 2.0], 4)


def survey(seed: int, shift: float, weight: float | None = None) -> tuple[Estimate, float]:
    """Return the estimate of a fleet whose expectations are wrong by a shift, and its true error rate."""
    rng = np.random.default_rng(seed)
    speakers, asked = 300, 24
    words = rng.integers(15, 90, speakers).astype(float)
    skill = rng.beta(2, 6, speakers)
    errors = rng.binomial(words.astype(int), skill).astype(float)
    expected = np.clip(errors / words + rng.normal(0, 0.05, speakers), 0, 1) * (1 - shift) + shift * 0.1
    heard = words * rng.uniform(0.8, 1.05, speakers)
    quantities = np.column_stack([errors, words, expected * heard, heard])
    chosen = rng.permutation(speakers)
    panel, fleet = Sums.of(quantities[chosen[:asked]]), Sums.of(quantities[chosen[asked:], 2:])
    return estimated(fleet, panel, weight), 0.25


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_the_interval_covers_the_truth_in_nine_of_ten_resamples(shift: float) -> None:
    """Of the population that speakers are drawn from, also where expectations are far too rosy; and it is narrow."""
    runs = [survey(seed, shift) for seed in range(200)]
    assert np.mean([estimate.low <= truth <= estimate.high for estimate, truth in runs]) >= 0.9
    alone = [survey(seed, shift, 0.0)[0] for seed in range(200)]
    assert np.mean([e.high - e.low for e, _ in runs]) < 0.6 * np.mean([e.high - e.low for e in alone])
    assert abs(np.mean([estimate.wer for estimate, _ in runs]) - 0.25) < 0.005


def test_a_calibration_by_hand() -> None:
    """Of four utterances of two words the third is worse than the second, so that both are pooled."""
    two, seconds = np.array([2, 2, 2, 2]), np.ones(4)
    result = fitted(two, np.array([0.2, 0.5, 0.6, 0.9]), seconds, two, np.array([2, 0, 1, 0]))
    assert result.sure == (0.2, 0.5, 0.9)
    assert result.rates == (1.0, 0.25, 0.0)
    errors, words = result.expected(np.array([4, 4, 2, 0]), np.array([0.1, 0.55, 0.95, 0.99]), np.array([1, 1, 1, 3.0]))
    assert errors.tolist() == [4.0, 1.0, 0.0, 6.0]
    assert words.tolist() == [4.0, 4.0, 2.0, 6.0]
    assert Calibration.from_json(result.to_json()) == result


def test_a_calibration_of_nothing_expects_errors_alone() -> None:
    nothing = np.zeros(0, np.int64)
    result = fitted(nothing, np.zeros(0), np.zeros(0), nothing, nothing)
    assert result.expected(np.array([3]), np.array([0.9]), np.ones(1))[0].tolist() == [3.0]


@pytest.mark.parametrize(
    "text", ["", "3", "[[],[],1,1]", "[[0.1],[0.1,0.2],1,1]", "[[0.1],[NaN],1,1]", "[[0],[-1],1,1]"]
)
def test_what_is_no_calibration(text: str) -> None:
    with pytest.raises(ValueError, match="no calibration"):
        Calibration.from_json(text)
