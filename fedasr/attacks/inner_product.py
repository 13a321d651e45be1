"""Inner-product manipulation: the sum points away from the honest mean (Xie et al., UAI 2020)."""

from __future__ import annotations

import numpy as np

from fedasr.models.weights import Vector
from fedasr.typing import Floats

from .base import Collusion, checked_number


class InnerProduct:
    """Sends −epsilon times the mean of the colluders' honest updates.

    The paper's attacker knows the honest clients' mean; this one estimates it from the clients that it controls.

    Args:
        epsilon: above 0. Small values pass distance-based rules such as Krum, values above 1 turn a mean around.
    """

    def __init__(self, epsilon: float = 0.5) -> None:
        self.epsilon = checked_number(epsilon, "epsilon", above=0)

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return the colluders' mean, reversed."""
        mean: Floats = collusion.updates.mean(axis=0, dtype=np.float64)
        return (-self.epsilon * mean).astype(np.float32)
