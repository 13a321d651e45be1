"""Central training: the speech of all clients in one place, for comparison with what federated training makes of it.

The weights and the optimiser go on from round to round, and nobody is sent anything. All else is that of a federated
run: the folder, the tables, the evaluation, the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.serverapp import Grid

from fedasr import seeds
from fedasr.data.batches import Batch
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.models.base import SpeechModel
from fedasr.runtime import checkpoint
from fedasr.runtime.run_folder import RunFolder
from fedasr.training import local
from fedasr.training.optimizers import load_state, state_of
from fedasr.training.schedules import learning_rate

from .budget import Work, make_budget, pooled_row
from .lessons import Lessons, Losses
from .mixture import LABELLED, Mixture
from .passes import Rows
from .server_run import Round, ServerRun
from .taught import lessons_of, store_written
from .traits import StrategyTraits


@dataclass
class Tally:
    """Losses of a round, added up."""

    loss: float = 0.0
    utterances: int = 0

    @property
    def mean(self) -> float:
        """The mean loss; NaN where there is none."""
        return self.loss / self.utterances if self.utterances else float("nan")


class CentralRun(ServerRun):
    """Central training, a budget of utterances a round.

    Args:
        grid: any Flower grid; no message is sent.
        experiment: what is trained on what.
        folder: where the run is written.
    """

    traits = StrategyTraits(asks_clients=False, cohorts=False, trains=True)

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder) -> None:
        super().__init__(grid, experiment, folder)
        self.budget = make_budget(experiment)
        self.mixture = Mixture(experiment)
        self.lessons: Lessons | None = None
        """what the teacher says; None: there is none, or it has not been asked yet"""
        resident = local.Resident(experiment.model().to(local.chosen_device(self.config.runtime.device)))
        client = self.config.client
        self.state = local.init(resident, self.layout.views(self.weights), client, client.learning_rate)
        self.owed = 0
        """utterances of the budgets so far less those that were trained on: a batch is not divided between rounds"""
        self.trained = 0
        """utterances trained on, over all passes"""
        self.skipped: set[int] = set()
        """rows of the corpus that could not be decoded"""

    @property
    def clients(self) -> int:
        """The number of clients whose speech is pooled."""
        return len(self.experiment.partition)

    def before_rounds(self) -> bool:
        """Let the teacher label its speech, where there is one."""
        machine = self.mixture.machine
        if machine is None or self.rounds_done == self.config.rounds:
            return True
        store = store_written(self.experiment, self.folder.path)
        if store is None:
            return False
        self.lessons = lessons_of(store, self.experiment)
        machine.kept = self.lessons.usable
        return True

    def round(self, number: int) -> Round:
        """Train on the budget of a round."""
        config, state = self.config, self.state
        work = self.budget.of(number)
        self.mixture.begin(number)
        self.owed += work.utterances
        rate = learning_rate(config.client, number, config.rounds)
        state.loss, state.utterances = 0.0, 0
        machine = Tally()
        rng = seeds.generator(config.seed, "central-augmentation", number)
        with seeds.torch_scope(config.seed, "local-training", number, 0):
            while self.owed > 0 and (drawn := self.mixture.next()) is not None:
                source, rows = drawn
                if source == LABELLED:
                    state.learning_rate = rate * config.interleave.labelled_rate
                    self.learn(rows, self.experiment.speech.batch(rows, rng), local.normalised_loss)
                else:
                    state.learning_rate = rate
                    self.learn_from_teacher(rows, rng, machine)
                self.owed -= len(rows)
                self.trained += len(rows)
        self.weights = state.resident.parameters.detach().cpu().numpy().copy()
        return Round(self.row(number, work, machine))

    def learn(self, rows: Rows, batch: Batch, losses: Losses) -> None:
        """Take a step on the batch of some rows, of which some may have turned out to be damaged."""
        if len(batch) < len(rows):
            self.skipped.update(set(map(int, rows)).difference(batch.indices))
        local.step(self.state, batch.to(self.state.resident.parameters.device), losses)

    def learn_from_teacher(self, rows: Rows, rng: np.random.Generator, tally: Tally) -> None:
        """Take a step on machine-labelled speech, whose loss is in other units and counted apart."""
        assert self.lessons is not None
        assert self.mixture.machine is not None
        lessons, weight = self.lessons, self.config.distillation.weight

        def losses(model: SpeechModel, batch: Batch) -> torch.Tensor:
            return weight * lessons.losses(model, batch)

        state, before = self.state, (self.state.loss, self.state.utterances)
        state.loss, state.utterances = tally.loss, tally.utterances
        self.learn(rows, lessons.batch(rows, rng, self.mixture.machine.number), losses)
        tally.loss, tally.utterances = state.loss, state.utterances
        state.loss, state.utterances = before

    def row(self, round: int, work: Work, machine: Tally) -> dict[str, Any]:
        """Return the row of a round without its evaluation."""
        state = self.state
        taught: dict[str, Any] = {}
        if self.lessons is not None:
            mean = machine.mean / self.config.distillation.weight
            taught = {"machine_loss": mean, "machine_utterances": machine.utterances}
        loss = state.loss / state.utterances if state.utterances else float("nan")
        return {**pooled_row(round, work, self.mixture.period + 1), "train_loss": loss, **taught}

    def save(self) -> None:
        """Write the checkpoint of the current round."""
        central = {
            **self.mixture.state_dict(),
            "owed": self.owed,
            "trained": self.trained,
            "skipped": sorted(self.skipped),
        }
        self.write_checkpoint(state_of(self.state.optimizer), {"central": central}, {})

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is of another kind of run.
        """
        central = saved.facts.get("central")
        if not isinstance(central, dict):
            raise InputError("is no checkpoint of central training; start anew in another folder", where=self.where)
        super().restore(saved)
        state = self.state
        state.resident.load(self.layout.views(self.weights))
        load_state(state.optimizer, saved.optimizer, state.resident.parameters.device)
        self.mixture.load_state_dict(central)
        self.owed, self.trained, self.skipped = central["owed"], central["trained"], set(central["skipped"])
        # What a selector remembers follows from the cohorts before.
        for number in range(1, saved.round + 1):
            self.budget.of(number)

    @property
    def where(self) -> str:
        """The file of the checkpoint."""
        return str(self.folder.checkpoint / checkpoint.NAME)

    def facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` has beside what every run has."""
        return {
            "delta": None,
            "utterances_trained": self.trained,
            "utterances_skipped": self.experiment.skipped + len(self.skipped),
            **super().facts(),
        }
