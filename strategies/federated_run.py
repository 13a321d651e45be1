"""Federated training: what a round of it is, and what it has to keep."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from fedasr.attacks import described
from fedasr.config import Config
from fedasr.experiment import Experiment, as_json
from fedasr.protocol import Status
from fedasr.runtime import checkpoint, client_states
from fedasr.runtime.edge_grid import EdgeGrid
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import current
from fedasr.training.schedules import learning_rate
from fedasr.typing import Floats

from .aggregation.server_optimizers import make_optimizer
from .canaries import make_canaries, took_turns
from .edge_devices import EdgeDevices, InFlight
from .estimates.fleet import FleetEstimates, notes_of
from .estimates.private import PrivateEstimates
from .fairness.factory import make_reweighting
from .frozen_tensors import FrozenTensors
from .label_teacher import LabelTeacher
from .nodes import node_ids
from .population import Cohort, Population
from .privacy.factory import make_mechanism
from .privacy.user_level import UserLevel
from .rounds import RoundResult, Rounds
from .secure.estimates import SecureEstimates
from .secure.rounds import SecureRounds
from .selection import Feedback, Selection
from .selection.base import Ids
from .server_run import Round, ServerRun
from .server_steps import ServerSteps
from .soundness import check_finite, check_used
from .traits import StrategyTraits

NOBODY = Cohort(Selection(np.zeros(0, np.int64), np.zeros(0)), None)
"""The cohort of a round in which no device trains."""
OF_ESTIMATES = ("wer_estimate", "wer_low", "wer_high", "panel_words", "fleet_wer")
"""Columns of ``rounds.parquet`` that are those of all speech in ``estimates.parquet``."""


class FederatedRun(ServerRun):
    """A federated run on a grid.

    Args:
        grid: any Flower grid.
        experiment: what is trained on what.
        folder: where the run is written.
    """

    traits: ClassVar[StrategyTraits] = StrategyTraits(canaries=True)
    rounds_type: ClassVar[type[Rounds]] = Rounds
    """what runs its rounds, without secure aggregation"""

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder) -> None:
        super().__init__(grid, experiment, folder)
        self.optimizer = make_optimizer(self.config.strategy, self.layout, self.config.selection.clients_per_round)
        make_rounds = self.rounds_type if self.config.secure_aggregation.mode == "none" else SecureRounds
        self.rounds = make_rounds(
            grid, self.config, as_json(self.config), experiment.partition, self.layout, folder.checkpoint
        )
        self.rounds.frozen = FrozenTensors(experiment.frozen)
        self.teacher = LabelTeacher(self.config, self.weights)
        self.server_steps = ServerSteps(experiment, self.layout)
        sent, reply_bytes = self.rounds.clock_bytes(lambda: self.weights, self.teacher.weights is not None)
        self.population = Population(experiment, sent, reply_bytes, self.ask)
        self.rounds.nodes = node_ids(grid, self.population.clients)
        self.edge_devices = EdgeDevices(grid, as_json(self.config)) if isinstance(grid, EdgeGrid) else None
        self.in_flight = InFlight(folder.checkpoint)
        self.asked_bytes = 0
        self.privacy = make_mechanism(self.config, self.layout, len(self.population), self.population.selector)
        self.estimates = self.make_estimates()
        self.canaries = make_canaries(self.config, self.layout, self.population.clients, self.privacy)
        self.reweighting = make_reweighting(experiment)
        self.contradiction: str | None = None
        """what an audit by canary users says against the ledger"""
        self.skipped: dict[int, int] = {}
        """client → its utterances that could not be decoded when it last trained"""

    def round(self, number: int) -> Round | None:
        """Run a round, from the selection to the new weights; None where its privacy cannot be afforded."""
        config = self.config
        self.asked_bytes = 0
        if self.edge_devices is not None:
            self.edge_devices.look(number, self.population.roster)
        waited = self.population.begin(number)
        roster, privacy = self.population.roster, self.privacy
        stopped = privacy.stop(number, roster)
        if stopped is not None:
            self.end_early(stopped)
            return None
        cohort = self.population.choose(number, waited) if devices_train(self.config) else NOBODY
        privacy.admit(cohort.selection, number)
        if self.edge_devices is not None:
            self.in_flight.note(number, cohort.selection.clients)
        weighed, canaries = cohort.selection, self.canaries
        if canaries is not None:
            cohort, inserted = canaries.split(cohort)
        self.rounds.teacher = self.teacher.weights
        multipliers = self.reweigh(number, cohort.selection)
        result = self.rounds.train(number, self.weights, cohort, roster, privacy.clip(), weighed, multipliers)
        if canaries is not None:
            canaries.add(number, inserted, result, roster, privacy)
        update = privacy.release(result, number, len(roster))
        seen = None if canaries is None else canaries.seen(number, update)
        if update is not None:
            if self.reweighting is not None:
                update = update * np.float32(self.reweighting.scale(result.weights, result.norms))
            rate = learning_rate(config.strategy, number, config.rounds)
            self.weights = self.optimizer.step(self.weights, update, number, rate)
            check_finite(self.weights, number, config)
        self.weights = self.server_steps.after(number, self.weights)
        self.teacher.follow(self.weights)
        roster.exclude(privacy.excluded)
        self.observe(number, result)
        row = self.row(number, result)
        row["simulated_seconds"] = cohort.seconds
        row["bytes_down"] += self.asked_bytes
        if config.evaluate.client_side and number % config.evaluate.client_side == 0:
            clients = [int(client) for client in cohort.selection.clients]
            row["client_wer"], extra = self.rounds.evaluate(number, self.weights, clients, roster)
            row["bytes_down"] += extra
        estimates: list[dict[str, Any]] = []
        if self.estimates.due(number):
            estimates, traffic = self.estimates.after(number, self.weights, roster)
            row |= {name: estimates[0][name] for name in OF_ESTIMATES}
            row["bytes_up"] += traffic.up
            row["bytes_down"] += traffic.down
        self.totals["updates"] += row["clients_replied"]
        self.totals["bytes_up"] += row["bytes_up"]
        self.totals["bytes_down"] += row["bytes_down"]
        notes = [*notes_of(estimates), *result.failures, *self.rounds.take_notes()]
        more = {} if seen is None else {"canaries": [seen.as_row()]}
        return Round(row, result.rows, notes, {**more, "estimates": estimates})

    def make_estimates(self) -> FleetEstimates:
        """Return what estimates the error rate on the devices' own speech."""
        if isinstance(self.rounds, SecureRounds):
            return SecureEstimates(self.experiment, self.rounds, self.layout, self.folder)
        if self.config.evaluate.estimate.noise_multiplier:
            assert isinstance(self.privacy, UserLevel)
            return PrivateEstimates(self.experiment, self.rounds, self.layout, self.folder, self.privacy)
        return FleetEstimates(self.experiment, self.rounds, self.layout, self.folder)

    def reweigh(self, round: int, selection: Selection) -> dict[int, float] | None:
        """Ask the clients of a round for their losses, and return by what their weights are multiplied; None: by 1."""
        if self.reweighting is None:
            return None
        clients = selection.clients
        losses, asked_bytes = self.rounds.losses(round, self.weights, clients, batch=False)
        self.asked_bytes += asked_bytes
        weighting = self.rounds.weighting(selection, self.population.roster, None)
        return self.reweighting.multipliers(clients, losses, weighting.expected_of(clients, self.population.roster))

    def ask(self, round: int, clients: Ids) -> Floats:
        """Ask clients for the loss of the global model, for the selector."""
        batch = self.config.selection.probe == "batch"
        losses, self.asked_bytes = self.rounds.losses(round, self.weights, clients, batch)
        return losses

    def observe(self, round: int, result: RoundResult) -> None:
        """Note who took part, for the selector."""
        if self.edge_devices is not None and self.config.secure_aggregation.mode == "none":
            self.edge_devices.heard(result.rows)  # else they have said nothing of themselves, and are asked again
        rows = result.everybody
        good = [row for row in rows if row["status"] == Status.OK]
        ids = np.array([row["id"] for row in good], np.int64)

        def column(name: str) -> npt.NDArray[np.float64]:
            return np.array([row[name] for row in good], np.float64)

        missing = np.array([row["id"] for row in rows if row["status"] != Status.OK], np.int64)
        examples = column("examples").astype(np.int64)
        loss, square, duration = column("train_loss"), column("loss_square"), column("duration_s")
        self.skipped.update((row["id"], row["skipped"]) for row in good if row["skipped"])
        self.population.observe(Feedback(round, ids, loss, square, examples, duration, missing))

    def row(self, round: int, result: RoundResult) -> dict[str, Any]:
        """Return the row of a round without its evaluation."""
        return {
            "round": round,
            "train_loss": result.train_loss,
            "clients_selected": len(result.rows),
            "clients_replied": result.replied,
            "clients_failed": len(result.failures),
            "examples": result.examples,
            "audio_seconds": result.audio_seconds,
            "bytes_up": result.bytes_up,
            "bytes_down": result.bytes_down,
            "update_norm": result.norm,
            "period": self.population.period + 1,
            **({} if result.unsent is None else {"unsent_norm": result.unsent}),
            **(result.labels.columns() if self.rounds.labelling else {}),
        }

    @property
    def clients(self) -> int:
        """The number of clients; canary users are none."""
        return self.population.clients

    def epsilon(self) -> float | None:
        """Return what was spent so far; None where nothing private is released."""
        return self.privacy.epsilon()

    def document(self) -> dict[str, Any] | None:
        """Return the ledger; None: nothing private ran."""
        return self.privacy.document()

    def save(self) -> None:
        """Write the checkpoint of the current round."""
        facts: dict[str, Any] = {"population": self.population.state_dict(), "privacy": self.privacy.state_dict()}
        if self.reweighting is not None:
            facts["fairness"] = self.reweighting.fairness.state
        self.write_checkpoint(self.optimizer.state, facts, self.columns())

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of a checkpoint, beside weights and the state of the optimiser."""
        differences = self.rounds.differences
        sent = {} if differences is None else differences.arrays()
        return {**self.privacy.arrays(), **self.teacher.arrays(), **self.rounds.frozen.arrays(), **sent}

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint."""
        super().restore(saved)
        self.optimizer.state = dict(saved.optimizer)
        self.population.load_state_dict(saved.facts["population"], saved.round)
        self.privacy.load_state_dict(saved.facts["privacy"])
        if self.reweighting is not None:
            self.reweighting.fairness.state = saved.facts["fairness"]
        columns = self.rounds.frozen.load_arrays(self.teacher.load_arrays(saved.columns))
        if self.rounds.differences is not None:
            columns = self.rounds.differences.load_arrays(columns)
            if self.rounds.on_the_wire and not client_states.kept(self.grid):
                # Flower begins with empty states: sent differences, every device would fail, and no round would end.
                self.rounds.differences.forget_holders()
        self.privacy.load_arrays(columns)
        self.population.roster.exclude(self.privacy.excluded)
        # The roster's memory of who took part is what the journal says; of losses it has none in a private run.
        public = self.config.privacy.unit == "none"
        for row in self.folder.rows("clients"):
            if row["status"] == Status.OK:
                loss, duration = (np.nan if row[name] is None else row[name] for name in ("train_loss", "duration_s"))
                loss = loss if public else np.nan
                self.population.roster.note(row["round"], np.array([row["id"]]), [loss], [duration])
                if row["skipped"]:
                    self.skipped[row["id"]] = row["skipped"]
        for row in self.folder.rows("canaries"):
            took_part = took_turns(row, self.clients)
            unknown = np.full(len(took_part), np.nan)
            self.population.roster.note(row["round"], took_part, unknown, unknown)
        lost = self.in_flight.lost(saved.round)
        if lost:
            self.privacy.lost(lost, saved.round + 1)
            self.population.roster.exclude(self.privacy.excluded)
            self.save()
        self.in_flight.forget()

    def facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` has beside what every run has."""
        attack = described(self.config, self.experiment.partition.names)
        return {
            "delta": None if self.config.privacy.unit == "none" else self.config.privacy.delta,
            "utterances_skipped": self.experiment.skipped + sum(self.skipped.values()),
            **super().facts(),
            **({} if attack is None else {"attack": attack}),
            **({} if self.reweighting is None else self.reweighting.facts()),
            **({} if self.canaries is None else self.canaries_facts()),
        }

    def canaries_facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` says of the canary users, and whether the ledger is contradicted."""
        assert self.canaries is not None
        held_out = self.canaries.count - self.canaries.inserted
        return {"canaries": self.canaries.inserted, "canaries_held_out": held_out, "contradiction": self.contradiction}

    def audit(self, status: str) -> None:
        """Hold what canary users show against the ledger, where the run is done, and write it to ``audit.json``."""
        if self.canaries is None or status != "done":
            return
        # SciPy's and pandas' seconds are spent where there is something to audit.
        from fedasr.audits.canaries import COMMAND, audit_canaries
        from fedasr.audits.file import write_findings

        self.folder.write_table("canaries")
        self.write_ledger()
        findings = audit_canaries(self.folder.path)
        write_findings(self.folder.path, COMMAND, findings)
        for finding in findings:
            current().watcher.note(f"audit: {finding.sentence}")
        self.contradiction = next((finding.sentence for finding in findings if finding.contradiction), None)

    def finish(self, status: str) -> None:
        """Write the final model, the ledger and the summary.

        Raises:
            RunFailed: the run is done, and nobody's update was used.
        """
        self.audit(status)
        super().finish(status)
        # In a private run that nobody's update was used is a fact of its speech: noise was released all the same.
        silent = self.rounds.fails_in_silence or not devices_train(self.config)
        if status == "done" and "stopped" not in self.last and not silent:
            check_used(self.totals["updates"], self.folder, self.config)


def devices_train(config: Config) -> bool:
    """Say whether any device is taught by anything."""
    return config.client.labels != "none" or config.client.labelled_share > 0
