"""The roster: one columnar table, a row a client, no objects. A million clients fit a laptop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr.data.partition import Partition


@dataclass
class Roster:
    """What the server knows of each device; every column has shape ``(clients,)``."""

    utterances: npt.NDArray[np.int64]
    """stored utterances"""
    seconds: npt.NDArray[np.float64]
    """stored audio in seconds"""
    last_round: npt.NDArray[np.int32]
    """the round a device last took part in; 0: never"""
    last_loss: npt.NDArray[np.float32]
    """training loss it last reported; NaN: none"""

    def __len__(self) -> int:
        """Return the number of clients."""
        return int(self.utterances.shape[0])

    @classmethod
    def of(cls, partition: Partition, durations: npt.NDArray[np.float32]) -> Roster:
        """Return the roster of a simulated population; ``durations`` in seconds, a value an utterance."""
        return cls.from_counts(np.asarray(partition.counts), partition.seconds(durations))

    @classmethod
    def from_counts(cls, utterances: npt.NDArray[np.int64], seconds: npt.NDArray[np.float64]) -> Roster:
        """Return the roster of devices that reported what they store."""
        n = len(utterances)
        return cls(
            np.asarray(utterances, np.int64),
            np.asarray(seconds, np.float64),
            np.zeros(n, np.int32),
            np.full(n, np.nan, np.float32),
        )
