"""Gradient threshold compression (Strom, Interspeech 2015): entries beyond ±τ are sent as ±τ, the rest waits."""

from __future__ import annotations

import math
import struct

import numpy as np

from fedasr.codecs.base import CodecTraits, Damaged, checked_choice, checked_length
from fedasr.codecs.sparse import CODINGS, pack_indices, unpack_indices
from fedasr.models.weights import Vector

TAU = struct.Struct("<f")
TAU_BITS = 8


class Threshold:
    """The index and the sign of each entry with |x| ≥ τ. Error feedback keeps what is left, so that nothing is lost.

    Args:
        parameters: length of the vectors.
        tau: τ, in units of the weights, 1e-36 to 1e36. It is rounded to 8 binary digits: what is sent and what is kept
            then add up exactly to what was to be sent, where that is below 2¹⁶·τ.
        coding: of the indices, ``rice`` or ``none``.
    """

    traits = CodecTraits(unbiased=False, feedback="needed", sparse=True)

    def __init__(self, parameters: int, tau: float = 1e-3, coding: str = "rice") -> None:
        self.parameters = parameters
        fraction, exponent = math.frexp(checked_length(tau, "tau"))
        self.tau = np.float32(math.ldexp(round(fraction * 2**TAU_BITS), exponent - TAU_BITS))
        self.coding = checked_choice(coding, "coding", CODINGS)

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return τ, the indices and the signs; nothing is drawn."""
        chosen = np.flatnonzero(np.abs(vector) >= self.tau)
        signs = np.packbits(vector[chosen] > 0).tobytes()
        return TAU.pack(float(self.tau)) + pack_indices(chosen, self.coding) + signs

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        if len(content) < TAU.size or content[: TAU.size] != TAU.pack(float(self.tau)):
            raise Damaged(f"its threshold is not {self.tau:g}")
        chosen, rest = unpack_indices(content[TAU.size :], self.parameters, self.coding)
        if len(rest) != (len(chosen) + 7) // 8:
            raise Damaged(f"it holds {len(rest)} bytes of signs, expected {(len(chosen) + 7) // 8}")
        positive = np.unpackbits(np.frombuffer(rest, np.uint8), count=len(chosen))
        result = np.zeros(self.parameters, np.float32)
        result[chosen] = np.where(positive, self.tau, -self.tau)
        return result
