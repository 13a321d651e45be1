"""What stands between our apps and Flower's engine, without the engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedasr.errors import InputError
from fedasr.flower.messages import assume_identity
from fedasr.flower.records import array_record
from fedasr.protocol import Code
from fedasr.runtime.answering import AnsweringApp
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.flower_engine import EngineEnded, EngineGrid, quiet_environment
from fedasr.runtime.grid import LocalGrid

from . import grid_apps


def messages(nodes: list[int], **behaviour: int) -> Iterator[Message]:
    assume_identity()
    arrays = array_record({"w": np.zeros(2, np.float32)})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord(dict(behaviour))})
    return (Message(content, node, "train", group_id="1") for node in nodes)


def test_the_engines_grid_streams_every_reply_once() -> None:
    grid = EngineGrid(LocalGrid(SerialExecutor(grid_apps.app), 10), threading.Event())
    replies = list(grid.send_and_receive(messages([3, 1, 2])))
    assert sorted(reply.content["metrics"]["partition"] for reply in replies) == [1, 2, 3]
    assert list(grid.get_node_ids()) == list(range(10))


def test_waiting_ends_with_the_engine_and_at_the_deadline() -> None:
    class Deaf(LocalGrid):
        def pull_messages(self, message_ids: object) -> list[Message]:
            return []

    ended = threading.Event()
    grid = EngineGrid(Deaf(SerialExecutor(grid_apps.app), 10), ended)
    assert list(grid.send_and_receive(messages([1]), timeout=0.1)) == []
    threading.Timer(0.1, ended.set).start()
    with pytest.raises(EngineEnded):
        list(grid.send_and_receive(messages([1])))


def test_a_failing_client_answers_and_keeps_its_state() -> None:
    plain = ClientApp()
    app = AnsweringApp(plain)

    @plain.train()
    def train(message: Message, context: Context) -> Message:
        context.state["counter"]["calls"] = 99
        if message.content["config"]["fail"] == 2:
            raise InputError("is no audio", where="a.wav")
        if message.content["config"]["fail"]:
            raise ValueError("I was told to fail")
        return Message(RecordDict(), reply_to=message)

    def ask(fail: int) -> tuple[Message, Context]:
        context = Context(1, 77, {"partition-id": 5}, RecordDict({"counter": MetricRecord({"calls": 1})}), {})
        (message,) = messages([77], fail=fail)
        return app(message, context), context

    reply, context = ask(fail=1)
    assert "client 5: ValueError: I was told to fail" in str(reply.error.reason)
    assert context.state["counter"]["calls"] == 1
    reply, context = ask(fail=2)
    assert (reply.error.code, reply.error.reason) == (Code.BAD_INPUT, "a.wav: is no audio")
    reply, context = ask(fail=0)
    assert not reply.has_error()
    assert context.state["counter"]["calls"] == 99


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    before = dict(os.environ)
    with quiet_environment():
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        os.environ["PYTHONPATH"] = "what Flower's Ray backend writes there"
    assert dict(os.environ) == before
