"""Whole numbers modulo 2ᵇ: as arrays that wrap around by themselves, and as bytes of b bits each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Residues = npt.NDArray[Any]
"""uint16 where b is at most 16, uint32 up to 32, uint64 for 64; below 2ᵇ."""


def kind_of(bits: int) -> np.dtype[Any]:
    """Return the dtype of whole numbers modulo 2ᵇ."""
    return np.dtype("<u2" if bits <= 16 else "<u4" if bits <= 32 else "<u8")


def wrapped(values: npt.NDArray[Any], bits: int) -> Residues:
    """Return whole numbers modulo 2ᵇ; a copy.

    Args:
        values: of an integer kind, or whole numbers below 2⁵³ as floats.
        bits: b, at most 32.
    """
    whole = values.astype(np.int64) if values.dtype.kind == "f" else values
    result: Residues = (whole & ((1 << bits) - 1)).astype(kind_of(bits))
    return result


def centred(residues: Residues, bits: int) -> npt.NDArray[np.int64]:
    """Return the numbers from −2ᵇ⁻¹ to 2ᵇ⁻¹ − 1 that the residues are those of, for b of at most 32."""
    half = 1 << (bits - 1)
    result: npt.NDArray[np.int64] = ((residues.astype(np.int64) + half) & ((1 << bits) - 1)) - half
    return result


def packed_bytes(length: int, bits: int) -> int:
    """Return how many bytes so many residues take."""
    return (length * bits + 7) // 8


def pack(residues: Residues, bits: int) -> npt.NDArray[np.uint8]:
    """Return residues as bytes, b bits each, the highest first."""
    kind = kind_of(bits)
    if bits == 8 * kind.itemsize:
        return np.ascontiguousarray(residues, kind).view(np.uint8)
    rows = np.zeros((-(-len(residues) // 8), 8), np.uint64)
    rows.reshape(-1)[: len(residues)] = residues
    columns = np.ascontiguousarray(rows.T)  # eight numbers have b bytes
    content = np.zeros((len(rows), bits), np.uint8)
    for octet in range(bits):
        for number, shift in overlapping(octet, bits):
            part = columns[number] >> np.uint64(shift) if shift >= 0 else columns[number] << np.uint64(-shift)
            content[:, octet] |= (part & np.uint64(255)).astype(np.uint8)
    return content.reshape(-1)[: packed_bytes(len(residues), bits)]


def overlapping(octet: int, bits: int) -> list[tuple[int, int]]:
    """Return which of eight numbers of b bits a byte of them holds bits of, and how far right their bits lie there."""
    numbers = range(8 * octet // bits, (8 * octet + 7) // bits + 1)
    return [(number, (number + 1) * bits - 8 * octet - 8) for number in numbers]


def unpack(content: npt.NDArray[np.uint8], length: int, bits: int) -> Residues:
    """Return the residues of ``pack``.

    Raises:
        ValueError: the bytes are not those of so many.
    """
    if content.dtype != np.uint8 or content.shape != (packed_bytes(length, bits),):
        raise ValueError(
            f"the masked update has {content.size} bytes; expected {packed_bytes(length, bits)}: {length} numbers of"
            f" {bits} bits"
        )
    kind = kind_of(bits)
    if bits == 8 * kind.itemsize:
        return np.ascontiguousarray(content).view(kind)
    rows = np.zeros((-(-length // 8), bits), np.uint8)
    rows.reshape(-1)[: len(content)] = content
    columns = np.zeros((8, len(rows)), np.uint64)
    for octet in range(bits):
        held = rows[:, octet].astype(np.uint64)
        for number, shift in overlapping(octet, bits):
            columns[number] |= held << np.uint64(shift) if shift >= 0 else held >> np.uint64(-shift)
    result: Residues = (columns.T.reshape(-1)[:length] & np.uint64((1 << bits) - 1)).astype(kind)
    return result
