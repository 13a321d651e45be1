"""The loop of a worker process."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from fedasr.references import load_reference
from fedasr.runtime.executors.base import Task, call_client
from fedasr.runtime.executors.memory import Attachments, Packed, plan, unpack, write
from fedasr.runtime.flower_compat import message_with
from fedasr.runtime.threads import one_thread


def serve(
    connection: Connection,
    others: list[Connection],
    app: ClientApp | str,
    parent: int,
) -> None:
    """Answer tasks until the parent closes the pipe or goes away.

    Args:
        connection: this worker's end of its pipe.
        others: ends that a forked worker inherited and must close, so that a vanished parent is noticed.
        app: the client app, or its reference where the process was spawned.
        parent: process id of the parent.
    """
    # Ctrl-C goes to the whole process group; only the parent decides when a run ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in others:
        other.close()
    one_thread()
    client_app: ClientApp = load_reference(app) if isinstance(app, str) else app
    attached = Attachments()
    contents: dict[int, RecordDict] = {}
    while True:
        if not connection.poll(1.0):
            if os.getppid() != parent:
                return
            continue
        try:
            kind, payload = connection.recv()
        except EOFError:
            return
        if kind == "content":
            key, region, packed = payload
            contents = {k: v for k, v in contents.items() if k > key - 4}
            contents[key] = unpack(attached.view(region), packed)
        else:
            connection.send(answer(client_app, contents, attached, *payload))


def answer(
    app: ClientApp,
    contents: dict[int, RecordDict],
    attached: Attachments,
    number: int,
    key: int,
    metadata: Any,
    context: Context,
    region: str,
    size: int,
) -> tuple[Any, ...]:
    """Run one task; return its number, the reply's parts and the client's state.

    Arrays of the reply are written into ``region`` when they fit its ``size``; larger replies travel in the pipe.
    """
    outcome = call_client(app, Task(message_with(metadata, contents[key]), context))
    reply = outcome.reply
    if reply.has_error():
        return number, region, reply.metadata, None, reply.error, None, outcome.state
    packed: Packed
    packed, arrays = plan(reply.content)
    if packed.size > size:
        return number, region, reply.metadata, None, None, reply.content, outcome.state
    write(attached.view(region), packed, arrays)
    return number, region, reply.metadata, packed, None, None, outcome.state
