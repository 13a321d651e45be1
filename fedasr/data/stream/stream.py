"""What each device stores in each period: what has arrived by then, less what it had to delete."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import StreamConfig
from fedasr.data.partition import Partition
from fedasr.data.stream.arrivals import Arrivals, Periods
from fedasr.errors import InputError
from fedasr.typing import Floats

Rows = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Stored(NamedTuple):
    """What the devices store; columns of shape ``(clients,)``, in the order of ``Roster.store``."""

    utterances: Counts
    seconds: Floats
    recent_utterances: Counts
    """those of them that came in the current period"""
    recent_seconds: Floats


class Stream:
    """The lives of the devices of a run, in periods counted from 0; rounds count from 1.

    A partition gives each client the rows of its whole life. All that arrives in a period is there from the first
    round of the period, and what ``keep`` does not keep is gone from then on. In the static setting there is one period
    and everything is there: no array with an entry an utterance is made.

    Args:
        config: ``periods``, ``keep``, ``window`` and ``count``.
        rounds: of the run.
        partition: who records what.
        durations: seconds of every utterance of the corpus, shape ``(corpus,)``.
        arrivals: when an utterance is recorded; None: everything is there from the start.
    """

    def __init__(
        self,
        config: StreamConfig,
        rounds: int,
        partition: Partition,
        durations: npt.NDArray[np.floating],
        arrivals: Arrivals | None,
    ) -> None:
        self.config = config
        self.rounds = rounds
        self.partition = partition
        self.durations = durations
        self.arrivals = arrivals
        self.periods = 1 if arrivals is None else config.periods

    def period_of_round(self, round: int) -> int:
        """Return the period of a round; the numbers of rounds of two periods differ by one at most.

        Round 0, before the first, counts as in the first period.

        Raises:
            ValueError: there is no such round.
        """
        if not 0 <= round <= self.rounds:
            raise ValueError(f"round {round} of {self.rounds}")
        return max(0, (round - 1) * self.periods // max(1, self.rounds))

    def begins(self, round: int) -> bool:
        """Say whether a round is the first of its period."""
        return round == 1 or self.period_of_round(round) != self.period_of_round(round - 1)

    def ends(self, round: int) -> bool:
        """Say whether a round is the last of its period."""
        return round == self.rounds or self.begins(round + 1)

    def rows(self, client: int, period: int) -> Rows:
        """Return the corpus rows that a client stores in a period, sorted.

        The cost is that of the client's own rows: nobody else's arrivals are drawn.
        """
        self._check(period)
        rows = self.partition.indices(client)
        if self.arrivals is None or not len(rows):
            return rows
        times = self.arrivals.times(rows)
        periods = self.arrivals.periods(times)
        if self.config.keep != "count":
            return rows[self._kept(periods, period)]
        # Stable: of two utterances with the same time, the later row is the newer.
        order = np.argsort(times, kind="stable")
        there = order[periods[order] <= period]
        return rows[np.sort(there[-self.config.count :])]

    def counts(self, period: int) -> Stored:
        """Return what every client stores in a period. Once a period is enough: it takes a pass over all utterances."""
        self._check(period)
        if self.arrivals is None:
            return self._static
        kept = self._kept(self._periods, period)
        if self.config.keep == "count":
            arrived = self._count(kept)
            kept &= self._ranks >= np.repeat(arrived - self.config.count, self.partition.counts)
        recent = kept & (self._periods == period)
        return Stored(self._count(kept), self._seconds(kept), self._count(recent), self._seconds(recent))

    def test_periods(self, rows: Rows) -> Periods:
        """Return the period whose speech each corpus row is like, by the law of the training speech, shape ``(n,)``.

        For rows that no client holds: the held-out speech, so that forgetting can be measured. With a trace, what was
        recorded before the first period or after the last one counts as in it.

        Raises:
            InputError: a timestamp that is needed is missing or is none.
        """
        if self.arrivals is None:
            return np.zeros(len(rows), np.int32)
        return self.arrivals.periods(self.arrivals.times(rows))

    def check(self) -> None:
        """Raise where no device stores anything in some period: the run could not go on.

        Raises:
            InputError: that is so, or a timestamp is missing or is none.
        """
        if self.arrivals is None:
            return
        arrived = np.bincount(self._periods, minlength=self.periods)
        before = np.concatenate([[0], np.cumsum(arrived)])
        for period in range(self.periods):
            if before[period + 1] == before[self._first_kept(period)]:
                raise InputError(
                    f"in period {period + 1} of {self.periods} no device stores any speech; use fewer 'stream.periods',"
                    f" or let devices keep more than 'stream.keep' ('{self.config.keep}') says"
                )

    def _check(self, period: int) -> None:
        if not 0 <= period < self.periods:
            raise ValueError(f"period {period} of {self.periods}")

    def _first_kept(self, period: int) -> int:
        """Return the first period of which something may be stored in a period."""
        kept = {"window": self.config.window, "period": 1}.get(self.config.keep, period + 1)
        return max(0, period + 1 - kept)

    def _kept(self, periods: Periods, period: int) -> Mask:
        """Return which utterances have arrived and are young enough, shape as ``periods``."""
        return (periods <= period) & (periods >= self._first_kept(period))

    def _count(self, kept: Mask) -> Counts:
        """Return how many of each client's utterances are marked, shape ``(clients,)``; ``kept`` as the entries."""
        total = np.zeros(len(self.partition), np.int64)
        filled, starts = self._filled
        total[filled] = np.add.reduceat(kept, starts, dtype=np.int64)
        return total

    def _seconds(self, kept: Mask) -> Floats:
        """Return the audio of each client's marked utterances in seconds, shape ``(clients,)``."""
        total = np.zeros(len(self.partition), np.float64)
        filled, starts = self._filled
        total[filled] = np.add.reduceat(
            np.where(kept, self.durations[self.partition.rows], 0), starts, dtype=np.float64
        )
        return total

    @cached_property
    def _filled(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The clients that ever hold something, and where their entries start: ``reduceat`` knows no empty segment."""
        filled = np.flatnonzero(self.partition.counts)
        return filled, self.partition.offsets[:-1][filled]

    @cached_property
    def _static(self) -> Stored:
        utterances, seconds = self.partition.counts, self.partition.seconds(self.durations)
        return Stored(utterances, seconds, utterances, seconds)

    @cached_property
    def _periods(self) -> Periods:
        """The period in which each entry of ``partition.rows`` arrives."""
        assert self.arrivals is not None
        return self.arrivals.periods(self.arrivals.times(self.partition.rows))

    @cached_property
    def _ranks(self) -> npt.NDArray[np.int32]:
        """How many utterances of the same client arrive before each entry of ``partition.rows``."""
        assert self.arrivals is not None
        by_time = np.argsort(self.arrivals.times(self.partition.rows), kind="stable")
        clients = self.partition.clients
        order = by_time[np.argsort(clients[by_time], kind="stable")]
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order)) - self.partition.offsets[clients]
        return ranks
