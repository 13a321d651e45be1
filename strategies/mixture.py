"""Batches of transcribed and of machine-labelled speech, in exact ratios that follow from the seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr import seeds
from fedasr.experiment import Experiment

from .passes import Passes, Rows

LABELLED, MACHINE = 0, 1
"""Sources of speech: with transcripts, and with what a teacher says."""


def unlabelled_rows(experiment: Experiment) -> Rows:
    """Return the rows that the teacher labels, sorted: all that clients ever store without a transcript."""
    rows = np.unique(experiment.partition.rows)
    return rows[~experiment.labelled[rows]]


class Mixture:
    """Batches of both sources, each in passes of its own that go on from round to round.

    Interleaved, every ``labelled + unlabelled`` batches hold exactly so many of each, in an order drawn from the seed
    and their number. Segregated, a round has one source. Where one has no speech the other stands in.

    Args:
        experiment: what is trained on what.

    Attributes:
        machine: passes over what the teacher labels; None: there is no teacher.
    """

    def __init__(self, experiment: Experiment) -> None:
        config = experiment.config
        self.config, self.seed, self.rounds = config.interleave, config.seed, config.rounds
        labelled = experiment.labelled
        self.labelled = Passes(experiment, kept=None if labelled.all() else labelled)
        self.machine: Passes | None = None
        if config.distillation.teacher is not None:
            self.machine = Passes(experiment, "machine-labelled", ~labelled)
        self.drawn = 0
        """batches of both sources"""
        self.segregated = LABELLED

    @property
    def period(self) -> int:
        """Whose speech it is over."""
        return self.labelled.period

    def begin(self, round: int) -> None:
        """Bring what is stored up to a round, counted from 1."""
        self.labelled.begin(round)
        if self.machine is not None:
            self.machine.begin(round)
            self.segregated = MACHINE if round <= machine_rounds(self.rounds, *self.ratio) else LABELLED

    @property
    def ratio(self) -> tuple[int, int]:
        """Batches of transcribed and of machine-labelled speech that belong together."""
        return self.config.labelled, self.config.unlabelled

    def next(self) -> tuple[int, Rows] | None:
        """Return the source and the rows of the next batch; None where nobody stores anything."""
        if self.machine is None:
            rows = self.labelled.next()
            return None if rows is None else (LABELLED, rows)
        wanted = self.segregated if self.config.order == "segregated" else source_of(self.drawn, self.seed, *self.ratio)
        for source in (wanted, 1 - wanted):
            rows = (self.labelled, self.machine)[source].next()
            if rows is not None:
                self.drawn += 1
                return source, rows
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        if self.machine is None:
            return self.labelled.state_dict()
        return {**self.labelled.state_dict(), "machine": self.machine.state_dict(), "drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.labelled.load_state_dict(state)
        if self.machine is not None:
            self.machine.load_state_dict(state["machine"])
            self.drawn = state["drawn"]


def source_of(drawn: int, seed: int, labelled: int, unlabelled: int) -> int:
    """Return the source of the batch before which so many were drawn."""
    block, place = divmod(drawn, labelled + unlabelled)
    order = seeds.generator(seed, "interleave", block).permutation(labelled + unlabelled)
    return LABELLED if order[place] < labelled else MACHINE


def machine_rounds(rounds: int, labelled: int, unlabelled: int) -> int:
    """Return how many of the rounds, the first ones, have machine-labelled speech where the two are segregated."""
    return round(rounds * unlabelled / (labelled + unlabelled))
