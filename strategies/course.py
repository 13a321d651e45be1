"""What every run keeps whatever happens in its rounds: weights, totals, tables, checkpoints, the summary."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from fedasr.experiment import Experiment
from fedasr.files import write_json
from fedasr.models.weights import Layout, save_weights, sha256
from fedasr.privacy.document import with_caveat
from fedasr.privacy.public_start import caveat
from fedasr.runtime import checkpoint, client_states, fingerprint
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import current

from .evaluations import Evaluations
from .soundness import check_evaluation

TABLES_EVERY_SECONDS = 20.0
"""How often the Parquet tables are brought up to date, so that a notebook can follow a run."""

Arrays = Mapping[str, npt.NDArray[Any]]


class Course(ABC):
    """A run on a grid.

    Args:
        grid: any Flower grid.
        experiment: what is trained on what.
        folder: where the run is written.
    """

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder) -> None:
        self.grid = grid
        self.experiment = experiment
        self.config = experiment.config
        self.folder = folder
        arrays = experiment.first_weights()
        self.layout = Layout.of(arrays)
        self.weights = self.layout.flatten(arrays, np.empty(self.layout.size, np.float32))
        self.evaluations = Evaluations(experiment, self.layout, folder)
        self.start_caveat = caveat(self.config) if self.config.privacy.unit != "none" else None
        """what the ε of a private run does not cover of what it starts from"""
        self.round = 0
        self.totals: dict[str, float] = {"updates": 0, "bytes_up": 0, "bytes_down": 0, "wall_seconds": 0.0}
        self.last: dict[str, Any] = {}
        """what the summary says last: of the newest evaluation, and why the run ended early"""
        self.started = self.tables_written = time.perf_counter()

    @cached_property
    def speech_digest(self) -> str | None:
        """What the run was started with, which a resumed one is compared with."""
        return fingerprint.digest_in(self.folder.checkpoint)

    @property
    @abstractmethod
    def clients(self) -> int:
        """The number of clients."""

    @abstractmethod
    def epsilon(self) -> float | None:
        """Return what was spent so far; None where nothing private is released."""

    @abstractmethod
    def document(self) -> dict[str, Any] | None:
        """Return the content of ``privacy.json``, with what was charged so far; None: nothing private ran."""

    @abstractmethod
    def run(self) -> str:
        """Run to the end, or until somebody asks to stop; return ``done`` or ``interrupted``."""

    def seconds(self) -> float:
        """Return how long the run has taken, before it was resumed as well."""
        return self.totals["wall_seconds"] + time.perf_counter() - self.started

    def evaluate_start(self) -> None:
        """Evaluate what the run starts from, where that is no chance, or all there is."""
        if self.config.init_from is None and self.config.rounds > 0:
            return
        if self.start_caveat is not None:
            current().watcher.note(f"privacy: {self.start_caveat}")
        found = self.evaluations.evaluate(0, self.weights)
        self.last.update(initial_wer=found.errors.wer, initial_loss=found.loss)
        if self.config.rounds == 0:
            self.last.update(wer=found.errors.wer, cer=found.errors.cer, loss=found.loss)

    def evaluate_into(self, row: dict[str, Any]) -> None:
        """Evaluate the weights after the round of a row, where that is due, and write down what was found."""
        if self.evaluations.due(row["round"]):
            evaluation = self.evaluations.evaluate(row["round"], self.weights)
            check_evaluation(evaluation, row["round"], self.config)
            found = {"loss": evaluation.loss, "wer": evaluation.errors.wer, "cer": evaluation.errors.cer}
            row.update(found, epsilon=self.epsilon())
            self.last.update(found)

    def write_tables_in_time(self) -> None:
        """Bring the tables up to date where they are old."""
        if time.perf_counter() - self.tables_written > TABLES_EVERY_SECONDS:
            self.folder.write_tables()
            self.tables_written = time.perf_counter()

    def write_checkpoint(self, optimizer: Arrays, facts: Mapping[str, Any], columns: Arrays) -> None:
        """Write the checkpoint of the current round.

        Args:
            optimizer: its state.
            facts: what else the run knows, to go on from; JSON.
            columns: the same as arrays.
        """
        # The page on boxes promises it: whoever loses power finds the last checkpoint or this one.
        durable = self.config.runtime.name == "deployment"
        if durable:
            self.folder.keep()
        checkpoint.save(
            self.folder.checkpoint,
            checkpoint.Checkpoint(
                self.round,
                self.layout.views(self.weights),
                optimizer,
                client_states.dump(self.grid),
                {
                    "totals": {**self.totals, "wall_seconds": self.seconds()},
                    "last": self.last,
                    "speech": self.speech_digest,
                    **facts,
                    "journals": self.folder.positions(),
                },
                columns,
            ),
            durable=durable,
        )

    def go_on_from(self, found: checkpoint.Checkpoint) -> None:
        """Take from a checkpoint what every run has, and cut the tables back to it."""
        self.round = found.round
        self.weights = self.layout.flatten(found.weights, np.empty(self.layout.size, np.float32))
        self.totals = dict(found.facts["totals"])
        self.last = dict(found.facts["last"])
        client_states.load(self.grid, found.states)
        self.folder.rewind(found.facts["journals"])

    @contextmanager
    def ledger_kept(self) -> Iterator[None]:
        """Write ``privacy.json`` where the run fails or is killed by a signal: what was released has its price."""
        try:
            yield
        except BaseException:
            self.write_ledger()
            raise

    def write_ledger(self) -> dict[str, Any] | None:
        """Write what was charged so far as ``privacy.json`` and return it; None: nothing private ran."""
        document = self.document()
        if document is None:
            return None
        document = with_caveat(document, self.start_caveat)
        write_json(self.folder.path / "privacy.json", document, durable=self.config.runtime.name == "deployment")
        return document

    def write_end(self, status: str, more: Mapping[str, Any]) -> None:
        """Write the model, the ledger and the summary.

        Args:
            status: ``done`` or ``interrupted``.
            more: of the summary, beside what every run has.
        """
        arrays = self.layout.views(self.weights)
        save_weights(self.folder.path / "model.safetensors", arrays)
        self.experiment.tokenizer.save(self.folder.path / "tokenizer.json")
        facts: dict[str, Any] = {}
        document = self.write_ledger()
        if document is not None:
            said = [str(text) for name, text in document.items() if name.startswith("guarantee")]
            for text in said:
                current().watcher.note(f"privacy: {text}")
            # Nobody is to read the ε of the summary without what it depends on.
            facts = {"guarantee": " | ".join(said), "randomness": document.get("randomness")} if said else {}
        wall, updates = self.seconds(), int(self.totals["updates"])
        summary = {
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
            "epsilon": self.epsilon(),
            **facts,
            "clients": self.clients,
            "utterances_left_out": self.experiment.left_out,
            **more,
        }
        write_json(self.folder.path / "summary.json", summary)
