"""The skeleton of a run: what happens whatever the rounds do.

Start or resumption, the loop over rounds, evaluation where it is due, tables, checkpoints, requests to stop, callbacks,
the ledger where the run fails, the summary. A strategy is a subclass that says what a round is.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from fedasr.config.loading import get
from fedasr.config.schema import walk
from fedasr.evaluation.evaluator import Evaluation
from fedasr.experiment import Experiment
from fedasr.files import write_json
from fedasr.models.weights import Layout, save_weights, sha256
from fedasr.privacy.document import with_caveat
from fedasr.privacy.initial_model import caveat
from fedasr.runtime import checkpoint, client_states, fingerprint
from fedasr.runtime.callbacks import Callbacks, EvaluationFacts, RunFacts, named
from fedasr.runtime.launch import read_summary, summary_of
from fedasr.runtime.run_folder import ROUND_COLUMNS, RunFolder
from fedasr.runtime.session import current

from .evaluations import Evaluations
from .soundness import check_evaluation, check_finite
from .traits import StrategyTraits

TABLES_EVERY_SECONDS = 20.0
"""How often the Parquet tables are brought up to date, so that a notebook can follow a run."""
MOST_NOTES = 3
"""Notes of a round that are shown."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass
class Round:
    """What a round leaves, beside new weights."""

    row: dict[str, Any]
    """of ``rounds.parquet``; without ``loss``, ``wer``, ``cer``, ``epsilon`` and ``wall_seconds``, which follow"""
    clients: list[dict[str, Any]] = field(default_factory=list)
    """rows of ``clients.parquet``"""
    notes: list[str] = field(default_factory=list)
    """what a person should know of it"""
    more: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """rows of other tables, by table"""


