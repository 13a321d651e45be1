"""Curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedasr.runtime.callbacks.base import Callback, EvaluationFacts, Row, RunFacts, group_scalars, scalars
from fedasr.runtime.callbacks.extras import check_installed


class TensorBoard(Callback):
    """Writes a scalar a round for each column of ``rounds.parquet``, and ``wer_by_<column>/<value>`` for each group.

    Args:
        folder: where to; absent: ``tensorboard/`` in the run folder.

    Raises:
        InputError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | None = None) -> None:
        check_installed("tensorboard", "tensorboard")
        self.folder = folder
        self.writer: Any = None

    def on_start(self, run: RunFacts) -> None:
        """Open the file; of a resumed run what an earlier file has of the newest round and later is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        folder = Path(self.folder) if self.folder is not None else run.folder / "tensorboard"
        self.writer = SummaryWriter(str(folder), purge_step=run.round if run.resumed else None)

    def on_evaluation(self, evaluation: EvaluationFacts) -> None:
        """Write the groups."""
        for tag, value in group_scalars(evaluation).items():
            self.writer.add_scalar(tag, value, evaluation.round)

    def on_round(self, row: Row) -> None:
        """Write the round, so that it can be looked at while the run goes on."""
        for tag, value in scalars(row).items():
            self.writer.add_scalar(tag, value, int(row["round"]))
        self.writer.flush()

    def on_end(self, status: str, summary: Mapping[str, Any]) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None
