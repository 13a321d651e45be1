"""A little is enough: values too close to the mean to be left out as outliers (Baruch et al., NeurIPS 2019)."""

from __future__ import annotations

import math

import numpy as np

from fedasr.models.weights import Vector
from fedasr.typing import Floats

from .base import Collusion, checked_number


class LittleIsEnough:
    """Sends μ − z·σ of the colluders' honest updates, parameter by parameter.

    Args:
        z: how many standard deviations; None: the most with which, in expectation, enough honest clients are further
            from the mean than the Byzantine ones to make those the majority.
    """

    def __init__(self, z: float | None = None) -> None:
        self.z = None if z is None else checked_number(z, "z")

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return the colluders' mean, shifted."""
        known = collusion.updates
        z = largest_z(collusion.clients, collusion.byzantine) if self.z is None else self.z
        mean: Floats = known.mean(axis=0, dtype=np.float64)
        deviation: Floats = known.std(axis=0, dtype=np.float64)
        return (mean - z * deviation).astype(np.float32)


def largest_z(clients: int, byzantine: int) -> float:
    """Return z_max = Φ⁻¹((n − m − s) / (n − m)) with s = ⌊n/2 + 1⌋ − m, the paper's bound; 0 where it is below that.

    Args:
        clients: n, at least 1.
        byzantine: m, how many of them are Byzantine.
    """
    honest = clients - byzantine
    supporters = max(math.floor(clients / 2 + 1) - byzantine, 1)
    if honest <= supporters:
        return 0.0
    from scipy.special import ndtri

    return max(0.0, float(ndtri((honest - supporters) / honest)))
