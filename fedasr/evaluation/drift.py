"""Alarms that a fleet's recogniser does worse than it did, from what devices count for an estimate.

Three signs, each a rate with its interval over speakers: the estimated error rate; the rate that the fleet expects, for
which nobody transcribes anything; and by how much the panel's true rate exceeds the expected one on the same
utterances. An alarm is a rate whose interval lies above an earlier one's, so that noise alone seldom raises it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fedasr.evaluation.prediction_powered import CONFIDENCE, Sums
from fedasr.typing import Floats

CERTAIN = 0.99
"""Confidence of the interval of the excess, which is compared with zero after every estimate."""
WORSE, HARDER, OVERCONFIDENT = "worse", "harder", "overconfident"
MEANING = {
    WORSE: "the estimated error rate is above that of an earlier round",
    HARDER: "devices expect more errors than in an earlier round",
    OVERCONFIDENT: "the panel makes more errors than are expected: expectations no longer fit the devices' speech",
}


class Rate(NamedTuple):
    """A ratio of sums with its interval over speakers; NaN of fewer than two speakers, or where noise hides them."""

    value: float
    low: float
    high: float


UNKNOWN = Rate(*[float("nan")] * 3)


def expected_rate(fleet: Sums, panel: Sums) -> Rate:
    """Return the expected errors over the expected words of all devices, panel and others.

    Args:
        fleet: the quantities ``EXPECTED`` of the devices without transcripts.
        panel: the quantities ``PANEL`` of those with some.
    """
    everybody = fleet + Sums(panel.speakers, panel.first[2:], panel.second[2:, 2:], panel.noise)
    return ratio(everybody, np.array([1.0, 0.0]), np.array([0.0, 1.0]), CONFIDENCE)


def excess_rate(panel: Sums) -> Rate:
    """Return the panel's true less expected errors, over its words; without bounds where all speakers have the same.

    Two speakers with one error each say nothing of how much speakers differ.
    """
    rate = ratio(panel, np.array([1.0, 0.0, -1.0, 0.0]), np.array([0.0, 1.0, 0.0, 0.0]), CERTAIN)
    return rate if rate.low < rate.high else Rate(rate.value, *UNKNOWN[1:])


def ratio(sums: Sums, above: Floats, below: Floats, confidence: float) -> Rate:
    """Return a ratio of two linear combinations of means over speakers, linearised, with Student's t."""
    if not sums.has_speakers or not sums.is_clear(below):
        return UNKNOWN
    from scipy.special import stdtrit  # SciPy's seconds are spent where there is something to estimate

    value = float(above @ sums.mean / (below @ sums.mean))
    error = sums.mean_variance(above - value * below) ** 0.5 / float(below @ sums.mean)
    reach = float(stdtrit(sums.speakers - 1, 0.5 + confidence / 2)) * error
    return Rate(value, value - reach, value + reach)


def alarms(now: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the alarms of an estimate, the keys of ``MEANING``.

    Args:
        now: the columns ``wer_low``, ``expected_low`` and ``excess_low`` of ``estimates.parquet``; NaN: unknown.
        earlier: rows of the same group, with ``wer_high`` and ``expected_high``.
    """
    before = list(earlier)
    result = [
        name
        for name, sign in ((WORSE, "wer"), (HARDER, "expected"))
        if any(known(now[f"{sign}_low"]) > known(row.get(f"{sign}_high")) for row in before)
    ]
    return [*result, OVERCONFIDENT] if known(now["excess_low"]) > 0 else result


def known(value: float | None) -> float:
    """Return a number, NaN for none: no comparison with it holds."""
    return float("nan") if value is None else float(value)
