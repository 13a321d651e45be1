"""Who is who on a grid whose node ids do not tell."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from flwr.app import Context

from fedasr.clients.client_app import app
from fedasr.errors import InputError
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.strategies import nodes


class Elsewhere(LocalGrid):
    """A grid that gives node 9 the partition 0, node 8 the partition 1, and so on; nodes come one at a time."""

    partition_ids_are_node_ids = False
    there = 0

    def get_node_ids(self) -> Iterable[int]:
        self.there = min(self.clients, self.there + 1)
        return range(10 - self.there, 10)

    def context(self, node: int) -> Context:
        context = super().context(node)
        context.node_config["partition-id"] = 9 - node
        return context


def test_the_local_grid_need_not_be_asked() -> None:
    assert nodes.node_ids(LocalGrid(SerialExecutor(app), 10), 10) is None


def test_every_node_is_asked_once_enough_are_there() -> None:
    grid = Elsewhere(SerialExecutor(app), 4)
    assert nodes.node_ids(grid, 4) == {0: 9, 1: 8, 2: 7, 3: 6}


def test_too_few_nodes_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"5 clients but the Flower federation 4 nodes; .*num-supernodes=5"):
        nodes.node_ids(Elsewhere(SerialExecutor(app), 4), 5)


class Impostors(Elsewhere):
    """Every node says that it is client 1."""

    def context(self, node: int) -> Context:
        context = super().context(node)
        context.node_config["partition-id"] = 1
        return context


def test_two_nodes_that_say_they_are_the_same_client_are_named() -> None:
    with pytest.raises(InputError, match="nodes 8 and 9 both say that they are client 1"):
        nodes.node_ids(Impostors(SerialExecutor(app), 2), 2)


class Nobody(Elsewhere):
    """Every node says that it is a client that there is not."""

    def context(self, node: int) -> Context:
        context = super().context(node)
        context.node_config["partition-id"] = 99
        return context


def test_a_node_that_is_no_client_is_named() -> None:
    with pytest.raises(InputError, match=r"2 of 2 clients did not say .*; node 8: 'partition-id' is 99; plausible is"):
        nodes.node_ids(Nobody(SerialExecutor(app), 2), 2)
