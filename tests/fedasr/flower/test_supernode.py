"""A message whose run ends while it is received leaves nothing behind that a device would wait for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from fedasr.flower.messages import assume_identity, empty_run
from fedasr.flower.supernode import receive_whole

flowers = start_client_internal._pull_and_store_message
RUN = 5


class Line:
    """A device's end of Flower's connection: one message is waiting, and its run may end after some of its pieces."""

    def __init__(self, pieces: int | None) -> None:
        assume_identity(RUN)
        arrays = ArrayRecord([np.arange(4, dtype=np.float32), np.ones(3, np.float32)])
        self.message = Message(RecordDict({"arrays": arrays}), 7, "train")
        self.message.metadata.__dict__["_message_id"] = self.message.object_id
        self.contents = {name: part.deflate() for name, part in get_all_nested_objects(self.message).items()}
        self.left = len(self.contents) if pieces is None else pieces
        self.store = InMemoryObjectStore()
        self.state = InMemoryNodeState(self.store)
        self.state.set_node_id(7)
        self.state.store_run(empty_run(RUN))

    def pull(self, run: int, number: str) -> bytes:
        if self.left == 0:
            raise RunNotRunningException
        self.left -= 1
        return self.contents[number]

    def arguments(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "object_store": self.store,
            "node_config": {},
            "receive": lambda: (self.message, get_object_tree(self.message)),
            "get_run": None,
            "get_fab": None,
            "pull_object": self.pull,
            "confirm_message_received": lambda run, message: None,
            "trusted_entities": None,
        }

    @property
    def waiting(self) -> int:
        return len(self.state.get_messages_legacy(is_reply=False))


def test_a_message_that_is_all_there_is_received() -> None:
    line = Line(None)
    assert receive_whole(flowers, **line.arguments()) == RUN
    assert line.waiting == 1


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_a_message_whose_run_ends_meanwhile_is_forgotten(pieces: int) -> None:
    line = Line(pieces)
    assert receive_whole(flowers, **line.arguments()) is None
    assert line.waiting == 0
    assert line.store.get(line.message.object_id) is None


def test_flower_itself_keeps_it() -> None:
    """Where this fails, ``receive_whole`` is not needed any more."""
    line = Line(1)
    assert flowers(**line.arguments()) is None
    assert line.waiting == 1
