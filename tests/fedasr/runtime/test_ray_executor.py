"""Ray actors as the grid's workers, on two nodes and on apps of a few lines; nodes that die."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message, RecordDict

from fedasr.config import Config, load
from fedasr.errors import InputError, RunFailed
from fedasr.flower.messages import assume_identity
from fedasr.flower.records import array_record, numpy_arrays
from fedasr.runtime.executors import Reduction
from fedasr.runtime.grid import LocalGrid
from tests.fedasr import grid_apps
from tests.ray_nodes import STORE_BYTES, Nodes

pytest.importorskip("ray", reason="runtime 'ray' needs Ray: pip install 'fedasr[ray]'")

import ray

from fedasr.runtime.executors.ray_actors import RayExecutor
from fedasr.runtime.executors.ray_cluster import check_cluster, connect, disconnect, gpu_share, marked, room
from fedasr.runtime.executors.ray_worker import Place, RayWorker, version

pytestmark = pytest.mark.thorough  # a cluster takes up to a minute to start

REFERENCE = "tests.fedasr.grid_apps:app"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    cluster = Nodes()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def config(nodes: Nodes) -> Config:
    return load({"runtime": {"name": "ray", "ray_address": nodes.address}})


@pytest.fixture(scope="module")
def connection(config: Config) -> Iterator[None]:
    ours = connect(config)
    assert ours
    assert not connect(config), "somebody is connected already"
    yield
    disconnect(ours)


def place(**changes: Any) -> Place:
    return Place(**{"reference": REFERENCE, "folder": str(Path.cwd()), "path": tuple(sys.path), **changes})


@pytest.fixture(scope="module")
def executor(connection: None) -> Iterator[RayExecutor]:
    executor = RayExecutor(place(), 2)
    yield executor
    executor.close()


@pytest.fixture
def grid(executor: RayExecutor) -> LocalGrid:
    return LocalGrid(executor, 1_000_000)


def messages(numbers: list[int], **behaviour: int | str) -> list[Message]:
    assume_identity()
    arrays = array_record({"w": np.zeros((2, 3), np.float32), "b": np.ones(5, np.float64)})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord(dict(behaviour))})
    return [Message(content, number, "train", group_id="1") for number in numbers]


def reduced(grid: LocalGrid, numbers: list[int], **behaviour: int | str) -> tuple[np.ndarray, list[Message]]:
    reduction = Reduction(grid_apps.AddUp(), np.zeros(6))
    costs = [float(1 + number % 7) for number in numbers]
    return reduction.total, list(grid.reduce(messages(numbers, **behaviour), reduction, costs))


def failed(replies: list[Message]) -> list[int]:
    return [position for position, reply in enumerate(replies) if reply.has_error()]


def complete(executor: RayExecutor) -> RayExecutor:
    """Return an executor all of whose actors have started."""
    end = time.monotonic() + 60
    while len(executor.pool) < executor.workers:
        assert time.monotonic() < end, "an actor does not start"
        reduced(LocalGrid(executor, 100), list(range(40)))
    return executor


def test_no_cluster_is_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there is a connection, which would be used instead."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    for address in ("127.0.0.1:1", "auto"):
        with pytest.raises(InputError, match=r"no Ray cluster answers at 'runtime.ray_address', '127.0.0.1:1'"):
            check_cluster(load({"runtime": {"name": "ray", "ray_address": address}}))


def test_the_clusters_places_are_the_workers(config: Config, connection: None) -> None:
    check_cluster(config)
    assert room(config) == 2


def test_replies_come_in_order_with_exact_values_and_states(grid: LocalGrid) -> None:
    numbers = [7, 3, 999_999, *range(10, 90)]
    for calls in (1, 2):
        replies = list(grid.send_and_receive(messages(numbers)))
        assert [reply.content["metrics"]["partition"] for reply in replies] == numbers
        assert {reply.content["metrics"]["calls"] for reply in replies} == {calls}
        for number, reply in zip(numbers, replies, strict=True):
            arrays = numpy_arrays(reply.content["arrays"])
            np.testing.assert_array_equal(arrays["w"], np.full((2, 3), number, np.float32))
            np.testing.assert_array_equal(arrays["b"], np.full(5, number + 1.0))
    assert sorted(grid.states) == sorted(numbers)
    with pytest.raises(ValueError, match="read-only"):
        numpy_arrays(replies[0].content["arrays"])["w"][0, 0] = 1


def test_a_client_cannot_write_into_what_others_see(grid: LocalGrid) -> None:
    replies = list(grid.send_and_receive(messages(list(range(8)), flag=1)))
    assert [reply.content["echo"]["keys"] for reply in replies] == [["flag"]] * 8


def test_replies_are_added_up_where_they_are_made(grid: LocalGrid, executor: RayExecutor) -> None:
    complete(executor)
    numbers = list(range(1000, 1050))
    total, replies = reduced(grid, numbers)
    np.testing.assert_array_equal(total, np.full(6, sum(numbers)))
    assert [reply.content["metrics"]["partition"] for reply in replies] == numbers
    assert not any("arrays" in reply.content for reply in replies)
    total, replies = reduced(grid, numbers, fail=1007)
    assert failed(replies) == [7]
    assert "client 1007: ValueError: I was told to fail" in str(replies[7].error.reason)
    np.testing.assert_array_equal(total, np.full(6, sum(numbers) - 1007))


def test_contents_that_take_turns(grid: LocalGrid) -> None:
    """More contents at once than an actor keeps."""
    sets = [messages(list(range(6)), flag=turn) for turn in range(5)]
    mixed = [one[position] for position in range(6) for one in sets]
    replies = list(grid.send_and_receive(mixed))
    assert [reply.content["metrics"]["partition"] for reply in replies] == [p for p in range(6) for _ in sets]
    assert [reply.content["echo"]["flag"] for reply in replies] == [*range(5)] * 6


def test_a_reply_and_a_state_larger_than_the_model(grid: LocalGrid) -> None:
    for calls in (1, 2):
        replies = list(grid.send_and_receive(messages([1, 2], grow=2, remember=1_000_000)))
        assert numpy_arrays(replies[1].content["arrays"])["more"].sum() == 100_000
        assert [reply.content["metrics"]["calls"] for reply in replies] == [calls] * 2


@pytest.mark.slow
def test_the_death_of_a_worker_changes_no_sum(grid: LocalGrid, tmp_path: Path) -> None:
    numbers = list(range(40))
    total, replies = reduced(grid, numbers, die_once=13, mark=str(tmp_path / "mark"))
    assert (tmp_path / "mark").exists()
    assert failed(replies) == []
    np.testing.assert_array_equal(total, np.full(6, sum(numbers)))
    total, replies = reduced(grid, numbers, die=13)
    assert failed(replies) == [13]
    assert "client 13: its worker was lost twice" in str(replies[13].error.reason)
    np.testing.assert_array_equal(total, np.full(6, sum(numbers) - 13))


@pytest.mark.slow
def test_a_deadline_and_a_stream_that_is_left_early(grid: LocalGrid, executor: RayExecutor) -> None:
    complete(executor)
    replies = list(grid.send_and_receive(messages([1, 2, 3], sleep=2), timeout=3.0))
    assert failed(replies) == [1]
    assert "no reply within 3 s" in str(replies[1].error.reason)
    stream = iter(grid.send_and_receive(messages(list(range(20)), sleep=19)))
    next(stream)
    del stream
    assert failed(list(grid.send_and_receive(messages([1, 2, 3])))) == []


@pytest.mark.slow
def test_workers_share_a_gpu_by_fractions(nodes: Nodes, executor: RayExecutor, connection: None) -> None:
    """A node that says that it has a GPU: Ray counts what it is told."""
    executor.close()
    gpu = {"name": "ray", "device": "auto", "ray_address": nodes.address, "gpus_per_client": 0.5}
    config = load({"runtime": gpu})
    assert gpu_share(config) == 0
    extra = nodes.cluster.add_node(num_cpus=3, num_gpus=1, object_store_memory=STORE_BYTES)
    assert gpu_share(config) == 0.5
    assert room(config) == 2
    sharing = RayExecutor(place(), 3, gpus=0.5)
    try:
        sharing.wait_for_one()
        end = time.monotonic() + 60
        while len(sharing.pool) < 2 and time.monotonic() < end:
            reduced(LocalGrid(sharing, 100), list(range(40)))
        assert ray.available_resources().get("GPU", 0) == 0
        assert (len(sharing.pool), len(sharing.starting)) == (2, 1)
    finally:
        sharing.close()
        nodes.kill(extra)


@pytest.mark.slow
def test_a_node_that_dies_in_the_middle_of_a_round(nodes: Nodes, executor: RayExecutor, connection: None) -> None:
    """Of three nodes with a worker each one is killed; its clients had not ended, and run on the other two."""
    executor.close()  # its actors leave their places to others, and come back with its next round
    extra = nodes.add()
    executor = RayExecutor(place(), 3)
    numbers = list(range(60))
    try:
        grid = LocalGrid(complete(executor), 100)
        killer = threading.Timer(0.5, nodes.kill, [extra])
        killer.start()
        total, replies = reduced(grid, numbers, hangs_on=extra.node_id)
        killer.join()
        assert failed(replies) == []
        assert [reply.content["metrics"]["partition"] for reply in replies] == numbers
        np.testing.assert_array_equal(total, np.full(6, sum(numbers)))
        assert len(executor.pool) == 2
        assert len(executor.starting) == 1
    finally:
        executor.close()


def test_what_can_be_wrong_with_a_node(tmp_path: Path) -> None:
    assert RayWorker(place()).problem(version()) is None
    missing = RayWorker(place(reference="tests.fedasr.grid_apps:none")).problem(version())
    assert missing is not None
    assert "module 'tests.fedasr.grid_apps' has no 'none'; install FedASR with the same extras" in missing
    assert f"FedASR {version()} is installed there, and 0.0 here" in str(RayWorker(place()).problem("0.0"))
    assert f"it does not see {tmp_path}" in str(RayWorker(place(marker=str(tmp_path / "none"))).problem(version()))
    if not torch.cuda.is_available():
        assert "torch sees no GPU there" in str(RayWorker(place(device="cuda")).problem(version()))


@pytest.mark.slow
def test_a_node_that_cannot_run_clients_is_wrong_input(executor: RayExecutor, connection: None) -> None:
    executor.close()
    wrong = RayExecutor(place(reference="tests.fedasr.grid_apps:none"), 1)
    with pytest.raises(InputError, match=r"a node of the Ray cluster \(.+\) cannot run clients: 'reference' is"):
        list(LocalGrid(wrong, 10).send_and_receive(messages([1])))
    wrong.close()


def test_no_place_for_a_worker_ends_the_run(connection: None) -> None:
    executor = RayExecutor(place(), 1, gpus=1.0)
    with pytest.raises(RunFailed, match=r"has given no worker a place within 0.5 s"):
        executor.wait_for_one(0.5)
    executor.close()


def test_the_folder_that_nodes_must_share_is_marked_while_a_run_lasts(tmp_path: Path) -> None:
    with marked(tmp_path / "a", needed=True) as marker:
        assert marker is not None
        assert Path(marker).parent == tmp_path / "a"
        assert Path(marker).is_file()
    assert list((tmp_path / "a").iterdir()) == []
    with marked(tmp_path / "b", needed=False) as marker:
        assert marker is None
    assert not (tmp_path / "b").exists()
