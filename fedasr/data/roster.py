"""The roster: one columnar table, a row a client, no objects. A million clients fit a laptop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedasr.typing import Floats


@dataclass
class Roster:
    """What the server knows of each device; every column has shape ``(clients,)``.

    Selectors read the columns and write none of them. What is stored and who is there change through ``store`` and
    ``attend``, so that ``selectable`` is found once and not in every round.
    """

    utterances: npt.NDArray[np.int64]
    """stored utterances, now"""
    seconds: Floats
    """stored audio in seconds, now"""
    recent_utterances: npt.NDArray[np.int64]
    """stored utterances that came in the current period; in the static setting all of them"""
    recent_seconds: Floats
    """their audio in seconds"""
    last_round: npt.NDArray[np.int32]
    """the round a device last took part in; 0: never"""
    last_loss: npt.NDArray[np.float32]
    """training loss it last reported; NaN: none"""
    last_duration: npt.NDArray[np.float32]
    """seconds it last took for a round; NaN: unknown"""
    tier: npt.NDArray[np.int8]
    """class of the device, an index into ``devices.tiers``; 0 where no devices are simulated"""
    group: npt.NDArray[np.int64]
    """group of the client, by the column ``selection.by``; 0 where there is none"""
    excluded: npt.NDArray[np.bool_]
    """who must not be selected any more, because its privacy budget is spent"""
    available: npt.NDArray[np.bool_] | None = None
    """who is there now; None: everybody"""
    _selectable: npt.NDArray[np.int64] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return the number of clients."""
        return int(self.utterances.shape[0])

    @property
    def selectable(self) -> npt.NDArray[np.int64]:
        """The clients that may be selected, in ascending order, shape ``(selectable,)``; do not write.

        They store something, are there, and are not excluded.
        """
        if self._selectable is None:
            there = (self.utterances > 0) & ~self.excluded
            self._selectable = np.flatnonzero(there if self.available is None else there & self.available)
        return self._selectable

    def store(
        self,
        utterances: npt.NDArray[np.int64],
        seconds: Floats,
        recent_utterances: npt.NDArray[np.int64],
        recent_seconds: Floats,
    ) -> None:
        """Set what the devices store now."""
        self.utterances, self.seconds = utterances, seconds
        self.recent_utterances, self.recent_seconds = recent_utterances, recent_seconds
        self._selectable = None

    def attend(self, available: npt.NDArray[np.bool_] | None) -> None:
        """Set who is there now; None: everybody."""
        if available is not self.available:
            self.available = available
            self._selectable = None

    def exclude(self, clients: npt.NDArray[np.int64]) -> None:
        """Select these clients no more."""
        if not self.excluded[clients].all():
            self.excluded[clients] = True
            self._selectable = None

    def note(
        self, round: int, clients: npt.NDArray[np.int64], loss: Iterable[float], duration: Iterable[float]
    ) -> None:
        """Note who took part in a round, with the training loss and the seconds of each."""
        self.last_round[clients] = round
        self.last_loss[clients] = np.asarray(loss, np.float32)
        self.last_duration[clients] = np.asarray(duration, np.float32)

    @classmethod
    def from_counts(cls, utterances: npt.NDArray[np.int64], seconds: Floats) -> Roster:
        """Return the roster of devices that reported what they store."""
        n = len(utterances)
        stored, audio = np.asarray(utterances, np.int64), np.asarray(seconds, np.float64)
        return cls(
            stored,
            audio,
            stored,
            audio,
            np.zeros(n, np.int32),
            np.full(n, np.nan, np.float32),
            np.full(n, np.nan, np.float32),
            np.zeros(n, np.int8),
            np.zeros(n, np.int64),
            np.zeros(n, np.bool_),
        )