class ServerRun(ABC):
    """A run on a grid. A strategy gives ``round`` and ``clients``, and what else it has to keep.

    Args:
        grid: any Flower grid.
        experiment: what is trained on what.
        folder: where the run is written.
    """

    traits: ClassVar[StrategyTraits] = StrategyTraits()

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder) -> None:
        self.grid = grid
        self.experiment = experiment
        self.config = experiment.config
        self.folder = folder
        arrays = experiment.first_weights()
        self.layout = Layout.of(arrays)
        self.weights = self.layout.flatten(arrays, np.empty(self.layout.size, np.float32))
        """of the global model, shape ``(parameters,)``"""
        self.evaluations = Evaluations(experiment, self.layout, folder)
        self.initial_model_caveat = caveat(self.config) if self.config.privacy.unit != "none" else None
        """what the ε of a private run does not cover of what it starts from"""
        self.rounds_done = 0
        self.totals: dict[str, float] = {"updates": 0, "bytes_up": 0, "bytes_down": 0, "wall_seconds": 0.0}
        self.last: dict[str, Any] = {}
        """what the summary says last: of the newest evaluation, and why the run ended early"""
        self.ended: str | None = None
        """why the run ends before its last round"""
        self.callbacks = Callbacks(named(current().callbacks))
        self.started = self.tables_written = time.perf_counter()

    @property
    @abstractmethod
    def clients(self) -> int:
        """The number of clients."""

    @abstractmethod
    def round(self, number: int) -> Round | None:
        """Run a round and leave its weights in ``self.weights``; None where the run ends before it (``end_early``).

        Args:
            number: counted from 1.
        """

    def participants(self) -> int:
        """Return how many take part: the clients, unless one of them stands for several."""
        return self.clients

    def before_rounds(self) -> bool:
        """Do what comes before the rounds that are left; return False where somebody asked to stop meanwhile."""
        return True

    def epsilon(self) -> float | None:
        """Return what was spent so far; None where nothing private is released."""
        return None

    def document(self) -> dict[str, Any] | None:
        """Return the content of ``privacy.json``, with what was charged so far; None: nothing private ran."""
        return None

    def save(self) -> None:
        """Write the checkpoint of the current round."""
        self.write_checkpoint({}, {}, {})

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint, the tables cut back to it."""
        self.rounds_done = saved.round
        self.weights = self.layout.flatten(saved.weights, np.empty(self.layout.size, np.float32))
        self.totals = dict(saved.facts["totals"])
        self.last = dict(saved.facts["last"])
        client_states.load(self.grid, saved.states)
        self.folder.rewind(saved.facts["journals"])

    def facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` has beside what every run has."""
        return {name: value for name, value in self.last.items() if name.startswith("initial_") or name == "stopped"}

    def finish(self, status: str) -> None:
        """Write the final model, the ledger and the summary.

        Args:
            status: ``done`` or ``interrupted``.
        """
        self.write_end(status, self.facts())

    def run(self, resume: bool) -> str:
        """Run to the end, or until somebody asks to stop; return ``done`` or ``interrupted``.

        Args:
            resume: go on from the folder's checkpoint where there is one.
        """
        try:
            status = self.whole_run(resume)
            if self.callbacks and status == "done":
                # A tracker keeps the report, so that it must be there before the end is told.
                from fedasr.results.pages.report import write_report

                write_report(self.folder.path)
        except BaseException as error:
            summary = summary_of(error, self.config)
            self.callbacks.end(summary["status"], summary, quietly=True)  # the first failure is the one to tell
            raise
        self.callbacks.end(status, read_summary(self.folder.path))
        return status

    def whole_run(self, resume: bool) -> str:
        """Do all of ``run`` but tell the callbacks that it is over."""
        watcher = current().watcher
        saved = checkpoint.load(self.folder.checkpoint) if resume else None
        self.callbacks.load({} if saved is None else saved.facts.get("callbacks", {}))
        if saved is None:
            self.folder.rewind({})
            self.evaluate_start()
            self.save()
        else:
            self.restore(saved)
        watcher.begin(self.config.name, self.config.rounds, self.rounds_done, self.participants())
        with self.tables_kept(), self.ledger_kept():
            try:
                self.tell_start(saved is not None)
                finished = self.all_rounds()
            finally:
                watcher.end()
        if self.ended is not None:
            watcher.note(f"the run ends here: {self.ended}")
        status = "done" if finished else "interrupted"
        self.finish(status)
        return status

    def all_rounds(self) -> bool:
        """Run the rounds that are left; return False where somebody asked to stop before the run was at its end."""
        if self.ended is not None:
            return True
        if not self.before_rounds():
            return False
        while self.rounds_done < self.config.rounds and self.ended is None:
            if current().stop.is_set():
                return False
            self.one_round(self.rounds_done + 1)
        return True

    def one_round(self, number: int) -> None:
        """Run a round, evaluate it where that is due, write it down, and tell everybody."""
        started = time.perf_counter()
        done = self.round(number)
        if done is None:
            return
        check_finite(self.weights, number, self.config)
        row = done.row
        evaluation = self.evaluate_into(row)
        row["wall_seconds"] = time.perf_counter() - started
        self.folder.append("rounds", [row])
        self.folder.append("clients", done.clients)
        for table, rows in done.more.items():
            self.folder.append(table, rows)
        self.rounds_done = number
        self.save()
        session = current()
        for note in done.notes[:MOST_NOTES]:
            session.watcher.note(f"round {number}: {note}")
        seen = whole_row(row)
        session.watcher.round(seen)
        self.tell(seen, None if evaluation is None else self.groups_of(evaluation))
        self.write_tables_in_time()

    def end_early(self, reason: str) -> None:
        """End the run before its next round, as one that is done; the summary says why under ``stopped``."""
        self.ended = reason
        before = self.last.get("stopped")
        self.last["stopped"] = reason if before is None else f"{before}; {reason}"

    def tell_start(self, resumed: bool) -> None:
        """Tell the callbacks that the run starts or goes on, and of the newest round again, which they may have missed.

        Their states in a checkpoint are those from before its round.
        """
        if not self.callbacks:
            return
        self.callbacks.start(self.described(resumed))
        rows = list(self.folder.rows("rounds")) if self.rounds_done else []
        if rows:
            row = whole_row(rows[-1])
            groups: dict[str, dict[str, float]] = {}
            for one in self.folder.rows("groups"):
                if one["round"] == self.rounds_done:
                    groups.setdefault(one["column"], {})[one["value"]] = number_or_nan(one["wer"])
            # An evaluation always has a WER and a loss, NaN at worst, and a round without one has neither column.
            self.tell(row, groups if "wer" in rows[-1] else None)

    def tell(self, row: dict[str, float], groups: Mapping[str, Mapping[str, float]] | None) -> None:
        """Tell the callbacks of a round that is in the checkpoint, and end the run where one asks for it.

        Args:
            row: all columns of ``rounds.parquet``.
            groups: column → value → WER of its evaluation; None: it had none.
        """
        if not self.callbacks:
            return
        number = int(row["round"])
        reasons = []
        if groups is not None:
            facts = EvaluationFacts(number, row["loss"], row["wer"], row["cer"], row["epsilon"], groups)
            reasons += self.callbacks.evaluation(facts)
        reasons += self.callbacks.round(dict(row))
        self.callbacks.checkpoint(number)
        if reasons and number < self.config.rounds:
            self.end_early(reasons[0])

    def described(self, resumed: bool) -> RunFacts:
        """Return the run as callbacks see it."""
        config = {name: get(self.config, name) for name, _ in walk() if name != "log"}
        private = self.config.privacy.unit != "none"
        if private:
            del config["seed"]
        return RunFacts(
            name=self.config.name,
            folder=self.folder.path,
            config=config,
            rounds=self.config.rounds,
            round=self.rounds_done,
            clients=self.participants(),
            parameters=self.layout.size,
            private=private,
            resumed=resumed,
        )

    def groups_of(self, evaluation: Evaluation) -> dict[str, dict[str, float]]:
        """Return column of ``evaluate.by`` → value → WER, as ``groups.parquet`` has it."""
        by = self.config.evaluate.by
        return {c: {value: counts.wer for value, counts in evaluation.groups[c].items()} for c in by}

    @cached_property
    def speech_digest(self) -> str | None:
        """What the run was started with, which a resumed one is compared with."""
        return fingerprint.digest_in(self.folder.checkpoint)

    def seconds(self) -> float:
        """Return how long the run has taken, before it was resumed as well."""
        return self.totals["wall_seconds"] + time.perf_counter() - self.started

    def evaluate_start(self) -> None:
        """Evaluate what the run starts from, where that is no chance, or all there is."""
        if self.config.init_from is None and self.config.rounds > 0:
            return
        if self.initial_model_caveat is not None:
            current().watcher.note(f"privacy: {self.initial_model_caveat}")
        evaluation = self.evaluations.evaluate(0, self.weights)
        self.last.update(
            initial_wer=evaluation.errors.wer, initial_cer=evaluation.errors.cer, initial_loss=evaluation.loss
        )
        if self.config.rounds == 0:
            self.last.update(wer=evaluation.errors.wer, cer=evaluation.errors.cer, loss=evaluation.loss)

    def evaluate_into(self, row: dict[str, Any]) -> Evaluation | None:
        """Evaluate the weights after the round of a row where that is due, put the result into it, and return it."""
        if not self.evaluations.due(row["round"]):
            return None
        evaluation = self.evaluations.evaluate(row["round"], self.weights)
        check_evaluation(evaluation, row["round"], self.config)
        values = {"loss": evaluation.loss, "wer": evaluation.errors.wer, "cer": evaluation.errors.cer}
        row.update(values, epsilon=self.epsilon())
        self.last.update(values)
        return evaluation

    def write_tables_in_time(self) -> None:
        """Bring the tables up to date where they are old."""
        if time.perf_counter() - self.tables_written > TABLES_EVERY_SECONDS:
            self.folder.write_tables(ended=False)
            self.tables_written = time.perf_counter()

    def write_checkpoint(self, optimizer: Arrays, facts: Mapping[str, Any], columns: Arrays) -> None:
        """Write the checkpoint of the current round.

        Args:
            optimizer: its state.
            facts: what else the run knows, to go on from; JSON.
            columns: the same as arrays.
        """
        states = self.callbacks.state_dict()
        checkpoint.save(
            self.folder.checkpoint,
            checkpoint.Checkpoint(
                self.rounds_done,
                self.layout.views(self.weights),
                optimizer,
                client_states.dump(self.grid),
                {
                    "totals": {**self.totals, "wall_seconds": self.seconds()},
                    "last": self.last,
                    "speech": self.speech_digest,
                    "population": {},
                    "privacy": {},
                    **facts,
                    **({"callbacks": states} if states else {}),
                    "journals": self.folder.positions(),
                },
                columns,
            ),
        )

    @contextmanager
    def tables_kept(self) -> Iterator[None]:
        """Write the tables however the rounds end; a disk that has no room for them hides no other failure."""
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self.folder.write_tables()
            raise
        self.folder.write_tables()

    @contextmanager
    def ledger_kept(self) -> Iterator[None]:
        """Write ``privacy.json`` where the run fails or is killed by a signal: what was released has its price.

        Where there is no room for it, the first failure is the one to tell, and the checkpoint has the ledger.
        """
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self.write_ledger()
            raise

    def write_ledger(self) -> dict[str, Any] | None:
        """Write what was charged so far as ``privacy.json`` and return it; None: nothing private ran."""
        document = self.document()
        if document is None:
            return None
        document = with_caveat(document, self.initial_model_caveat)
        write_json(self.folder.path / "privacy.json", document)
        return document

    def write_end(self, status: str, more: Mapping[str, Any]) -> None:
        """Write the model, the ledger and the summary.

        Args:
            status: ``done`` or ``interrupted``.
            more: of the summary, beside what every run has.
        """
        arrays = self.experiment.whole(self.layout.views(self.weights))
        save_weights(self.folder.path / "model.safetensors", arrays)
        self.experiment.tokenizer.save(self.folder.path / "tokenizer.json")
        facts: dict[str, Any] = {}
        document = self.write_ledger()
        if document is not None:
            guarantees = [str(text) for name, text in document.items() if name.startswith("guarantee")]
            for text in guarantees:
                current().watcher.note(f"privacy: {text}")
            # Nobody is to read the ε of the summary without what it depends on.
            facts = (
                {"guarantee": " | ".join(guarantees), "randomness": document.get("randomness")} if guarantees else {}
            )
        frozen = list(self.experiment.frozen.values())
        wall, updates = self.seconds(), int(self.totals["updates"])
        summary = {
            "name": self.config.name,
            "status": status,
            "seed": self.config.seed,
            "rounds": self.rounds_done,
            "wer": self.last.get("wer"),
            "cer": self.last.get("cer"),
            "loss": self.last.get("loss"),
            "updates": updates,
            "updates_per_second": updates / wall if wall else None,
            "wall_seconds": wall,
            "bytes_up": int(self.totals["bytes_up"]),
            "bytes_down": int(self.totals["bytes_down"]),
            "parameters": self.layout.size,
            **({"frozen_parameters": sum(array.size for array in frozen)} if frozen else {}),
            "model_sha256": sha256(arrays),
            "epsilon": self.epsilon(),
            **facts,
            "clients": self.clients,
            "utterances_left_out": self.experiment.left_out,
            **more,
        }
        write_json(self.folder.path / "summary.json", summary)


def whole_row(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the row of a round with all columns of ``rounds.parquet``, NaN where it has no value."""
    return {name: number_or_nan(row.get(name)) for name in ROUND_COLUMNS}


def number_or_nan(value: float | None) -> float:
    """Return a number, NaN for None."""
    return float("nan") if value is None else value
