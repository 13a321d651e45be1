"""Clients that lie, around any client app: what they answer to a training message is changed on its way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from flwr.app import Context, Message, MetricRecord
from flwr.clientapp import ClientApp

from fedasr.flower.records import array_record, arrays_of

BOAST = 10**9
"""Examples, of which no device has so many."""


def edited(change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[Message, Message], None]:
    """Return a lie that changes every array; ``change`` gets what was sent and what was trained."""

    def lie(message: Message, reply: Message) -> None:
        sent, trained = arrays_of(message), arrays_of(reply)
        reply.content["arrays"] = array_record({name: change(sent[name], trained[name]) for name in trained})

    return lie


def first_array(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Message, Message], None]:
    """Return a lie that changes the first array."""

    def lie(message: Message, reply: Message) -> None:
        trained = arrays_of(reply)
        first = next(iter(trained))
        reply.content["arrays"] = array_record({**trained, first: change(trained[first])})

    return lie


def boast(message: Message, reply: Message) -> None:
    """Claim more examples than there are."""
    record = reply.content["metrics"]
    assert isinstance(record, MetricRecord)
    record["num-examples"] = BOAST


def say_nothing(message: Message, reply: Message) -> None:
    """Leave the metrics out."""
    del reply.content["metrics"]


LIES: dict[str, Callable[[Message, Message], None]] = {
    "flip": edited(lambda sent, trained: sent - np.float32(10) * (trained - sent)),
    "noise": edited(lambda sent, trained: sent + np.random.default_rng(0).normal(size=sent.shape).astype(np.float32)),
    "nan": first_array(lambda array: np.full_like(array, np.nan)),
    "huge": first_array(lambda array: array + np.float32(1e9)),
    "shape": first_array(lambda array: np.concatenate([array, array])),
    "dtype": first_array(lambda array: array.astype(np.float64)),
    "boast": boast,
    "no metrics": say_nothing,
}
"""Name → how the reply to a training message is changed. ``flip``: ten times the update, the wrong way; ``noise``: the
same random step everywhere; the others are no updates at all."""


class Liars(ClientApp):
    """A client app some of whose clients lie.

    Args:
        app: what honest clients run, and liars before they lie.
        lies: client → a name of ``LIES``.
    """

    def __init__(self, app: ClientApp, lies: Mapping[int, str]) -> None:
        super().__init__()
        self.app = app
        self.lies = dict(lies)

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message."""
        reply = self.app(message, context)
        lie = self.lies.get(int(context.node_config["partition-id"]))
        if lie is not None and message.metadata.message_type == "train" and not reply.has_error():
            LIES[lie](message, reply)
        return reply
