"""One bit a weight after a random rotation (DRIVE, Vargaftik et al. 2021; EDEN, Vargaftik et al. 2022).

A block is rotated by random signs and a Walsh–Hadamard transform, so that its entries look normal whatever they were.
Their signs are sent, and one scale, ‖x‖²/‖y‖₁ of the rotated y, which makes the decoded block unbiased over rotations:
exactly for uniform ones, and up to what a Hadamard transform of a block leaves of its shape for these. The mean squared
error is π/2 − 1 = 0.571 of the block's squared length.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.codecs.base import CodecTraits, Damaged, checked_whole
from fedasr.hadamard import hadamard
from fedasr.models.weights import Vector

SEED = struct.Struct("<Q")


class Eden:
    """One bit a weight, and 32 for the scale of a block.

    Args:
        parameters: length of the vectors.
        block: entries that are rotated together, a power of two. The last block is as long as a power of two allows:
            no vector is filled up to twice its length.
    """

    traits = CodecTraits(unbiased=True, feedback="possible")

    def __init__(self, parameters: int, block: int = 4096) -> None:
        self.parameters = parameters
        width = checked_whole(block, "block", power=True)
        whole, rest = divmod(parameters, width)
        last = 1 << max(0, rest - 1).bit_length()
        self.parts = [(whole, width)] if whole else []
        self.parts += [(1, last)] if rest else []
        self.padded = sum(count * size for count, size in self.parts)
        self.scales = sum(count for count, _ in self.parts)

    def encode(self, vector: Vector, rng: np.random.Generator) -> bytes:
        """Return the rotation's seed, the scales, and the signs."""
        seed = int(rng.integers(0, 2**64, dtype=np.uint64))
        padded = np.zeros(self.padded, np.float32)
        padded[: self.parameters] = vector
        scales, bits = [], []
        for rows, signs in zip(self.split(padded), self.split(self.rotation(seed)), strict=True):
            # A block is brought to unit size first: sums of the largest numbers would overflow.
            size = np.maximum(rows.max(1, keepdims=True), -rows.min(1, keepdims=True))
            unit = rows / np.where(size > 0, size, np.float32(1))
            rotated = hadamard(unit * signs)
            total, square = np.abs(rotated).sum(1), np.square(unit).sum(1)
            scales.append(size[:, 0] * (square / np.where(total > 0, total, np.float32(1))))
            bits.append((rotated >= 0).reshape(-1))
        scale = np.concatenate([*scales, np.zeros(0)]).astype("<f4")
        return SEED.pack(seed) + scale.tobytes() + np.packbits(np.concatenate([*bits, np.zeros(0, bool)])).tobytes()

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        expected = SEED.size + 4 * self.scales + (self.padded + 7) // 8
        if len(content) != expected:
            raise Damaged(f"it holds {len(content)} bytes, expected {expected}")
        (seed,) = SEED.unpack_from(content)
        scales = np.frombuffer(content, "<f4", self.scales, SEED.size)
        packed = np.frombuffer(content, np.uint8, offset=SEED.size + 4 * self.scales)
        bits = signs_of(packed, self.padded)
        result, place = np.empty(self.padded, np.float32), 0
        with np.errstate(invalid="ignore", over="ignore"):
            for rows, signs, out in zip(
                self.split(bits), self.split(self.rotation(seed)), self.split(result), strict=True
            ):
                np.multiply(hadamard(rows), signs, out=out)
                out *= scales[place : place + len(rows), None]
                place += len(rows)
        return result[: self.parameters]

    def rotation(self, seed: int) -> npt.NDArray[np.float32]:
        """Return the random signs of a rotation, ±1, shape ``(padded,)``."""
        drawn = np.random.Generator(np.random.PCG64(seed)).bytes((self.padded + 7) // 8)
        return signs_of(np.frombuffer(drawn, np.uint8), self.padded)

    def split(self, padded: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the blocks of one length as the rows of a view each."""
        views, place = [], 0
        for count, size in self.parts:
            views.append(padded[place : place + count * size].reshape(count, size))
            place += count * size
        return views


def signs_of(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.float32]:
    """Return the first ``count`` bits as −1 and 1."""
    result = np.unpackbits(packed, count=count).astype(np.float32)
    result *= 2
    result -= 1
    return result
