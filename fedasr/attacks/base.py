"""What an attack is, and what Byzantine clients know together."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedasr.errors import InputError
from fedasr.models.weights import Vector

Updates = npt.NDArray[np.float32]
"""Updates of several clients, shape ``(clients, parameters)``."""


class Collusion:
    """What the Byzantine clients of a round know together; the same for each of them.

    Whoever controls clients has the speech of all of them, selected in this round or not, so that it can train on it
    from the global weights.

    Args:
        clients: how many clients take part in a round.
        byzantine: how many of them are Byzantine, on average.
        train: trains honestly on the speech of Byzantine clients and returns their updates.
        draw: returns a generator that is the same for all Byzantine clients of the round.
    """

    def __init__(
        self,
        clients: int,
        byzantine: int,
        train: Callable[[], Updates],
        draw: Callable[[], np.random.Generator],
    ) -> None:
        self.clients = clients
        self.byzantine = byzantine
        self.train = train
        self.draw = draw

    @cached_property
    def updates(self) -> Updates:
        """The honest updates of up to ``attack.colluders`` Byzantine clients, read-only, at least one row.

        They are trained when they are first read.
        """
        return self.train()

    def generator(self) -> np.random.Generator:
        """Return a fresh generator that is the same for all Byzantine clients of the round."""
        return self.draw()


class Attack(Protocol):
    """Decides what a Byzantine client sends in the place of its honest update; made anew for every reply."""

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return the update that is sent, shape ``(parameters,)``.

        Args:
            update: the client's honest update θᵢ − θ, float32 of shape ``(parameters,)``; it may be changed.
            weights: the global weights θ, of the same shape.
            collusion: what all Byzantine clients of the round know.
            rng: a generator of this client and round.
        """
        ...


def checked_number(value: Any, option: str, above: float = -math.inf) -> float:
    """Return the value of an option of a shipped attack.

    Raises:
        InputError: it is no finite number above ``above``.
    """
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > above
    if not good:
        bound = "" if above == -math.inf else f" above {above:g}"
        raise InputError(f"'attack.options.{option}' is {value!r}; expected a finite number{bound}")
    return float(value)
