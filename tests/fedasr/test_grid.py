"""The local grid and its executors, on apps of a few lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from fedasr.flower.messages import assume_identity
from fedasr.flower.records import array_record, numpy_arrays
from fedasr.runtime.executors import ClientError, DebugExecutor, Executor, PoolExecutor, Reduction, SerialExecutor
from fedasr.runtime.grid import LocalGrid

from . import grid_apps

REFERENCE = "tests.fedasr.grid_apps:app"


def make(name: str) -> Executor:
    if name == "serial":
        return SerialExecutor(grid_apps.app)
    if name == "debug":
        return DebugExecutor(grid_apps.app)
    kind, workers = name.split("-")
    return PoolExecutor(grid_apps.app, REFERENCE, int(workers), fork=kind == "pool")


@pytest.fixture(params=["serial", "pool-1", "pool-4"])
def grid(request: pytest.FixtureRequest) -> Iterator[LocalGrid]:
    executor = make(request.param)
    yield LocalGrid(executor, 1_000_000)
    executor.close()


def messages(nodes: list[int], **behaviour: int | str) -> list[Message]:
    assume_identity()
    arrays = array_record({"w": np.zeros((2, 3), np.float32), "b": np.ones(5, np.float64)})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord(dict(behaviour))})
    return [Message(content, node, "train", group_id="1") for node in nodes]


def test_replies_come_in_order_with_exact_values(grid: LocalGrid) -> None:
    nodes = [7, 3, 999_999, 0, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
    replies = list(grid.send_and_receive(messages(nodes)))
    assert [reply.content["metrics"]["partition"] for reply in replies] == nodes
    for node, reply in zip(nodes, replies, strict=True):
        arrays = numpy_arrays(reply.content["arrays"])
        assert arrays["w"].dtype == np.float32
        assert arrays["b"].dtype == np.float64
        np.testing.assert_array_equal(arrays["w"], np.full((2, 3), node, np.float32))
        np.testing.assert_array_equal(arrays["b"], np.full(5, node + 1.0))


def test_contents_that_take_turns(grid: LocalGrid) -> None:
    """More contents at once than a worker keeps."""

    def workers() -> list[int]:
        return [worker.process.pid for worker in getattr(grid.executor, "pool", [])]

    list(grid.send_and_receive(messages([0])))
    before = workers()
    sets = [messages(list(range(6)), flag=turn) for turn in range(6)]
    replies = list(grid.send_and_receive([one[position] for position in range(6) for one in sets]))
    assert [reply.content["metrics"]["partition"] for reply in replies] == [p for p in range(6) for _ in sets]
    assert [reply.content["echo"]["flag"] for reply in replies] == [*range(6)] * 6
    assert workers() == before, "a worker has died of it"


def test_kept_replies_are_not_overwritten_by_later_rounds(grid: LocalGrid) -> None:
    first = list(grid.send_and_receive(messages([1, 2, 3])))
    for start in range(10, 40, 10):
        list(grid.send_and_receive(messages(list(range(start, start + 10)))))
    assert [float(numpy_arrays(reply.content["arrays"])["w"][0, 0]) for reply in first] == [1.0, 2.0, 3.0]


def test_a_client_cannot_write_into_what_others_see(grid: LocalGrid) -> None:
    replies = list(grid.send_and_receive(messages([1, 2, 3], flag=1)))
    assert [reply.content["echo"]["keys"] for reply in replies] == [["flag"]] * 3
    with pytest.raises(ValueError, match="read-only"):
        numpy_arrays(replies[0].content["arrays"])["w"][0, 0] = 1


def test_state_lives_with_the_client_and_only_there(grid: LocalGrid) -> None:
    for expected in (1, 2, 3):
        reply, other = grid.send_and_receive(messages([4, 100 + expected]))
        assert reply.content["metrics"]["calls"] == expected
        assert other.content["metrics"]["calls"] == 1
    assert sorted(grid.states) == [4, 101, 102, 103]


def test_a_failing_client_is_an_error_that_names_it(grid: LocalGrid) -> None:
    replies = list(grid.send_and_receive(messages([1, 2, 3], fail=2)))
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert "client 2: ValueError: I was told to fail" in str(replies[1].error.reason)
    assert 2 not in grid.states


def test_a_client_that_fails_goes_on_from_the_state_that_it_had(grid: LocalGrid) -> None:
    list(grid.send_and_receive(messages([1, 2])))
    assert [reply.has_error() for reply in grid.send_and_receive(messages([1, 2], fail_late=2))] == [False, True]
    replies = list(grid.send_and_receive(messages([1, 2])))
    assert [reply.content["metrics"]["calls"] for reply in replies] == [3, 2]


def test_a_reply_larger_than_the_model_arrives(grid: LocalGrid) -> None:
    replies = list(grid.send_and_receive(messages([1, 2], grow=2)))
    assert numpy_arrays(replies[1].content["arrays"])["more"].sum() == 100_000


def test_a_worker_that_dies_fails_one_client_and_is_replaced() -> None:
    executor = make("pool-2")
    grid = LocalGrid(executor, 100)
    try:
        replies = list(grid.send_and_receive(messages(list(range(12)), die=5)))
        assert [i for i, reply in enumerate(replies) if reply.has_error()] == [5]
        assert "died twice (signal 9)" in str(replies[5].error.reason)
        assert not any(reply.has_error() for reply in grid.send_and_receive(messages([1, 2, 3])))
    finally:
        executor.close()


def reduced(grid: LocalGrid, nodes: list[int], **behaviour: int | str) -> tuple[np.ndarray, list[Message]]:
    reduction = Reduction(grid_apps.AddUp(), np.zeros(6))
    replies = list(grid.reduce(messages(nodes, **behaviour), reduction, [float(1 + node % 7) for node in nodes]))
    return reduction.total, replies


def test_replies_are_added_up_where_they_are_made(grid: LocalGrid) -> None:
    nodes = list(range(1000, 1050))
    for calls in (1, 2):  # the second time every client brings its state along
        total, replies = reduced(grid, nodes)
        np.testing.assert_array_equal(total, np.full(6, sum(nodes)))
        assert [reply.content["metrics"]["partition"] for reply in replies] == nodes
        assert {reply.content["metrics"]["calls"] for reply in replies} == {calls}
        assert not any("arrays" in reply.content for reply in replies)
    total, replies = reduced(grid, nodes, fail=1007)
    assert [reply.has_error() for reply in replies] == [node == 1007 for node in nodes]
    np.testing.assert_array_equal(total, np.full(6, sum(nodes) - 1007))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_death_of_a_worker_changes_no_sum(workers: int, tmp_path: Path) -> None:
    executor = make(f"pool-{workers}")
    grid, nodes = LocalGrid(executor, 100), list(range(40))
    try:
        total, replies = reduced(grid, nodes, die_once=13, mark=str(tmp_path / "mark"))
        assert not any(reply.has_error() for reply in replies)
        assert [reply.content["metrics"]["partition"] for reply in replies] == nodes
        np.testing.assert_array_equal(total, np.full(6, sum(nodes)))
        assert (tmp_path / "mark").exists()
        total, replies = reduced(grid, nodes, die=13)
        assert [reply.has_error() for reply in replies] == [node == 13 for node in nodes]
        np.testing.assert_array_equal(total, np.full(6, sum(nodes) - 13))
    finally:
        executor.close()


def test_a_large_state_does_not_block_the_pipe() -> None:
    """Megabytes of state both ways: more than a pipe's buffer holds."""
    executor = make("pool-2")
    grid = LocalGrid(executor, 100)
    try:
        for calls in (1, 2, 3):
            replies = list(grid.send_and_receive(messages(list(range(8)), remember=1_000_000)))
            assert [reply.content["metrics"]["calls"] for reply in replies] == [calls] * 8
    finally:
        executor.close()


