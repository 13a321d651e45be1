"""A selector that says less than it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits
from fedasr.strategies.selection import Feedback, Selection


class TwiceAsOften:
    """Chooses everybody with twice the probability that it reports."""

    traits = Traits("poisson")

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return whom a Poisson sample of 2k holds, each with the probability of one of k."""
        share = k / len(roster)
        chosen = np.flatnonzero(rng.random(len(roster)) < 2 * share)
        return Selection(chosen, np.full(len(chosen), share))

    def observe(self, feedback: Feedback) -> None:
        """Learn nothing."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""
