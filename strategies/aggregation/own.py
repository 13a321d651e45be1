"""An aggregator of a user's own: ``accumulate`` takes an update in, ``result`` gives what stands for all of them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from fedasr.config.schema import StrategyConfig
from fedasr.errors import InputError, RunFailed
from fedasr.models.weights import Arrays, Layout, Vector
from fedasr.registry import make_part

from .base import Size, Sum, difference


class Aggregator(Protocol):
    """Combines the updates of one round; made anew for each.

    One that says ``sums_alone = True`` of itself may get the weighted mean of the round as the one update, with the sum
    of the weights: under secure aggregation there are no others.
    """

    def accumulate(self, update: Vector, weight: int) -> None:
        """Take a client's update in, float32 of shape ``(parameters,)``, with its weight by ``strategy.weighting``."""
        ...

    def result(self) -> Vector:
        """Return what is applied to the global model, shape ``(parameters,)``; called once, if anybody replied."""
        ...


def make_aggregator(config: StrategyConfig, layout: Layout) -> Aggregator:
    """Return the aggregator that ``strategy.aggregation`` refers to.

    Raises:
        InputError: the reference names none, or the options do not fit.
    """
    known = {"config": config, "parameters": layout.size, "layout": layout}
    options = config.aggregation_options
    made = make_part(config.aggregation, "strategy.aggregation", known, options, "strategy.aggregation_options")
    for name in ("accumulate", "result"):
        if not callable(getattr(made, name, None)):
            raise InputError(
                f"'strategy.aggregation' is '{config.aggregation}', which makes no aggregator: it has no '{name}'"
            )
    aggregator: Aggregator = made
    return aggregator


def sums_suffice(aggregator: Aggregator) -> bool:
    """Say whether an aggregator declares that it needs no single updates."""
    return getattr(aggregator, "sums_alone", False) is True


class OwnRule:
    """Takes an update in by handing it to the aggregator.

    Args:
        layout: of the model.
        aggregator: of the round.
    """

    def __init__(self, layout: Layout, aggregator: Aggregator) -> None:
        self.layout = layout
        self.aggregator = aggregator

    def add(self, total: Sum, start: Vector | None, sent: Arrays | Vector, weight: int) -> Size:
        """Hand a client's update over and return how large it was; nothing is added to ``total``.

        Raises:
            UpdateRefused: it is no update of this model, or not finite.
        """
        own = np.empty(self.layout.size, np.float32)
        update, norm = difference(self.layout, start, sent, own)
        if update is not own:
            np.copyto(own, update)
        largest = max(float(update.max()), -float(update.min()))
        self.aggregator.accumulate(own, weight)
        return Size(norm, largest)


class OwnAggregate:
    """The aggregate of a round by a user's aggregator; it gets the updates one by one, in the order of the replies.

    Args:
        layout: of the model.
        aggregator: of the round.
        name: of it, for messages.
    """

    sums_alone = False

    def __init__(self, layout: Layout, aggregator: Aggregator, name: str) -> None:
        self.rule = OwnRule(layout, aggregator)
        self.name = name
        self.sum: Sum = np.zeros(0, np.float64)
        self.updates = 0

    def count(self, weight: int, size: Size) -> None:
        """Note an update that the aggregator has."""
        self.updates += 1

    def mean(self) -> Vector:
        """Return the aggregator's result, shape ``(parameters,)``; zeros where nobody replied.

        Raises:
            RunFailed: it has another shape, or is not finite.
        """
        size = self.rule.layout.size
        if not self.updates:
            return np.zeros(size, np.float32)
        result = np.asarray(self.rule.aggregator.result())
        if result.shape != (size,) or not np.isfinite(result).all():
            raise RunFailed(
                f"'strategy.aggregation' is '{self.name}', whose result has shape {result.shape} or is not finite;"
                f" expected finite numbers of shape ({size},)"
            )
        return result.astype(np.float32)
