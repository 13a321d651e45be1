"""Alarms of a fleet's estimates: exact rates of a few speakers, seldom a false alarm, and a real change is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.evaluation.drift import HARDER, OVERCONFIDENT, WORSE, alarms, excess_rate, expected_rate
from fedasr.evaluation.prediction_powered import Sums, estimated
from fedasr.typing import Floats

ROUNDS = 10


def test_the_expected_rate_is_of_all_devices() -> None:
    fleet = Sums.of([[1.0, 10.0], [3.0, 10.0]])
    panel = Sums.of([[9.0, 9.0, 2.0, 20.0]])
    rate = expected_rate(fleet, panel)
    assert rate.value == pytest.approx(6 / 40)
    # Errors less 0.15 × words of the three: -0.5, 1.5, -1; their mean is 0, and t of two degrees is 4.3027.
    assert rate.high - rate.value == pytest.approx(4.302653 * (3.5 / 2 / 3) ** 0.5 / (40 / 3), rel=1e-6)
    assert rate.value - rate.low == pytest.approx(rate.high - rate.value)


def test_the_excess_is_of_true_over_expected_errors() -> None:
    rate = excess_rate(Sums.of([[4.0, 10.0, 2.0, 11.0], [2.0, 10.0, 2.0, 9.0]]))
    assert rate.value == pytest.approx(2 / 20)
    assert rate.high - rate.value == pytest.approx(63.656741 * (2 / 2) ** 0.5 / 10, rel=1e-6)


def test_one_speaker_says_nothing() -> None:
    assert np.isnan(expected_rate(Sums.nobody(2), Sums.of([[1.0, 2.0, 1.0, 2.0]]))).all()
    assert np.isnan(excess_rate(Sums.of([[1.0, 2.0, 1.0, 2.0]]))).all()


def test_speakers_who_do_not_differ_raise_no_alarm() -> None:
    rate = excess_rate(Sums.of([[2.0, 10.0, 1.0, 10.0]] * 2))
    assert rate.value == 0.1
    assert np.isnan(rate.low)
    assert OVERCONFIDENT not in alarms({"wer_low": 0.0, "expected_low": 0.0, "excess_low": rate.low}, [])


def row(wer: tuple[float | None, float | None], expected: tuple[float, float], excess_low: float) -> dict[str, Any]:
    """Return the columns that alarms look at."""
    (wer_low, wer_high), (expected_low, expected_high) = wer, expected
    return {
        "wer_low": wer_low,
        "wer_high": wer_high,
        "expected_low": expected_low,
        "expected_high": expected_high,
        "excess_low": excess_low,
    }


def test_an_alarm_is_an_interval_above_an_earlier_one() -> None:
    first, second = row((0.1, 0.2), (0.1, 0.15), -0.1), row((0.2, 0.3), (0.16, 0.2), 0.01)
    assert alarms(first, []) == []
    assert alarms(second, []) == [OVERCONFIDENT]
    assert alarms(second, [first]) == [HARDER, OVERCONFIDENT]
    assert alarms({**second, "wer_low": 0.21}, [first]) == [WORSE, HARDER, OVERCONFIDENT]
    assert alarms(first, [second]) == [], "what becomes better is no alarm"


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_no_alarm(unknown: float | None) -> None:
    rows = [row((unknown, unknown), (0.3, 0.4), float("nan")), row((0.1, 0.2), (0.3, 0.4), float("nan"))]
    assert alarms(rows[1], [rows[0]]) == alarms(rows[0], [rows[1]]) == []


def counted(rng: np.random.Generator, rates: Floats, expects: Floats) -> dict[str, Any]:
    """Return the estimate of 120 speakers of 50 words each, 20 of whom are the panel.

    Args:
        rng: of the errors.
        rates: the true error rate of each speaker.
        expects: the expected one.
    """
    words = np.full(120, 50.0)
    errors, expected = rng.binomial(50, rates).astype(float), 50 * expects * rng.uniform(0.9, 1.1, 120)
    panel = Sums.of(np.stack([errors, words, expected, words], axis=1)[:20])
    fleet = Sums.of(np.stack([expected, words], axis=1)[20:])
    whole, share, excess = estimated(fleet, panel), expected_rate(fleet, panel), excess_rate(panel)
    return row((whole.low, whole.high), (share.low, share.high), excess.low)


def share_alarmed(change: float, blind: bool = False, trials: int = 100) -> dict[str, float]:
    """Return in which share of fleets each alarm comes in ten estimates; after five the error rate changes.

    Args:
        change: of the error rate of everybody.
        blind: the expectations do not change.
        trials: fleets.
    """
    raised = dict.fromkeys((WORSE, HARDER, OVERCONFIDENT), 0)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        skill = rng.beta(4, 12, 120)
        earlier: list[dict[str, Any]] = []
        names: set[str] = set()
        for number in range(ROUNDS):
            moved = change if number >= ROUNDS // 2 else 0.0
            now = counted(rng, np.clip(skill + moved, 0, 1), skill + (0.0 if blind else moved))
            names |= set(alarms(now, earlier))
            earlier.append(now)
        for name in names:
            raised[name] += 1
    return {name: count / trials for name, count in raised.items()}


def test_what_stays_the_same_seldom_alarms() -> None:
    assert max(share_alarmed(0.0).values()) <= 0.08


def test_what_becomes_harder_alarms() -> None:
    seen = share_alarmed(0.2, trials=30)
    assert seen[WORSE] >= 0.9
    assert seen[HARDER] >= 0.9


def test_errors_that_nobody_expects_are_seen_on_the_panel_alone() -> None:
    seen = share_alarmed(0.2, blind=True, trials=30)
    assert seen[OVERCONFIDENT] >= 0.9
    assert seen[HARDER] <= 0.1
