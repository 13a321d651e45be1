"""Some entries of a vector: where they are, as a Rice code or as 32-bit numbers."""

from __future__ import annotations

import struct

import numpy as np

from fedasr.codecs.base import Damaged
from fedasr.codecs.coding import Indices, rice, rice_indices

CODINGS = ("rice", "none")
COUNT = struct.Struct("<I")


def pack_indices(indices: Indices, coding: str) -> bytes:
    """Return strictly rising indices as bytes.

    Args:
        indices: shape ``(k,)``.
        coding: ``rice``, or ``none``: 32 bits each.
    """
    if coding == "rice":
        return rice(indices)
    return COUNT.pack(len(indices)) + indices.astype("<u4").tobytes()


def unpack_indices(content: bytes, size: int, coding: str) -> tuple[Indices, bytes]:
    """Return the indices and the bytes behind them.

    Raises:
        Damaged: they are no strictly rising indices below ``size``.
    """
    if coding == "rice":
        return rice_indices(content, size)
    if len(content) < COUNT.size:
        raise Damaged("its indices are cut short")
    (count,) = COUNT.unpack_from(content)
    end = COUNT.size + 4 * count
    if count > size or len(content) < end:
        raise Damaged("its indices are cut short")
    indices: Indices = np.frombuffer(content, "<u4", count, COUNT.size).astype(np.int64)
    if count and (indices[-1] >= size or np.any(np.diff(indices) <= 0)):
        raise Damaged("its indices do not rise within the vector")
    return indices, content[end:]
