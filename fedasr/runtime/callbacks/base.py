"""What sees a run go by, may ask it to stop, and keeps a state of its own in the run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = Mapping[str, float]
"""A row of ``rounds.parquet``: every column of it, NaN where the table has no value."""


@dataclass(frozen=True)
class RunFacts:
    """A run that starts or goes on."""

    name: str
    folder: Path
    """the run folder"""
    config: Mapping[str, Any]
    """dotted key → value; without ``seed`` in a private run, whose noise may follow from it"""
    rounds: int
    """how many there will be"""
    round: int
    """how many are done"""
    clients: int
    parameters: int
    """of the model"""
    private: bool
    resumed: bool


@dataclass(frozen=True)
class EvaluationFacts:
    """The global model on held-out speech, after a round."""

    round: int
    loss: float
    """nats a token"""
    wer: float
    """a fraction"""
    cer: float
    """a fraction"""
    epsilon: float
    """spent so far; NaN where nothing private is released"""
    groups: Mapping[str, Mapping[str, float]]
    """column of ``evaluate.by`` → value → WER"""


class Callback:
    """Sees a run go by; every method does nothing unless it is overridden.

    It lives in the server's process. A round reaches it when its checkpoint is on the disk, so that nothing is told
    which a killed run would draw anew. The newest round of a resumed run is told again, to a callback whose state is
    the one from before that round.
    """

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin from a state: the one of the checkpoint that the run goes on from, or an empty one.

        It is called before ``on_start``, of each run where one object serves several.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """Return what a resumed run must know, as JSON values; it goes into every checkpoint."""
        return {}

    def on_start(self, run: RunFacts) -> None:
        """Rounds are about to begin, or to go on."""

    def on_evaluation(self, evaluation: EvaluationFacts) -> str | None:
        """The model was evaluated after a round; return why the run should end here, or None."""
        return None

    def on_round(self, row: Row) -> str | None:
        """A round ended, after its evaluation where there was one; return why the run should end here, or None."""
        return None

    def on_checkpoint(self, round: int) -> None:
        """The checkpoint of a round is on the disk, and the callbacks have been told of the round."""

    def on_end(self, status: str, summary: Mapping[str, Any]) -> None:
        """The run is over.

        Args:
            status: ``done``, ``interrupted`` or ``failed``.
            summary: of ``summary.json``; of a failed run ``name``, ``status``, ``seed`` and ``error``.
        """


def scalars(row: Row) -> dict[str, float]:
    """Return what a tracker plots of a round: the columns that have a value, ``round`` left out."""
    return {name: value for name, value in row.items() if name != "round" and value == value}


def group_scalars(evaluation: EvaluationFacts) -> dict[str, float]:
    """Return what a tracker plots of groups: ``wer_by_<column>/<value>`` → WER, where it has words."""
    return {
        f"wer_by_{column}/{value}": wer
        for column, groups in evaluation.groups.items()
        for value, wer in groups.items()
        if wer == wer
    }
