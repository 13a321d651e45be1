"""The virtual clock: how long devices take, when they are there, and who drops out. See ``docs/devices.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedasr.config.schema import DevicesConfig
from fedasr.runtime.clock.availability import Availability, make_availability
from fedasr.runtime.clock.closing import Closing, close
from fedasr.runtime.clock.coupling import coupled_by
from fedasr.runtime.clock.devices import Devices, audio_to_train

__all__ = ["Clock", "Closing", "Devices", "audio_to_train", "close", "coupled_by"]

Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.floating] | npt.NDArray[np.integer] | float


class Clock:
    """Simulated time, and what the devices of a run do in it.

    All but ``time_s`` is a pure function of the config, the seed, the round and the client. Who of a cohort is accepted
    is known before anybody trains, so the late ones need not be trained.

    Args:
        config: section ``devices``.
        seed: of the run.
        names: name of each client, shape ``(clients,)``; a trace may call them by it.

    Raises:
        InputError: the availability trace cannot be read or is broken; the line is named.
    """

    def __init__(self, config: DevicesConfig, seed: int, names: Sequence[str] | npt.NDArray[np.object_]) -> None:
        self.config = config
        self.devices = Devices(config, seed, len(names))
        self.availability: Availability = make_availability(config, seed, names)
        self.time_s = 0.0
        """simulated seconds since the start of the run"""

    def available(self) -> Mask | None:
        """Return who is there now, shape ``(clients,)``; None: everybody."""
        return self.availability.at(self.time_s)

    def wait(self, who: Mask) -> float:
        """Advance to when at least one of some devices is there, and return the seconds that took, 0 if one is now.

        Args:
            who: the devices worth waiting for, those that store something, shape ``(clients,)``.

        Raises:
            RunFailed: none of them is ever there.
        """
        before = self.time_s
        self.time_s = self.availability.next(before, who)
        return self.time_s - before

    def selected(self, cohort: int) -> int:
        """Return how many devices to select so that ``cohort`` of them are likely to answer in time."""
        # A product such as 1.1 · 10 lies a little above the whole number that is meant.
        return int(np.ceil(cohort * self.config.over_commit - 1e-9))

    def plan(
        self,
        round: int,
        clients: Ids,
        cohort: int,
        audio_seconds: Numbers,
        bytes_down: Numbers,
        bytes_up: Numbers,
    ) -> Closing:
        """Return how a round goes, from the selection until the server is ready for the next; time stays as it is.

        Args:
            round: counted from 1.
            clients: the selected devices, distinct, shape ``(selected,)``.
            cohort: how many answers the round waits for where more were selected (``over_commit`` above 1); otherwise
                it waits for all that were selected.
            audio_seconds: audio that each trains on, all epochs together (``audio_to_train``), shape ``(selected,)``.
            bytes_down: sent to each, ``(selected,)`` or one number for all.
            bytes_up: sent back by each, likewise.
        """
        durations = self.devices.durations(round, clients, audio_seconds, bytes_down, bytes_up)
        dropped = self.devices.dropped(round, clients)
        wanted = cohort if self.config.over_commit > 1 else len(clients)
        return close(clients, durations, dropped, wanted, self.config.deadline_s, self.config.overhead_s)

    def advance(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.time_s += seconds

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint must hold, as JSON values."""
        return {"time_s": self.time_s}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from ``state_dict``."""
        self.time_s = float(state["time_s"])
