"""The life of a PATE run: the teachers learn, they vote until all is labelled or the budget is spent, a student learns.

A checkpoint after every message of questions and every round of the student; teachers keep what they have learnt
themselves. What a killed run had not written down is asked again, and comes out the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from flwr.serverapp import Grid

from fedasr.errors import InputError, nearest
from fedasr.experiment import Experiment
from fedasr.files import write_json
from fedasr.models.weights import load_arrays
from fedasr.privacy.pate.analysis import ORDERS
from fedasr.protocol import Status
from fedasr.runtime import checkpoint
from fedasr.runtime.run_folder import RunFolder
from fedasr.runtime.session import current
from fedasr.training.local import chosen_device
from fedasr.training.self_labels import Stage, stage_of

from ..secure.votes import SecureTeachers
from ..server_run import Round, ServerRun
from ..traits import StrategyTraits
from .aggregator import Aggregator
from .findings import LABELLING, Findings
from .prefilter import narrow
from .public import PUBLIC_JSON, Ids, PublicSpeech
from .record import Record
from .recorded import RecordedVotes
from .self_training import LEAST_LABELS, own_labels
from .student import Student
from .teachers import Ballot, Teachers
from .units import Questions, UtteranceVotes, make_unit


@dataclass
class Lessons:
    """What the student learns from, and the student of the stage that is under way."""

    labels: Mapping[int, str]
    """released, by utterance"""
    rows: Ids
    """public speech that it may label by itself"""
    stages: int
    left_out: int
    """1 where there are too few labels to learn from, so that the first stage has no rounds"""
    student: Student | None = None


class PateRun(ServerRun):
    """A PATE run on a grid.

    Args:
        grid: any Flower grid.
        experiment: what is trained on what.
        folder: where the run is written.
    """

    traits = StrategyTraits(cohorts=False, trains=True)

    def __init__(self, grid: Grid, experiment: Experiment, folder: RunFolder) -> None:
        super().__init__(grid, experiment, folder)
        start = self.weights
        self.public = PublicSpeech(experiment)
        narrow(self.public, experiment, self.layout.views(start))
        self.unit = make_unit(self.config.pate.unit, self.public, experiment.tokenizer)
        self.teachers: Teachers | RecordedVotes
        if self.config.secure_aggregation.mode != "none":
            self.teachers = SecureTeachers(grid, experiment, start, self.layout)
        elif self.config.pate.votes_from is None:
            self.teachers = Teachers(grid, experiment, start, self.layout)
        else:
            self.teachers = RecordedVotes(self.config, self.public)
        self.pending = 0
        """queries that are being asked, whose answers somebody may know already"""
        self.record = Record(self.unit.classes, len(ORDERS))
        self.aggregator = Aggregator(self.config, len(self.teachers), self.record)
        self.findings = Findings(self.public, self.unit, self.aggregator)
        self.taught: list[int] | None = None
        """the clients that have a teacher; None: not all have learnt yet"""
        self.labelled = False
        self.own: dict[int, str] = {}
        """what the student has labelled by itself, by row of the public corpus"""
        self.optimizer: dict[str, Any] = {}
        self.lessons: Lessons | None = None
        """of the student; None before it begins to learn"""

    def before_rounds(self) -> bool:
        """Let the teachers learn and vote; return False where somebody wants the run to stop."""
        return self.labelled or (self.teach() and self.vote())

    def teach(self) -> bool:
        """Let every teacher learn, or make sure that it has; return False where somebody wants the run to stop.

        After a resumption the same message goes out again, and who has learnt says so at once.
        """
        session = current()
        again = self.taught is not None
        rows: list[dict[str, Any]] = []
        for block in self.teachers.train():
            rows += block
            session.watcher.note(f"teachers: {len(rows)} of {len(self.teachers)} are trained")
            if session.stop.is_set() and len(rows) < len(self.teachers):
                return False
        failures = [f"{row['reason']} ({row['client']})" for row in rows if row["status"] != Status.OK]
        self.teachers.check_failures("training of the teachers", len(failures), len(rows), failures)
        for reason in failures[:3]:
            session.watcher.note(f"teachers: {reason}")
        if not again:
            self.taught = sorted(row["id"] for row in rows if row["status"] == Status.OK)
            self.folder.append("clients", rows)
            self.totals["updates"] += len(self.taught)
            self.totals["bytes_up"] += sum(row["bytes_up"] for row in rows)
            self.totals["bytes_down"] += self.teachers.lesson_bytes * len(rows)
            self.save()
        return not session.stop.is_set()

    def vote(self) -> bool:
        """Let the teachers vote until all is labelled or the budget is spent; False: somebody wants the run to stop."""
        session = current()
        assert self.taught is not None
        while not self.labelled:
            questions = self.unit.following(self.record)
            if questions is not None:
                questions = questions.first(self.aggregator.affordable(len(questions)))
            if questions is None:
                self.labelled = True
            elif not len(questions):
                self.stop_labelling()
            else:
                ballot = self.ballot(questions, self.taught)
                self.release(questions, ballot)
                for reason in ballot.failures[:3]:
                    session.watcher.note(f"votes: {reason}")
                if ballot.lost is not None:
                    session.watcher.note(
                        f"votes: {ballot.lost}; {len(questions)} queries have no label and are paid for"
                    )
            if self.labelled:
                self.folder.append("queries", self.findings.queries())
                self.last.update(self.findings.labels())
            self.save()
            session.watcher.note(f"votes: {len(self.record)} queries")
            if session.stop.is_set():
                return False
        if "stopped" in self.last:
            session.watcher.note(f"labelling ends here: {self.last['stopped']}")
        return True

    def ballot(self, questions: Questions, taught: list[int]) -> Ballot:
        """Let the teachers vote on the questions of a message, and note what was sent.

        Raises:
            InputError: a teacher met wrong input.
            TooManyFailures: more of them failed than ``strategy.max_failed_share`` allows.
        """
        number, asked = len(self.record), len(questions)
        if self.aggregator.sums is not None and self.config.privacy.secret_noise:
            # A run that is killed now asks again, and teachers answer with new noise: both sums count.
            self.pending = asked
            self.save()
        try:
            ballot = self.teachers.ask(questions, self.unit.classes, number, self.public, taught)
        except BaseException:
            if not self.aggregator.trusted:  # the server may have noisy answers
                self.aggregator.lose(asked)
            raise
        self.pending = 0
        self.totals["bytes_up"] += sum(ballot.bytes_up.values())
        self.totals["bytes_down"] += sum(ballot.bytes_down.values())
        names = self.experiment.partition.names.tolist()
        self.folder.append("ballots", ballot.rows(number, asked, names))
        return ballot

    def release(self, questions: Questions, ballot: Ballot) -> None:
        """Release the labels of questions, as far as the budget allows; none where the sum of votes was not opened."""
        for place, utterance in enumerate(questions.utterances.tolist()):
            if not self.unit.goes_on(self.record, utterance):
                if ballot.counts is None:
                    self.aggregator.lose(1)
            elif ballot.counts is None:
                self.aggregator.give_up(utterance)
            elif not self.aggregator.release(utterance, ballot.counts[place]):
                self.stop_labelling()
                break

    def stop_labelling(self) -> None:
        """The budget is spent."""
        privacy = self.config.privacy
        self.labelled = True
        self.last["stopped"] = (
            f"privacy budget: one more label than those of {len(self.record)} queries would exceed ε ="
            f" {privacy.epsilon:g} at δ = {privacy.delta:g} for a teacher"
        )

    def round(self, number: int) -> Round:
        """Train the student for a round of its stage."""
        if self.lessons is None:
            self.lessons = self.prepared()
        lessons = self.lessons
        stage = stage_of(number, self.config.rounds, lessons.stages, lessons.left_out)
        if stage.number and number - 1 == stage.before:
            self.label_by_itself(stage, lessons.rows)
            self.optimizer, lessons.student = {}, None
        if lessons.student is None:
            lessons.student = self.student(lessons.labels, stage)
        self.weights, loss = lessons.student.round(number)
        self.optimizer = lessons.student.optimizer()
        return Round(self.row(number, loss, lessons.student))

    def prepared(self) -> Lessons:
        """Return what the student learns from, once all is labelled."""
        labels = self.unit.transcripts(self.record)
        settings = self.config.pate.student
        rows = self.public.unlabelled(labels, settings.unlabelled)
        stages = settings.self_training + 1 if len(rows) else 1
        left_out = int(stages > 1 and len(labels) < (settings.least_labels or LEAST_LABELS))
        return Lessons(labels, rows, stages, left_out)

    def label_by_itself(self, stage: Stage, rows: Ids) -> None:
        """Let the student label public speech that the teachers have not, for the stage that begins."""
        model = self.experiment.model()
        load_arrays(model, self.layout.views(self.weights))
        self.own = own_labels(self.public, model.to(chosen_device(self.config.runtime.device)), rows, stage.share)
        self.last.update(self.findings.own_labels(self.own))
        current().watcher.note(f"student: stage {stage.number}, {len(self.own)} utterances labelled by itself")

    def student(self, labels: Mapping[int, str], stage: Stage) -> Student:
        """Return the student of a stage, as far as it has got.

        Args:
            labels: released, by utterance.
            stage: of which it is.
        """
        speech = self.public.labelled(labels, self.own) if labels or self.own else None
        choices = None
        if self.config.pate.student.answers > 1 and isinstance(self.unit, UtteranceVotes):
            likeliest = self.unit.likeliest(self.record, self.config.pate.student.answers)
            choices = [likeliest[utterance] for utterance in sorted(labels)]
            choices += [([text], np.ones(1)) for text in self.own.values()]
        return Student(self.experiment, speech, choices, self.weights, self.optimizer, stage.before, stage.rounds)

    @property
    def clients(self) -> int:
        """The number of clients."""
        return self.teachers.devices

    def participants(self) -> int:
        """Return the number of teachers; a device may simulate several."""
        return len(self.teachers)

    def epsilon(self) -> float | None:
        """Return what the labels so far have cost as the votes were."""
        return self.aggregator.epsilons()[0]

    def document(self) -> dict[str, Any] | None:
        """Return the ledger; None: nobody has voted."""
        return self.aggregator.document() if len(self.record) or self.record.lost else None

    def row(self, round: int, loss: float, student: Student) -> dict[str, Any]:
        """Return the row of a round of the student without its evaluation; the first has what the teachers sent."""
        first = round == 1
        taught = len(self.taught or ())
        return {
            "round": round,
            "train_loss": loss,
            "clients_selected": self.teachers.devices if first else 0,
            "clients_replied": taught if first else 0,
            "clients_failed": self.teachers.devices - taught if first else 0,
            "examples": student.examples,
            "audio_seconds": student.seconds,
            "bytes_up": int(self.totals["bytes_up"]) if first else 0,
            "bytes_down": int(self.totals["bytes_down"]) if first else 0,
            "simulated_seconds": float("nan"),
            "update_norm": float("nan"),
            "period": 1,
        }

    def save(self) -> None:
        """Write the checkpoint."""
        pate = {"taught": self.taught, "labelled": self.labelled, "public": self.public.rows.tolist()}
        pate |= {"own": list(self.own.items()), "pending": self.pending}
        facts = {"population": {}, "privacy": {}, "pate": pate}
        self.write_checkpoint(self.optimizer, facts, self.record.arrays())

    def restore(self, saved: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: it is of another kind of run.
        """
        if "pate" not in saved.facts or saved.columns.get("counts", np.zeros((0, 0))).shape[1] != self.unit.classes:
            raise InputError("has no votes of this run; start anew in another folder", where=str(self.folder.path))
        if saved.facts["pate"]["public"] != self.public.rows.tolist():
            raise InputError(
                "was started with other public speech; put it back, or start anew in another folder",
                where=str(self.folder.path),
            )
        super().restore(saved)
        self.optimizer = dict(saved.optimizer)
        self.taught, self.labelled = saved.facts["pate"]["taught"], saved.facts["pate"]["labelled"]
        self.own = dict(saved.facts["pate"].get("own", ()))
        self.record.load_arrays(saved.columns)
        if pending := int(saved.facts["pate"].get("pending", 0)):
            self.aggregator.lose(pending)

    def finish(self, status: str) -> None:
        """Write the student, the votes, the ledger and the summary."""
        if len(self.record):
            if self.aggregator.exact:
                np.save(self.folder.path / "votes.npy", self.record.votes.astype(np.int32))
                np.save(self.folder.path / "answered.npy", self.record.answered.astype(np.int8))
                write_json(self.folder.path / PUBLIC_JSON, self.public.described())
            elif self.aggregator.mechanism.soft:
                np.save(self.folder.path / "posteriors.npy", self.record.votes)
        super().finish(status)

    def facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` has beside what every run has."""
        skipped = sum(row["skipped"] for row in self.folder.rows("clients"))
        named = (*LABELLING, "stopped", "initial_wer", "initial_cer", "initial_loss")
        simulated = self.config.pate.simulated_teachers is not None
        return {
            "epsilon_data_independent": self.aggregator.epsilons()[1],
            "delta": self.config.privacy.delta,
            **({"simulated_teachers": len(self.teachers)} if simulated else {}),
            "utterances_skipped": self.experiment.skipped + skipped,
            **{name: self.last[name] for name in named if name in self.last},
        }


def check_pate(run: Experiment) -> None:
    """Raise where the public speech or the candidates are wrong; nothing is written.

    Raises:
        InputError: naming the key.
    """
    pate = run.config.pate
    if pate.votes_from is None:
        check_one_teacher_a_speaker(run)
    check_weights(run)
    public = PublicSpeech(run)
    narrow(public, run, run.first_weights())
    make_unit(pate.unit, public, run.tokenizer)
    if pate.votes_from is not None:
        RecordedVotes(run.config, public)


def check_one_teacher_a_speaker(run: Experiment) -> None:
    """Raise where the partition gives one person's speech to several teachers: ε is for all that one was trained on.

    Raises:
        InputError: naming somebody. What edge devices hold, nobody knows here.
    """
    if run.fleet is not None:
        return
    partition = run.partition
    clients = np.repeat(np.arange(len(partition)), np.diff(partition.offsets))
    speakers = run.corpus.columns["speaker"][partition.rows]
    teachers = pd.Series(clients).groupby(speakers).nunique()
    if len(split := teachers[teachers > 1]):
        raise InputError(
            f"'data.partition' splits the speech of speaker '{split.index[0]}' over {split.iloc[0]} teachers"
            f" ({len(split)} of {len(teachers)} speakers are split); each speaker must belong to one teacher, since ε"
            " holds for one teacher's data: partition by speaker, natural or grouped"
        )


def check_weights(run: Experiment) -> None:
    """Raise where ``pate.weights`` names nobody.

    Raises:
        InputError: naming the key.
    """
    names = sorted(map(str, run.partition.names))
    for name in run.config.pate.weights:
        if name not in names:
            raise InputError(
                f"'pate.weights.{name}' names no teacher{nearest(name, names)}; there are {len(names)}, such as"
                f" '{names[0]}'"
            )
