"""Intervals of differences between groups that hold all at once, over speakers.

The largest of several estimated gaps is too large on average, and so is the gap between the largest and the smallest
of resampled rates, even where all groups are alike. Intervals of all pairs that hold at once do not depend on which
pair was picked afterwards (single-step max-t, Westfall and Young 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.resampling import resampled
from fedasr.typing import Floats

CONFIDENCE = 0.95
HALF_AN_ERROR = 0.5
"""Added where no errors would have no logarithm, or no variance."""
LEAST, MOST = 1.96, 8.0
"""Critical values: that of one pair without luck, and where the probability of the other side rounds to zero."""


@dataclass(frozen=True)
class Statistic:
    """A number of each group, and how speakers sway it."""

    cells: Cells
    values: Floats
    """shape ``(groups,)``"""
    influence: Floats
    """first-order change by each speaker, sums to zero in each group; shape ``(speakers, groups)``"""
    draws: Floats
    """the number in each resample, shape ``(resamples, groups)``"""
    chance: Floats
    """variance of the number where errors are a Poisson number and speakers alike, shape ``(groups,)``"""

    def minus(self, other: Statistic) -> Statistic:
        """Return the difference from another statistic of the same speakers and resamples.

        What is chance in both cancels out, so that no variance is known that it has at least.
        """
        return Statistic(
            self.cells,
            self.values - other.values,
            self.influence - other.influence,
            self.draws - other.draws,
            np.zeros_like(self.chance),
        )

    @property
    def covariance(self) -> Floats:
        """The covariance of the groups' numbers by linearisation over speakers, unbiased; ``(groups, groups)``.

        A variance is that of chance at least: of a few speakers it may be next to nothing by luck.
        """
        counts = self.cells.counts.astype(np.float64)
        drawn = counts if self.cells.nested else np.full(len(counts), float(len(self.cells.speakers)))
        scale = np.sqrt(drawn / (drawn - 1))
        scaled = self.influence * scale
        covariance = scaled.T @ scaled
        lacking = np.maximum(self.chance - np.diag(covariance), 0)
        return np.asarray(covariance + np.diag(lacking), np.float64)


def rates(cells: Cells, seed: int) -> Statistic:
    """Return the word error rates, fractions; each group has words."""
    total, wrong = cells.words.sum(axis=0), cells.errors.sum(axis=0)
    words, errors = resampled(cells, [cells.words, cells.errors], seed)
    rate = wrong / total
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (cells.errors - rate * cells.words) / total
        return Statistic(cells, rate, influence, errors / words, (wrong + HALF_AN_ERROR) / total**2)


def log_rates(cells: Cells, seed: int) -> Statistic:
    """Return the logarithms of the word error rates; each group has words and errors."""
    total, wrong = cells.words.sum(axis=0), cells.errors.sum(axis=0)
    words, errors = resampled(cells, [cells.words, cells.errors], seed)
    value = np.log(wrong / total)
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = np.log((errors + HALF_AN_ERROR) / words) - np.log((wrong + HALF_AN_ERROR) / total)
    influence = cells.errors / wrong - cells.words / total
    return Statistic(cells, value, influence, value + moved, 1 / (wrong + HALF_AN_ERROR))


def intervals(statistic: Statistic, contrasts: Floats) -> Floats:
    """Return 95 % intervals of linear combinations of the groups' numbers, which all hold at once.

    The critical value is the 95 % quantile over the resamples of the largest deviation in standard errors. As it is of
    the normal kind, it is translated to Student's t with the degrees of freedom of Welch and Satterthwaite.

    Args:
        statistic: of each group; each has two speakers or more.
        contrasts: shape ``(combinations, groups)``.

    Returns:
        ``low`` and ``high``, shape ``(combinations, 2)``.
    """
    value = contrasts @ statistic.values
    # Of the deviations of resamples the covariance is that of plug-in: no correction for the number of speakers.
    spread = deviation(contrasts, statistic.influence.T @ statistic.influence)
    # Word counts times zero stay undefined where a group was not drawn.
    whole = statistic.draws[np.isfinite(statistic.draws).all(axis=1)]
    away = np.abs(whole @ contrasts.T - value)
    relative = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    critical = float(np.quantile(relative.max(axis=1), CONFIDENCE)) if len(whole) else MOST
    error = deviation(contrasts, statistic.covariance)
    half = stdtrit(degrees(statistic, contrasts), ndtr(min(max(critical, LEAST), MOST))) * error
    return np.stack([value - half, value + half], axis=1)


def deviation(contrasts: Floats, covariance: Floats) -> Floats:
    """Return the standard deviation of each combination, shape ``(combinations,)``."""
    variance = np.einsum("pg,gh,ph->p", contrasts, covariance, contrasts)
    return np.asarray(np.sqrt(np.maximum(variance, 0)), np.float64)


def degrees(statistic: Statistic, contrasts: Floats) -> Floats:
    """Return the degrees of freedom of each combination's standard error (Welch and Satterthwaite)."""
    cells = statistic.cells
    if not cells.nested:
        return np.full(len(contrasts), float(len(cells.speakers) - 1))
    parts = contrasts**2 * np.diag(statistic.covariance)
    below = (parts**2 / (cells.counts - 1)).sum(axis=1)
    least = np.array([(cells.counts[row != 0] - 1).min() for row in contrasts], np.float64)
    return np.asarray(np.divide(parts.sum(axis=1) ** 2, below, out=least, where=below > 0), np.float64)


def pairs(groups: int) -> Floats:
    """Return the contrast of each ordered pair of groups, first less second; ``(groups·(groups − 1), groups)``."""
    first, second = np.nonzero(~np.eye(groups, dtype=bool))
    contrasts = np.zeros((len(first), groups))
    contrasts[np.arange(len(first)), first] = 1
    contrasts[np.arange(len(first)), second] = -1
    return contrasts
