"""Robust centres of a cohort's updates, parameter by parameter: median and trimmed mean (Yin et al., ICML 2018).

Every client counts once. As long as fewer than half of the replies are Byzantine (median), or at most the share that is
trimmed (trimmed mean), each parameter of the result is between values that honest clients sent, however far off the
others are. Values are ordered before anything is added up, so the order of the replies changes no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedasr.models.weights import Arrays, Layout, Vector

from .base import Size, Sum, UpdateRefused, difference
from .exact_mean import LIMIT
from .update_file import Block, UpdateFile

Centre = Callable[[Block], npt.NDArray[np.float64]]
"""From values in ascending order, shape ``(clients, columns)``, to one a column, shape ``(columns,)``."""


def median(ordered: Block) -> npt.NDArray[np.float64]:
    """Return the middle value of each column, the mean of the middle two where their number is even."""
    n = len(ordered)
    middle: npt.NDArray[np.float64] = ordered[(n - 1) // 2 : n // 2 + 1].mean(axis=0, dtype=np.float64)
    return middle


def trimmed(clients: int, share: float) -> int:
    """Return how many values the trimmed mean leaves out at either end: at least the share, but never all."""
    return min(math.ceil(share * clients - 1e-9), (clients - 1) // 2)


def trimmed_mean(share: float) -> Centre:
    """Return the mean without the lowest and the highest values.

    Args:
        share: of the clients that is left out at either end, above 0 and below ½.
    """

    def centre(ordered: Block) -> npt.NDArray[np.float64]:
        k = trimmed(len(ordered), share)
        kept: npt.NDArray[np.float64] = ordered[k : len(ordered) - k].mean(axis=0, dtype=np.float64)
        return kept

    return centre


class FileRule:
    """Takes an update in by writing it to a file.

    Args:
        layout: of the model.
        file: of the cohort's updates.
    """

    def __init__(self, layout: Layout, file: UpdateFile) -> None:
        self.layout = layout
        self.file = file
        self.scratch = np.empty(layout.size, np.float32)

    def add(self, total: Sum, start: Vector | None, sent: Arrays | Vector, weight: int) -> Size:
        """Write a client's update to the file and return how large it was; nothing is added to ``total``.

        Raises:
            UpdateRefused: as in ``ExactSum.add``.
        """
        update, norm = difference(self.layout, start, sent, self.scratch)
        largest = max(float(update.max()), -float(update.min()))
        if largest > LIMIT:
            raise UpdateRefused(f"the update is too large to be meant (L2 norm {norm:.3g})")
        self.file.append(update)
        return Size(norm, largest)


class CoordinateWise:
    """A robust centre of the updates of a round; it needs them one by one, so they are not added up by workers.

    Args:
        layout: of the model.
        centre: ``median``, or a ``trimmed_mean``.
        file: takes the updates; whatever an earlier round has left there is dropped.
    """

    sums_alone = False

    def __init__(self, layout: Layout, centre: Centre, file: UpdateFile) -> None:
        file.clear()
        self.file = file
        self.centre = centre
        self.rule = FileRule(layout, file)
        self.sum: Sum = np.zeros(0, np.float64)
        self.updates = 0

    def count(self, weight: int, size: Size) -> None:
        """Note an update that is in the file."""
        self.updates += 1

    def mean(self) -> Vector:
        """Return the centre of the updates, shape ``(parameters,)``; zeros where nobody replied."""
        size = self.rule.layout.size
        combined = np.zeros(size, np.float32)
        for part, block in self.file.blocks(size):
            block.sort(axis=0)
            # Of −0 and 0 either may come first.
            combined[part] = self.centre(block) + 0.0
        return combined
