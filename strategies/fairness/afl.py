"""Agnostic federated learning (Mohri et al. 2019, arXiv:1902.00146): the loss of the worst mixture of groups."""

from __future__ import annotations

import numpy as np

from fedasr.config.schema import Config
from fedasr.typing import Floats, Integers

from .base import GroupWeights


class AFL(GroupWeights):
    """λ ← the projection of λ + η·loss onto the simplex; a group that was not heard of in a round adds nothing.

    Args:
        config: of the run.
        groups: how many groups of clients there are.
    """

    def __init__(self, config: Config, groups: int) -> None:
        super().__init__(groups)
        self.step = config.strategy.fairness_step

    def moved(self, weights: Floats, losses: Floats, heard: Integers) -> Floats:
        """Return the new weights."""
        ahead = weights.copy()
        ahead[heard] += self.step * losses
        return projected(ahead)


def projected(values: Floats) -> Floats:
    """Return the nearest point of the simplex (Duchi et al. 2008, doi:10.1145/1390156.1390191), shape ``(n,)``."""
    falling = np.sort(values)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    last = int(np.flatnonzero(falling > excess)[-1])
    return np.asarray(np.maximum(values - excess[last], 0), np.float64)
