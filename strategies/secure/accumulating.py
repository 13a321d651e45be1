"""Taking masked replies in: nothing of one is used but what is added up, and that it came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

from fedasr.flower.records import entries
from fedasr.protocol import Accumulated, Metric, Name, Record

from ..aggregation.accumulating import Expectations, UpdateAccumulator
from ..aggregation.replies import ReplyRefused, check_array
from ..aggregation.weighting import Weighting
from .aggregate import SecureRule


class SecureAccumulator(UpdateAccumulator):
    """Adds masked updates up.

    Args:
        rule: how one enters the sum.
        weighting: of the round, which the clients apply themselves.
        clients: node id → client, or None where they are the same.
        expected: of the replies.
    """

    def __init__(
        self, rule: SecureRule, weighting: Weighting, clients: Mapping[int, int] | None, expected: Expectations
    ) -> None:
        super().__init__(rule, weighting, clients, expected)
        self.size = rule.length

    def add(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message, size: int) -> Accumulated:
        """Add a masked update to ``total``; of the client the reply says what the server knew before.

        Raises:
            ReplyRefused: it is none; nothing was added.
        """
        node = reply.metadata.src_node_id
        store = self.expected.stores[node if self.clients is None else self.clients[node]]
        record = reply.content.get(Record.ARRAYS)
        result = entries(record) if isinstance(record, ArrayRecord) else {}
        if list(result) != [Name.ENCODED]:
            raise ReplyRefused("the reply has no masked update ('secure_aggregation' is set in the run's config)")
        array = result[Name.ENCODED]
        shape = tuple(array.shape)
        check_array(Name.ENCODED, array, "uint8", shape if len(shape) == 1 else (-1,))
        self.rule.add(total, None, {Name.ENCODED: array.numpy()}, 1)
        known = MetricRecord()
        known[Metric.EXAMPLES] = int(store.utterances)
        known[Metric.AUDIO] = round(1000 * store.seconds)
        reply.content[Record.METRICS] = known
        return Accumulated(size, norm=0.0, largest=0.0, weight=1)
