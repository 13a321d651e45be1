"""The word error rate of a fleet that has no transcripts, from expected errors and a few transcribed utterances.

Every device counts the errors that its recogniser is expected to make; the devices of a panel, whose users have
transcribed a little, also count true ones. The mean of the expectations over the fleet is corrected by what they are
wrong by on the panel (prediction-powered inference, Angelopoulos et al. 2023, arXiv 2301.09633; the weight of the
expectations is tuned as in PPI++, arXiv 2311.01453). Speakers are the sample, so the interval is over speakers; the
rate is a ratio of two means and is linearised. Only sums over speakers are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats

CONFIDENCE = 0.95
ROUNDING = 1e-13
EXPECTED = ("expected_errors", "expected_words")
"""What a device of the fleet counts."""
PANEL = ("errors", "words", *EXPECTED)
"""What a device of the panel counts, on the same utterances."""


@dataclass(frozen=True)
class Sums:
    """Sums over speakers of some quantities and of their products; sums of disjoint speakers add up.

    Attributes:
        speakers: how many.
        first: sum of each quantity, shape ``(quantities,)``.
        second: sums of the products, shape ``(quantities, quantities)``.
    """

    speakers: int
    first: Floats
    second: Floats

    @classmethod
    def of(cls, quantities: npt.ArrayLike) -> Sums:
        """Return the sums of speakers.

        Args:
            quantities: of each speaker, shape ``(speakers, quantities)``.
        """
        rows = np.atleast_2d(np.asarray(quantities, np.float64))
        return cls(len(rows), rows.sum(axis=0), rows.T @ rows)

    @classmethod
    def nobody(cls, quantities: int) -> Sums:
        """Return the sums of no speakers."""
        return cls(0, np.zeros(quantities), np.zeros((quantities, quantities)))

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.speakers + other.speakers, self.first + other.first, self.second + other.second)

    @property
    def mean(self) -> Floats:
        """The mean of each quantity over speakers, shape ``(quantities,)``."""
        mean: Floats = self.first / self.speakers
        return mean

    def covariance(self, one: Floats, other: Floats) -> float:
        """Return the sample covariance over speakers of two linear combinations of the quantities; NaN for one."""
        if self.speakers < 2:
            return float("nan")
        product = one @ self.second @ other - (one @ self.first) * (other @ self.first) / self.speakers
        # What is left of sums that cancel is their rounding.
        if abs(product) <= ROUNDING * float(np.abs(one) @ np.abs(self.second) @ np.abs(other)):
            return 0.0
        return float(product / (self.speakers - 1))

    def variance(self, of: Floats) -> float:
        """Return the sample variance over speakers of a linear combination of the quantities."""
        return max(0.0, self.covariance(of, of)) if self.speakers > 1 else float("nan")


class Estimate(NamedTuple):
    """An error rate with its interval, fractions; NaN where a panel of fewer than two speakers says nothing."""

    wer: float
    low: float
    high: float
    variance: float
    weight: float
    """of the expectations: 0 is the panel alone"""


UNKNOWN = Estimate(*[float("nan")] * 5)


def estimated(fleet: Sums, panel: Sums, weight: float | None = None) -> Estimate:
    """Return the error rate of a fleet, words over words.

    Args:
        fleet: the quantities ``EXPECTED`` of the devices without transcripts.
        panel: the quantities ``PANEL`` of the devices with some; none of them is in ``fleet``.
        weight: of the expectations, 1: plain prediction-powered inference, 0: the panel alone; None: that with the
            smallest variance, between the two.
    """
    if panel.speakers < 2 or panel.first[1] <= 0:
        return UNKNOWN
    if fleet.speakers < 2:
        weight = 0.0
    rate = float(panel.first[0] / panel.first[1])
    chosen = 0.0 if weight is None else weight
    # The weight depends on the rate a little, by the linearisation.
    for _ in range(1 if weight is not None else 3):
        if weight is None:
            chosen = tuned(fleet, panel, rate)
        means = panel.mean[:2] + (chosen * (fleet.mean - panel.mean[2:]) if chosen else 0.0)
        if means[1] <= 0:
            return UNKNOWN
        rate = float(means[0] / means[1])
    variance = linearised(fleet, panel, rate, chosen) / float(means[1]) ** 2
    # A panel is small: its variance is estimated from a few speakers.
    from scipy.special import stdtrit  # SciPy's seconds are spent where there is something to estimate

    reach = float(stdtrit(panel.speakers - 1, 0.5 + CONFIDENCE / 2)) * variance**0.5
    return Estimate(rate, max(0.0, rate - reach), rate + reach, variance, chosen)


def contrasts(rate: float) -> tuple[Floats, Floats, Floats]:
    """Return a speaker's excess over a rate, as combinations of a panel's quantities (true, expected) and a fleet's."""
    return np.array([1.0, -rate, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, -rate]), np.array([1.0, -rate])


def tuned(fleet: Sums, panel: Sums, rate: float) -> float:
    """Return the weight of the expectations with which the variance is smallest, between 0 and 1."""
    true, expected, of_fleet = contrasts(rate)
    shared = panel.covariance(true, expected) / panel.speakers
    own = fleet.variance(of_fleet) / fleet.speakers + panel.variance(expected) / panel.speakers
    return float(np.clip(shared / own, 0.0, 1.0)) if own > 0 else 0.0


def linearised(fleet: Sums, panel: Sums, rate: float, weight: float) -> float:
    """Return the variance of errors less ``rate`` times words, a mean over speakers."""
    true, expected, of_fleet = contrasts(rate)
    variance = panel.variance(true - weight * expected) / panel.speakers
    if weight:
        variance += weight**2 * fleet.variance(of_fleet) / fleet.speakers
    return variance


def triangle(sums: Sums) -> list[float]:
    """Return sums as numbers: the speakers, the sums, and the upper triangle of those of products."""
    rows, columns = np.triu_indices(len(sums.first))
    return [float(sums.speakers), *sums.first.tolist(), *sums.second[rows, columns].tolist()]


def from_triangle(numbers: Sequence[float], quantities: int) -> Sums:
    """Return the sums of ``triangle``.

    Raises:
        ValueError: they are not as many as they have to be.
    """
    rows, columns = np.triu_indices(quantities)
    if len(numbers) != 1 + quantities + len(rows):
        raise ValueError(f"{len(numbers)} numbers for {quantities} quantities")
    second = np.zeros((quantities, quantities))
    second[rows, columns] = second[columns, rows] = numbers[1 + quantities :]
    return Sums(int(numbers[0]), np.array(numbers[1 : 1 + quantities], np.float64), second)
