"""What a privacy mechanism does in the life of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedasr.config import Config
from fedasr.data.roster import Roster
from fedasr.models.weights import Vector
from fedasr.privacy.sampling import PUBLIC_GROUPS
from fedasr.privacy.update_clipping import Clip

from ..rounds import RoundResult
from ..selection import Selection, configured_traits


def note_of(about: str, config: Config) -> str:
    """Return the note of a ledger, with what the run's selection takes to be public beside what it says."""
    traits = configured_traits(config.selection)
    return f"{about}; {PUBLIC_GROUPS}" if traits is not None and traits.reads_groups else about


class Mechanism(Protocol):
    """Decides what is released of a round, and keeps account of it."""

    @property
    def excluded(self) -> npt.NDArray[np.int64]:
        """The clients that must not be selected any more."""
        ...

    def stop(self, round: int, roster: Roster) -> str | None:
        """Return why the round, which has begun, must not be run; None: it may."""
        ...

    def admit(self, selection: Selection, round: int) -> None:
        """Raise where a round's cohort was not drawn as the accountant assumes; nothing has been sent yet.

        Raises:
            RunFailed: it was not.
        """
        ...

    def clip(self) -> Clip | None:
        """Return how the server clips an update in this round; None: it does not."""
        ...

    def release(self, result: RoundResult, round: int, registered: int) -> Vector | None:
        """Charge a round and return its mean update, shape ``(parameters,)``, as it may be released; None: nothing.

        Args:
            result: of the round.
            round: counted from 1.
            registered: how many clients there are, whether or not they are there and hold speech.
        """
        ...

    def lost(self, clients: Sequence[int], round: int) -> None:
        """Count a round that clients were asked for and whose replies are lost; they will be asked for it again."""
        ...

    def epsilon(self) -> float | None:
        """Return what was spent so far at ``privacy.delta``; None: nothing is private."""
        ...

    def document(self) -> dict[str, Any] | None:
        """Return the content of ``privacy.json``; None: there is none."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as JSON values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``."""
        ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what else a checkpoint must hold, as arrays."""
        ...

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from ``arrays``."""
        ...


class Public:
    """No privacy: the mean of the updates, where there are any. The others take from it what they do not change."""

    @property
    def excluded(self) -> npt.NDArray[np.int64]:
        """Nobody."""
        return np.zeros(0, np.int64)

    def stop(self, round: int, roster: Roster) -> str | None:
        """Never stop."""
        return None

    def admit(self, selection: Selection, round: int) -> None:
        """Admit any cohort."""

    def clip(self) -> Clip | None:
        """Do not clip."""
        return None

    def release(self, result: RoundResult, round: int, registered: int) -> Vector | None:
        """Return the mean update; None where nobody answered."""
        return result.mean.mean() if result.mean.updates else None

    def lost(self, clients: Sequence[int], round: int) -> None:
        """Count nothing: the server has released nothing of it, and devices keep their own ledgers."""

    def epsilon(self) -> float | None:
        """Return None."""
        return None

    def document(self) -> dict[str, Any] | None:
        """Return None."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Read nothing."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return nothing."""
        return {}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Read nothing."""
