"""A streaming weighted mean of updates whose result does not depend on the order of the replies.

Floating-point sums depend on their order: shuffling 50 replies changes most of the bits. Here every contribution is
rounded to a multiple of 2⁻⁴² before it is added, in float64, which holds such sums exactly as long as they stay
within 2⁵³ multiples. Exact sums commute, so any arrival order, any number of workers and any grouping give the same
bits, with the memory of one model and no sorting (compare Demmel and Nguyen, Parallel Reproducible Summation, 2015).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedasr.models.weights import Arrays, Layout, Vector

FRACTION_BITS = 42
LIMIT = 2.0 ** (52 - FRACTION_BITS)
"""Largest Σ weight·‖update‖ that is sure to be summed exactly, with the weights of a round summing to about one."""


class UpdateRefused(ValueError):
    """A client's update cannot enter the aggregate; the message says why."""


class ExactMean:
    """Σ wᵢ·(θᵢ − θ) / Σ wᵢ over the replies of a round.

    Args:
        layout: the model's layout.
        start: the global weights θ that the clients started from, shape ``(parameters,)``.
        expected_weight: about Σ wᵢ (what the roster says of the selected clients); fixes the scale of the sums, so it
            must be known before the replies and be the same whatever their order.
    """

    def __init__(self, layout: Layout, start: Vector, expected_weight: float) -> None:
        self.layout = layout
        self.start = start
        self.unit = 2.0 ** math.ceil(math.log2(max(expected_weight, 1.0)))
        self.sum: npt.NDArray[np.float64] = np.zeros(layout.size, np.float64)
        self.bound = 0.0
        self.weight = 0
        self.updates = 0
        self._flat: Vector = np.empty(layout.size, np.float32)
        self._scaled: npt.NDArray[np.float64] = np.empty(layout.size, np.float64)

    def add(self, arrays: Arrays, weight: int) -> float:
        """Add a client's weights and return the L2 norm of its update.

        Args:
            arrays: the client's weights θᵢ.
            weight: a positive whole number (examples, milliseconds of audio, or 1), so that Σ wᵢ is exact too.

        Raises:
            UpdateRefused: wrong names or shapes, values that are not finite, or an update too large to be meant.
        """
        try:
            self.layout.flatten(arrays, self._flat)
        except ValueError as error:
            raise UpdateRefused(str(error)) from None
        if weight <= 0:
            raise UpdateRefused(f"weight {weight} is not positive")
        np.subtract(self._flat, self.start, out=self._flat)
        norm = math.sqrt(float(np.dot(self._flat, self._flat)))
        if not math.isfinite(norm):
            raise UpdateRefused("the update holds values that are not finite")
        share = weight / self.unit
        # The share of one client may exceed one where the roster was wrong; the sum of all must stay exact.
        if self.bound + share * norm > LIMIT:
            raise UpdateRefused(f"the update is too large to be meant (L2 norm {norm:.3g})")
        self.bound += share * norm
        np.multiply(self._flat, share * 2.0**FRACTION_BITS, out=self._scaled, dtype=np.float64)
        np.rint(self._scaled, out=self._scaled)
        self.sum += self._scaled
        self.weight += weight
        self.updates += 1
        return norm

    def mean(self) -> Vector:
        """Return the weighted mean update, shape ``(parameters,)``; zeros where nobody replied."""
        if self.weight == 0:
            return np.zeros(self.layout.size, np.float32)
        scale = self.unit / (2.0**FRACTION_BITS * self.weight)
        return (self.sum * scale).astype(np.float32)
