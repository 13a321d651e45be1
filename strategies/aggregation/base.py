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


def difference(layout: Layout, start: Vector | None, sent: Arrays | Vector, out: Vector) -> tuple[Vector, float]:
    """Return a client's update θᵢ − θ, shape ``(parameters,)``, and its L2 norm.

    Args:
        layout: of the model.
        start: θ; None: the update itself was sent.
        sent: what the client has sent: θᵢ by names, or its update, which is then what is returned.
        out: where the update is written to otherwise.

    Raises:
        UpdateRefused: wrong names or shapes, values that are not finite, or so large that there is no norm.
    """
    if isinstance(sent, np.ndarray):
        update: Vector = sent
    else:
        try:
            update = layout.flatten(sent, out)
        except ValueError as error:
            raise UpdateRefused(str(error)) from None
    with np.errstate(over="ignore", invalid="ignore"):
        if start is not None:
            np.subtract(update, start, out=out)
        norm = math.sqrt(float(np.dot(update, update)))
    if not math.isfinite(norm):
        if np.isfinite(update).all():
            raise UpdateRefused("the update is too large to be meant (its L2 norm is beyond single precision)")
        raise UpdateRefused("the update holds values that are not finite (is 'client.learning_rate' too high?)")
    return update, norm


class Rule(Protocol):
    """How an update enters the aggregate. Where sums are enough it pickles, so that workers can add up too."""

    layout: Layout

    def add(self, total: Sum, start: Vector | None, sent: Arrays | Vector, weight: int) -> Size:
        """Take in a client's weights and return how large its update was.

        Args:
            total: the sum, changed in place.
            start: the global weights that the client started from, shape ``(parameters,)``; None: it has sent its
                update.
            sent: the client's weights by names, or its update, shape ``(parameters,)``, which stays as it is.
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
