"""What a fairer objective does in a round: it reads losses before training, and weighs the updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.errors import RunFailed
from fedasr.typing import Floats, Integers

from .base import Asked, Fairness, GroupWeights, Replied


class Reweighting:
    """Weighs clients by what they say their losses are.

    Args:
        fairness: the objective.
        names: of the groups.
        groups: the group of each client, shape ``(clients,)``.
    """

    def __init__(self, fairness: Fairness, names: Sequence[str], groups: Integers) -> None:
        self.fairness = fairness
        self.names = names
        self.groups = groups
        self.losses: dict[int, float] = {}
        """client → its loss at the weights of the round"""

    def multipliers(self, clients: npt.NDArray[np.integer], losses: Floats, weights: Floats) -> dict[int, float]:
        """Return client → by what its weight is multiplied, 1 in the weighted mean.

        Args:
            clients: of the round, shape ``(clients,)``.
            losses: of each in nats per token, NaN where it did not say: it counts as the mean of the others.
            weights: what each would count for, above 0.

        Raises:
            RunFailed: the objective gives no weights.
        """
        said = np.isfinite(losses)
        if not said.any():
            self.losses = {}
            return {}
        losses = np.where(said, losses, np.average(losses[said], weights=weights[said]))
        self.losses = dict(zip(clients.tolist(), losses.tolist(), strict=True))
        result = np.asarray(self.fairness.weigh(Asked(losses, weights, self.groups[clients])), np.float64)
        usable = result.shape == losses.shape and np.isfinite(result).all() and (result >= 0).all() and result.any()
        if not usable:
            raise RunFailed(
                f"'strategy.fairness': {type(self.fairness).__name__}.weigh returned {result.tolist()!r}; expected a"
                f" finite number of at least 0 for each of {len(losses)} clients, and not all 0"
            )
        return dict(zip(clients.tolist(), (result / np.average(result, weights=weights)).tolist(), strict=True))

    def scale(self, weights: Mapping[int, int], norms: Mapping[int, float]) -> float:
        """Return by what the mean of a round's updates is multiplied.

        Args:
            weights: client → what its update counted for.
            norms: client → the L2 norm of its update.
        """
        clients = [client for client in weights if client in self.losses]
        if not clients:
            return 1.0
        columns = [
            np.array([column[client] for client in clients], np.float64) for column in (self.losses, weights, norms)
        ]
        return float(self.fairness.scale(Replied(*columns)))

    def facts(self) -> dict[str, Any]:
        """Return what ``summary.json`` says: the weight of each group, where groups were named."""
        if not isinstance(self.fairness, GroupWeights) or len(self.names) == len(self.groups):
            return {}
        return {"group_weights": dict(zip(self.names, self.fairness.state["weights"], strict=True))}
