"""A vector in blocks of one width, the last of which may be shorter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Blocks:
    """Where the blocks of a vector begin.

    Args:
        size: of the vector.
        width: of a block.
    """

    def __init__(self, size: int, width: int) -> None:
        self.size, self.width = size, width
        self.starts = np.arange(0, size, width)
        self.count = len(self.starts)
        self.lengths = np.diff(self.starts, append=size)

    def reduce(self, how: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a value a block, such as its sum with ``numpy.add``, shape ``(blocks,)``."""
        if not self.count:
            return np.zeros(0, values.dtype)
        result: npt.NDArray[Any] = how.reduceat(values, self.starts)
        return result

    def scaled(
        self, scales: npt.NDArray[np.float32], values: npt.NDArray[Any], out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return each entry times the scale of its block, shape ``(size,)``, in ``out`` where it is given."""
        result = np.empty(self.size, np.float32) if out is None else out
        whole = self.size // self.width
        end = whole * self.width
        shape = (whole, self.width)
        np.multiply(values[:end].reshape(shape), scales[:whole, None], out=result[:end].reshape(shape))
        if end < self.size:
            np.multiply(values[end:], scales[whole], out=result[end:])
        return result

    def spread(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the value of its block for each entry, shape ``(size,)``."""
        return np.repeat(values, self.lengths)
