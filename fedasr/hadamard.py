"""The Walsh–Hadamard transform, which rotates updates before they become one bit and scores all canaries at once."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Real = TypeVar("Real", np.float32, np.float64)

SIDE = 64
"""A transform of 4,096 is two products with a matrix of this side: several times as fast as twelve passes of sums."""
OCTET = 8
"""Signs of a byte."""
STEPS_OF_BYTES = 4
"""Passes of sums that a byte has room for, after those that a table has made: halves of sums of 128 signs."""
TOP_BITS = np.uint64(0x8080808080808080)
WIDEST_OF_16_BITS = 2**15
"""Longest row of signs of whose sums 16 bits hold the halves."""


@cache
def sylvester(side: int, kind: str) -> npt.NDArray[Any]:
    """Return the Hadamard matrix H_{ij} = (−1)^{popcount(i & j)} of a power of two, read-only."""
    matrix = np.ones((1, 1), kind)
    while len(matrix) < side:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    matrix.flags.writeable = False
    return matrix


@cache
def signs_of_bytes(kind: str) -> npt.NDArray[Any]:
    """Return the bits of each byte as ±1, the highest first; shape ``(256, 8)``, read-only."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    signs: npt.NDArray[Any] = 2 * bits.astype(kind) - np.ones((), kind)
    signs.flags.writeable = False
    return signs


@cache
def octets() -> npt.NDArray[np.uint64]:
    """Return half of H₈ of the eight signs that the bits of each byte are, as one number a byte, read-only.

    It is Σ hᵢ·256ⁱ modulo 2⁶⁴, so that a sum of such numbers has all eight sums, as long as each fits a byte. A sum of
    signs is even, and its half has room for twice as many.
    """
    transformed = signs_of_bytes("<i8") @ sylvester(OCTET, "<i8") // 2
    numbers: npt.NDArray[np.uint64] = (transformed * 256 ** np.arange(OCTET)).sum(1).astype("<u8")
    numbers.flags.writeable = False
    return numbers


def sums_kind(width: int) -> np.dtype[Any]:
    """Return the dtype of half the sums of rows of so many signs."""
    return np.dtype("<i2" if width <= WIDEST_OF_16_BITS else "<i4")


class HalfSums:
    """Halves of H·row of rows of ±1, not scaled, from their bits.

    A table has the first three passes of sums, four are of eight sums at a time in one number, and the others are of
    whole numbers of 16 bits: several times as fast as products with matrices. Each pass is over the outermost
    dimension that is left, since short runs take longer than their sums. Memory and its views are kept: to make them
    anew would take as long as the sums.

    Args:
        count: rows.
        width: of a row, a power of two, at least 8.

    Attributes:
        sums: of the last rows, shape ``(count, width)``.
        beside: the same, working memory.
    """

    def __init__(self, count: int, width: int) -> None:
        inner, kind = width // OCTET, sums_kind(width)
        steps = inner.bit_length() - 1
        self.first = min(steps, STEPS_OF_BYTES)
        outer = inner >> self.first
        self.sums, self.beside = np.empty((count, width), kind), np.empty((count, width), kind)
        # Each pass, the widening and the last copy go from one to the other; ``sums`` is the last.
        parts = (self.sums, self.beside) if steps % 2 == 0 else (self.beside, self.sums)
        source, target = (part.reshape(-1) for part in parts)
        size, octets_there = source.size, source.size // OCTET
        self.shape = (count, outer, 1 << self.first)
        self.looked_up = source.view("<u8")[:octets_there].reshape(1 << self.first, outer, count)
        numbers, others = (part.view("<u8")[:octets_there] for part in (source, target))
        self.of_bytes = passes(numbers, others, self.first)
        if self.first % 2:
            numbers, source, target = others, target, source
        self.numbers = numbers
        narrow = source.view(np.int8)[:size].reshape(1 << self.first, outer, count * OCTET)
        self.narrow, self.wide = narrow.transpose(1, 0, 2), target.reshape(outer, 1 << self.first, count * OCTET)
        source, target = target, source
        self.of_sums = passes(source, target, steps - self.first)
        if (steps - self.first) % 2:
            source, target = target, source
        self.turned: npt.NDArray[Any] = source.reshape(inner, count, OCTET).transpose(1, 0, 2)
        if kind.itemsize * OCTET == np.dtype(np.complex128).itemsize:
            # Eight sums are copied as one value, whatever it would mean.
            self.turned, target = source.view(np.complex128).reshape(inner, count).T, target.view(np.complex128)
        self.target = target.reshape(self.turned.shape)

    def fill(self, packed: npt.NDArray[np.uint8]) -> None:
        """Write the halves to ``sums``.

        Args:
            packed: bits of the rows (1: 1, 0: −1), the first the highest of a byte, shape ``(count · width / 8,)``.
        """
        # What is looked up is in range: any mode but the first needs no second buffer.
        np.take(octets(), packed.reshape(self.shape).transpose(2, 1, 0), out=self.looked_up, mode="clip")
        for one, other, total, difference in self.of_bytes:
            np.add(one, other, out=total)
            np.subtract(one, other, out=difference)
        # From digits that may be negative to bytes that may be: no digit borrows from the next one.
        np.add(self.numbers, TOP_BITS, out=self.numbers)
        np.bitwise_xor(self.numbers, TOP_BITS, out=self.numbers)
        np.copyto(self.wide, self.narrow)
        for one, other, total, difference in self.of_sums:
            np.add(one, other, out=total)
            np.subtract(one, other, out=difference)
        np.copyto(self.target, self.turned)


def passes(source: npt.NDArray[Any], target: npt.NDArray[Any], steps: int) -> list[tuple[npt.NDArray[Any], ...]]:
    """Return what each pass adds and subtracts, and where it puts sum and difference: halves of what is left.

    Args:
        source: what the first one reads, one-dimensional.
        target: what it writes, and the next one reads.
        steps: passes.
    """
    result: list[tuple[npt.NDArray[Any], ...]] = []
    for step in range(steps):
        pairs, made = (part.reshape(1 << step, 2, -1) for part in (source, target))
        result.append((pairs[:, 0], pairs[:, 1], made[:, 0], made[:, 1]))
        source, target = target, source
    return result


def hadamard(rows: npt.NDArray[Real]) -> npt.NDArray[Real]:
    """Return H·row of each row, scaled so that rows keep their lengths; twice is the identity.

    The sums of rows of ±1 are whole numbers, so that theirs have the same bits on every machine.

    Args:
        rows: shape ``(rows, width)``, float32 or float64, the width a power of two.
    """
    width = rows.shape[1]
    transformed: npt.NDArray[Any] = rows
    done = 1
    while done < width:
        side = min(SIDE, width // done)
        inner = width // (done * side)
        matrix = sylvester(side, rows.dtype.str)
        if inner == 1:
            transformed = transformed.reshape(-1, side) @ matrix
        else:
            transformed = matrix @ transformed.reshape(-1, side, inner)
        done *= side
    scaled: npt.NDArray[Real] = transformed.reshape(rows.shape) * rows.dtype.type(width**-0.5)
    return scaled
