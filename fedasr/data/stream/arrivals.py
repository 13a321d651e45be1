"""When an utterance is recorded: a law from corpus rows to times. A row's time depends on nobody else's draw."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.data.corpus import Column, Corpus
from fedasr.data.draws import uniforms
from fedasr.data.partition.request import factorize
from fedasr.data.stream.timestamps import microseconds
from fedasr.errors import InputError
from fedasr.typing import Floats

Rows = npt.NDArray[np.integer]
Times = npt.NDArray[np.float64] | npt.NDArray[np.int64]
Periods = npt.NDArray[np.int32]


class Arrivals(Protocol):
    """A law of arrival; a time means something only to its own law, but later is larger."""

    def times(self, rows: Rows) -> Times:
        """Return when each corpus row arrives, shape ``(n,)``."""
        ...

    def periods(self, times: Times) -> Periods:
        """Return the period that each time lies in, counted from 0, shape ``(n,)``: it never falls as time grows.

        Times before the first period or after the last one count as in it.
        """
        ...


class PoissonArrivals:
    """A Poisson process a device over the run, given how many utterances it brings, with drift in what is said.

    Given their number, the arrivals of a Poisson process are independent and uniform over the run, so each row draws
    its own. With probability ``drift`` an utterance comes in its text's own period instead (uniformly within it), the
    same on every device and for held-out speech. Texts are ordered by a hash of (seed, text) and divided over the
    periods so that each has its share of the corpus's utterances: over all texts arrivals stay uniform, as nearly as
    whole texts can be divided.

    Args:
        seed: of the run.
        periods: how many.
        drift: in [0, 1].
        texts: the transcript of every utterance of the corpus, shape ``(corpus,)``.

    Times are float64 in ``[0, periods)``; the period is the whole part.
    """

    def __init__(self, seed: int, periods: int, drift: float, texts: Column) -> None:
        self.seed, self.count, self.drift = seed, periods, drift
        self.texts = texts

    def times(self, rows: Rows) -> Floats:
        """Return when each corpus row arrives, in periods since the run's start, shape ``(n,)``."""
        within = uniforms(self.seed, "stream/time", rows)
        # The largest draw below 1 may round up to the next period's start, hence `nextafter`.
        times = np.minimum(within * self.count, np.nextafter(self.count, 0))
        if self.drift:
            own = uniforms(self.seed, "stream/drift", rows) < self.drift
            period = self.own_periods[rows]
            times = np.where(own, np.minimum(period + within, np.nextafter(period + 1.0, 0)), times)
        return times

    def periods(self, times: Times) -> Periods:
        """Return the period that each time lies in, shape ``(n,)``."""
        return times.astype(np.int32)

    @cached_property
    def own_periods(self) -> Periods:
        """The period that each utterance's text belongs to, shape ``(corpus,)``."""
        codes, names = factorize(self.texts)
        key = repr(seeds.entropy(self.seed, "stream/text")).encode()
        digests = [hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key[:64]).digest() for name in names]
        order = np.array(sorted(range(len(names)), key=digests.__getitem__), np.int64)
        uses = np.bincount(codes, minlength=len(names))
        middle = np.empty(len(names))
        middle[order] = np.cumsum(uses[order]) - uses[order] / 2
        period: Periods = (middle * self.count / len(codes)).astype(np.int32)
        return period[codes]


class TraceArrivals:
    """As the ``timestamp`` column says: from the first to the last utterance that a client holds, in equal spans.

    Args:
        corpus: has the column.
        held: the rows that the clients hold, shape ``(utterances,)``; their first and last time are the run's.
        periods: how many.

    Times are int64, microseconds since 1970 in UTC.

    Raises:
        InputError: there is no such column.
    """

    def __init__(self, corpus: Corpus, held: Rows, periods: int) -> None:
        if "timestamp" not in corpus.columns:
            raise InputError(
                "'stream.arrival' is 'trace', which needs the column 'timestamp' (ISO 8601); the corpus has:"
                f" {', '.join(corpus.columns)}"
            )
        self.corpus, self.held, self.count = corpus, held, periods

    def times(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return when each corpus row was recorded, shape ``(n,)``.

        Raises:
            InputError: a timestamp is missing or is none; the line names the row.
        """
        return microseconds(self.corpus, rows)

    def periods(self, times: Times) -> Periods:
        """Return the period that each time lies in, shape ``(n,)``."""
        return np.searchsorted(self.starts, times, side="right").astype(np.int32)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """When each period but the first starts, shape ``(periods - 1,)``.

        Raises:
            InputError: all utterances have the same timestamp, and there is more than one period.
        """
        times = self.times(self.held)
        first, span = int(times.min()), int(times.max() - times.min())
        if span == 0 and self.count > 1:
            raise InputError(
                "'stream.arrival' is 'trace', but all training utterances have the same 'timestamp'; expected times"
                " that can be divided into periods, or stream.arrival=static"
            )
        # Python's integers: a long span times many periods does not fit into 64 bits.
        return np.array([first - (-span * number // self.count) for number in range(1, self.count)], np.int64)
