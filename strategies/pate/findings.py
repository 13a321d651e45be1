"""What the experimenter is told of the labels: the table of the queries, and how right the labels are.

It holds votes as they were and compares labels with public transcripts: nothing of it is published, nobody learns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fedasr.evaluation.wer import error_counts
from fedasr.privacy.pate.analysis import ORDERS, query_costs, to_epsilon
from fedasr.typing import Floats

from .aggregator import INDEPENDENT, Aggregator
from .public import PublicSpeech
from .record import NO_LABEL
from .units import Unit

LABELLING = ("queries", "answered", "labels", "label_accuracy", "label_wer", "own_labels", "own_label_accuracy")
"""What the summary says of the labels."""


class Findings:
    """Tells what is in the record of a run.

    Args:
        public: the speech and what was said.
        unit: of a vote.
        aggregator: has the record, and what each query cost.
    """

    def __init__(self, public: PublicSpeech, unit: Unit, aggregator: Aggregator) -> None:
        self.public = public
        self.unit = unit
        self.aggregator = aggregator
        self.record = aggregator.record
        self.config = public.run.config

    def queries(self) -> list[dict[str, Any]]:
        """Return the rows of ``queries.parquet``."""
        record, mechanism = self.record, self.aggregator.mechanism
        if not len(record):
            return []
        known = record.answered if mechanism.has_threshold else None
        costs = query_costs(record.votes, mechanism, ORDERS, known) if self.aggregator.exact else None
        _, order = to_epsilon(record.rdp[0], ORDERS, self.config.privacy.delta, "improved")
        place = ORDERS.index(order)
        right = self.unit.right(record)
        return [
            {
                "query": number,
                "utterance": record.utterances[number],
                "answered": record.labels[number] != NO_LABEL,
                "label": self.shown(record.labels[number]),
                "correct": right[number],
                "votes": float(record.counts[number].max()) if costs is not None else None,
                "rdp": float(self.plain(number)[place] if costs is None else costs[number, place]),
                "order": float(order),
            }
            for number in range(len(record))
        ]

    def plain(self, number: int) -> Floats:
        """Return RDP of a query whatever the votes, shape ``(orders,)``."""
        answered = self.record.labels[number] != NO_LABEL
        return np.asarray(self.aggregator.cost(self.record.counts[number], answered)[INDEPENDENT])

    def shown(self, label: int) -> str | None:
        """Return a label for people."""
        if label == NO_LABEL:
            return None
        if self.config.pate.unit == "utterance":
            return self.public.candidates[label]
        nothing = "(end)" if self.config.pate.unit == "token" else "(blank)"
        return self.public.run.tokenizer.decode([label]) or "" if label else nothing

    def labels(self) -> dict[str, Any]:
        """Return how many utterances have a released label, and how right those are."""
        labels = self.unit.transcripts(self.record)
        pairs = with_truth(labels.values(), [self.public.truth[utterance] for utterance in labels])
        wer = error_counts([truth for _, truth in pairs], [heard for heard, _ in pairs]).wer if pairs else None
        return {
            "queries": len(self.record),
            "answered": int(self.record.answered.sum()) if len(self.record) else 0,
            "labels": len(labels),
            "label_accuracy": share_right(pairs),
            "label_wer": wer,
        }

    def own_labels(self, own: Mapping[int, str]) -> dict[str, Any]:
        """Return how many labels a student gave by itself, by row of the public corpus, and how right those are."""
        pairs = with_truth(own.values(), map(self.public.transcript, own))
        return {"own_labels": len(own), "own_label_accuracy": share_right(pairs)}


def with_truth(labels: Iterable[str], truth: Iterable[str | None]) -> list[tuple[str, str]]:
    """Return the labels of which it is known what was said, each with that."""
    return [(label, transcript) for label, transcript in zip(labels, truth, strict=True) if transcript is not None]


def share_right(pairs: list[tuple[str, str]]) -> float | None:
    """Return the share of labels that are what was said; None without any."""
    return sum(label == truth for label, truth in pairs) / len(pairs) if pairs else None
