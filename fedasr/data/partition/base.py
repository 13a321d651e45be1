"""A partition: which client holds which utterances, as three arrays. A client is an offset, not an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.integer]
Ids = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Partition:
    """Clients and their utterances in compressed sparse row form; the arrays are read-only.

    Client ``c`` holds the corpus rows ``rows[offsets[c]:offsets[c + 1]]``, sorted. No row has two clients.
    """

    names: npt.NDArray[np.object_]
    """name of each client, shape ``(clients,)``"""
    offsets: npt.NDArray[np.int64]
    """where each client's rows start, and where the last one's end, shape ``(clients + 1,)``"""
    rows: Rows
    """corpus rows, client after client, shape ``(utterances,)``"""
    dropped: int = 0
    """how many clients were left out because they held fewer than ``min_utterances``"""

    def __post_init__(self) -> None:
        for array in (self.names, self.offsets, self.rows):
            array.flags.writeable = False

    @classmethod
    def from_ids(cls, ids: Ids, rows: Rows, names: Sequence[str] | npt.NDArray[np.object_]) -> Partition:
        """Return the partition in which ``rows[i]`` belongs to client ``ids[i]``; clients may be empty.

        Args:
            ids: client of each row, in ``[0, clients)``, shape ``(utterances,)``.
            rows: corpus rows, distinct, in any order, shape ``(utterances,)``.
            names: name of each client, shape ``(clients,)``.
        """
        rows = np.asarray(rows)
        if rows.size and rows.max() < np.iinfo(np.int32).max:
            rows = rows.astype(np.int32)
        by_row = np.argsort(rows, kind="stable")
        by_client = by_row[np.argsort(ids[by_row], kind="stable")]
        offsets = np.zeros(len(names) + 1, np.int64)
        np.cumsum(np.bincount(ids, minlength=len(names)), out=offsets[1:])
        named = np.empty(len(names), object)
        named[:] = names
        return cls(named, offsets, rows[by_client])

    def __len__(self) -> int:
        """Return the number of clients."""
        return len(self.names)

    def indices(self, client: int) -> Rows:
        """Return the corpus rows of a client, sorted: a read-only view.

        Raises:
            IndexError: there is no such client.
        """
        if not 0 <= client < len(self):
            raise IndexError(f"client {client} of {len(self)}")
        return self.rows[self.offsets[client] : self.offsets[client + 1]]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Utterances of each client, shape ``(clients,)``."""
        return np.diff(self.offsets)

    @property
    def clients(self) -> npt.NDArray[np.int64]:
        """Client of each entry of ``rows``, shape ``(utterances,)``."""
        return np.repeat(np.arange(len(self)), self.counts)

    def seconds(self, durations: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the audio of each client in seconds, shape ``(clients,)``.

        Args:
            durations: seconds of every utterance of the corpus, shape ``(corpus,)``.
        """
        total = np.zeros(len(self), np.float64)
        filled = self.counts > 0
        # reduceat takes an empty segment for its first element, so only the clients that hold something are summed.
        if filled.any():
            total[filled] = np.add.reduceat(durations[self.rows].astype(np.float64), self.offsets[:-1][filled])
        return total

    def select(self, clients: Ids) -> Partition:
        """Return the partition of some clients, in the order given."""
        counts = self.counts[clients]
        offsets = np.zeros(len(clients) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        source = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][clients] - offsets[:-1], counts)
        return Partition(self.names[clients], offsets, self.rows[source], self.dropped)

    def at_least(self, utterances: int) -> Partition:
        """Return the partition without the clients that hold fewer utterances; ``dropped`` says how many those were."""
        enough = np.flatnonzero(self.counts >= utterances)
        if len(enough) == len(self):
            return self
        kept = self.select(enough)
        return Partition(kept.names, kept.offsets, kept.rows, self.dropped + len(self) - len(enough))
