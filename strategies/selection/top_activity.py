"""The most active devices only (one of the non-uniform selections that arXiv 2202.03925 suggests)."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits

from .base import Selection, Stateless
from .counts import activity, known_count
from .drawing import draw_uniformly, kth_largest


class TopActivity(Stateless):
    """The k devices with the largest counts, ties drawn at random.

    Inclusion probability 1 above the k-th largest count, the share of the tied places at it, and 0 below: most devices
    are never chosen, so nothing that is computed from the chosen speaks for all.

    Args:
        count: what is counted: ``utterances``, ``seconds``, ``recent-utterances`` or ``recent-seconds``.

    Raises:
        InputError: there is no such count.
    """

    traits = Traits("none", reads_activity=True, reaches_everybody=False)

    def __init__(self, count: str = "utterances") -> None:
        self.count = known_count(count)

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return the ``k`` most active clients."""
        there = roster.selectable
        k = min(k, len(there))
        if k == 0:
            return Selection(there[:0], np.zeros(0))
        counts = activity(roster, self.count)
        last = kth_largest(counts, k)
        above, tied = np.flatnonzero(counts > last), np.flatnonzero(counts == last)
        places = k - len(above)
        chosen = np.concatenate([above, tied[draw_uniformly(len(tied), places, rng)]])
        probabilities = np.concatenate([np.ones(len(above)), np.full(places, places / len(tied))])
        order = rng.permutation(k)
        return Selection(there[chosen[order]], probabilities[order])
