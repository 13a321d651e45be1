"""How many speakers a group needs to show a gap, from how speakers differ from each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from fedasr.evaluation.fairness.cells import Cells
from fedasr.evaluation.fairness.contrasts import deviation, rates

POWER = 0.8
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Power:
    """What a two-sided test at 5 % of one pair of groups, named beforehand, sees in four of five cases."""

    gap: float
    """the gap in question, a fraction"""
    speakers: int | None
    """that each of two groups needs to show it; None: not known"""
    smallest: float
    """gap that the speakers of the worst and the best group show, a fraction"""
    spread: float
    """standard deviation of the WER between speakers, at as many words each, a fraction"""


def power(cells: Cells, gap: float, worst: str, best: str, seed: int) -> Power:
    """Return what the speakers show, by the normal approximation; of few speakers that is optimistic.

    The spread between speakers includes the chance in their errors, so that it is that of speakers with as many words.
    Groups are taken to be spread alike (pooled). Where speakers are in several groups, ``speakers`` counts those who
    are in both.

    Args:
        cells: each group has two speakers or more, and words.
        gap: to be shown, a fraction above 0.
        worst: one of the groups.
        best: another one.
        seed: of the resamples of ``rates``.
    """
    statistic = rates(cells, seed)
    contrast = np.zeros((1, len(cells.groups)))
    contrast[0, cells.groups.index(worst)] += 1
    contrast[0, cells.groups.index(best)] -= 1
    error = float(deviation(contrast, statistic.covariance)[0])
    counts = cells.counts.astype(np.float64)
    needed = float(ndtri(1 - SIGNIFICANCE / 2) + ndtri(POWER))
    variance = np.diag(statistic.covariance) * counts
    pooled = float(np.average(variance, weights=counts - 1))
    of_difference = 2 * pooled if cells.nested else error**2 * len(cells.speakers)
    speakers = math.ceil(round(of_difference * (needed / gap) ** 2, 9))
    return Power(gap, max(speakers, 2), needed * error, math.sqrt(pooled))
