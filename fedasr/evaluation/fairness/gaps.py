"""The gap between the worst and the best group, and how it differs between two models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.contrasts import Statistic, intervals, log_rates, pairs, rates
from fedasr.typing import Floats


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; NaN where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Gap:
    """The largest word error rate less the smallest, and over it: what both are, and of which groups."""

    worst: str
    best: str
    difference: Estimate
    ratio: Estimate


def extremes(values: Floats) -> tuple[int, int]:
    """Return the places of the worst and the best of two groups or more: two of them, even where all are alike."""
    return int(values.argmax()), len(values) - 1 - int(values[::-1].argmin())


def gap(cells: Cells, seed: int) -> Gap:
    """Return max − min and max/min of the groups' WER, each with an interval for the true largest gap.

    The interval is from the largest lower to the largest upper end of the intervals of all pairs, which hold at once:
    it allows for worst and best having been picked on the same speech. Its lower end is 0 (or 1) where no pair of
    groups is told apart.

    Args:
        cells: of two groups or more, each of two speakers or more, with words.
        seed: of the resamples.
    """
    statistic = rates(cells, seed)
    worst, best = extremes(statistic.values)
    ends = intervals(statistic, pairs(len(cells.groups))).max(axis=0)
    high, low = statistic.values[worst], statistic.values[best]
    difference = Estimate(float(high - low), max(float(ends[0]), 0.0), float(ends[1]))
    ratio = Estimate(float(high / low) if low > 0 else float("nan"))
    if (cells.errors.sum(axis=0) > 0).all():
        ends = np.exp(np.maximum(intervals(log_rates(cells, seed), pairs(len(cells.groups))).max(axis=0), 0))
        ratio = Estimate(ratio.value, float(ends[0]), float(ends[1]))
    return Gap(cells.groups[worst], cells.groups[best], difference, ratio)


@dataclass(frozen=True)
class Change:
    """By how much the WER of each group, and the gap between two of them, differ from another model's."""

    groups: dict[str, Estimate]
    worst: str
    best: str
    gap: Estimate


def change(cells: Cells, other: Cells, seed: int) -> Change:
    """Return the differences from another model on the same speech, speaker by speaker.

    The gap is that between this model's worst and best group. The intervals of all groups hold at once, and so do those
    of all pairs, so that it does not matter which model's groups are picked.

    Args:
        cells: as in ``gap``.
        other: what the other model did on the same speech: the same speakers, groups and words.
        seed: of the resamples, the same ones for both.
    """
    own, theirs = rates(cells, seed), rates(other, seed)
    paired: Statistic = own.minus(theirs)
    count = len(cells.groups)
    each = intervals(paired, np.eye(count))
    worst, best = extremes(own.values)
    contrast = np.zeros(count)
    contrast[worst] += 1
    contrast[best] -= 1
    contrasts = pairs(count)
    place = int(np.flatnonzero((contrasts == contrast).all(axis=1))[0])
    low, high = intervals(paired, contrasts)[place]
    return Change(
        {
            name: Estimate(float(value), float(ends[0]), float(ends[1]))
            for name, value, ends in zip(cells.groups, paired.values, each, strict=True)
        },
        cells.groups[worst],
        cells.groups[best],
        Estimate(float(contrasts[place] @ paired.values), float(low), float(high)),
    )
