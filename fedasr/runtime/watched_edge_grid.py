"""A grid of edge devices that writes down who was asked and who has answered, for whoever watches the run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid

from fedasr.errors import one_line
from fedasr.files import write_json
from fedasr.protocol import Longest
from fedasr.runtime.edge_grid import EdgeGrid

EXCHANGE = "exchange.json"
"""File of the run folder of a deployed run: the messages that are out, or the last that were."""
WRITE_EVERY_SECONDS = 0.5


class WatchedEdgeGrid(EdgeGrid):
    """The same grid; beside it, ``exchange.json`` says what was sent to whom, when, and who has answered.

    It is written when messages go out, at most twice a second while answers come, and when the last is there.

    Args:
        grid: Flower's.
        names: the clients.
        timeout_s: how long a message may take.
        folder: of the run; it exists when the first message is sent.
    """

    def __init__(self, grid: Grid, names: Sequence[str], timeout_s: float, folder: Path) -> None:
        super().__init__(grid, names, timeout_s)
        self.file = folder / EXCHANGE

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages to clients and yield the replies as they come."""
        sent = list(messages)
        if not sent:
            return
        first = sent[0].metadata
        answered: list[str] = []
        failed: dict[str, str] = {}
        exchange: dict[str, Any] = {
            "kind": first.message_type,
            "round": int(first.group_id) if first.group_id.isdigit() else None,
            "since": time.time(),
            "patience_s": self.timeout_s if timeout is None else timeout,
            "asked": [self.names[message.metadata.dst_node_id] for message in sent],
            "answered": answered,
            "failed": failed,
            "over": False,
        }
        write_json(self.file, exchange)
        written = time.monotonic()
        try:
            for reply in super().send_and_receive(sent, timeout=timeout):
                name = self.names[reply.metadata.src_node_id]
                if reply.has_error():
                    failed[name] = one_line(" ".join(str(reply.error.reason).split())[: Longest.EXCHANGE])
                else:
                    answered.append(name)
                if time.monotonic() - written > WRITE_EVERY_SECONDS:
                    write_json(self.file, exchange)
                    written = time.monotonic()
                yield reply
        finally:
            exchange["over"] = True
            write_json(self.file, exchange)
