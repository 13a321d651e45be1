"""Which devices are there at a simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import DevicesConfig
from fedasr.data.draws import uniforms
from fedasr.errors import InputError, RunFailed
from fedasr.runtime.clock.trace import Trace, read_trace

Mask = npt.NDArray[np.bool_]

TICKS = 1_000_000
"""Ticks a second. Times are compared as whole microseconds, so that a device is there at the very time it comes."""
DAY = 86_400 * TICKS


class Availability(Protocol):
    """Who is there when; times are simulated seconds since the start of the run."""

    def at(self, time_s: float) -> Mask | None:
        """Return who is there, shape ``(clients,)``; None: everybody, always."""
        ...

    def next(self, time_s: float, who: Mask) -> float:
        """Return the first time from ``time_s`` on at which one of the devices in ``who`` is there.

        Raises:
            RunFailed: none of them is ever there.
        """
        ...


def make_availability(config: DevicesConfig, seed: int, names: Sequence[str] | npt.NDArray[np.object_]) -> Availability:
    """Return when the devices with these names are there.

    Raises:
        InputError: the trace cannot be read or is broken; the line is named.
    """
    if config.availability == "diurnal":
        return Diurnal(seed, len(names), config.available_share)
    if config.availability == "trace":
        if config.trace is None:
            raise InputError("'devices.availability' is 'trace' but 'devices.trace' is not set; give the path of a CSV")
        return Traced(read_trace(config.trace, names), len(names))
    return Always()


class Always:
    """Everybody is always there."""

    def at(self, time_s: float) -> None:
        """Return None."""
        return None

    def next(self, time_s: float, who: Mask) -> float:
        """Return ``time_s``."""
        expect(who)
        return time_s


class Diurnal:
    """Each device is there for one stretch of its own day, which starts at a time of day drawn for (seed, client).

    Args:
        seed: of the run.
        clients: how many devices there are.
        share: of the day that a device is there, in (0, 1].
    """

    def __init__(self, seed: int, clients: int, share: float) -> None:
        self.since = (uniforms(seed, "devices/day", np.arange(clients)) * DAY).astype(np.int64)
        self.stretch = max(1, round(share * DAY))

    def at(self, time_s: float) -> Mask:
        """Return who is there, shape ``(clients,)``."""
        return self._elapsed(time_s) < self.stretch

    def next(self, time_s: float, who: Mask) -> float:
        """Return the first time from ``time_s`` on at which one of ``who`` is there."""
        expect(who)
        elapsed = self._elapsed(time_s)[who]
        if (elapsed < self.stretch).any():
            return time_s
        return (ticks(time_s) + DAY - int(elapsed.max())) / TICKS

    def _elapsed(self, time_s: float) -> npt.NDArray[np.int64]:
        """Return how long ago each device's stretch began last, in ticks."""
        elapsed = self.since + ticks(time_s) % DAY
        elapsed[elapsed >= DAY] -= DAY
        return elapsed


class Traced:
    """Devices are there in the intervals of a trace, which starts anew after its last one; others never are.

    Args:
        trace: the intervals.
        clients: how many devices there are.
    """

    def __init__(self, trace: Trace, clients: int) -> None:
        self.client = trace.client
        self.start = np.rint(trace.start_s * TICKS).astype(np.int64)
        self.end = np.rint(trace.end_s * TICKS).astype(np.int64)
        self.span = int(self.end.max())
        self.clients = clients

    def at(self, time_s: float) -> Mask:
        """Return who is there, shape ``(clients,)``."""
        there = np.zeros(self.clients, bool)
        there[self.client[self._open(time_s)]] = True
        return there

    def next(self, time_s: float, who: Mask) -> float:
        """Return the first time from ``time_s`` on at which one of ``who`` is there."""
        expect(who)
        theirs = who[self.client]
        if not theirs.any():
            raise RunFailed("the availability trace ('devices.trace') has no device that stores any speech")
        if (self._open(time_s) & theirs).any():
            return time_s
        now = ticks(time_s)
        return (now + int(((self.start[theirs] - now) % self.span).min())) / TICKS

    def _open(self, time_s: float) -> Mask:
        """Return which intervals hold the time."""
        position = ticks(time_s) % self.span
        return (self.start <= position) & (position < self.end)


def ticks(time_s: float) -> int:
    """Return a time in whole ticks."""
    return round(time_s * TICKS)


def expect(who: Mask) -> None:
    """Raise where there is nobody to wait for."""
    if not who.any():
        raise RunFailed("no device stores any speech, so there is none to wait for")
