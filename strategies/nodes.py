"""Which Flower node a client of the roster is, where that has to be asked."""

from __future__ import annotations

import time
from collections.abc import Mapping

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedasr.errors import InputError
from fedasr.protocol import Kind

from .aggregation.replies import ReplyRefused, partition_of

PATIENCE_SECONDS = 5.0
"""How long to wait for one more node: Flower registers them while the server app is starting."""


def node_ids(grid: Grid, clients: int) -> Mapping[int, int] | None:
    """Return client → node id, or None where they are the same.

    A grid whose node ids are partition ids says so; of any other, every node is asked, because Flower's node ids are
    random and do not tell.

    Raises:
        InputError: the grid has fewer nodes than the partition has clients, or two say they are the same client.
    """
    if getattr(grid, "partition_ids_are_node_ids", False):
        return None
    nodes = wait_for_nodes(grid, clients)
    questions = [Message(RecordDict(), node, Kind.DESCRIBE, group_id="0") for node in nodes]
    by_partition: dict[int, int] = {}
    refused = ""
    for reply in grid.send_and_receive(questions):
        if not reply.has_error():
            node = reply.metadata.src_node_id
            try:
                client = partition_of(reply, clients)
            except ReplyRefused as error:
                refused = refused or f"; node {node}: {error}"
                continue
            if by_partition.setdefault(client, node) != node:
                raise InputError(f"nodes {by_partition[client]} and {node} both say that they are client {client}")
    missing = [client for client in range(clients) if client not in by_partition]
    if missing:
        first = f"the first is {missing[0]}{refused}"
        raise InputError(f"{len(missing)} of {clients} clients did not say who they are, {first}")
    return by_partition


def wait_for_nodes(grid: Grid, clients: int) -> list[int]:
    """Return the node ids once there is a node for every client.

    Raises:
        InputError: for ``PATIENCE_SECONDS`` no node has come, and there are still too few.
    """
    nodes: list[int] = []
    came = time.monotonic()
    while True:
        connected = list(grid.get_node_ids())
        if len(connected) >= clients:
            return connected
        if len(connected) > len(nodes):
            came = time.monotonic()
        nodes = connected
        if time.monotonic() - came > PATIENCE_SECONDS:
            raise InputError(
                f"the partition has {clients} clients but the Flower federation {len(nodes)} nodes;"
                f" give --federation-config 'num-supernodes={clients}'"
            )
        time.sleep(0.05)
