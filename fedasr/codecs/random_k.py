"""Entries at random, scaled so that the vector is right on average; the indices follow from a seed and cost nothing."""

from __future__ import annotations

import math
import struct
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedasr.codecs.base import CodecTraits, Damaged, checked_flag, checked_share
from fedasr.models.weights import Vector

SEED = struct.Struct("<Q")


class RandomK:
    """A share of the entries in single precision, the same ones for everybody who draws the same seed.

    Unbiased, its error is longer than the vector, so that there is no error feedback.

    Args:
        parameters: length of the vectors.
        density: the share, rounded up to whole entries.
        unbiased: whether the values are scaled so that the vector is right on average. As they are they need error
            feedback.
    """

    def __init__(self, parameters: int, density: float = 0.1, unbiased: bool = True) -> None:
        self.parameters = parameters
        self.unbiased = checked_flag(unbiased, "unbiased")
        feedback: Literal["never", "needed"] = "never" if self.unbiased else "needed"
        self.traits = CodecTraits(self.unbiased, feedback, additive=True, sparse=True)
        self.count = math.ceil(checked_share(density, "density") * parameters)

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return the seed and the values, as they are."""
        seed = int(rng.integers(0, 2**64, dtype=np.uint64))
        return SEED.pack(seed) + vector[self.chosen(seed)].astype("<f4").tobytes()

    def decode(self, content: bytes) -> Vector:
        """Return the vector, each value times parameters/k where that is unbiased; errors as ``Codec.decode``."""
        expected = SEED.size + 4 * self.count
        if len(content) != expected:
            raise Damaged(f"it holds {len(content)} bytes, expected {expected}")
        (seed,) = SEED.unpack_from(content)
        values = np.frombuffer(content, "<f4", self.count, SEED.size)
        result = np.zeros(self.parameters, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            scale = self.parameters / max(1, self.count) if self.unbiased else 1.0
            result[self.chosen(seed)] = values * np.float32(scale)
        return result

    def chosen(self, seed: int) -> npt.NDArray[np.int64]:
        """Return the indices of a seed."""
        rng = np.random.Generator(np.random.PCG64(seed))
        return rng.choice(self.parameters, self.count, replace=False, shuffle=False)
