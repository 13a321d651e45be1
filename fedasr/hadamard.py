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
STEPS_OF_BYTES = 3
"""Passes of sums that a byte has room for, after those that a table has made: sums of 64 signs."""
TOP_BITS = np.uint64(0x8080808080808080)
WIDEST_OF_16_BITS = 2**14
"""Longest row of signs whose sums 16 bits hold."""


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
    """Return H₈ of the eight signs that the bits of each byte are, as one number a byte, read-only.

    It is Σ hᵢ·256ⁱ modulo 2⁶⁴, so that a sum of such numbers has all eight sums, as long as each fits a byte.
    """
    transformed = signs_of_bytes("<i8") @ sylvester(OCTET, "<i8")
    numbers = (transformed * 256 ** np.arange(OCTET)).sum(1).astype("<u8")
    numbers.flags.writeable = False
    return numbers


def sums_kind(width: int) -> np.dtype[Any]:
    """Return the dtype of the sums of rows of so many signs."""
    return np.dtype("<i2" if width <= WIDEST_OF_16_BITS else "<i4")


def sums_of_packed(packed: npt.NDArray[np.uint8], out: npt.NDArray[Any], beside: npt.NDArray[Any]) -> None:
    """Write H·row of rows of ±1, not scaled, to ``out``, from their bits (1: 1, 0: −1), the highest of a byte first.

    A table has the first three passes of sums, three are of eight sums at a time in one number, and the others are of
    whole numbers of 16 bits: several times as fast as products with matrices. In between the bytes of one place in all
    rows lie side by side, so that each pass is of long runs. Fresh memory would take as long as the sums.

    Args:
        packed: shape ``(rows, width / 8)``.
        out: shape ``(rows, width)``, in one piece, of ``sums_kind(width)``.
        beside: the same; overwritten.
    """
    count, inner = packed.shape
    steps = inner.bit_length() - 1
    first = min(steps, STEPS_OF_BYTES)
    # Each pass, the widening and the last copy go from one to the other; ``out`` is the last.
    source, target = (part.reshape(-1) for part in ((out, beside) if steps % 2 == 0 else (beside, out)))
    # What is looked up is in range: any mode but the first needs no second buffer.
    numbers = source.view("<u8")[: packed.size]
    np.take(octets(), packed.T, out=numbers.reshape(inner, count), mode="clip")
    source, target = passes(source, target, "<u8", packed.size, count, first)
    numbers = source.view("<u8")[: packed.size]
    # From digits that may be negative to bytes that may be: no digit borrows from the next one.
    numbers += TOP_BITS
    numbers ^= TOP_BITS
    np.copyto(target, source.view(np.int8)[: target.size])
    source, target = target, source
    run = (count * OCTET) << first
    source, target = passes(source, target, out.dtype.str, out.size, run, steps - first)
    turned = source.reshape(inner, count, OCTET).transpose(1, 0, 2)
    if out.itemsize * OCTET == np.dtype(np.complex128).itemsize:
        # Eight sums are copied as one value, whatever it would mean.
        turned, target = source.view(np.complex128).reshape(inner, count).T, target.view(np.complex128)
    np.copyto(target.reshape(turned.shape), turned)


def passes(
    source: npt.NDArray[Any], target: npt.NDArray[Any], kind: str, size: int, run: int, steps: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Put sum and difference in the place of numbers that are ``run`` apart, then of those twice as far, and so on.

    Args:
        source: what the numbers are in, one-dimensional.
        target: the same; overwritten.
        kind: of the numbers.
        size: how many there are.
        run: distance of the first pass.
        steps: passes.

    Returns:
        What the result is in, and the other one.
    """
    for step in range(steps):
        pairs, made = (part.view(kind)[:size].reshape(-1, 2, run << step) for part in (source, target))
        np.add(pairs[:, 0], pairs[:, 1], out=made[:, 0])
        np.subtract(pairs[:, 0], pairs[:, 1], out=made[:, 1])
        source, target = target, source
    return source, target


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
