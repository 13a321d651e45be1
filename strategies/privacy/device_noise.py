"""User-level privacy by noise on the devices: the server is not trusted, and adds nothing.

The server sees who takes part and gets each update by itself, so nothing is amplified by sampling or by the sum: a user
pays for each of its own participations. ε is that of the user with the most participations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.config.schema import PrivacyConfig
from fedasr.data.roster import Roster
from fedasr.models.weights import Vector
from fedasr.privacy.accountants import calibrate
from fedasr.privacy.document import privacy_document
from fedasr.privacy.events import Event, Gaussian
from fedasr.privacy.ledger import Budget, Ledger

from ..rounds import RoundResult
from .base import Public, note_of

NOTE = (
    "noise is added on the devices; ε holds for the user with the most participations; who takes part in a round and"
    " how much a device stores is taken to be public"
)


def event(noise_multiplier: float) -> Gaussian:
    """Return what one participation of a user is."""
    return Gaussian(unit="user", adjacency="zero-out", noise_multiplier=noise_multiplier)


def device_noise_for_budget(privacy: PrivacyConfig) -> float:
    """Return the noise multiplier with which ``privacy.participations`` participations cost ``privacy.epsilon``.

    Raises:
        InputError: no noise is right.
    """
    assert privacy.epsilon is not None
    assert privacy.participations is not None
    participations = privacy.participations
    return calibrate(
        lambda noise: [event(noise).times(participations)], privacy.epsilon, privacy.delta, privacy.accountant or "pld"
    )


class DeviceNoise(Public):
    """Counts the participations of each user.

    A device that was selected counts, whether or not its answer came in time: it may have been sent.

    Args:
        config: with ``privacy.noise_at: device`` and a noise multiplier.
        population: how many users there are.
    """

    def __init__(self, config: Config, population: int) -> None:
        assert config.privacy.noise_multiplier is not None
        self.run = config
        self.config = config.privacy
        self.population = population
        self.event = self.participation(config)
        self.participations: Counter[int] = Counter()
        self.ledger = Ledger(config.privacy.accountant or "pld", secret=config.privacy.secret_noise)
        epsilon, limit = config.privacy.epsilon, config.privacy.participations
        self.budget = None if epsilon is None else Budget(epsilon, config.privacy.delta, "user")
        room = None if self.budget is None else self.ledger.room(self.budget, self.event, seen_by="server")
        self.limit = min((n for n in (room, limit) if n is not None), default=None)
        """participations a user may have; None: any number"""

    def participation(self, config: Config) -> Event:
        """Return what one participation of a user is."""
        assert config.privacy.noise_multiplier is not None
        return event(config.privacy.noise_multiplier)

    @property
    def excluded(self) -> npt.NDArray[np.int64]:
        """The users who have had all their participations."""
        if self.limit is None:
            return np.zeros(0, np.int64)
        return np.array(sorted(client for client, n in self.participations.items() if n >= self.limit), np.int64)

    def stop(self, round: int, roster: Roster) -> str | None:
        """Stop where nobody has a participation left."""
        if self.limit is not None and not np.any((roster.utterances > 0) & ~roster.excluded):
            return f"every user has had the {self.limit} participations of the privacy budget after {round - 1} rounds"
        return None

    def release(self, result: RoundResult, round: int, registered: int) -> Vector | None:
        """Count the participations of the round; return the mean."""
        self.lost([row["id"] for row in result.everybody], round)
        return super().release(result, round, registered)

    def lost(self, clients: Sequence[int], round: int) -> None:
        """Count a round's participations; charge it where somebody took part more often than anybody before."""
        before = max(self.participations.values(), default=0)
        self.participations.update(clients)
        if max(self.participations.values(), default=0) > before:
            self.ledger.charge(self.event, released="update", population=self.population, round=round, seen_by="server")

    def epsilon(self) -> float:
        """Return what the user with the most participations has spent so far."""
        return self.ledger.epsilon(self.config.delta, "user", "server")

    def document(self) -> dict[str, Any]:
        """Return the content of ``privacy.json``."""
        document = privacy_document(self.ledger, self.config.delta, budget=self.budget)
        return {"note": note_of(NOTE, self.run), "most_turns": max(self.participations.values(), default=0), **document}

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        return {
            "turns": {str(client): count for client, count in self.participations.items()},
            "ledger": self.ledger.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        self.participations = Counter({int(client): int(count) for client, count in state["turns"].items()})
        self.ledger.load_state_dict(state["ledger"])
