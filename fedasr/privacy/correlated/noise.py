"""What every noise over the rounds of a run offers: draws, their charges, and a state for the checkpoint.

The server releases x_t + C·σ·y_t in round t, where x_t is the sum of the updates clipped to norm C and y = M⁻¹z for a
fixed lower-triangular matrix M and independent standard normal z_t. That is a function of M·x + σz, one Gaussian
mechanism whose sensitivity is that of M·x; it may be composed of adaptive rounds since M is lower-triangular (Denisov
et al. 2022, arXiv 2202.08312). The neighbour is a device whose updates are zero. No sampling is assumed; two turns of a
device must be at least ``separation`` rounds apart, which the selection has to keep.

M has no negative entry, so the worst device sends the same update in all its turns, and the squared sensitivity is the
largest sum of (MᵀM)_ij over the rounds i and j of a device's turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.typing import Floats

Arrays = dict[str, npt.NDArray[Any]]
PLACE = "correlated noise"


class CorrelatedNoise(Protocol):
    """Noise of one run; rounds count from 1 and follow one another without a gap.

    The state holds noise that was released: whoever reads it can take that noise off again. It is as secret as the
    seed of the draws. It is float64 like the draws: float32 would have a lattice of its own.
    """

    separation: int
    """rounds between two turns of a device at least"""

    @property
    def name(self) -> str:
        """``independent``, ``banded`` or ``tree``."""

    def draw(self, round: int, rng: np.random.Generator, size: int) -> Floats:
        """Return y_t, shape ``(size,)``, to be multiplied by the noise multiplier and the clip norm.

        Args:
            round: the one after that of the last draw.
            rng: of this round alone: what it draws must not depend on the rounds before.
            size: numbers in a model, the same in every round.

        Raises:
            InputError: another round or size than the state goes with.
        """

    def charge(self, round: int) -> float:
        """Return by how much the bound on the squared sensitivity grows with the round; 0: it costs nobody anything.

        Independent Gaussian mechanisms of squared sensitivities d² compose to μ² = Σ d²/σ² exactly, so a ledger may
        charge a ``Gaussian`` of sensitivity √charge for each round whose charge is not 0.
        """

    def total(self, rounds: int) -> float:
        """Return the charges of so many rounds, at least the squared sensitivity of all that they released."""

    def squared_sensitivity(self, rounds: int, participations: int | None = None) -> float:
        """Return the squared sensitivity of so many rounds in clip norms, or a bound on it.

        Args:
            rounds: from the first.
            participations: turns of a device at most; None: as many as the separation allows.
        """

    def matrix(self, rounds: int) -> Floats:
        """Return M, shape ``(rounds, rounds)``."""

    def state_dict(self) -> Arrays:
        """Return what a checkpoint must hold."""

    def load_state_dict(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from ``state_dict``.

        Raises:
            InputError: it is damaged, or the state of another noise.
        """


def check_next(round: int, last: int, size: int, kept: int | None) -> None:
    """Raise where a draw does not follow the last one: without the noise before, its own would not be right.

    Args:
        round: to be drawn.
        last: drawn before, 0 for none.
        size: to be drawn.
        kept: size of what was drawn before; None: nothing is known of it.

    Raises:
        InputError: the round is another, or the size.
    """
    if round != last + 1:
        raise InputError(
            f"is that of round {last}, and round {round} is to come; a run with correlated noise goes on only from a"
            " checkpoint that holds it",
            where=PLACE,
        )
    if kept is not None and kept != size:
        raise InputError(f"is for {kept} parameters, and the model has {size}", where=PLACE)


def saved_round(state: Mapping[str, npt.NDArray[Any]]) -> int:
    """Return the round that a state is of.

    Raises:
        InputError: it tells none.
    """
    if "round" not in state or np.size(state["round"]) != 1 or int(state["round"].item()) < 0:
        raise InputError("is damaged: it tells no round", where=PLACE)
    return int(state["round"].item())


def saved_rows(state: Mapping[str, npt.NDArray[Any]], name: str, rows: int) -> Floats | None:
    """Return the saved noise of some rounds, shape ``(rows, size)``; None for no rows.

    Raises:
        InputError: it is missing, or has another number of rows.
    """
    if not rows:
        return None
    array = state.get(name)
    if array is None or array.ndim != 2 or len(array) != rows:
        shape = None if array is None else array.shape
        raise InputError(f"is damaged: '{name}' has shape {shape}; expected {rows} rows", where=PLACE)
    return array.astype(np.float64)
