"""Taking replies in: checked, then added up where they are made, or by the server where the aggregate needs more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict

from fedasr.codecs import Codec, make_codec
from fedasr.codecs.base import decoded
from fedasr.config.schema import CompressionConfig
from fedasr.flower.records import content_bytes, entries, numpy_arrays
from fedasr.models.weights import Vector
from fedasr.protocol import Accumulated, Key, Record

from .base import Rule
from .replies import (
    ROOM,
    ReplyRefused,
    Store,
    check_arrays,
    check_encoded,
    check_size,
    check_training,
    checked_statement,
    metrics_of,
)
from .weighting import Weighting

KEPT = (Record.METRICS, Record.PRIVACY, Record.ACCUMULATED)
"""What the server reads of a reply that was taken in."""


@dataclass(frozen=True)
class Expectations:
    """What the server knows of the replies to come."""

    stores: Mapping[int, Store]
    """client → what it stores"""
    losses: bool = True
    """whether devices tell their training losses"""
    accountant: str | None = None
    """of the ledger that each device keeps of its privacy; None: they keep none"""
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    """how updates are encoded"""


class Broadcast(NamedTuple):
    """What the clients of a round were sent."""

    content: RecordDict
    weights: Vector
    """shape ``(parameters,)``"""
    size: int
    """bytes"""


class UpdateAccumulator:
    """Takes a client's weighted update in; the reply keeps its metrics and says what became of it.

    Args:
        rule: how an update enters the aggregate.
        weighting: with which weight.
        clients: node id → client, or None where they are the same.
        expected: of the replies.
    """

    def __init__(
        self, rule: Rule, weighting: Weighting, clients: Mapping[int, int] | None, expected: Expectations
    ) -> None:
        self.rule = rule
        self.weighting = weighting
        self.clients = clients
        self.expected = expected
        self.size = rule.layout.size
        self.sent: Broadcast | None = None
        self.codec: Codec | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the copy of the global weights behind, and the codec, which a worker makes for itself."""
        return {**self.__dict__, "sent": None, "codec": None}

    def accumulate(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message) -> Message:
        """Take in the reply's arrays, or refuse them, and replace them by the record ``folded``.

        A client whose privacy budget is spent, by its own account, answers without arrays. What cannot be used is
        gone from the reply, whose record then says why it was refused.
        """
        size = content_bytes(reply.content)
        statement = reply.content.pop(Record.PRIVACY, None)
        try:
            check_size(size, self.known(sent).size + ROOM)
            spent = self.take_statement(reply, statement)
            absent = spent and Record.ARRAYS not in reply.content
            accumulated = Accumulated(size, absent=True) if absent else self.add(total, sent, reply, size)
        except ReplyRefused as error:
            accumulated = Accumulated(size, refused=str(error))
        for name in [name for name in reply.content if name not in KEPT]:
            del reply.content[name]
        reply.content[Record.ACCUMULATED] = accumulated.to_record()
        return reply

    def take_statement(self, reply: Message, statement: object) -> bool:
        """Put what the client says of its privacy ledger back into the reply; return whether its budget is spent.

        Raises:
            ReplyRefused: it says nothing that can be.
        """
        if self.expected.accountant is None:
            # Devices that add noise count their own turns, and say no more of them than that there is none left.
            values = entries(statement) if isinstance(statement, ConfigRecord) else {}
            return not self.expected.losses and values.get(Key.SPENT) is True
        checked = checked_statement(statement, self.expected.accountant)
        reply.content[Record.PRIVACY] = checked.to_record()
        return checked.spent

    def add(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message, size: int) -> Accumulated:
        """Check a reply and add its update to ``total``; return what was added.

        Raises:
            ReplyRefused: nothing was.
        """
        node = reply.metadata.src_node_id
        client = node if self.clients is None else self.clients[node]
        metrics = metrics_of(reply)
        check_training(metrics, self.expected.stores[client], self.expected.losses)
        weight = self.weighting.weight(client, metrics)
        arrays = reply.content.get(Record.ARRAYS)
        if self.expected.compression.up == "none":
            trained = check_arrays(arrays, self.rule.layout)
            added = self.rule.add(total, self.known(sent).weights, trained, weight)
        else:
            # It is the update itself that was sent: added to the weights and taken off again it would be rounded.
            added = self.rule.add(total, None, self.decoded(check_encoded(arrays)), weight)
        return Accumulated(size, norm=added.norm, largest=added.largest, weight=weight)

    def decoded(self, content: bytes) -> Vector:
        """Return the update that bytes stand for, shape ``(parameters,)``, until the next one is decoded.

        Whoever clips it does so after this.

        Raises:
            ReplyRefused: they stand for none.
        """
        if self.codec is None:
            self.codec = make_codec(self.expected.compression, self.rule.layout)
        try:
            return decoded(self.codec, content, self.rule.layout.size, for_now=True)
        except ValueError as error:
            raise ReplyRefused(f"the encoded update is damaged: {error}") from None

    def known(self, sent: RecordDict) -> Broadcast:
        """Return what the clients were sent, found once."""
        if self.sent is None or self.sent.content is not sent:
            vector = np.empty(self.rule.layout.size, np.float32)
            self.rule.layout.flatten(numpy_arrays(cast(ArrayRecord, sent[Record.ARRAYS])), vector)
            self.sent = Broadcast(sent, vector, content_bytes(sent))
        return self.sent
