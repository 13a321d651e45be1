"""Uniform selection without replacement."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits

from .base import Selection, Stateless
from .drawing import draw_uniformly


class Uniform(Stateless):
    """Every selectable device is equally likely: inclusion probability k/N. The cohort has a fixed size."""

    traits = Traits("fixed-size")

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` clients drawn without replacement."""
        there = roster.selectable
        chosen = there[draw_uniformly(len(there), k, rng)]
        return Selection(chosen, np.full(len(chosen), len(chosen) / max(len(there), 1)))
