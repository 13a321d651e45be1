"""The mean of a round's updates, and beside it the sum of the changes of its clients' control variates (SCAFFOLD).

The server's c is Σ wᵢcᵢ / Σ wᵢ over all clients that store something; cᵢ is 0 until a client has trained. The paper
has all wᵢ = 1 (``strategy.weighting: uniform``). Here wᵢ is what a client's update counts for: where all drift is
corrected, the model rests where c = 0, and that is then the optimum of the mean that the weights say, not of another.

Updates and changes lie in one vector of exact sums: workers may add them up, and no order of replies changes a bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Message, RecordDict

from fedasr.data.roster import Roster
from fedasr.models.weights import Arrays, Layout, Vector
from fedasr.protocol import LARGEST_CHANGE, Accumulated, Record

from ..selection import Selection
from .accumulating import Expectations, UpdateAccumulator
from .base import Rule, Size, Sum
from .exact_mean import FRACTION_BITS, ExactMean, ExactSum
from .replies import ReplyRefused, check_arrays, metrics_of
from .weighting import Weighting

NAME = "control-variates/sum"
"""Of the array in a checkpoint."""


class ControlVariates:
    """The server's half.

    Args:
        parameters: of the model.

    Attributes:
        sum: Σ wᵢcᵢ, shape ``(parameters,)``.
    """

    def __init__(self, parameters: int) -> None:
        self.sum: Sum = np.zeros(parameters, np.float64)

    def mean(self, weight: float) -> Vector:
        """Return c, shape ``(parameters,)``.

        Args:
            weight: Σ wᵢ of all clients.
        """
        return (self.sum / max(weight, 1.0)).astype(np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a checkpoint must hold."""
        return {NAME: self.sum}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Go on from ``arrays``; return what of them is somebody else's."""
        self.sum = np.asarray(arrays[NAME], np.float64)
        return {name: array for name, array in arrays.items() if name != NAME}

    def forget(self) -> None:
        """Start anew with 0, as clients do that have lost their states."""
        self.sum = np.zeros_like(self.sum)


@dataclass(frozen=True)
class Shares:
    """What each client's control variate counts for: the same in every round, or c would not be their mean."""

    weighting: Weighting
    """with what a client counts for, however often or improbably it was drawn"""
    cohort: float
    """about what those of the round count for together"""
    population: float
    """the same of all clients that store something"""

    @classmethod
    def of(cls, weighting: Weighting, selection: Selection, roster: Roster) -> Shares:
        """Return the shares of a round.

        Args:
            weighting: of its updates.
            selection: who takes part.
            roster: what the clients store.
        """
        own = replace(weighting, factors={}, others=1)
        cohort, population = (
            float(own.expected_of(clients, roster).sum())
            for clients in (selection.clients, np.flatnonzero(roster.utterances))
        )
        return cls(own, cohort, population)


class ControlledMean:
    """The mean of the updates, with the sum of the changes.

    Args:
        mean: of the updates, empty.
        cohort: about what the round's clients count for together.
    """

    sums_alone = True

    def __init__(self, mean: ExactMean, cohort: float) -> None:
        self.updates_mean, layout = mean, mean.rule.layout
        # Twice as much room as needed: the seconds that a client tells are rounded.
        self.changes = ExactSum(layout, 2 * cohort)
        self.sum: Sum = np.zeros(2 * layout.size, np.float64)
        mean.sum = self.sum[: layout.size]
        self.updates = 0

    @property
    def rule(self) -> Rule:
        """How an update enters it."""
        return self.updates_mean.rule

    def count(self, weight: int, size: Size) -> None:
        """Note an update that is in the sum."""
        self.updates += 1
        self.updates_mean.count(weight, size)

    def mean(self) -> Vector:
        """Return the mean update, shape ``(parameters,)``; errors as ``ExactMean.mean``."""
        return self.updates_mean.mean()

    def change(self) -> Sum:
        """Return Σ wᵢ·(change of cᵢ) over the round's replies, shape ``(parameters,)``."""
        return self.sum[len(self.sum) // 2 :] * (self.changes.unit / 2.0**FRACTION_BITS)


class ControlledAccumulator(UpdateAccumulator):
    """Takes an update in, and the change of a control variate: both, or none.

    Args:
        aggregate: of the round.
        shares: what the control variates count for.
        weighting: what the updates count for.
        clients: node id → client, or None where they are the same.
        expected: of the replies.
    """

    def __init__(
        self,
        aggregate: ControlledMean,
        shares: Shares,
        weighting: Weighting,
        clients: Mapping[int, int] | None,
        expected: Expectations,
    ) -> None:
        super().__init__(aggregate.rule, weighting, clients, expected)
        self.changes, self.shares = aggregate.changes, shares.weighting
        self.size = 2 * self.rule.layout.size

    def add(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message, size: int) -> Accumulated:
        """Check a reply and add its update and change to ``total``; return what was added.

        Raises:
            ReplyRefused: nothing was.
        """
        layout = self.rule.layout
        change = checked_change(reply.content.get(Record.CONTROL), layout)
        node, metrics = reply.metadata.src_node_id, metrics_of(reply)
        added = super().add(total[: layout.size], sent, reply, size)
        weight = self.shares.weight(node if self.clients is None else self.clients[node], metrics)
        self.changes.add(total[layout.size :], None, change, weight)
        return added


def checked_change(record: object, layout: Layout) -> Arrays:
    """Return the change of a control variate, as a reply has it.

    Raises:
        ReplyRefused: it is none, or larger than a sum holds exactly.
    """
    try:
        arrays = check_arrays(record, layout)
    except ReplyRefused as error:
        raise ReplyRefused(f"of the change of the control variate: {error}") from None
    largest = float(np.max([np.abs(array).max(initial=0) for array in arrays.values()], initial=0))
    if not largest <= LARGEST_CHANGE:  # nor if it is no number
        raise ReplyRefused(
            f"the control variate changes by {largest:.3g}; expected finite numbers, at most {LARGEST_CHANGE:g}"
        )
    return arrays
