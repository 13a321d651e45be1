"""Canaries that cost nothing to score: random signs times rows of a Hadamard matrix restricted to d random columns.

c_i = D∘h_i/√d. One fast Walsh–Hadamard transform of a release gives its product with every canary, so canaries that
never took part are free: they show what the score is by chance. Their cosines with one another are about 1/√d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedasr.hadamard import hadamard
from fedasr.models.weights import Layout
from fedasr.typing import Floats, Integers

LARGEST_ENTRY = 500.0
"""Of a canary's numbers: what is larger is refused as no update, clipped or not."""


@dataclass(frozen=True)
class Canaries:
    """Directions in ``size`` dimensions, numbered from 0 to ``count`` − 1.

    Args:
        size: d, scalars of a model.
        seed: of signs, columns and order; independent of every noise that is audited.
        weights: of each scalar, such as what clipping by layer makes of it, shape ``(size,)``, not negative.
    """

    size: int
    seed: int
    weights: Floats

    @property
    def count(self) -> int:
        """How many there are: the next power of two."""
        return 1 << max(0, math.ceil(math.log2(self.size)))

    @cached_property
    def draws(self) -> tuple[Floats, Integers, Integers]:
        """Signs and columns, shape ``(size,)``, and the Hadamard row of each canary, shape ``(count,)``."""
        rng = np.random.default_rng([self.seed, 0x00CA_4A47])
        signs = rng.choice([-1.0, 1.0], self.size)
        columns = rng.permutation(self.count)[: self.size].astype(np.int64)
        return signs, columns, rng.permutation(self.count).astype(np.int64)

    @cached_property
    def length(self) -> float:
        """‖w‖, the norm of every canary."""
        return float(np.linalg.norm(self.weights))

    def vector(self, number: int) -> Floats:
        """Return canary ``number``, weighted, shape ``(size,)``."""
        signs, columns, rows = self.draws
        return np.asarray(parity(columns & rows[number]) * (signs * self.weights), np.float64)

    def products(self, values: npt.ArrayLike) -> Floats:
        """Return the product of ``values``, shape ``(size,)``, with the unit vector of every canary, ``(count,)``."""
        signs, columns, rows = self.draws
        line = np.zeros(self.count)
        line[columns] = signs * self.weights * np.asarray(values, np.float64)
        return np.asarray(hadamard(line[None])[0][rows] * (math.sqrt(self.count) / self.length), np.float64)


def parity(numbers: Integers) -> Floats:
    """Return 1 where a number has an even count of ones in binary, else −1."""
    folded = numbers.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        folded ^= folded >> shift
    return np.asarray(1 - 2 * (folded & 1), np.float64)


def clip_weights(layout: Layout, bound: float, style: str) -> Floats:
    """Return what clipping is to make of a canary: the size of each number, shape ``(parameters,)``.

    Written down here once more, and not asked of the clipping that is audited.
    """
    sizes = np.array([part.stop - part.start for part in layout.slices], np.float64)
    if style == "per-layer":
        shares = np.full(len(sizes), 1 / len(sizes))
    elif style == "per-layer-dim":
        shares = sizes / sizes.sum()
    else:
        return np.full(layout.size, bound / np.sqrt(layout.size))
    return np.repeat(bound * np.sqrt(shares / sizes), sizes.astype(np.int64))
