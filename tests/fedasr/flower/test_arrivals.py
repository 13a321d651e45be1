"""A reply whose pieces come one by one is taken when all are there, and never waited for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedasr.flower.arrivals import Upload
from fedasr.flower.messages import assume_identity


class Store:
    """A SuperLink's end of Flower's connection: what has been uploaded of a message so far, and what it gave up."""

    def __init__(self) -> None:
        self.there: dict[str, bytes] = {}
        self.given_up = False
        self.asked: list[str] = []
        self.confirmed = 0

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:
        self.asked.append(request.object_id)
        content = self.there.get(request.object_id)
        return PullObjectResponse(
            object_found=not self.given_up, object_available=content is not None, object_content=content or b""
        )

    def ConfirmMessageReceived(self, request: Any) -> None:
        self.confirmed += 1


@pytest.fixture
def pieces() -> tuple[str, dict[str, bytes]]:
    assume_identity()
    arrays = ArrayRecord([np.arange(4, dtype=np.float32), np.ones(3, np.float32)])
    message = Message(RecordDict({"arrays": arrays, "config": ConfigRecord({"round": 3})}), 7, "train")
    message.metadata.__dict__["_message_id"] = message.object_id
    return message.object_id, {name: part.deflate() for name, part in get_all_nested_objects(message).items()}


def upload(store: Store, number: str, pieces: dict[str, bytes]) -> Upload:
    return Upload(
        SimpleNamespace(_runtime_client=store, node=Node(), run=SimpleNamespace(run_id=1)), number, list(pieces)
    )  # type: ignore[arg-type]


def test_a_reply_is_whole_with_its_last_piece(pieces: tuple[str, dict[str, bytes]]) -> None:
    number, parts = pieces
    store = Store()
    result = upload(store, number, parts)
    for name, content in list(parts.items())[:-1]:
        store.there[name] = content
        assert result.whole() is None
        assert not result.lost
    assert store.confirmed == 0
    store.there = dict(parts)
    reply = result.whole()
    assert reply is not None
    assert reply.metadata.message_id == number
    assert reply.content["config"] == ConfigRecord({"round": 3})
    np.testing.assert_array_equal(reply.content["arrays"].to_numpy_ndarrays()[0], np.arange(4))  # type: ignore[union-attr]
    assert store.confirmed == 1


def test_a_reply_that_was_given_up_is_lost(pieces: tuple[str, dict[str, bytes]]) -> None:
    number, parts = pieces
    store = Store()
    result = upload(store, number, parts)
    assert result.whole() is None
    store.given_up = True
    assert result.whole() is None
    assert result.lost
    assert store.confirmed == 0