@pytest.mark.thorough
def test_a_deadline_ends_the_round_with_the_replies_it_has() -> None:
    executor = make("pool-2")
    grid = LocalGrid(executor, 100)
    try:
        replies = list(grid.send_and_receive(messages([1, 2, 3], sleep=2), timeout=3.0))
        assert [reply.has_error() for reply in replies] == [False, True, False]
        assert "no reply within 3 s" in str(replies[1].error.reason)
        assert not any(reply.has_error() for reply in grid.send_and_receive(messages([1, 2, 3])))
    finally:
        executor.close()


def test_a_stream_that_is_left_early_does_not_disturb_the_next() -> None:
    executor = make("pool-2")
    grid = LocalGrid(executor, 100)
    try:
        stream = iter(grid.send_and_receive(messages(list(range(20)))))
        next(stream)
        del stream
        replies = list(grid.send_and_receive(messages([30, 31])))
        assert [reply.content["metrics"]["partition"] for reply in replies] == [30, 31]
    finally:
        executor.close()


def test_debug_raises_with_the_inputs() -> None:
    grid = LocalGrid(make("debug"), 10)
    with pytest.raises(ClientError, match="client 2 failed on 'train'") as caught:
        list(grid.send_and_receive(messages([1, 2], fail=2)))
    assert caught.value.inputs.context.node_config["partition-id"] == 2
    assert isinstance(caught.value.__cause__, ValueError)
    assert "arrays.w: float32 (2, 3)" in str(caught.value)


@pytest.mark.slow
def test_spawned_workers_load_the_app_by_its_reference() -> None:
    executor = make("spawn-2")
    try:
        replies = list(LocalGrid(executor, 100).send_and_receive(messages([5, 6, 7])))
        assert [reply.content["metrics"]["partition"] for reply in replies] == [5, 6, 7]
    finally:
        executor.close()


def test_flowers_own_strategy_runs_on_the_grid(grid: LocalGrid) -> None:
    """FedAvg from Flower wants num-examples; the grid must serve a strategy that keeps a list of replies."""
    small = LocalGrid(grid.executor, 20)
    strategy = FedAvg(fraction_train=0.5, fraction_evaluate=0.0, weighted_by_key="partition", min_train_nodes=1)
    result = strategy.start(grid=small, initial_arrays=ArrayRecord([np.zeros(3, np.float32)]), num_rounds=2)
    assert result.arrays is not None
    assert result.arrays.to_numpy_ndarrays()[0].min() > 0
