"""The word error rate of a fleet that has no transcripts, from expected errors and a few transcribed utterances.

Every device counts the errors that its recogniser is expected to make; the devices of a panel, whose users have
transcribed a little, also count true ones. The mean of the expectations over the fleet is corrected by what they are
wrong by on the panel (prediction-powered inference, Angelopoulos et al. 2023, arXiv 2301.09633; the weight of the
expectations is tuned as in PPI++, arXiv 2311.01453). Speakers are the sample, so the interval is over speakers; the
rate is a ratio of two means and is linearised. Only sums over speakers are needed. Where they carry noise for privacy,
the interval allows for it.
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
CLEAR = 3.0
"""Standard deviations of its noise that a sum has to exceed before anything is divided by it."""
CAUTION = 2.0
"""Standard deviations of the noise that are added to a variance computed from noisy sums."""


@dataclass(frozen=True)
class Noise:
    """Variances of independent noise on sums: on the number of speakers, on each quantity, and on each product."""

    speakers: float = 0.0
    first: float = 0.0
    second: float = 0.0

    def __add__(self, other: Noise) -> Noise:
        return Noise(self.speakers + other.speakers, self.first + other.first, self.second + other.second)


NO_NOISE = Noise()


@dataclass(frozen=True)
class Sums:
    """Sums over speakers of some quantities and of their products; sums of disjoint speakers add up.

    Attributes:
        speakers: how many; no whole number where there is noise on it.
        first: sum of each quantity, shape ``(quantities,)``.
        second: sums of the products, shape ``(quantities, quantities)``.
        noise: that was added to them.
    """

    speakers: float
    first: Floats
    second: Floats
    noise: Noise = NO_NOISE

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
        return Sums(
            self.speakers + other.speakers,
            self.first + other.first,
            self.second + other.second,
            self.noise + other.noise,
        )

    @property
    def has_speakers(self) -> bool:
        """Whether there are two speakers at least, and more than the noise might make of none."""
        return bool(self.speakers >= 2 and self.speakers > CLEAR * self.noise.speakers**0.5)

    def is_clear(self, of: Floats) -> bool:
        """Say whether the sum of a linear combination of the quantities is above zero, whatever the noise."""
        return bool(of @ self.first > CLEAR * (self.noise.first * float(of @ of)) ** 0.5)

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
        """Return the sample variance over speakers of a linear combination of the quantities.

        From noisy sums it is rather too large: by ``CAUTION`` standard deviations of what the noise does to it.
        """
        if self.speakers < 2:
            return float("nan")
        variance = self.covariance(of, of)
        if self.noise != NO_NOISE:
            size, mean = float(of @ of), float(of @ self.mean)
            # The square of a noisy sum is too large by the variance of the noise, and what it is taken from too small.
            bias = self.noise.first * size / self.speakers
            products = self.noise.second * (2 * size**2 - float((of**4).sum()))
            spread = products + (2 * mean) ** 2 * self.noise.first * size + mean**4 * self.noise.speakers
            variance += (bias + CAUTION * spread**0.5) / (self.speakers - 1)
        return max(0.0, variance)

    def mean_variance(self, of: Floats) -> float:
        """Return the variance of the mean over speakers of a linear combination of the quantities, noise included."""
        noise = self.noise.first * float(of @ of) + float(of @ self.mean) ** 2 * self.noise.speakers
        return self.variance(of) / self.speakers + noise / self.speakers**2


class Estimate(NamedTuple):
    """An error rate with its interval, fractions; NaN where fewer than two speakers are a panel, or noise hides it."""

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
            smallest variance, between the two, at the price of a degree of freedom.
    """
    if not panel.has_speakers or not panel.is_clear(WORDS):
        return UNKNOWN
    if not fleet.has_speakers or (weight is None and panel.speakers < 3):
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
    # A panel is small: its variance is estimated from a few speakers, and with it the weight that makes it small.
    freedom = panel.speakers - (2 if chosen and weight is None else 1)
    variance = linearised(fleet, panel, rate, chosen, freedom) / float(means[1]) ** 2
    from scipy.special import stdtrit  # SciPy's seconds are spent where there is something to estimate

    reach = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * variance**0.5
    return Estimate(rate, max(0.0, rate - reach), rate + reach, variance, chosen)


WORDS = np.array([0.0, 1.0, 0.0, 0.0])
"""The words of a panel, as a combination of its quantities."""


def contrasts(rate: float) -> tuple[Floats, Floats, Floats]:
    """Return a speaker's excess over a rate, as combinations of a panel's quantities (true, expected) and a fleet's."""
    return np.array([1.0, -rate, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, -rate]), np.array([1.0, -rate])


def tuned(fleet: Sums, panel: Sums, rate: float) -> float:
    """Return the weight of the expectations with which the variance is smallest, between 0 and 1."""
    true, expected, of_fleet = contrasts(rate)
    shared = panel.covariance(true, expected) / panel.speakers
    own = fleet.mean_variance(of_fleet) + panel.mean_variance(expected)
    return float(np.clip(shared / own, 0.0, 1.0)) if own > 0 else 0.0


def linearised(fleet: Sums, panel: Sums, rate: float, weight: float, freedom: float) -> float:
    """Return the variance of errors less ``rate`` times words, a mean over speakers.

    Args:
        fleet: the devices without transcripts.
        panel: the devices with some.
        rate: errors over words.
        weight: of the expectations.
        freedom: degrees of freedom of the panel's variance.
    """
    true, expected, of_fleet = contrasts(rate)
    variance = panel.mean_variance(true - weight * expected) * (panel.speakers - 1) / freedom
    if weight:
        variance += weight**2 * fleet.mean_variance(of_fleet)
    return variance


def triangle(sums: Sums) -> list[float]:
    """Return sums as numbers: the speakers, the sums, and the upper triangle of those of products; not their noise."""
    rows, columns = np.triu_indices(len(sums.first))
    return [float(sums.speakers), *sums.first.tolist(), *sums.second[rows, columns].tolist()]


def from_triangle(numbers: Sequence[float], quantities: int, noise: Noise = NO_NOISE) -> Sums:
    """Return the sums of ``triangle``, and say what noise is on them.

    Raises:
        ValueError: they are not as many as they have to be.
    """
    rows, columns = np.triu_indices(quantities)
    if len(numbers) != 1 + quantities + len(rows):
        raise ValueError(f"{len(numbers)} numbers for {quantities} quantities")
    second = np.zeros((quantities, quantities))
    second[rows, columns] = second[columns, rows] = numbers[1 + quantities :]
    return Sums(numbers[0], np.array(numbers[1 : 1 + quantities], np.float64), second, noise)
