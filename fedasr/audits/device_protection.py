"""An update as it leaves a device that adds noise: through the device's own code, reached by reference."""

from __future__ import annotations

import numpy as np
from flwr.app import Message, MetricRecord, RecordDict

from fedasr.config import Config
from fedasr.flower.records import array_record, arrays_of
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Kind, Record
from fedasr.references import load_reference

PROTECT = "fedasr.clients.mods.device_noise:protect"


def protected(config: Config, layout: Layout, start: Vector, update: Vector, round: int, client: int) -> Vector:
    """Return the update as it leaves the device, shape ``(parameters,)``; the process may build messages.

    Args:
        config: of the run.
        layout: of the model.
        start: the global weights, shape ``(parameters,)``.
        update: what was learnt, likewise.
        round: counted from 1.
        client: its number; both say which noise it is.
    """

    def message(weights: Vector) -> Message:
        content = {Record.ARRAYS: array_record(layout.views(weights)), Record.METRICS: MetricRecord()}
        return Message(RecordDict(content), 0, Kind.TRAIN)  # type: ignore[arg-type]

    reply = message(start + update)
    load_reference(PROTECT)(message(start), reply, config, round, client)
    return layout.flatten(arrays_of(reply), np.empty(layout.size, np.float32)) - start
