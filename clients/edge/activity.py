"""What an edge device has taken part in: counts for its owner, which stay on the device."""

from __future__ import annotations

import time
from typing import Any

from flwr.app import Message

from fedasr.files import read_object, write_durably
from fedasr.flower.records import content_bytes
from fedasr.protocol import Kind, Order, Record, Stored

from .edge_device import EdgeDevice


def note_activity(edge_device: EdgeDevice, message: Message, reply: Message) -> None:
    """Count a message that the device has answered; for training also what it was trained on.

    Raises:
        InputError: the file of the counts is damaged.
    """
    activity = read_object(edge_device.activity)
    kind = message.metadata.message_type
    counts: dict[str, Any] = activity.setdefault("messages", {})
    counts[kind] = int(counts.get(kind, 0)) + 1
    activity["bytes_sent"] = int(activity.get("bytes_sent", 0)) + content_bytes(reply.content)
    activity["last_message"] = stamp()
    if kind == Kind.TRAIN and (Record.ARRAYS in reply.content or Record.METRICS in reply.content):
        activity["rounds"] = int(activity.get("rounds", 0)) + 1
        last = {"at": stamp(), "run": str(message.metadata.run_id), "round": Order.of(message).round}
        if Record.METRICS in reply.content:  # under secure aggregation it is told in the sum alone
            last["utterances"] = Stored.of(reply, "the edge device").examples
        activity["last_round"] = last
    write_durably(edge_device.activity, activity)


def stamp() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
