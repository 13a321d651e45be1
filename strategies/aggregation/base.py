"""What every aggregate of a round offers, so that a round need not know which one it feeds."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fedasr.models.weights import Arrays, Layout, Vector

from .replies import ReplyRefused

Sum = npt.NDArray[np.float64]


class UpdateRefused(ReplyRefused):
    """A client's update cannot enter the aggregate; the message says why."""


class Size(NamedTuple):
    """How large an update was."""

    norm: float
    """L2, before clipping"""
    largest: float
    """the largest change of a parameter, as it was added; noise makes the norm large, and this hardly"""


def difference(layout: Layout, start: Vector | None, arrays: Arrays, out: Vector) -> float:
    """Write a client's update θᵢ − θ to ``out``, shape ``(parameters,)``, and return its L2 norm.

    Without ``start`` the arrays are the update.

    Raises:
        UpdateRefused: wrong names or shapes, values that are not finite, or so large that there is no norm.
    """
    try:
        layout.flatten(arrays, out)
    except ValueError as error:
        raise UpdateRefused(str(error)) from None
    with np.errstate(over="ignore", invalid="ignore"):
        if start is not None:
            np.subtract(out, start, out=out)
        norm = math.sqrt(float(np.dot(out, out)))
    if not math.isfinite(norm):
        if np.isfinite(out).all():
            raise UpdateRefused("the update is too large to be meant (its L2 norm is beyond single precision)")
        raise UpdateRefused("the update holds values that are not finite (is 'client.learning_rate' too high?)")
    return norm


class Rule(Protocol):
    """How an update enters the aggregate. Where sums are enough it pickles, so that workers can add up too."""

    layout: Layout

    def add(self, total: Sum, start: Vector | None, arrays: Arrays, weight: int) -> Size:
        """Take in a client's weights and return how large its update was.

        Args:
            total: the sum, changed in place.
            start: the global weights that the client started from, shape ``(parameters,)``; None: it has sent its
                update.
            arrays: the client's weights, or its update.
            weight: a positive whole number.

        Raises:
            UpdateRefused: it is no update; nothing was taken in.
        """
        ...


class Aggregate(Protocol):
    """The updates of a round, and the one that stands for all of them. The order of the replies changes no bit."""

    sums_alone: bool
    """whether replies may be added up where they are made: nothing but their sum is needed"""
    sum: Sum
    """what ``rule`` adds to, and workers too"""
    updates: int
    """how many are in it"""

    @property
    def rule(self) -> Rule:
        """How an update enters it."""
        ...

    def count(self, weight: int, size: Size) -> None:
        """Note an update that ``rule`` has taken in, here or in a worker."""
        ...

    def mean(self) -> Vector:
        """Return the mean update or what is to stand for it, shape ``(parameters,)``; zeros where nobody replied."""
        ...
