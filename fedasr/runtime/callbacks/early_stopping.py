"""End a run that no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fedasr.errors import InputError, nearest
from fedasr.runtime.callbacks.base import Callback, Row
from fedasr.units import metric_text

METRICS = ("wer", "cer", "loss", "train_loss", "client_wer")
"""Columns of ``rounds.parquet`` where less is better."""


class EarlyStopping(Callback):
    """Ends a run once ``patience`` values of ``metric`` in a row are no better than the best before them.

    Args:
        metric: a column of ``rounds.parquet`` where less is better; rounds that do not have it do not count.
        patience: values that may be no better.
        min_delta: by how much a value must be below the best to be better, in the metric's unit.

    Raises:
        InputError: an option is out of bounds.
    """

    def __init__(self, metric: str = "wer", patience: int = 3, min_delta: float = 0.0) -> None:
        if metric not in METRICS:
            raise InputError(
                f"'metric' is {metric!r}{nearest(str(metric), METRICS)}; expected one of: {', '.join(METRICS)}"
            )
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise InputError(f"'patience' is {patience!r}; expected a whole number of at least 1")
        if isinstance(min_delta, bool) or not isinstance(min_delta, (int, float)) or not 0 <= min_delta < math.inf:
            raise InputError(f"'min_delta' is {min_delta!r}; expected a finite number of at least 0")
        self.metric, self.patience, self.min_delta = metric, patience, min_delta
        self.best = math.inf
        self.best_round = self.bad = 0

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin from a state."""
        self.best = float(state.get("best", math.inf))
        self.best_round, self.bad = int(state.get("best_round", 0)), int(state.get("bad", 0))

    def state_dict(self) -> Mapping[str, Any]:
        """Return the best value, its round, and how many were no better since; nothing before the first value."""
        if math.isinf(self.best):
            return {}
        return {"best": self.best, "best_round": self.best_round, "bad": self.bad}

    def on_round(self, row: Row) -> str | None:
        """Return why the run should end, or None."""
        value = row[self.metric]
        if math.isnan(value):
            return None
        if value < self.best - self.min_delta:
            self.best, self.best_round, self.bad = value, int(row["round"]), 0
            return None
        self.bad += 1
        if self.bad < self.patience:
            return None
        return (
            f"{self.metric} is no better than its {metric_text(self.metric, self.best)} of round {self.best_round}"
            f" (patience {self.patience})"
        )
