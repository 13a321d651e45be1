"""The sum of whole numbers modulo 2ᵇ as the aggregate of a round."""

from __future__ import annotations

import numpy as np

from fedasr.models.weights import Arrays, Layout, Vector
from fedasr.protocol import Name
from fedasr.secure.coders import Coder, Counts
from fedasr.secure.modulus import Residues, unpack, wrapped

from ..aggregation.base import Size, Sum, UpdateRefused
from ..aggregation.own import OwnAggregate


class SecureRule:
    """Adds what a client has sent to the sum; of its update it knows nothing.

    Args:
        layout: of the model.
        bits: of the modulus.
        length: numbers that a client sends.
    """

    def __init__(self, layout: Layout, bits: int, length: int) -> None:
        self.layout, self.bits, self.length = layout, bits, length

    def add(self, total: Sum, start: Vector | None, sent: Arrays | Vector, weight: int) -> Size:
        """Add a client's numbers; how large its update was nobody knows.

        Raises:
            UpdateRefused: they are not as many as there should be.
        """
        try:
            assert not isinstance(sent, np.ndarray)
            total += unpack(sent[Name.ENCODED], self.length, self.bits)
        except ValueError as error:
            raise UpdateRefused(str(error)) from None
        return Size(0.0, 0.0)


class SecureSum:
    """The mean of the updates of a round, by their sum alone.

    The sum is kept as float64, which is exact up to 2⁵³: of whole numbers below 2³² for two million clients.

    Args:
        layout: of the model.
        coder: of the round.
        round: counted from 1.
        aggregator: of the user's own, which gets the mean as its one update; None: the mean stands for all.
    """

    sums_alone = True

    def __init__(self, layout: Layout, coder: Coder, round: int, aggregator: OwnAggregate | None = None) -> None:
        self.coder, self.round, self.aggregator = coder, round, aggregator
        self.rule = SecureRule(layout, coder.bits, coder.length)
        self.sum: Sum = np.zeros(coder.length, np.float64)
        self.updates = 0
        self.decoded: tuple[Vector, Counts] | None = None

    def count(self, weight: int, size: Size) -> None:
        """Note an update that is in the sum."""
        self.updates += 1

    def residues(self) -> Residues:
        """Return the sum modulo 2ᵇ, with its masks if there are any."""
        return wrapped(self.sum, self.coder.bits)

    def open(self, total: Residues) -> Counts:
        """Take the sum without its masks, and return the sums of the counts."""
        self.decoded = self.coder.decode(total, self.updates, self.round)
        return self.decoded[1]

    def close(self) -> None:
        """Forget the sum: it is not opened."""
        self.updates, self.decoded = 0, None

    def mean(self) -> Vector:
        """Return the mean update, shape ``(parameters,)``; zeros where nothing was opened."""
        if self.decoded is None:
            return np.zeros(self.rule.layout.size, np.float32)
        mean, counts = self.decoded
        if self.aggregator is None:
            return mean
        views = self.rule.layout.views(mean)
        size = self.aggregator.rule.add(self.aggregator.sum, np.zeros_like(mean), views, counts.weight)
        self.aggregator.count(counts.weight, size)
        return self.aggregator.mean()
