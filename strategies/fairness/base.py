"""What a fairer objective gets of a round, and what it says of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fedasr.typing import Floats, Integers

State = dict[str, Any]


@dataclass(frozen=True)
class FairnessTraits:
    """What an objective needs to know beside losses, which all of them read."""

    norms: bool = False
    """how long each single update is"""
    groups: bool = False
    """which group each client is in (``strategy.fairness_by``)"""


class Asked(NamedTuple):
    """What the clients of a round say of the weights that they are sent, before they train. Shapes ``(clients,)``."""

    losses: Floats
    """mean loss of each over its speech, in nats per token: a loss per utterance grows with its length"""
    weights: Floats
    """what each would count for by ``strategy.weighting``"""
    groups: Integers
    """group of each, in ``[0, number of groups)``"""


class Replied(NamedTuple):
    """What came back of a round. Shapes ``(updates,)``."""

    losses: Floats
    """as in ``Asked``"""
    weights: Floats
    """what each counted for, reweighted"""
    norms: Floats
    """L2 norm of each update"""


class Fairness(ABC):
    """A fairer objective; ``state`` goes into the checkpoint.

    Args:
        groups: how many groups of clients there are.
    """

    traits: ClassVar[FairnessTraits] = FairnessTraits()

    def __init__(self, groups: int) -> None:
        self.state: State = {}

    @abstractmethod
    def weigh(self, asked: Asked) -> Floats:
        """Return by what each client's weight is multiplied, not below 0, shape ``(clients,)``; their scale is free."""

    def scale(self, replied: Replied) -> float:
        """Return by what the weighted mean of the updates is multiplied."""
        return 1.0


class GroupWeights(Fairness):
    """A weight λ of each group, above 0 in total 1, at first the same for all.

    Args:
        groups: how many groups of clients there are.
    """

    traits: ClassVar[FairnessTraits] = FairnessTraits(groups=True)

    def __init__(self, groups: int) -> None:
        super().__init__(groups)
        self.state = {"weights": np.full(groups, 1 / groups).tolist()}

    @abstractmethod
    def moved(self, weights: Floats, losses: Floats, heard: Integers) -> Floats:
        """Return the new weights of all groups, shape ``(groups,)``.

        Args:
            weights: λ, shape ``(groups,)``.
            losses: of the groups that were heard of, shape ``(heard,)``.
            heard: which ones, ascending, shape ``(heard,)``.
        """

    def weigh(self, asked: Asked) -> Floats:
        """Move the groups' weights, and return λ of each client's group over what the group counts for together."""
        heard, place = np.unique(asked.groups, return_inverse=True)
        together = np.bincount(place, asked.weights)
        losses = np.bincount(place, asked.weights * asked.losses) / together
        moved = self.moved(np.array(self.state["weights"], np.float64), losses, heard)
        self.state["weights"] = moved.tolist()
        return np.asarray(moved[asked.groups] / together[place], np.float64)
