"""A run in MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedasr.runtime.callbacks.base import Callback, EvaluationFacts, Row, RunFacts, group_scalars, scalars
from fedasr.runtime.callbacks.extras import check_installed

MOST_PARAMS, LONGEST_PARAM = 100, 500
"""What MLflow takes at once, and of a value on every server."""
STATUSES = {"done": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflow(Callback):
    """Writes the config as params, the rounds as metrics, and ``report.html`` and ``privacy.json`` as artifacts.

    A resumed run goes on in the MLflow run that it began. Of a private run the report stays in the run folder: it says
    who took part.

    Args:
        tracking_uri: of the server, or a folder; absent: what ``MLFLOW_TRACKING_URI`` says, or MLflow's default, a
            database, for which the whole of ``mlflow`` must be installed.
        experiment: name of the MLflow experiment, which is made where it is absent.
        run_name: absent: the name of the run.

    Raises:
        InputError: MLflow is not installed.
    """

    def __init__(
        self, tracking_uri: str | None = None, experiment: str = "fedasr", run_name: str | None = None
    ) -> None:
        check_installed("mlflow", "mlflow")
        self.tracking_uri, self.experiment, self.run_name = tracking_uri, experiment, run_name
        self.client: Any = None
        self.run_id: str | None = None
        self.run: RunFacts | None = None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in the MLflow run of a state."""
        self.client, self.run_id = None, state.get("run_id")

    def state_dict(self) -> Mapping[str, Any]:
        """Return which MLflow run it is."""
        return {} if self.run_id is None else {"run_id": self.run_id}

    def on_start(self, run: RunFacts) -> None:
        """Begin an MLflow run, or go on with the one that the checkpoint names."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported
        if self.tracking_uri is not None and "://" not in self.tracking_uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer releases want a folder to be asked for
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.run = run
        self.client = MlflowClient(self.tracking_uri)
        if self.run_id is not None:
            self.client.update_run(self.run_id, "RUNNING")
            return
        known = self.client.get_experiment_by_name(self.experiment)
        number = self.client.create_experiment(self.experiment) if known is None else known.experiment_id
        self.run_id = self.client.create_run(number, run_name=self.run_name or run.name).info.run_id
        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in run.config.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(self.run_id, params=params[first : first + MOST_PARAMS])

    def log(self, values: Mapping[str, float], round: int) -> None:
        """Write metrics of a round."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(allowed(name), float(value), now, round) for name, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def on_evaluation(self, evaluation: EvaluationFacts) -> None:
        """Write the groups."""
        values = group_scalars(evaluation)
        if values:
            self.log(values, evaluation.round)

    def on_round(self, row: Row) -> None:
        """Write the round."""
        self.log(scalars(row), int(row["round"]))

    def on_end(self, status: str, summary: Mapping[str, Any]) -> None:
        """Write the artifacts, and end the MLflow run."""
        if self.client is None or self.run_id is None or self.run is None:
            return
        names = ("privacy.json",) if self.run.private else ("report.html",)
        for name in names:
            file = Path(self.run.folder) / name
            if status == "done" and file.is_file():
                self.client.log_artifact(self.run_id, str(file))
        self.client.set_terminated(self.run_id, STATUSES[status])
        self.client = None


def allowed(name: str) -> str:
    """Return a metric's name with what MLflow does not take in it replaced: it takes letters, digits and ``_-. /``."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
