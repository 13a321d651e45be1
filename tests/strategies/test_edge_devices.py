"""What a server believes of what edge devices say, and whom it counts as there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo

from fedasr.clients.client_app import flower_app
from fedasr.errors import InputError
from fedasr.flower.messages import assume_identity
from fedasr.protocol import Code, EdgeNode
from fedasr.runtime.edge_grid import EdgeGrid, connected
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.strategies.edge_devices import holdings, wait_for_edge_devices


class Nodes(LocalGrid):
    """Nodes with these names, which answer nothing."""

    def __init__(self, *names: str) -> None:
        super().__init__(SerialExecutor(flower_app), 0)
        self.names = names

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [NodeInfo(node_id=100 + place, name=name) for place, name in enumerate(self.names)]


def answer(**values: Any) -> Message:
    assume_identity()
    message = Message(RecordDict(), 5, "query.describe")
    return Message(RecordDict({"node": ConfigRecord(values)}), reply_to=message)


def test_edge_devices_are_known_by_a_name_of_their_own() -> None:
    assert connected(Nodes("b", "a", "", "c", "c")) == {"b": 100, "a": 101}


def test_enough_edge_devices_are_waited_for() -> None:
    assert wait_for_edge_devices(Nodes("b", "a"), 2, 0.0) == ["a", "b"]
    assert wait_for_edge_devices(Nodes("b", "a"), None, 0.0) == ["a", "b"]
    with pytest.raises(
        InputError, match="2 of 3 edge devices were connected after 0 s, and 1 without a name of their own"
    ):
        wait_for_edge_devices(Nodes("b", "a", ""), 3, 0.0)
    with pytest.raises(InputError, match="0 of 1 edge devices were connected"):
        wait_for_edge_devices(Nodes(), None, 0.0)


def test_an_edge_device_that_is_away_fails_at_once() -> None:
    grid = EdgeGrid(Nodes("a"), ["a", "b"], 0.1)
    assert list(grid.get_node_ids()) == [0, 1]
    assert grid.present() == {0: 100}
    assume_identity()
    (reply,) = grid.send_and_receive([Message(RecordDict(), 1, "train", group_id="1")])
    assert (reply.metadata.src_node_id, reply.error.code) == (1, Code.UNREACHABLE)


def test_what_makes_sense_is_believed() -> None:
    assert holdings(answer(utterances=3, seconds=1.5, fedasr="0.1.0")) == EdgeNode(3, 1.5, "0.1.0")
    assert holdings(answer(utterances=3, seconds=3, fedasr="a\n" + 50 * "b")) == EdgeNode(3, 3, "a\\n" + 38 * "b")


@pytest.mark.parametrize(
    "wrong",
    [
        {"utterances": -1},
        {"utterances": 10**12},
        {"utterances": 1.5},
        {"utterances": "3"},
        {"seconds": float("nan")},
        {"seconds": -1.0},
        {"seconds": 1e300},
        {"seconds": True},
        {"fedasr": 3},
    ],
)
def test_what_makes_no_sense_is_not(wrong: dict[str, Any]) -> None:
    assert holdings(answer(**{"utterances": 3, "seconds": 1.5, "fedasr": "0.1.0", **wrong})) is None


def test_an_answer_to_another_question_is_none() -> None:
    reply = answer()
    reply.content.pop("node")
    assert holdings(reply) is None
    assert holdings(answer()) is None
