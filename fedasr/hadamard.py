"""The Walsh–Hadamard transform, which rotates updates before they become one bit and scores all canaries at once."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Real = TypeVar("Real", np.float32, np.float64)

SIDE = 64
"""A transform of 4,096 is two products with a matrix of this side: several times as fast as twelve passes of sums."""
TABLE_SIDES = (16, 32)
"""The same of 512, what a table of bytes leaves of 4,096: a product costs as its side."""
OCTET = 8
"""Signs of a byte."""


@cache
def sylvester(side: int, kind: str) -> npt.NDArray[Any]:
    """Return the Hadamard matrix H_{ij} = (−1)^{popcount(i & j)} of a power of two, read-only."""
    matrix = np.ones((1, 1), kind)
    while len(matrix) < side:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    matrix.flags.writeable = False
    return matrix


@cache
def octets() -> npt.NDArray[np.float32]:
    """Return H₈ of the eight signs that the bits of each byte are, the highest first; shape ``(256, 8)``, read-only."""
    transformed: npt.NDArray[np.float32] = signs_of_bytes() @ sylvester(OCTET, "<f4")
    transformed.flags.writeable = False
    return transformed


@cache
def signs_of_bytes() -> npt.NDArray[np.float32]:
    """Return the bits of each byte as ±1, the highest first; shape ``(256, 8)``, read-only."""
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    signs = 2 * bits.astype(np.float32) - 1
    signs.flags.writeable = False
    return signs


def packed_signs(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return rows of signs (true: 1, false: −1) as bytes: the eight of a byte lie an eighth of a row apart.

    Args:
        rows: shape ``(rows, width)``, the width a power of two, at least 8.
    """
    count, width = rows.shape
    return np.packbits(rows.reshape(count, OCTET, width // OCTET).transpose(0, 2, 1)).reshape(count, -1)


def sums_of_packed(
    packed: npt.NDArray[np.uint8], out: npt.NDArray[np.float32], beside: npt.NDArray[np.float32]
) -> None:
    """Write H·row of rows of ±1, not scaled, to ``out``, from their ``packed_signs``: a table has three passes of it.

    Fresh memory would take as long as the sums.

    Args:
        packed: shape ``(rows, width / 8)``.
        out: shape ``(rows, width)``, in one piece.
        beside: the same; overwritten.
    """
    count, inner = packed.shape
    source, target = out, beside
    # What is looked up is in range: any mode but the first needs no second buffer.
    np.take(octets(), packed, axis=0, out=target.reshape(count, inner, OCTET), mode="clip")
    np.copyto(source.reshape(count, OCTET, inner), target.reshape(count, inner, OCTET).transpose(0, 2, 1))
    done, step = 1, 0
    while done < inner:
        side = min(TABLE_SIDES[min(step, len(TABLE_SIDES) - 1)], inner // done)
        rest = inner // (done * side)
        matrix = sylvester(side, out.dtype.str)
        if rest == 1:
            np.matmul(source.reshape(-1, side), matrix, out=target.reshape(-1, side))
        else:
            np.matmul(matrix, source.reshape(-1, side, rest), out=target.reshape(-1, side, rest))
        source, target = target, source
        done, step = done * side, step + 1
    if source is not out:
        np.copyto(out, source)


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
