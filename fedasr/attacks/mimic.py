"""Mimic: all Byzantine clients send one client's honest update, which then counts many times (Karimireddy et al., ICLR
2022). Nothing about such an update is unusual; what suffers is the speech of everybody else."""

from __future__ import annotations

import numpy as np

from fedasr.models.weights import Vector

from .base import Collusion


class Mimic:
    """Sends the honest update of the first colluder."""

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return a colluder's update."""
        first: Vector = collusion.updates[0].copy()
        return first
