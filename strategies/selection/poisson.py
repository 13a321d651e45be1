"""Poisson sampling: each device independently, as the accountants of private training assume."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits

from .base import Selection, Stateless
from .drawing import draw_uniformly


class Poisson(Stateless):
    """Each selectable device takes part with probability k/N, whatever the others do; k devices on average.

    The size of the cohort is random and may be zero. It is drawn first, from the binomial law, and then who: the same
    law as a coin for each device, at the cost of the cohort and not of the population.
    """

    traits = Traits("poisson")

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return a cohort of random size; each device's probability is min(1, k/N)."""
        there = roster.selectable
        probability = min(1.0, k / max(len(there), 1))
        size = int(rng.binomial(len(there), probability))
        chosen = there[draw_uniformly(len(there), size, rng)]
        return Selection(chosen, np.full(size, probability))
