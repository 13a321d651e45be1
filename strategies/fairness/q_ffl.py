"""q-Fair federated learning (Li et al. 2020, arXiv:1905.10497): the mean of F^(q+1)/(q+1) instead of the mean of F."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedasr.config.schema import Config
from fedasr.typing import Floats

from .base import Asked, Fairness, FairnessTraits, Replied

SMALLEST = 1e-10
"""A loss counts for this at least: at 0 a power below 1 has no slope."""


class QFFL(Fairness):
    """Algorithm 2 (q-FedAvg): w ← w + L·Σ pF^q·u / Σ p(qF^(q−1)·L²‖u‖² + L·F^q), with u the update of a client.

    F is its loss at the weights that it starts from, and p its weight by ``strategy.weighting``. L, the Lipschitz
    constant of the gradient, is 1/learning rate by default, for which q = 0 is FedAvg.

    Args:
        config: of the run.
        groups: not used.
    """

    traits: ClassVar[FairnessTraits] = FairnessTraits(norms=True)

    def __init__(self, config: Config, groups: int = 1) -> None:
        super().__init__(groups)
        self.power = config.strategy.fairness_q
        given = config.strategy.fairness_lipschitz
        self.lipschitz = 1 / config.client.learning_rate if given is None else given

    def weigh(self, asked: Asked) -> Floats:
        """Return F^q."""
        return np.asarray(np.maximum(asked.losses, SMALLEST) ** self.power, np.float64)

    def scale(self, replied: Replied) -> float:
        """Return Σ pF^q / Σ pF^q·(1 + q·L‖u‖²/F): the update over the mean."""
        steeper = self.power * self.lipschitz * replied.norms**2 / np.maximum(replied.losses, SMALLEST)
        return float(replied.weights.sum() / (replied.weights * (1 + steeper)).sum())
