"""Half precision: 16 bits a weight, scaled by a power of two so that small updates do not vanish."""

from __future__ import annotations

import struct

import numpy as np

from fedasr.codecs.base import CodecTraits, Damaged
from fedasr.models.weights import Vector

EXPONENT = struct.Struct("<h")
TOP = 15
"""The largest entry is scaled to below 2¹⁵: half precision ends at 65504."""
LARGEST_EXPONENT = 250


def to_half(vector: Vector) -> bytes:
    """Return values as the exponent of their common scale and half-precision numbers."""
    largest = float(np.abs(vector).max(initial=0))
    exponent = int(np.frexp(largest)[1]) - TOP if largest > 0 else 0
    scaled = vector.astype(np.float64) * 2.0**-exponent
    return EXPONENT.pack(exponent) + scaled.astype("<f2").tobytes()


def from_half(content: bytes, count: int) -> Vector:
    """Return so many values of ``to_half``.

    Raises:
        Damaged: the bytes hold others.
    """
    if len(content) != EXPONENT.size + 2 * count:
        raise Damaged(f"it holds {len(content)} bytes, expected {EXPONENT.size + 2 * count}")
    (exponent,) = EXPONENT.unpack_from(content)
    if abs(exponent) > LARGEST_EXPONENT:
        raise Damaged("its scale is beyond single precision")
    values = np.frombuffer(content, "<f2", count, EXPONENT.size)
    with np.errstate(invalid="ignore", over="ignore"):  # a server refuses what is not finite
        result: Vector = (values.astype(np.float64) * 2.0**exponent).astype(np.float32)
    return result


class Half:
    """Each entry in half precision, rounded to the nearest.

    Args:
        parameters: length of the vectors.
    """

    traits = CodecTraits(unbiased=False, feedback="possible")

    def __init__(self, parameters: int) -> None:
        self.parameters = parameters

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return the scale and the entries; nothing is drawn."""
        return to_half(vector)

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        return from_half(content, self.parameters)
