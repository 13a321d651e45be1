"""The record of what was asked and released: everything that labels, accounts and a resumed run are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats

NO_LABEL = -1
"""The label of a query that was not answered: no consensus."""

Ids = npt.NDArray[np.int64]


class Record:
    """A row a query, in the order of the queries.

    Args:
        classes: of a vote.
        orders: at which Rényi DP is added up.

    Attributes:
        utterances: which public utterance each was about.
        labels: what was released, ``NO_LABEL`` where nothing was.
        counts: the votes, shape ``(classes,)`` each; with noise at the teachers the noisy ones, which is all there is.
        rdp: data-dependent and data-independent RDP of all so far, shape ``(2, orders)``.
        lost: queries that were paid for and are no rows: nobody knows what became of their answers.
    """

    def __init__(self, classes: int, orders: int) -> None:
        self.classes = classes
        self.utterances: list[int] = []
        self.labels: list[int] = []
        self.counts: list[Floats] = []
        self.rdp: Floats = np.zeros((2, orders))
        self.lost = 0

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.labels)

    def add(self, utterance: int, label: int, counts: Floats) -> None:
        """Add a query."""
        self.utterances.append(utterance)
        self.labels.append(label)
        self.counts.append(counts)

    @property
    def votes(self) -> Floats:
        """The counts of all queries, shape ``(queries, classes)``."""
        return np.array(self.counts, np.float64).reshape(len(self), self.classes)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which queries were answered, shape ``(queries,)``."""
        known: npt.NDArray[np.bool_] = np.array(self.labels, np.int64) != NO_LABEL
        return known

    def tokens(self) -> dict[int, list[int]]:
        """Return the labels of each utterance that was asked about, in order, for unit ``token`` its prefix."""
        labels_of: dict[int, list[int]] = {}
        for utterance, label in zip(self.utterances, self.labels, strict=True):
            labels_of.setdefault(utterance, []).append(label)
        return labels_of

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a checkpoint must hold."""
        return {
            "utterances": np.array(self.utterances, np.int64),
            "labels": np.array(self.labels, np.int64),
            "counts": self.votes,
            "rdp": self.rdp,
            "lost": np.array([self.lost], np.int64),
        }

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from ``arrays``."""
        self.utterances = arrays["utterances"].tolist()
        self.labels = arrays["labels"].tolist()
        self.counts = list(arrays["counts"])
        self.rdp = arrays["rdp"].copy()
        self.lost = int(arrays["lost"][0]) if "lost" in arrays else 0
