"""The sign of each entry, and the mean length of a block's (signSGD with error feedback, Karimireddy et al. 2019)."""

from __future__ import annotations

import numpy as np

from fedasr.codecs.base import CodecTraits, Damaged, checked_whole
from fedasr.codecs.blocks import Blocks
from fedasr.models.weights import Vector


class Sign:
    """One bit a weight, and 32 for the scale of a block; biased, so that it needs error feedback.

    Args:
        parameters: length of the vectors.
        block: entries that share a scale.
    """

    traits = CodecTraits(unbiased=False, feedback="needed")

    def __init__(self, parameters: int, block: int = 4096) -> None:
        self.parameters = parameters
        self.blocks = Blocks(parameters, checked_whole(block, "block"))

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return the scales and the signs; nothing is drawn."""
        total = self.blocks.reduce(np.add, np.abs(vector).astype(np.float64))
        scales = (total / self.blocks.lengths).astype("<f4")
        return scales.tobytes() + np.packbits(vector >= 0).tobytes()

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        first = 4 * self.blocks.count
        expected = first + (self.parameters + 7) // 8
        if len(content) != expected:
            raise Damaged(f"it holds {len(content)} bytes, expected {expected}")
        scales = self.blocks.spread(np.frombuffer(content, "<f4", self.blocks.count))
        positive = np.unpackbits(np.frombuffer(content, np.uint8, offset=first), count=self.parameters)
        result: Vector = np.where(positive, scales, -scales).astype(np.float32)
        return result
