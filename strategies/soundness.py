"""A run that ends with a model that is none is a failed run, and says what to change."""

from __future__ import annotations

from collections import Counter

import numpy as np

from fedasr.config import Config
from fedasr.errors import RunFailed
from fedasr.evaluation.evaluator import Evaluation
from fedasr.models.weights import Vector
from fedasr.protocol import Status
from fedasr.runtime.run_folder import RunFolder


def check_finite(weights: Vector, round: int, config: Config) -> None:
    """Raise where a round has left weights that are no finite numbers, before they reach a checkpoint.

    Raises:
        RunFailed: naming the learning rates.
    """
    if not np.isfinite(weights).all():
        raise RunFailed(f"round {round}: the weights are no longer finite numbers; {lower(config)}")


def check_evaluation(evaluation: Evaluation, round: int, config: Config) -> None:
    """Raise where finite weights are so large that the model's loss is no finite number.

    Raises:
        RunFailed: naming the learning rates.
    """
    if evaluation.errors.utterances and not np.isfinite(evaluation.loss):
        raise RunFailed(f"round {round}: the loss on held-out speech is {evaluation.loss}; {lower(config)}")


def lower(config: Config) -> str:
    """Return what to do about it, with the learning rates of the run."""
    rates: dict[str, float] = {}
    if config.strategy.name == "pate":
        rates = {"pate.student.learning_rate": config.pate.student.learning_rate}
    elif config.strategy.name != "central":
        rates = {"strategy.learning_rate": config.strategy.learning_rate}
    rates["client.learning_rate"] = config.client.learning_rate
    rates_of = " or ".join(f"'{name}' ({rate:g})" for name, rate in rates.items())
    return f"lower {rates_of}, and resume from the last checkpoint or start anew"


def check_used(updates: float, folder: RunFolder, config: Config) -> None:
    """Raise where a run ends without a single update: every reply was late or never came, or no sum opened.

    Raises:
        RunFailed: saying how many were.
    """
    if updates or not config.rounds:
        return
    counts = Counter(row["status"] for row in folder.rows("clients"))
    late, dropped = counts[Status.LATE], counts[Status.DROPPED]
    if late + dropped:
        raise RunFailed(
            f"none of {config.rounds} rounds has used an update, and the model is what it was: {late} replies were late"
            f" and {dropped} devices dropped out; raise 'devices.deadline_s', or lower the work of a device"
            " ('client.epochs', 'client.steps')"
        )
    if config.secure_aggregation.mode != "none":
        raise RunFailed(
            f"none of {config.rounds} rounds has opened a sum, and the model is what it was: too few clients were left"
            " (clients.parquet says why); lower 'secure_aggregation.least_clients' or 'secure_aggregation.threshold'"
        )
