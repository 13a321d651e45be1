"""Zero update: a free rider, which takes part and contributes nothing (Lin et al. 2019)."""

from __future__ import annotations

import numpy as np

from fedasr.models.weights import Vector

from .base import Collusion


class Zero:
    """Sends the global weights back."""

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return zeros."""
        return np.zeros_like(update)
