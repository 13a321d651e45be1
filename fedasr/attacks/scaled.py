"""Scaled update: one client outweighs the others, as in model replacement (Bagdasaryan et al., AISTATS 2020)."""

from __future__ import annotations

import numpy as np

from fedasr.models.weights import Vector

from .base import Collusion, checked_number


class Scaled:
    """Sends factor times the honest update.

    Args:
        factor: above 0.
    """

    def __init__(self, factor: float = 10.0) -> None:
        self.factor = checked_number(factor, "factor", above=0)

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return the update, scaled."""
        return np.float32(self.factor) * update
