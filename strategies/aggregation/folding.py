"""Adding up updates where they are made: what a strategy that needs sums alone sends to the workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fedasr.models.weights import Vector
from fedasr.runtime.flower_compat import content_bytes, numpy_arrays, values_of
from strategies.aggregation.exact_mean import ExactSum, UpdateRefused
from strategies.aggregation.weighting import Weighting


class UpdateFold:
    """Adds a client's weighted update to a sum; the reply keeps its metrics and says what was added.

    Args:
        rule: how an update enters the sum.
        weighting: with which weight.
        clients: node id → client, or None where they are the same.
    """

    def __init__(self, rule: ExactSum, weighting: Weighting, clients: Mapping[int, int] | None) -> None:
        self.rule = rule
        self.weighting = weighting
        self.clients = clients
        self.size = rule.layout.size
        self.start: tuple[int, Vector] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the copy of the global weights behind."""
        return {**self.__dict__, "start": None}

    def absorb(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message) -> Message:
        """Add the reply's arrays to ``total`` and replace them by the record ``folded``.

        A client that keeps a privacy account answers without arrays when its budget is spent.
        """
        metrics = values_of(reply, "metrics")
        node = reply.metadata.src_node_id
        size = content_bytes(reply.content)
        record = reply.content.pop("arrays", None)
        arrays = numpy_arrays(record) if isinstance(record, ArrayRecord) else {}
        folded: dict[str, Any] = {"bytes": size}
        if record is None and values_of(reply, "privacy").get("spent"):
            reply.content["folded"] = ConfigRecord({"bytes": size, "absent": True})
            return reply
        try:
            # Private clients report no loss.
            if not np.isfinite(metrics.get("train-loss", 0.0)) and metrics["steps"]:
                raise UpdateRefused("its training loss is not finite")
            weight = self.weighting.weight(node if self.clients is None else self.clients[node], metrics)
            folded |= self.rule.add(total, self.global_weights(sent), arrays, weight)._asdict()
            folded["weight"] = weight
        except UpdateRefused as error:
            folded["refused"] = str(error)
        reply.content["folded"] = ConfigRecord(folded)
        return reply

    def global_weights(self, sent: RecordDict) -> Vector:
        """Return the weights that the clients were sent as one vector, shape ``(parameters,)``."""
        if self.start is None or self.start[0] != id(sent):
            vector = self.rule.layout.flatten(
                numpy_arrays(cast(ArrayRecord, sent["arrays"])), np.empty(self.rule.layout.size, np.float32)
            )
            self.start = id(sent), vector
        return self.start[1]
