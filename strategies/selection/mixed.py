"""One selection at first, another afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr.data.roster import Roster
from fedasr.privacy.sampling import Traits

from .base import Feedback, Selection, Selector, traits_of


class Mixed:
    """One selector for the first rounds, another from then on; both learn from every round.

    With the active devices first the model gets to see much speech early, and with all devices afterwards it is not
    left to the speech of the active.

    Args:
        first: for rounds 1 … ``rounds``.
        then: for the rounds after.
        rounds: how many rounds ``first`` selects.
    """

    def __init__(self, first: Selector, then: Selector, rounds: int) -> None:
        self.first = first
        self.then = then
        self.rounds = rounds

    @property
    def traits(self) -> Traits | None:
        """What holds of both; None: one of them declares nothing."""
        a, b = traits_of(self.first), traits_of(self.then)
        if a is None or b is None:
            return None
        return Traits(
            "none",
            reads_losses=a.reads_losses or b.reads_losses,
            reads_activity=a.reads_activity or b.reads_activity,
            reads_groups=a.reads_groups or b.reads_groups,
            repeats=a.repeats or b.repeats,
            reports_probabilities=a.reports_probabilities and b.reports_probabilities,
            reaches_everybody=a.reaches_everybody and b.reaches_everybody,
        )

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return what the selector of the round chooses."""
        return (self.first if round <= self.rounds else self.then).select(round, roster, k, rng)

    def observe(self, feedback: Feedback) -> None:
        """Let both learn."""
        self.first.observe(feedback)
        self.then.observe(feedback)

    def state_dict(self) -> Mapping[str, Any]:
        """Return the memory of both."""
        return {"first": dict(self.first.state_dict()), "then": dict(self.then.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory of both."""
        self.first.load_state_dict(state["first"])
        self.then.load_state_dict(state["then"])
