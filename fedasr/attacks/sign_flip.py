"""Sign flip: the update, reversed (Li et al., AAAI 2019)."""

from __future__ import annotations

import numpy as np

from fedasr.models.weights import Vector

from .base import Collusion, checked_number


class SignFlip:
    """Sends −factor times the honest update.

    Args:
        factor: above 0.
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = checked_number(factor, "factor", above=0)

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return the update, reversed."""
        return np.float32(-self.factor) * update
