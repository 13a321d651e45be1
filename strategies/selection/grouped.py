"""Selection by groups of devices: as many of each, or each with its share."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits
from fedasr.typing import Floats, Integers

from .base import Selection, Stateless
from .drawing import inclusion, systematic

BY_GROUPS = Traits("none", reads_activity=True, reads_groups=True)
"""Neither is uniform without replacement: who is chosen depends on the groups of all, so that no accountant assumes a
sampling of them."""


class Balanced(Stateless):
    """As many devices of each group, whatever its size: inclusion probability min(1, c/Nᵍ) with Σπ = k.

    A group has k/G places on average, and in each round that number rounded down or up. One that is smaller than its
    share is chosen whole, and the others share what it leaves. The groups are in ``roster.group``.
    """

    traits = BY_GROUPS

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` distinct clients."""
        groups = roster.group[roster.selectable]
        _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        return by_groups(roster, place, inclusion(1.0 / sizes[place], k), rng)


class Stratified(Stateless):
    """Each group in proportion to its devices: inclusion probability k/N for all, and its share in each cohort.

    Of a group of Nᵍ devices k·Nᵍ/N are in each cohort, rounded down or up. The groups are in ``roster.group``.
    """

    traits = BY_GROUPS

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` distinct clients."""
        groups = roster.group[roster.selectable]
        share = min(1.0, k / max(len(groups), 1))
        return by_groups(roster, groups.astype(np.int64), np.full(len(groups), share), rng)


def by_groups(roster: Roster, groups: Integers, probabilities: Floats, rng: np.random.Generator) -> Selection:
    """Draw with given inclusion probabilities, so that each group gets their sum, rounded down or up.

    Systematic sampling over the devices sorted by group, groups and the devices of a group in random order.

    Args:
        roster: whose selectable clients are drawn among.
        groups: of each of these, at least 0, shape ``(selectable,)``.
        probabilities: of each, above 0; they sum to a whole number.
        rng: of the draw.
    """
    there = roster.selectable
    k = round(float(probabilities.sum()))
    if not k:
        return Selection(there[:0], np.zeros(0))
    ranks = rng.permutation(int(groups.max(initial=0)) + 1)
    shuffled = rng.permutation(len(there))
    order = shuffled[np.argsort(ranks[groups[shuffled]], kind="stable")]
    chosen = systematic(order, probabilities, k, rng)
    chosen = chosen[rng.permutation(len(chosen))]
    return Selection(there[chosen], probabilities[chosen])
