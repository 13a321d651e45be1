"""Uniform selection without replacement."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from strategies.selection.base import Selection, Stateless


class Uniform(Stateless):
    """Every device that stores something is equally likely: inclusion probability k/N."""

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` clients drawn without replacement."""
        holders = np.flatnonzero(roster.utterances > 0)
        k = min(k, len(holders))
        chosen = holders[rng.choice(len(holders), size=k, replace=False, shuffle=True)] if k else holders
        return Selection(chosen.astype(np.int64), np.full(k, k / max(len(holders), 1)))
