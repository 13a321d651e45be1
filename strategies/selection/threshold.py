"""Uniform selection among the devices that are active enough."""

from __future__ import annotations

import numpy as np

from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.privacy.sampling import Traits

from .base import Ids, Selection, Stateless
from .counts import activity, known_count
from .drawing import draw_uniformly


class Threshold(Stateless):
    """Every selectable device whose count is at least ``minimum`` is equally likely; the others are never chosen.

    Where fewer than k qualify, all of them take part. Where nobody qualifies who is there, or nobody has anything at
    all, nobody takes part.

    Args:
        minimum: the smallest count that qualifies, in utterances or seconds.
        count: what is counted: ``utterances``, ``seconds``, ``recent-utterances`` or ``recent-seconds``.

    Raises:
        InputError: there is no such count.
    """

    traits = Traits("fixed-size", reads_activity=True, reaches_everybody=False)

    def __init__(self, minimum: float = 1.0, count: str = "utterances") -> None:
        self.minimum = minimum
        self.count = known_count(count)

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return ``k`` of the clients that qualify, without replacement.

        Raises:
            InputError: devices have something, but none of the population has enough, there or not.
        """
        qualified = self.eligible(roster)
        if not len(qualified):
            self.check_somebody_qualifies(roster, round)
        chosen = qualified[draw_uniformly(len(qualified), k, rng)]
        return Selection(chosen, np.full(len(chosen), len(chosen) / max(len(qualified), 1)))

    def eligible(self, roster: Roster) -> Ids:
        """Return the clients that qualify, among whom a cohort is drawn."""
        active: Ids = roster.selectable[activity(roster, self.count) >= self.minimum]
        return active

    def check_somebody_qualifies(self, roster: Roster, round: int) -> None:
        """Raise where the threshold is above everybody's count: a mistake in the config, not an idle hour."""
        column = getattr(roster, self.count.replace("-", "_"))
        most = float(np.max(column, initial=0))
        if 0 < most < self.minimum:
            raise InputError(
                f"'selection.min_activity' is {self.minimum:g}, but in round {round} no device has so many"
                f" {self.count.replace('-', ' ')}: the most is {most:g}; lower it"
            )
