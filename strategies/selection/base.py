"""The selection protocol: which devices take part, with which probability, and what is learnt from their replies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedasr.data.roster import Roster


@dataclass(frozen=True)
class Selection:
    """The chosen clients, shape ``(k,)``, and the probability with which each was to be included."""

    clients: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Feedback:
    """What the server learnt in a round; columns of shape ``(replies,)``."""

    round: int
    clients: npt.NDArray[np.int64]
    train_loss: npt.NDArray[np.float64]


class Selector(Protocol):
    """Chooses the devices of a round; separate from aggregation and usable with any Flower strategy."""

    def select(self, round: int, roster: Roster, k: int, rng: np.random.Generator) -> Selection:
        """Return at most ``k`` clients of the roster; a client that stores nothing is never chosen."""
        ...

    def observe(self, feedback: Feedback) -> None:
        """Learn from the replies of a round."""
        ...

    def state_dict(self) -> Mapping[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        ...


class Stateless:
    """The half of the protocol that a selector without memory needs."""

    def observe(self, feedback: Feedback) -> None:
        """Learn nothing."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return nothing to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore nothing."""
