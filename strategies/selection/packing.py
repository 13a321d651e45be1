"""Arrays as text, for selectors whose memory goes into a checkpoint's JSON."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def pack(array: npt.NDArray[Any]) -> dict[str, str]:
    """Return a one-dimensional array as JSON values: its type, and its bytes compressed; NaN survives."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return {"dtype": little.dtype.str, "zlib": base64.b64encode(zlib.compress(little.tobytes(), 1)).decode()}


def unpack(packed: dict[str, str]) -> npt.NDArray[Any]:
    """Return the array that ``pack`` was given."""
    return np.frombuffer(zlib.decompress(base64.b64decode(packed["zlib"])), np.dtype(packed["dtype"]))


def fitted(array: npt.NDArray[Any], size: int, fill: float) -> npt.NDArray[Any]:
    """Return the array with at least ``size`` entries, the new ones ``fill``."""
    if len(array) >= size:
        return array
    larger = np.full(size, fill, array.dtype)
    larger[: len(array)] = array
    return larger
