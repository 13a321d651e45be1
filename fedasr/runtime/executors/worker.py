"""The loop of a worker process."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from flwr.app import Context, Error, RecordDict
from flwr.clientapp import ClientApp

from fedasr.flower.messages import message_with
from fedasr.references import load_reference
from fedasr.runtime.client_apps import WorkerApp
from fedasr.runtime.executors.base import Accumulator, Task, call_client
from fedasr.runtime.executors.memory import Attachments, Packed, plan, unpack, write
from fedasr.runtime.session import STOPPING
from fedasr.runtime.threads import one_thread

KEPT = 4
"""Contents that a worker keeps: those of the latest keys."""


def serve(
    connection: Connection,
    others: list[Connection],
    app: ClientApp | WorkerApp | str,
    parent: int,
) -> None:
    """Answer tasks until the parent closes the pipe or goes away.

    Args:
        connection: this worker's end of its pipe.
        others: ends that a forked worker inherited and must close, so that a vanished parent is noticed.
        app: the client app; where the process was spawned, its reference, or how it is made.
        parent: process id of the parent.
    """
    # Signals go to the whole process group; only the parent decides when a run ends.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    attached = Attachments()
    threading.Thread(target=end_with, args=(parent, attached), daemon=True).start()
    for other in others:
        other.close()
    one_thread()
    client_app: ClientApp = loaded(app)
    orders: dict[int, Order] = {}
    while True:
        try:
            kind, payload = connection.recv()
        except (EOFError, OSError):
            attached.remove_files()
            return
        if kind == "order":
            key, region, packed, accumulator = payload
            orders = {k: v for k, v in orders.items() if k > key - KEPT}
            orders[key] = Order(unpack(attached.view(region), packed), accumulator)
        else:
            key, region, size, jobs = payload
            if orders[key].accumulator is None:
                answers = [answer(client_app, orders[key], attached, region, size, *job) for job in jobs]
            else:
                answers = accumulate_all(client_app, orders[key], attached, region, jobs)
            try:
                connection.send((region, answers))
            except OSError:  # nobody is there any more
                attached.remove_files()
                return


def loaded(app: ClientApp | WorkerApp | str) -> ClientApp:
    """Return the client app, which a worker may have to load or make first.

    Raises:
        InputError: there is none here.
    """
    if isinstance(app, WorkerApp):
        return app.make()
    client_app: ClientApp = load_reference(app) if isinstance(app, str) else app
    return client_app


def end_with(parent: int, attached: Attachments) -> None:
    """End this process when its parent is gone, whatever it is busy with."""
    while os.getppid() == parent:
        time.sleep(1.0)
    attached.remove_files()
    os._exit(1)


@dataclass
class Order:
    """What all the tasks of a round share: their content, and how their replies are added up, if they are."""

    content: RecordDict
    accumulator: Accumulator | None


@dataclass
class Answer:
    """A client's reply in parts, and its state. ``packed`` says where in the region the arrays lie."""

    number: int
    metadata: Any
    state: RecordDict | None
    packed: Packed | None = None
    content: RecordDict | None = None
    error: Error | None = None


def answer(
    app: ClientApp,
    order: Order,
    attached: Attachments,
    region: str,
    size: int,
    number: int,
    metadata: Any,
    context: Context,
) -> Answer:
    """Run one task; arrays of the reply are written into ``region`` when they fit its ``size``.

    Larger replies travel in the pipe.
    """
    outcome = call_client(app, Task(message_with(metadata, order.content), context))
    reply = outcome.reply
    if reply.has_error():
        return Answer(number, reply.metadata, outcome.state, error=reply.error)
    packed, arrays = plan(reply.content)
    if packed.size > size:
        return Answer(number, reply.metadata, outcome.state, content=reply.content)
    write(attached.view(region), packed, arrays)
    return Answer(number, reply.metadata, outcome.state, packed)


def accumulate_all(app: ClientApp, order: Order, attached: Attachments, region: str, jobs: list[Any]) -> list[Answer]:
    """Run several tasks and leave the sum of their replies in ``region``."""
    accumulator = order.accumulator
    assert accumulator is not None
    total = attached.view(region)[: 8 * accumulator.size].view(np.float64)
    total[:] = 0
    answers = []
    for number, metadata, context in jobs:
        outcome = call_client(app, Task(message_with(metadata, order.content), context))
        reply = outcome.reply
        if reply.has_error():
            answers.append(Answer(number, reply.metadata, outcome.state, error=reply.error))
        else:
            rest = accumulator.accumulate(total, order.content, reply)
            answers.append(Answer(number, rest.metadata, outcome.state, content=rest.content))
    return answers
