"""Callbacks and a strategy of a user's own, as they would lie beside a script."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import fedasr
from fedasr.runtime.callbacks import EvaluationFacts, Row, RunFacts
from fedasr.strategies.federated_run import FederatedRun
from fedasr.strategies.server_run import Round, ServerRun


class Recorder(fedasr.Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[RunFacts] = []
        self.rows: list[Row] = []
        self.evaluations: list[EvaluationFacts] = []
        self.checkpoints: list[int] = []
        self.ends: list[tuple[str, Mapping[str, Any]]] = []

    def on_start(self, run: RunFacts) -> None:
        self.started.append(run)

    def on_evaluation(self, evaluation: EvaluationFacts) -> None:
        self.evaluations.append(evaluation)

    def on_round(self, row: Row) -> None:
        self.rows.append(row)

    def on_checkpoint(self, round: int) -> None:
        self.checkpoints.append(round)

    def on_end(self, status: str, summary: Mapping[str, Any]) -> None:
        self.ends.append((status, summary))


class Ends(fedasr.Callback):
    """Asks the run to end after a round."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_round(self, row: Row) -> str | None:
        return "enough" if row["round"] == self.after else None


class Breaks(fedasr.Callback):
    """Fails after a round, where the ledger of the run cannot be written either."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.run: RunFacts | None = None

    def on_start(self, run: RunFacts) -> None:
        self.run = run

    def on_round(self, row: Row) -> None:
        if row["round"] == self.after and self.run is not None:
            (self.run.folder / "privacy.json").mkdir()
            raise RuntimeError("the server of the curves is gone")


class Kills(fedasr.Callback):
    """Kills its own process after a round."""

    def on_round(self, row: Row) -> None:
        if row["round"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)


class Grows(ServerRun):
    """Adds a number to every weight, without a client."""

    def __init__(self, grid, experiment, folder, by=0.5):  # type: ignore[no-untyped-def]
        super().__init__(grid, experiment, folder)
        self.by = by

    @property
    def clients(self) -> int:
        return len(self.experiment.partition)

    def round(self, number: int) -> Round:
        self.weights = self.weights + self.weights.dtype.type(self.by)
        nothing = dict.fromkeys(("clients_selected", "clients_replied", "clients_failed", "examples"), 0)
        return Round({"round": number, "train_loss": float("nan"), **nothing, "bytes_up": 0, "bytes_down": 0})


class Halves(FederatedRun):
    """Federated averaging whose model goes half the way."""

    def round(self, number: int) -> Round | None:
        before = self.weights.copy()
        done = super().round(number)
        self.weights = (before + self.weights) / 2
        return done
