"""The largest entries (Aji and Heafield 2017; with error feedback, Stich et al. 2018)."""

from __future__ import annotations

import math

import numpy as np

from fedasr.codecs.base import CodecTraits, checked_choice, checked_share
from fedasr.codecs.half import from_half, to_half
from fedasr.codecs.sparse import CODINGS, pack_indices, unpack_indices
from fedasr.models.weights import Vector


class TopK:
    """The share of the entries that are largest, in half precision; biased, so that it needs error feedback.

    Args:
        parameters: length of the vectors.
        density: the share, rounded up to whole entries.
        coding: of the indices, ``rice`` or ``none``.
    """

    traits = CodecTraits(unbiased=False, feedback="needed", sparse=True)

    def __init__(self, parameters: int, density: float = 0.1, coding: str = "rice") -> None:
        self.parameters = parameters
        self.count = math.ceil(checked_share(density, "density") * parameters)
        self.coding = checked_choice(coding, "coding", CODINGS)

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return the indices and values; of equal entries the first ones. Nothing is drawn."""
        chosen = largest(np.abs(vector), self.count)
        return pack_indices(chosen, self.coding) + to_half(vector[chosen])

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        chosen, rest = unpack_indices(content, self.parameters, self.coding)
        result = np.zeros(self.parameters, np.float32)
        result[chosen] = from_half(rest, len(chosen))
        return result


def largest(values: Vector, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the indices of the ``count`` largest values in rising order; of equal values the first ones."""
    if not 0 < count < len(values):
        return np.arange(min(count, len(values)))
    bound = np.partition(values, len(values) - count)[len(values) - count]
    chosen = values > bound
    equal = np.flatnonzero(values == bound)
    chosen[equal[: count - int(chosen.sum())]] = True
    return np.flatnonzero(chosen)
