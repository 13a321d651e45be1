"""What weight a client's update has in the mean; whole numbers, so that their sum is exact.

``examples`` and ``seconds`` estimate the mean over all speech under uniform selection, and count heavy devices about
n² under activity-based selection. ``uniform`` is the mean over devices under uniform selection, and over all speech
under selection in proportion to activity. ``inverse-probability`` divides by the inclusion probability and by the
examples of the whole population (Horvitz and Thompson 1952): unbiased for every selection with known probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.data.roster import Roster
from fedasr.errors import RunFailed
from fedasr.protocol import Metric

from ..selection import Selection

FIXED_POINT = 2**16
"""The resolution of inverse probabilities as whole numbers."""


@dataclass(frozen=True)
class Weighting:
    """The weights of a round."""

    name: str
    """``strategy.weighting``"""
    factors: Mapping[int, int]
    """client → what its own count is multiplied with"""
    expected: float
    """about their sum"""
    denominator: float | None = None
    """what the sum of the updates is divided by; None: the sum of the weights"""
    most: int | None = None
    """what a client's own count is at most; None: what it says"""
    others: int = 1
    """the factor of clients that have none"""

    def multiplied(self, multipliers: Mapping[int, float]) -> Weighting:
        """Return the weights with those of some clients multiplied, the others by 1.

        Args:
            multipliers: client → not below 0, 1 in the mean; what is too small to be told from 0 counts for the least.
        """

        def factor(client: int) -> int:
            return max(1, round(self.factors.get(client, 1) * multipliers[client] * FIXED_POINT))

        return replace(
            self,
            factors={client: factor(client) for client in multipliers},
            others=FIXED_POINT,
            expected=self.expected * FIXED_POINT,
        )

    def expected_of(self, clients: npt.NDArray[np.integer], roster: Roster) -> npt.NDArray[np.float64]:
        """Return about what each client's update will count for, shape ``(clients,)``."""
        stored = 1000 * roster.seconds if self.name == "seconds" else roster.utterances
        counts = np.ones(len(clients)) if self.name == "uniform" else stored[clients].astype(np.float64)
        counts = counts if self.most is None else np.minimum(counts, self.most)
        factors = [self.factors.get(int(client), self.others) for client in clients]
        return np.asarray(np.maximum(counts, 1) * factors, np.float64)

    def weight(self, client: int, metrics: Mapping[str, Any]) -> int:
        """Return the weight of a client's update.

        Args:
            client: its number in the roster.
            metrics: what it reported, with ``Metric.EXAMPLES`` and ``Metric.AUDIO``.
        """
        factor = self.factors.get(client, self.others)
        if self.name == "uniform":
            return factor
        count = int(metrics[Metric.AUDIO if self.name == "seconds" else Metric.EXAMPLES])
        return factor * (count if self.most is None else min(count, self.most))


def largest_count(stored: npt.NDArray[Any], cap: float | None) -> float:
    """Return what a client counts for at most: ``cap`` times the median client, the lower one of two.

    Args:
        stored: by each client that may take part, shape ``(clients,)``.
        cap: how many times the median; None: no limit.
    """
    some = np.sort(stored[stored > 0])
    if cap is None or not len(some):
        return np.inf
    return float(cap * some[(len(some) - 1) // 2])


def weighting_of(name: str, selection: Selection, roster: Roster, cap: float | None = None) -> Weighting:
    """Return the weights of a round's clients.

    Args:
        name: ``strategy.weighting``.
        selection: who takes part.
        roster: what the clients store, or say they do.
        cap: how many times the median client one counts for at most; None: no limit.

    Raises:
        RunFailed: ``inverse-probability`` with a selector that knows no probabilities.
    """
    chosen = selection.clients
    if name == "inverse-probability":
        inverse = selection.inverse_weights
        if not np.isfinite(inverse).all():
            raise RunFailed(
                "'strategy.weighting' is 'inverse-probability', but the selection strategy knows no inclusion"
                " probabilities (it depends on what it has learnt); change one of them"
            )
        factors = np.rint(inverse * FIXED_POINT).astype(np.int64)
        most = largest_count(roster.utterances[roster.selectable], cap)
        population = float(np.minimum(roster.utterances[roster.selectable], most).sum()) * FIXED_POINT
        expected = float((np.minimum(roster.utterances[chosen], most) * factors).sum())
        weights = dict(zip(chosen.tolist(), factors.tolist(), strict=True))
        return Weighting(name, weights, expected, population, whole(most))
    drawn = selection.draw_counts
    several = {} if selection.draws is None else dict(zip(chosen.tolist(), drawn.tolist(), strict=True))
    if name == "uniform":
        return Weighting(name, several, float(drawn.sum()))
    stored = 1000 * roster.seconds if name == "seconds" else roster.utterances
    most = largest_count(stored[roster.selectable], cap)
    return Weighting(name, several, float((np.minimum(stored[chosen], most) * drawn).sum()), None, whole(most))


def whole(most: float) -> int | None:
    """Return a limit as a whole number of at least 1; None where there is none."""
    return max(1, int(most)) if np.isfinite(most) else None
