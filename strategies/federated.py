"""The life of a federated run: rounds, evaluation, tables, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from fedasr.evaluation.evaluator import Evaluation
from fedasr.experiment import Experiment, as_json
from fedasr.models.weights import Layout, save_weights, sha256
from fedasr.runtime import checkpoint, client_states
from fedasr.runtime.box_grid import BoxGrid
from fedasr.runtime.flower_compat import content_bytes
from fedasr.runtime.run_folder import RunFolder, write_json
from fedasr.runtime.session import current
from fedasr.training.schedules import learning_rate
from strategies.aggregation.server_optimizers import make_optimizer
from strategies.boxes import Boxes
from strategies.evaluations import Evaluations
from strategies.nodes import node_ids
from strategies.population import Population
from strategies.privacy.factory import make_mechanism
from strategies.rounds import RoundResult, Rounds
from strategies.selection import Feedback
from strategies.selection.base import Floats, Ids

TABLES_EVERY_SECONDS = 20.0
"""How often the Parquet tables are brought up to date, so that a notebook can follow a run."""


class Federation:
    """A federated run on a grid.

    Args:
        grid: any Flower grid.
        experiment: what is trained on what.
        folder: where the run is written.
        resume: go on from the folder's checkpoint where there is one.
    """

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder, resume: bool) -> None:
        self.experiment = experiment
        self.config = experiment.config
        self.grid = grid
        self.folder = folder
        arrays = experiment.first_weights()
        self.layout = Layout.of(arrays)
        self.weights = self.layout.flatten(arrays, np.empty(self.layout.size, np.float32))
        self.optimizer = make_optimizer(self.config.strategy, self.layout)
        self.evaluations = Evaluations(experiment, self.layout, folder)
        self.rounds = Rounds(
            grid, self.config, as_json(self.config), experiment.partition, self.layout, folder.checkpoint
        )
        message_bytes = content_bytes(self.rounds.content(0, self.weights))
        self.population = Population(experiment, message_bytes, self.ask)
        self.rounds.nodes = node_ids(grid, len(self.population))
        self.boxes = Boxes(grid, as_json(self.config)) if isinstance(grid, BoxGrid) else None
        self.asked_bytes = 0
        self.privacy = make_mechanism(self.config, self.layout, len(self.population))
        self.round = 0
        self.totals: dict[str, float] = {"updates": 0, "bytes_up": 0, "bytes_down": 0, "wall_seconds": 0.0}
        self.last: dict[str, Any] = {}
        self.skipped: dict[int, int] = {}
        """client → its utterances that could not be decoded when it last trained"""
        self.started = time.perf_counter()
        self.tables_written = time.perf_counter()
        found = checkpoint.load(folder.checkpoint) if resume else None
        if found is not None:
            self.restore(found)

    def run(self) -> str:
        """Run to the end, or until somebody asks to stop; return ``done`` or ``interrupted``."""
        session = current()
        config = self.config
        if self.round == 0:
            self.folder.rewind({})
            if config.init_from is not None or config.rounds == 0:
                start = self.evaluate(0)
                self.last = {"initial_wer": start.errors.wer, "initial_loss": start.loss}
                if config.rounds == 0:
                    self.last.update(wer=start.errors.wer, cer=start.errors.cer, loss=start.loss)
            self.save()
        session.watcher.begin(config.name, config.rounds, self.round, len(self.population))
        try:
            while self.round < config.rounds and not session.stop.is_set():
                if not self.one_round(self.round + 1):
                    break
        finally:
            session.watcher.end()
            self.folder.write_tables()
        stopped = self.last.get("stopped")
        if stopped is not None:
            session.watcher.note(f"the run ends here: {stopped}")
        return self.finish("done" if stopped is not None or self.round >= config.rounds else "interrupted")

    def one_round(self, round: int) -> bool:
        """Run a round, from the selection to the checkpoint; return False where its privacy cannot be afforded."""
        started = time.perf_counter()
        config = self.config
        self.asked_bytes = 0
        if self.boxes is not None:
            self.boxes.look(round, self.population.roster)
        waited = self.population.begin(round)
        roster, privacy = self.population.roster, self.privacy
        selectable = len(roster.selectable)
        stopped = privacy.stop(round, roster)
        if stopped is not None:
            self.last["stopped"] = stopped
            return False
        cohort = self.population.choose(round, waited)
        result = self.rounds.train(round, self.weights, cohort, roster, privacy.clip())
        update = privacy.release(result, round, selectable)
        if update is not None:
            rate = learning_rate(config.strategy, round, config.rounds)
            self.weights = self.optimizer.step(self.weights, update, round, rate)
        roster.retire(privacy.retired)
        self.observe(round, result)
        row = self.row(round, result)
        row["simulated_seconds"] = cohort.seconds
        row["bytes_down"] += self.asked_bytes
        if config.evaluate.client_side and round % config.evaluate.client_side == 0:
            clients = [int(client) for client in cohort.selection.clients]
            row["client_wer"], extra = self.rounds.evaluate(round, self.weights, clients, roster)
            row["bytes_down"] += extra
        if self.evaluations.due(round):
            found = self.evaluate(round)
            row.update(loss=found.loss, wer=found.errors.wer, cer=found.errors.cer)
            row["epsilon"] = privacy.epsilon()
            self.last.update(loss=found.loss, wer=found.errors.wer, cer=found.errors.cer)
        row["wall_seconds"] = time.perf_counter() - started
        self.folder.append("rounds", [row])
        self.folder.append("clients", result.rows)
        self.totals["updates"] += row["clients_replied"]
        self.totals["bytes_up"] += row["bytes_up"]
        self.totals["bytes_down"] += row["bytes_down"]
        self.round = round
        self.save()
        session = current()
        for failure in [*result.failures, *self.rounds.take_notes()][:3]:
            session.watcher.note(f"round {round}: {failure}")
        session.watcher.round(row)
        if time.perf_counter() - self.tables_written > TABLES_EVERY_SECONDS:
            self.folder.write_tables()
            self.tables_written = time.perf_counter()
        return True

    def ask(self, round: int, clients: Ids) -> Floats:
        """Ask clients for the loss of the global model, for the selector."""
        batch = self.config.selection.probe == "batch"
        losses, self.asked_bytes = self.rounds.losses(round, self.weights, clients, batch)
        return losses

    def observe(self, round: int, result: RoundResult) -> None:
        """Note who took part, for the selector."""
        if self.boxes is not None:
            self.boxes.heard(result.rows)
        good = [row for row in result.rows if row["status"] == "ok"]
        ids = np.array([row["id"] for row in good], np.int64)

        def column(name: str) -> npt.NDArray[np.float64]:
            return np.array([row[name] for row in good], np.float64)

        missing = np.array([row["id"] for row in result.rows if row["status"] != "ok"], np.int64)
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
            "clients_replied": result.mean.updates,
            "clients_failed": len(result.failures),
            "examples": result.examples,
            "audio_seconds": result.audio_seconds,
            "bytes_up": result.bytes_up,
            "bytes_down": result.bytes_down,
            "update_norm": result.norm,
            "period": self.population.period + 1,
        }

    def evaluate(self, round: int) -> Evaluation:
        """Evaluate the global model on held-out speakers, and whatever else is due."""
        return self.evaluations.evaluate(round, self.weights)

    def save(self) -> None:
        """Write the checkpoint of the current round."""
        spent = {**self.totals, "wall_seconds": self.totals["wall_seconds"] + time.perf_counter() - self.started}
        checkpoint.save(
            self.folder.checkpoint,
            checkpoint.Checkpoint(
                self.round,
                self.layout.views(self.weights),
                self.optimizer.state,
                client_states.dump(self.grid),
                {
                    "totals": spent,
                    "last": self.last,
                    "population": self.population.state_dict(),
                    "privacy": self.privacy.state_dict(),
                    "journals": self.folder.positions(),
                },
                self.privacy.arrays(),
            ),
        )

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.round = found.round
        self.weights = self.layout.flatten(found.weights, np.empty(self.layout.size, np.float32))
        self.optimizer.state = dict(found.optimizer)
        self.totals = dict(found.facts["totals"])
        self.last = dict(found.facts["last"])
        self.population.load_state_dict(found.facts["population"], found.round)
        self.privacy.load_state_dict(found.facts["privacy"])
        self.privacy.load_arrays(found.columns)
        self.population.roster.retire(self.privacy.retired)
        client_states.load(self.grid, found.states)
        self.folder.rewind(found.facts["journals"])
        # The roster's memory of who took part is what the journal says.
        for row in self.folder.rows("clients"):
            if row["status"] == "ok":
                loss, duration = (np.nan if row[name] is None else row[name] for name in ("train_loss", "duration_s"))
                self.population.roster.note(row["round"], np.array([row["id"]]), [loss], [duration])
                if row["skipped"]:
                    self.skipped[row["id"]] = row["skipped"]

    def finish(self, status: str) -> str:
        """Write the final model and the summary."""
        arrays = self.layout.views(self.weights)
        wall = self.totals["wall_seconds"] + time.perf_counter() - self.started
        save_weights(self.folder.path / "model.safetensors", arrays)
        self.experiment.tokenizer.save(self.folder.path / "tokenizer.json")
        document = self.privacy.document()
        if document is not None:
            write_json(self.folder.path / "privacy.json", document)
            if "guarantee" in document:
                current().watcher.note(f"privacy: {document['guarantee']}")
        write_json(self.folder.path / "summary.json", self.summary(status, arrays, wall))
        return status

    def summary(self, status: str, arrays: Mapping[str, Any], wall: float) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        updates = int(self.totals["updates"])
        return {
            "name": self.config.name,
            "status": status,
            "seed": self.config.seed,
            "rounds": self.round,
            "wer": self.last.get("wer"),
            "cer": self.last.get("cer"),
            "loss": self.last.get("loss"),
            "updates": updates,
            "updates_per_second": updates / wall if wall else None,
            "wall_seconds": wall,
            "bytes_up": int(self.totals["bytes_up"]),
            "bytes_down": int(self.totals["bytes_down"]),
            "parameters": self.layout.size,
            "model_sha256": sha256(arrays),
            "epsilon": self.privacy.epsilon(),
            "delta": None if self.config.privacy.unit == "none" else self.config.privacy.delta,
            "clients": len(self.population),
            "utterances_skipped": self.experiment.skipped + sum(self.skipped.values()),
            **{key: value for key, value in self.last.items() if key.startswith("initial_") or key == "stopped"},
        }
