"""How much a round of central training is: what the federated round of the same config and seed would train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config import Config
from fedasr.errors import InputError, RunFailed
from fedasr.experiment import Experiment
from fedasr.training.batching import batches_of_a_round
from fedasr.typing import Floats

from .population import Population
from .selection import Feedback, make_selector, traits_of
from .selection.base import Ids

NO_CLIENTS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Work:
    """What a round trains on."""

    utterances: int
    """over all local passes"""
    examples: int
    """each counted once, as in a federated run's ``rounds.parquet``"""
    seconds: float
    """of audio, each utterance counted once"""


def pooled_row(round: int, work: Work, period: int = 1) -> dict[str, Any]:
    """Return the row of a round in which nobody is sent anything, without its evaluation and its loss."""
    return {
        "round": round,
        "train_loss": float("nan"),
        "clients_selected": 0,
        "clients_replied": 0,
        "clients_failed": 0,
        "examples": work.examples,
        "audio_seconds": work.seconds,
        "bytes_up": 0,
        "bytes_down": 0,
        "simulated_seconds": float("nan"),
        "update_norm": float("nan"),
        "period": period,
    }


class Budget(Protocol):
    """Says how much a round is; asked for each round, in order."""

    def of(self, round: int) -> Work:
        """Return the work of a round, counted from 1."""
        ...


class CohortBudget:
    """The work of the cohort that the federated run selects: the same selector and draws, and nobody is asked.

    Who is selected is known without training as long as the selector reads no losses.

    Args:
        experiment: what is trained on what.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.population = Population(experiment, 0, 0, no_losses)

    def of(self, round: int) -> Work:
        """Return the work of a round; its cohort is then noted as one that has answered."""
        population = self.population
        clients = population.choose(round, population.begin(round)).selection.clients
        stored = [self.experiment.stored(client, round) for client in clients.tolist()]
        trained = sum(
            trained_on(self.experiment, rows, round, client)
            for rows, client in zip(stored, clients.tolist(), strict=True)
        )
        roster = population.roster
        examples = roster.utterances[clients]
        unknown = np.full(len(clients), np.nan)
        population.observe(Feedback(round, clients, unknown, unknown, examples, unknown, NO_CLIENTS))
        return Work(trained, int(examples.sum()), float(roster.seconds[clients].sum()))


class WholeBudget:
    """The work of one client that stores what all store.

    Args:
        experiment: what is trained on what.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def of(self, round: int) -> Work:
        """Return the work of a round."""
        rows = pooled(self.experiment, round)
        seconds = self.experiment.speech.durations[rows].sum(dtype=np.float64)
        return Work(trained_on(self.experiment, rows, round, 0), len(rows), float(seconds))


def make_budget(experiment: Experiment) -> Budget:
    """Return the budget of ``strategy.central_round``."""
    whole = experiment.config.strategy.central_round == "all"
    return WholeBudget(experiment) if whole else CohortBudget(experiment)


def pooled(experiment: Experiment, round: int) -> npt.NDArray[np.integer]:
    """Return the corpus rows that all clients together store in a round, client by client."""
    partition = experiment.partition
    if experiment.stream.periods == 1:
        return np.asarray(partition.rows)
    return np.concatenate([experiment.stored(client, round) for client in range(len(partition))])


def trained_on(experiment: Experiment, rows: npt.NDArray[np.integer], round: int, client: int) -> int:
    """Return how many utterances a client trains on in a round, over all passes or steps, by the draws of its own."""
    config = experiment.config
    rng = seeds.generator(config.seed, "local-training", round, client)
    seconds = experiment.speech.durations[rows]
    return sum(len(batch) for batch in batches_of_a_round(rows, seconds, config.client, rng))


def no_losses(round: int, clients: Ids) -> Floats:
    """Answer a selector that asks for losses after all.

    Raises:
        RunFailed: always.
    """
    raise RunFailed(
        f"round {round}: the selector asks {len(clients)} clients for losses, and central training has none"
    )


def check_budget(config: Config) -> None:
    """Raise where a round is to be as large as that of cohorts that are not known without training.

    Raises:
        InputError: naming the keys.
    """
    if config.strategy.central_round != "cohort":
        return
    traits = traits_of(make_selector(config.selection))
    if traits is None or traits.reads_losses:
        why = "does not declare by 'traits' that it reads no losses" if traits is None else "chooses by losses"
        raise InputError(
            f"'strategy.central_round' is 'cohort' but 'selection.name' is '{config.selection.name}', which {why}:"
            " whom it would choose is not known without federated training; set strategy.central_round=all, or"
            " selection.name=uniform"
        )
