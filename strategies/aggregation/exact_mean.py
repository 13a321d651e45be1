"""A streaming weighted mean of updates whose result does not depend on the order of the replies.

Floating-point sums depend on their order: shuffling 50 replies changes most of the bits. Here every contribution is
rounded to a multiple of 2⁻⁴² before it is added, in float64, which holds such sums exactly as long as they stay
within 2⁵³ multiples. Exact sums commute, so any arrival order, any number of workers and any grouping give the same
bits, with the memory of one model and no sorting (compare Demmel and Nguyen, Parallel Reproducible Summation, 2015).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fedasr.errors import RunFailed
from fedasr.models.weights import Arrays, Layout, Vector
from fedasr.privacy.update_clipping import Clip

from .base import Size, Sum, UpdateRefused, difference

__all__ = ["ExactMean", "ExactSum", "Size", "UpdateRefused"]

FRACTION_BITS = 42
LIMIT = 2.0 ** (52 - FRACTION_BITS)
"""Largest Σ weight·|update| of a parameter that is sure to be summed exactly, the weights summing to about one."""


PIECE = 32_768
"""Entries that are weighted, rounded and added at a time, so that they stay near the processor."""


class ExactSum:
    """Adds wᵢ·(θᵢ − θ) to a sum, in units that make the sum exact. It pickles, so that workers can add up too.

    Args:
        layout: the model's layout.
        expected_weight: about Σ wᵢ (what the roster says of the selected clients); fixes the scale of the sums, so it
            must be known before the replies and be the same whatever their order.
        clip: scales an update down before it is weighted; None: no clipping.
    """

    def __init__(self, layout: Layout, expected_weight: float, clip: Clip | None = None) -> None:
        self.layout = layout
        self.clip = clip
        self.unit = 2.0 ** math.ceil(math.log2(max(expected_weight, 1.0)))
        self.scratch: tuple[Vector, Sum] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the working memory behind."""
        return {**self.__dict__, "scratch": None}

    def add(self, total: Sum, start: Vector | None, sent: Arrays | Vector, weight: int) -> Size:
        """Add a client's weights and return how large its update was.

        Args:
            total: changed in place, shape ``(parameters,)``.
            start: the global weights θ that the client started from, shape ``(parameters,)``; None: it has sent θᵢ − θ.
            sent: the client's weights θᵢ by names, or its update, shape ``(parameters,)``, which stays as it is.
            weight: a positive whole number (examples, milliseconds of audio, or 1), so that Σ wᵢ is exact too.

        Raises:
            UpdateRefused: wrong names or shapes, values that are not finite, or an update too large to be meant.
        """
        if self.scratch is None:
            self.scratch = np.empty(self.layout.size, np.float32), np.empty(PIECE, np.float64)
        flat, scaled = self.scratch
        update, norm = difference(self.layout, start, sent, flat)
        if weight <= 0:
            raise UpdateRefused(f"weight {weight} is not positive")
        if self.clip is not None:
            np.copyto(flat, update)
            update = flat
            self.clip.apply(update)
        largest = max(float(update.max()), -float(update.min()))
        if largest > LIMIT or weight / self.unit * largest > LIMIT:
            raise UpdateRefused(f"the update is too large to be meant (L2 norm {norm:.3g})")
        factor = weight / self.unit * 2.0**FRACTION_BITS
        # A clipped update is rounded towards zero: it must not become longer than the bound.
        rounded = np.rint if self.clip is None else np.trunc
        for place in range(0, self.layout.size, PIECE):
            piece = slice(place, place + PIECE)
            part = scaled[: len(update[piece])]
            np.multiply(update[piece], factor, out=part, dtype=np.float64)
            rounded(part, out=part)
            total[piece] += part
        return Size(norm, largest)


class ExactMean:
    """Σ wᵢ·(θᵢ − θ) / Σ wᵢ over the replies of a round.

    Args:
        layout: the model's layout.
        start: the global weights θ that the clients started from, shape ``(parameters,)``.
        expected_weight: as in ``ExactSum``.
        denominator: divide by this instead of by Σ wᵢ.
        clip: as in ``ExactSum``.
    """

    sums_alone = True

    def __init__(
        self,
        layout: Layout,
        start: Vector,
        expected_weight: float,
        denominator: float | None = None,
        clip: Clip | None = None,
    ) -> None:
        self.start = start
        self.rule = ExactSum(layout, expected_weight, clip)
        self.sum: Sum = np.zeros(layout.size, np.float64)
        self.denominator = denominator
        self.weight = 0
        self.updates = 0
        self.unclipped = 0
        """updates within the clip norm"""
        self.bound = 0.0

    def add(self, arrays: Arrays, weight: int) -> float:
        """Add a client's weights and return the L2 norm of its update; errors as in ``ExactSum.add``."""
        size = self.rule.add(self.sum, self.start, arrays, weight)
        self.count(weight, size)
        return size.norm

    def count(self, weight: int, size: Size) -> None:
        """Note a contribution that is in the sum."""
        self.weight += weight
        self.updates += 1
        clip = self.rule.clip
        self.unclipped += clip is None or size.norm <= clip.bound
        self.bound += weight / self.rule.unit * size.largest

    def mean(self) -> Vector:
        """Return the weighted mean update, shape ``(parameters,)``; zeros where nobody replied; errors as ``exact``."""
        return self.exact().astype(np.float32)

    def exact(self) -> Sum:
        """Return the same in float64: noise must be added before anything is rounded.

        Raises:
            RunFailed: the clients' weights are so far from what was expected that the sum may not be exact.
        """
        if self.weight == 0:
            return np.zeros(self.rule.layout.size)
        if self.bound > 2 * LIMIT:  # each claim may be rounded up; sums are exact up to 2⁵³ units
            raise RunFailed(
                f"the updates of a round are too large to be summed exactly (Σ weight·change is {self.bound:.3g} of the"
                f" expected weight, at most {2 * LIMIT:g}); the clients report far more speech than the server knows of"
            )
        denominator = self.weight if self.denominator is None else self.denominator
        scale = self.rule.unit / (2.0**FRACTION_BITS * denominator)
        scaled: Sum = self.sum * scale
        return scaled
