"""One bit a weight after a random rotation (DRIVE, Vargaftik et al. 2021; EDEN, Vargaftik et al. 2022).

A block is rotated by random signs and a Walsh–Hadamard transform, so that its entries look normal whatever they were.
Their signs are sent, and one scale, ‖x‖²/‖y‖₁ of the rotated y, which makes the decoded block unbiased over rotations:
exactly for uniform ones, and up to what a Hadamard transform of a block leaves of its shape for these. The mean squared
error is π/2 − 1 = 0.571 of the block's squared length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fedasr.codecs.base import CodecTraits, Damaged, checked_whole
from fedasr.hadamard import OCTET, HalfSums, hadamard, signs_of_bytes
from fedasr.models.weights import Vector

ENTRIES_AT_ONCE = 163_840
"""Of blocks that are decoded together, so that they stay near the processor."""
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
        if rest and last == width:
            whole, rest = whole + 1, 0
        self.parts = [(whole, width)] if whole else []
        self.parts += [(1, last)] if rest else []
        self.padded = sum(count * size for count, size in self.parts)
        self.scales = sum(count for count, _ in self.parts)
        self.transforms: dict[tuple[int, int], HalfSums] = {}
        self.result: Vector | None = None

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
            bits.append(np.packbits(rotated >= 0).tobytes())
        scale = np.concatenate([*scales, np.zeros(0)]).astype("<f4")
        return SEED.pack(seed) + scale.tobytes() + b"".join(bits)

    def decode(self, content: bytes) -> Vector:
        """Return the vector; errors as ``Codec.decode``."""
        return self.decode_for_now(content).copy()

    def decode_for_now(self, content: bytes) -> Vector:
        """Return the vector in memory that the next call overwrites; errors as ``Codec.decode``."""
        expected = SEED.size + 4 * self.scales + (self.padded + 7) // 8
        if len(content) != expected:
            raise Damaged(f"it holds {len(content)} bytes, expected {expected}")
        (seed,) = SEED.unpack_from(content)
        scales = np.frombuffer(content, "<f4", self.scales, SEED.size)
        packed = np.frombuffer(content, np.uint8, offset=SEED.size + 4 * self.scales)
        if self.result is None:
            self.result = np.empty(self.padded, np.float32)
        place, start = 0, 0
        drawn = self.drawn(seed)
        with np.errstate(invalid="ignore", over="ignore"):
            for out in self.pieces(self.result):
                count, width = out.shape
                end = start + max(1, out.size // OCTET)
                scale = scales[place : place + count, None] * np.float32(width**-0.5)
                if width >= OCTET:
                    transform = self.transform(count, width)
                    transform.fill(packed[start:end])
                    sums, signs = transform.sums, transform.beside
                    table = signs_of_bytes(sums.dtype.str)
                    np.take(table, drawn[start:end], axis=0, out=signs.reshape(-1, OCTET), mode="clip")
                    np.multiply(sums, signs, out=sums)
                    np.multiply(sums, scale * np.float32(2), out=out)
                else:
                    rotated = hadamard(signs_of(packed[start:end], out.size).reshape(out.shape)) * width**0.5
                    rotated *= signs_of(drawn[start:end], out.size).reshape(out.shape)
                    np.multiply(rotated, scale, out=out)
                place, start = place + count, end
        return self.result[: self.parameters]

    def transform(self, count: int, width: int) -> HalfSums:
        """Return what transforms so many blocks of signs."""
        if (count, width) not in self.transforms:
            self.transforms[count, width] = HalfSums(count, width)
        return self.transforms[count, width]

    def rotation(self, seed: int) -> npt.NDArray[np.float32]:
        """Return the random signs of a rotation, ±1, shape ``(padded,)``.

        Each message has a rotation of its own. One for all of a round would need a single transform back, of the sum,
        but then the errors of similar updates would not average out.
        """
        return signs_of(self.drawn(seed), self.padded)

    def drawn(self, seed: int) -> npt.NDArray[np.uint8]:
        """Return the bits of a rotation's signs, eight a byte."""
        drawn = np.random.PCG64(seed).random_raw((self.padded + 63) // 64).astype("<u8", copy=False).view(np.uint8)
        return drawn[: (self.padded + 7) // 8]

    def pieces(self, padded: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
        """Yield a few blocks at a time, views whose rows they are."""
        for rows in self.split(padded):
            step = rows_at_once(rows.shape[1])
            for first in range(0, len(rows), step):
                yield rows[first : first + step]

    def split(self, padded: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the blocks of one length as the rows of a view each."""
        views, place = [], 0
        for count, size in self.parts:
            views.append(padded[place : place + count * size].reshape(count, size))
            place += count * size
        return views


def rows_at_once(width: int) -> int:
    """Return how many blocks of a width are decoded at a time."""
    return max(1, ENTRIES_AT_ONCE // width)


def signs_of(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.float32]:
    """Return the first ``count`` bits as −1 and 1."""
    return np.take(signs_of_bytes("<f4"), packed, axis=0).reshape(-1)[:count]
