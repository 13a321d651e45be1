"""A grid of edge devices: Flower's own, on which a client is an edge device with a name instead of a random node id."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from fedasr.errors import one_line
from fedasr.flower.arrivals import Arrivals
from fedasr.flower.messages import set_source
from fedasr.flower.records import entries
from fedasr.protocol import Address, Code, Longest
from fedasr.runtime.wrapped_grid import WrappedGrid

MEANINGS = {
    Code.UNREACHABLE: "the edge device lost its connection, or was started anew",
    Code.WORKER_DIED: "the edge device's app died, or was frozen",
}
"""What Flower's errors mean of an edge device; its own words are about messages and heartbeats."""
POLL_SECONDS = 0.5


def connected(grid: Grid) -> dict[str, int]:
    """Return name → node id of the edge devices that are connected and have a name that no other one has."""
    nodes = [(str(node.name), int(node.node_id)) for node in grid.get_nodes()]
    often = Counter(name for name, _ in nodes)
    return {name: node for name, node in nodes if name and often[name] == 1}


class EdgeGrid(WrappedGrid):
    """Clients 0…N−1 on Flower's grid, each an edge device that was enrolled by name.

    Names come from the SuperLink, which knows them by the devices' keys: a device cannot take another's. A device may
    go and come back. Replies come as a stream; who is not connected, or has not answered in time, fails for that
    message.
    An error of a device is an error of that device alone: none of them can stop a run by calling its own input wrong.

    Args:
        grid: Flower's, in a ``ServerApp`` that a SuperLink has started.
        names: the clients.
        timeout_s: how long a message may take.
    """

    partition_ids_are_node_ids = True
    on_the_wire = True

    def __init__(self, grid: Grid, names: Sequence[str], timeout_s: float) -> None:
        super().__init__(grid)
        self.names = tuple(names)
        self.timeout_s = timeout_s

    def get_node_ids(self) -> Iterable[int]:
        """Return the clients, a range, whether they are connected or not."""
        return range(len(self.names))

    def present(self) -> dict[int, int]:
        """Return client → node id of those that are connected now."""
        nodes = connected(self.grid)
        return {client: nodes[name] for client, name in enumerate(self.names) if name in nodes}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages to clients that are connected, and return their ids.

        Raises:
            KeyError: one is not.
        """
        there = self.present()
        return self.grid.push_messages([self.addressed(m, there[m.metadata.dst_node_id]) for m in messages])

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages to clients and yield the replies as they come."""
        there = self.present()
        sent: list[Message] = []
        clients: list[int] = []
        for message in messages:
            client = message.metadata.dst_node_id
            if client in there:
                sent.append(self.addressed(message, there[client]))
                clients.append(client)
            else:
                yield failure(message, client, Code.UNREACHABLE, "the edge device is not connected")
        waiting = dict(zip(self.grid.push_messages(sent), zip(clients, sent, strict=True), strict=True)) if sent else {}
        patience = self.timeout_s if timeout is None else timeout
        end = time.monotonic() + patience
        arrivals = Arrivals(self.grid)
        while waiting and time.monotonic() < end:
            for answered, reply in arrivals.look(list(waiting)):
                # A second reply to a message, or one to a message of a round before, is nobody's.
                asked = waiting.pop(answered, None)
                if asked is not None and reply is not None:
                    yield self.received(reply, *asked)
                elif asked is not None:
                    client, message = asked
                    yield failure(message, client, Code.UNREACHABLE, "its reply was cut off, and never went on")
            if waiting:
                time.sleep(POLL_SECONDS)
        for client, message in waiting.values():
            yield failure(message, client, Code.TIMED_OUT, f"no reply within {patience:g} s")

    def addressed(self, message: Message, node: int) -> Message:
        """Return a message to a node that tells the device which client it is; the records are shared."""
        client = message.metadata.dst_node_id
        content = RecordDict()
        entries(content).update(entries(message.content))
        content[Address.RECORD] = Address(client, self.names[client]).to_record()
        kind, group = message.metadata.message_type, message.metadata.group_id
        return Message(content, node, kind, ttl=self.timeout_s, group_id=group)

    def received(self, reply: Message, client: int, message: Message) -> Message:
        """Return a reply to a message as one from a client."""
        if reply.has_error():
            code = reply.error.code
            if code in (Code.EXPIRED, Code.TIMED_OUT):
                return failure(message, client, Code.TIMED_OUT, f"no reply within {self.timeout_s:g} s")
            code = Code.CLIENT_FAILED if code == Code.BAD_INPUT else code
            reason = one_line(
                str(reply.error.reason or "")[: Longest.REASON]
            )  # an edge device may write to no terminal
            reply.error = Error(code, MEANINGS.get(code, reason))
        set_source(reply, client)
        return reply


def failure(message: Message, client: int, code: int, why: str) -> Message:
    """Return the answer to a message that a client's edge device did not give."""
    reply = Message(Error(code, why), reply_to=message)
    set_source(reply, client)
    return reply
