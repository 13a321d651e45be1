"""Group DRO (Sagawa et al. 2020, arXiv:1911.08731), smoothed as CTC-DRO (Bartelds et al. 2025, arXiv:2502.01777).

The objective is the loss of the worst mixture of groups. Its weights rise where losses are high. As CTC losses of
groups differ for reasons that training does not change, one group may come to have all the weight; smoothing slows a
group down the more weight it has.
"""

from __future__ import annotations

import numpy as np

from fedasr.config.schema import Config
from fedasr.typing import Floats, Integers

from .base import GroupWeights


class GroupDRO(GroupWeights):
    """λ ← λ·exp(η·loss/(λ + α)), normalised; with α = 0, without smoothing, λ·exp(η·loss).

    Args:
        config: of the run.
        groups: how many groups of clients there are.
    """

    def __init__(self, config: Config, groups: int) -> None:
        super().__init__(groups)
        self.step = config.strategy.fairness_step
        self.smoothing = config.strategy.fairness_smoothing

    def moved(self, weights: Floats, losses: Floats, heard: Integers) -> Floats:
        """Return the new weights."""
        slowed = weights[heard] + self.smoothing if self.smoothing else np.ones(len(heard))
        logs = np.log(np.maximum(weights, np.finfo(np.float64).tiny))
        logs[heard] += self.step * losses / slowed
        raised = np.exp(logs - logs.max())
        return np.asarray(raised / raised.sum(), np.float64)
