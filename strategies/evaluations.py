"""What the server evaluates, when, and into which table: held-out speakers, groups, periods, deciles of activity."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedasr.evaluation.evaluator import Evaluation, evaluate
from fedasr.evaluation.wer import ErrorCounts
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
        for column in self.config.by:
            rows = [
                {"round": round, "column": column, "value": value, "wer": counts.wer, "utterances": counts.utterances}
                for value, counts in evaluation.groups[column].items()
            ]
            self.folder.append("groups", rows)
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
