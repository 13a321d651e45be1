"""Activity-based selection: in proportion to what a device stores (Dupuy et al., arXiv 2202.03925)."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits
from fedasr.typing import Floats

from .base import Selection, Stateless
from .counts import activity, known_count
from .drawing import draw, powers


class Activity(Stateless):
    """Inclusion probability min(1, c·nᵝ) without replacement, or k draws with probabilities p ∝ nᵝ with replacement.

    Drawing proportionally *and* weighting by examples counts heavy devices in proportion to n²; with
    ``strategy.weighting: uniform`` the aggregate estimates the example-weighted mean without that bias: exactly so
    with replacement, and without replacement as long as no device is so heavy that it is certain.

    Devices whose count is zero, which only a recent count can be, are drawn when fewer than k others are there.

    Args:
        count: what n counts: ``utterances``, ``seconds``, ``recent-utterances`` or ``recent-seconds``.
        exponent: β; 0 is uniform, ½ tempered, 1 proportional.
        replacement: draw with replacement; a device that is drawn twice counts twice and trains once.

    Raises:
        InputError: there is no such count.
    """

    def __init__(self, count: str = "utterances", exponent: float = 1.0, replacement: bool = False) -> None:
        self.count = known_count(count)
        self.exponent = exponent
        self.replacement = replacement

    @property
    def traits(self) -> Traits:
        """What selection by activity is."""
        return Traits("none", reads_activity=True, repeats=self.replacement)

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` distinct clients, or the distinct ones of ``k`` draws."""
        counts = activity(roster, self.count)
        if self.replacement:
            return with_replacement(roster, powers(counts, self.exponent, 1), k, rng)
        chosen, probabilities = draw(powers(counts, self.exponent, k), k, rng)
        return Selection(roster.selectable[chosen], probabilities[chosen])


def with_replacement(roster: Roster, sizes: Floats, k: int, rng: np.random.Generator) -> Selection:
    """Return the distinct clients of ``k`` independent draws, with p in proportion to the sizes.

    A device is among them with probability 1 − (1 − p)ᵏ and is drawn k·p times on average (Hansen and Hurwitz 1943).
    """
    there = roster.selectable
    if not len(there) or not k:
        return Selection(there[:0], np.zeros(0), np.zeros(0, np.int64), np.zeros(0))
    drawable = np.flatnonzero(sizes)
    edges = np.cumsum(sizes[drawable])
    places = np.searchsorted(edges, rng.random(k) * edges[-1], side="right")
    # A point that rounding put on the far end of the line belongs to the last device.
    chosen, draws = np.unique(drawable[np.minimum(places, len(drawable) - 1)], return_counts=True)
    p = np.minimum(sizes[chosen] / edges[-1], 1.0)
    with np.errstate(divide="ignore"):
        probabilities = -np.expm1(k * np.log1p(-p))
    return Selection(there[chosen], probabilities, draws.astype(np.int64), k * p)
