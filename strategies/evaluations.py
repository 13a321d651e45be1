"""What the server evaluates, when, and into which table: held-out speakers, groups, periods, deciles of activity."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from fedasr import seeds
from fedasr.evaluation.evaluator import Evaluation, evaluate
from fedasr.evaluation.intervals import speaker_interval
from fedasr.evaluation.wer import ErrorCounts, utterance_errors
from fedasr.experiment import Experiment
from fedasr.models.weights import Layout, Vector, load_arrays
from fedasr.runtime.run_folder import RunFolder


class Evaluations:
    """Evaluates the global model.

    Args:
        experiment: what is trained on what.
        layout: of the model.
        folder: takes the tables.
    """

    def __init__(self, experiment: Experiment, layout: Layout, folder: RunFolder) -> None:
        self.experiment = experiment
        self.config = experiment.config.evaluate
        self.rounds = experiment.config.rounds
        self.layout = layout
        self.folder = folder
        self.model = experiment.model()

    @cached_property
    def shown(self) -> set[int]:
        """The rows of the corpus whose transcripts are kept."""
        rows, seed = self.experiment.test_rows, self.experiment.config.seed
        count = min(self.config.transcripts, len(rows))
        drawn = seeds.generator(seed, "evaluate/transcripts").choice(rows, count, replace=False)
        return {int(row) for row in drawn}

    def due(self, round: int) -> bool:
        """Say whether the model is evaluated after a round."""
        scheduled = bool(self.config.every) and round % self.config.every == 0
        return scheduled or round == self.rounds or self.ends_period(round)

    def ends_period(self, round: int) -> bool:
        """Say whether speech comes over time, and a period ends with this round."""
        stream = self.experiment.stream
        return stream.periods > 1 and stream.ends(round)

    def evaluate(self, round: int, weights: Vector) -> Evaluation:
        """Evaluate on held-out speakers; write the WER of groups, and what is due of periods and deciles."""
        run = self.experiment
        load_arrays(self.model, self.layout.views(weights))
        ends = round > 0 and self.ends_period(round)
        labels: dict[str, Any] = {}
        if ends:
            labels["test period"] = run.stream.test_periods(run.test_rows)
        evaluation = self.measure(run.test_rows, labels)
        if self.config.by:
            self.folder.append("groups", self.group_rows(round, evaluation))
        self.folder.append("transcripts", self.transcript_rows(round, evaluation))
        if ends:
            self.folder.append("periods", self.period_rows(round, evaluation.groups["test period"]))
        if self.config.deciles and (ends or round == self.rounds):
            self.folder.append("activity", self.decile_rows(round))
        return evaluation

    def measure(self, rows: Any, labels: dict[str, Any]) -> Evaluation:
        """Evaluate on rows of the corpus."""
        run = self.experiment
        vocabulary = run.vocabulary if self.config.decoder == "vocabulary" else ()
        by = self.config.by if "decile" not in labels else ()
        return evaluate(self.model, run.speech, run.tokenizer, rows, self.config, vocabulary, by, labels)

    def group_rows(self, round: int, evaluation: Evaluation) -> list[dict[str, Any]]:
        """Return the WER of each value of the columns of ``evaluate.by``, with its interval over speakers."""
        columns = self.experiment.corpus.columns
        speakers = columns["speaker"][evaluation.rows]
        words, errors = utterance_errors(evaluation.references, evaluation.hypotheses)
        seed = self.experiment.config.seed
        table = []
        for column in self.config.by:
            values = np.array([str(value) for value in columns[column][evaluation.rows]], object)
            for value, counts in evaluation.groups[column].items():
                of = values == value
                interval = speaker_interval(speakers[of], words[of], errors[of], seed, value)
                table.append(
                    {
                        "round": round,
                        "column": column,
                        "value": value,
                        "wer": counts.wer,
                        "utterances": counts.utterances,
                        "wer_low": interval.low,
                        "wer_high": interval.high,
                        "speakers": interval.speakers,
                    }
                )
        return table

    def transcript_rows(self, round: int, evaluation: Evaluation) -> list[dict[str, Any]]:
        """Return the transcripts of a few utterances, the same ones after every round."""
        speakers = self.experiment.corpus.columns["speaker"]
        return [
            {
                "round": round,
                "utterance": int(row),
                "speaker": str(speakers[row]),
                "reference": said,
                "hypothesis": heard,
            }
            for row, said, heard in zip(evaluation.rows, evaluation.references, evaluation.hypotheses, strict=True)
            if int(row) in self.shown
        ]

    def period_rows(self, round: int, groups: dict[str, ErrorCounts]) -> list[dict[str, Any]]:
        """Return the WER on the speech of the current period and of every past one; periods count from 1."""
        now = self.experiment.stream.period_of_round(round)
        return [
            {
                "round": round,
                "period": now + 1,
                "test_period": int(value) + 1,
                "wer": counts.wer,
                "cer": counts.cer,
                "words": counts.words,
                "utterances": counts.utterances,
            }
            for value, counts in sorted(groups.items(), key=lambda item: int(item[0]))
            if int(value) <= now
        ]

    def decile_rows(self, round: int) -> list[dict[str, Any]]:
        """Return the WER on the clients' own held-out speech by decile of their activity; 1 is the lightest."""
        run = self.experiment
        rows, deciles, clients = run.decile_rows
        by_decile = self.measure(rows, {"decile": deciles}).groups["decile"]
        return [
            {
                "round": round,
                "period": run.stream.period_of_round(round) + 1,
                "decile": int(value),
                "wer": counts.wer,
                "words": counts.words,
                "errors": counts.word_errors,
                "clients": len(np.unique(clients[deciles == int(value)])),
                "utterances": counts.utterances,
            }
            for value, counts in sorted(by_decile.items(), key=lambda item: int(item[0]))
        ]
