"""Gaussian noise in the place of an update (Blanchard et al., NeurIPS 2017)."""

from __future__ import annotations

import numpy as np

from fedasr.errors import InputError
from fedasr.models.weights import Vector

from .base import Collusion, checked_number


class Gaussian:
    """Sends independent normal values with mean 0.

    Args:
        scale: their standard deviation, above 0.
        shared: whether all Byzantine clients of a round send the same values, so that they do not cancel.
    """

    def __init__(self, scale: float = 1.0, shared: bool = False) -> None:
        self.scale = checked_number(scale, "scale", above=0)
        if not isinstance(shared, bool):
            raise InputError(f"'attack.options.shared' is {shared!r}; expected true or false")
        self.shared = shared

    def __call__(self, update: Vector, weights: Vector, collusion: Collusion, rng: np.random.Generator) -> Vector:
        """Return noise."""
        source = collusion.generator() if self.shared else rng
        return (self.scale * source.standard_normal(len(update))).astype(np.float32)
