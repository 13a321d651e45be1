"""What weight a client's update has in the mean; whole numbers, so that their sum is exact.

``examples`` and ``seconds`` estimate the mean over all speech under uniform selection, and count heavy devices about
n² under activity-based selection. ``uniform`` is the mean over devices under uniform selection, and over all speech
under selection in proportion to activity. ``inverse-probability`` divides by the inclusion probability and by the
examples of the whole population (Horvitz and Thompson 1952): unbiased for every selection with known probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedasr.data.roster import Roster
from fedasr.errors import RunFailed

from ..selection import Selection

FIXED_POINT = 2**16
"""The resolution of inverse probabilities as whole numbers."""


@dataclass(frozen=True)
class Weighting:
    """The weights of a round."""

    name: str
    """``strategy.weighting``"""
    times: Mapping[int, int]
    """client → what its own count is multiplied with"""
    expected: float
    """about their sum"""
    denominator: float | None = None
    """what the sum of the updates is divided by; None: the sum of the weights"""

    def weight(self, client: int, metrics: Mapping[str, Any]) -> int:
        """Return the weight of a client's update.

        Args:
            client: its number in the roster.
            metrics: what it reported, with ``num-examples`` and ``audio-milliseconds``.
        """
        times = self.times.get(client, 1)
        if self.name == "seconds":
            return times * int(metrics["audio-milliseconds"])
        return times if self.name == "uniform" else times * int(metrics["num-examples"])


def weighting_of(name: str, selection: Selection, roster: Roster) -> Weighting:
    """Return the weights of a round's clients.

    Raises:
        RunFailed: ``inverse-probability`` with a selector that knows no probabilities.
    """
    chosen = selection.clients
    if name == "inverse-probability":
        inverse = selection.inverse_weights
        if not np.isfinite(inverse).all():
            raise RunFailed(
                "'strategy.weighting' is 'inverse-probability', but the selection strategy knows no inclusion"
                " probabilities (it depends on what it has learnt); choose another of the two"
            )
        times = np.rint(inverse * FIXED_POINT).astype(np.int64)
        population = float(roster.utterances[roster.selectable].sum()) * FIXED_POINT
        expected = float((roster.utterances[chosen] * times).sum())
        return Weighting(name, dict(zip(chosen.tolist(), times.tolist(), strict=True)), expected, population)
    drawn = selection.times
    several = {} if selection.draws is None else dict(zip(chosen.tolist(), drawn.tolist(), strict=True))
    if name == "seconds":
        expected = float(1000 * (roster.seconds[chosen] * drawn).sum())
    else:
        expected = float((roster.utterances[chosen] * drawn).sum() if name == "examples" else drawn.sum())
    return Weighting(name, several, expected)
