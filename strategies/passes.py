"""Passes over pooled speech, batch by batch, which go on from round to round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.experiment import Experiment
from fedasr.training.batching import plan_batches

from .budget import pooled

Rows = npt.NDArray[np.integer]
NOTHING: Rows = np.zeros(0, np.int64)


class Passes:
    """One pass after the other over what all clients store; when that changes, a new pass begins.

    Pass ``n`` is planned by the draws of round ``n`` of client 0: where all speech is one client's, and a round is a
    pass, the batches are those of the federated run.

    Args:
        experiment: what is trained on what.
        draws: their name; those of other names are independent.
        kept: which rows of the corpus are trained on, shape ``(utterances,)``; None: all.
    """

    def __init__(
        self, experiment: Experiment, draws: str = "local-training", kept: npt.NDArray[np.bool_] | None = None
    ) -> None:
        self.experiment = experiment
        self.draws = draws
        self.kept = kept
        self.number = 0
        """of the pass that is under way, counted from 1; 0: none has begun"""
        self.taken = 0
        """batches of it"""
        self.period = 0
        """whose speech it is over"""
        self.rows = NOTHING
        self.plan: list[Rows] | None = None
        """the batches of the pass; None: to be planned"""

    def begin(self, round: int) -> None:
        """Bring what is stored up to a round."""
        period = self.experiment.stream.period_of_round(round)
        if period != self.period:
            self.period, self.plan, self.taken, self.rows = period, [], 0, NOTHING
        if not len(self.rows):
            rows = pooled(self.experiment, round)
            self.rows = rows if self.kept is None else rows[self.kept[rows]]

    def next(self) -> Rows | None:
        """Return the next batch, of a new pass where one has ended; None where nobody stores anything."""
        if not len(self.rows):
            return None
        if self.plan is None and self.number:  # a resumed run is in the middle of it
            self.plan = self.planned()
        if self.plan is None or self.taken == len(self.plan):
            self.number += 1
            self.plan, self.taken = self.planned(), 0
        self.taken += 1
        return self.plan[self.taken - 1]

    def planned(self) -> list[Rows]:
        """Return the batches of the pass that is under way."""
        config = self.experiment.config
        rng = seeds.generator(config.seed, self.draws, self.number, 0)
        return plan_batches(self.rows, self.experiment.speech.durations[self.rows], config.client, rng)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        return {"pass": self.number, "taken": self.taken, "period": self.period}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.number, self.taken, self.period = state["pass"], state["taken"], state["period"]
        self.plan = None
