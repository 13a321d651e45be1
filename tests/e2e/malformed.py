"""Malformed replies, around any client app: what some clients answer to a training message is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from flwr.app import Context, Message, MetricRecord
from flwr.clientapp import ClientApp

from fedasr.flower.records import array_record, arrays_of

BOAST = 10**9
"""Examples, of which no device has so many."""


def first_array(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Message, Message], None]:
    """Return what changes the first array of a reply."""

    def change_reply(message: Message, reply: Message) -> None:
        trained = arrays_of(reply)
        first = next(iter(trained))
        reply.content["arrays"] = array_record({**trained, first: change(trained[first])})

    return change_reply


def boast(message: Message, reply: Message) -> None:
    """Claim more examples than there are."""
    record = reply.content["metrics"]
    assert isinstance(record, MetricRecord)
    record["num-examples"] = BOAST


def say_nothing(message: Message, reply: Message) -> None:
    """Leave the metrics out."""
    del reply.content["metrics"]


MALFORMED: dict[str, Callable[[Message, Message], None]] = {
    "nan": first_array(lambda array: np.full_like(array, np.nan)),
    "huge": first_array(lambda array: array + np.float32(1e9)),
    "shape": first_array(lambda array: np.concatenate([array, array])),
    "dtype": first_array(lambda array: array.astype(np.float64)),
    "boast": boast,
    "no metrics": say_nothing,
}
"""Name → how the reply to a training message is changed."""


class SomeMalformed(ClientApp):
    """A client app some of whose clients answer with what is no update.

    Args:
        app: what all clients run.
        faults: client → a name of ``MALFORMED``.
    """

    def __init__(self, app: ClientApp, faults: Mapping[int, str]) -> None:
        super().__init__()
        self.app = app
        self.faults = dict(faults)

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        reply = self.app(message, context)
        fault = self.faults.get(int(context.node_config["partition-id"]))
        if fault is not None and message.metadata.message_type == "train" and not reply.has_error():
            MALFORMED[fault](message, reply)
        return reply
