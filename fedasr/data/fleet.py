"""What the edge devices of a deployed run say they hold, which is all that the server knows of their speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr.data.partition.base import Partition
from fedasr.data.roster import Roster


@dataclass(frozen=True, eq=False)
class Fleet:
    """The clients of a deployed run; columns of shape ``(clients,)``, in the order of the names."""

    names: tuple[str, ...]
    """enrolment name of each device, sorted: client 0 is the first, as in a natural partition of the same speakers"""
    utterances: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]

    @classmethod
    def unasked(cls, names: Sequence[str]) -> Fleet:
        """Return a fleet of edge devices that have not said what they hold."""
        ordered = tuple(sorted(names))
        return cls(ordered, np.zeros(len(ordered), np.int64), np.zeros(len(ordered), np.float64))

    def __len__(self) -> int:
        """Return the number of edge devices."""
        return len(self.names)

    def partition(self) -> Partition:
        """Return the edge devices as a partition without rows: their speech is in no corpus of the server's."""
        named = np.empty(len(self), object)
        named[:] = self.names
        return Partition(named, np.zeros(len(self) + 1, np.int64), np.zeros(0, np.int32))

    def roster(self) -> Roster:
        """Return a fresh roster."""
        return Roster.from_counts(self.utterances, self.seconds)
