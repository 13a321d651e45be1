"""What a Ray actor does: keep the app and the latest orders, run batches of clients, add their replies up."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from flwr.app import Context
from flwr.clientapp import ClientApp

from fedasr.errors import InputError
from fedasr.flower.messages import message_with
from fedasr.runtime.client_apps import WorkerApp
from fedasr.runtime.executors.base import Accumulator, Task, call_client
from fedasr.runtime.executors.memory import Bytes, Packed, plan, unpack, write
from fedasr.runtime.executors.worker import Answer, Order, loaded
from fedasr.runtime.threads import one_thread

ORDERS_KEPT = 2
"""Contents that an actor holds: that of the round, and that of the question which the server asked before it."""

Job = tuple[int, Any, Context]
"""Number of a task, metadata of its message, context of its client."""


@dataclass(frozen=True)
class Parcel:
    """A message's content on its way through the object store: all arrays in one buffer, which Ray does not copy."""

    packed: Packed
    buffer: Bytes
    accumulator: Accumulator | None = None


@dataclass(frozen=True)
class Place:
    """What an actor must find where it starts.

    Args:
        reference: of the client app, or how it is made.
        folder: working folder of the run; taken where it exists.
        path: of the run's modules; what is not there is left out.
        device: ``runtime.device`` of the run.
        marker: a file in a folder that all nodes must share; None: there is none.
    """

    reference: str | WorkerApp
    folder: str
    path: tuple[str, ...] = ()
    device: str = "cpu"
    marker: str | None = None


@dataclass
class Batch:
    """What became of the clients of one call."""

    answers: list[Answer]
    buffers: list[Bytes | None]
    """arrays of the reply to each, where it travels packed"""
    total: npt.NDArray[np.float64] | None
    """sum of the replies, shape ``(size,)``, where replies are accumulated"""
    seconds: float = field(default=0.0)


def version() -> str:
    """Return the version of FedASR that is installed here."""
    return importlib.metadata.version("fedasr")


def node_address() -> str:
    """Return the address of this node."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


class RayWorker:
    """An actor that runs clients: one thread, one at a time."""

    def __init__(self, place: Place) -> None:
        if Path(place.folder).is_dir():
            os.chdir(place.folder)
        sys.path += [entry for entry in place.path if entry not in sys.path and Path(entry).exists()]
        one_thread()
        self.place = place
        self.app: ClientApp | None = None
        self.orders: dict[int, Order] = {}

    def greet(self, expected: str) -> tuple[str, str | None]:
        """Load the app; return this node's address, and what is wrong with the node, if anything.

        Args:
            expected: version of FedASR of the run.
        """
        return node_address(), self.problem(expected)

    def problem(self, expected: str) -> str | None:
        """Return what is wrong with this node in a line, None where nothing is."""
        if version() != expected:
            return f"FedASR {version()} is installed there, and {expected} here; install the same on all nodes"
        try:
            self.app = loaded(self.place.reference)
        except InputError as error:
            return f"{error}; install FedASR with the same extras on all nodes"
        if self.place.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                return "'runtime.device' is 'cuda', but torch sees no GPU there"
        if self.place.marker is not None and not Path(self.place.marker).is_file():
            folder = Path(self.place.marker).parent
            return (
                f"it does not see {folder}, where devices keep weights of their own between messages; set 'pate.store'"
                " to a folder that all nodes share"
            )
        return None

    def run(self, key: int, parcel: list[Any], jobs: list[Job]) -> Batch:
        """Run a batch of clients.

        Args:
            key: of the content that they are sent.
            parcel: in a list, so that Ray does not fetch it for every call: the reference of its ``Parcel``.
            jobs: the clients.
        """
        started = time.perf_counter()
        assert self.app is not None, "greet comes first"
        if key not in self.orders:
            came: Parcel = ray.get(parcel[0])
            while len(self.orders) >= ORDERS_KEPT:
                del self.orders[next(iter(self.orders))]
            self.orders[key] = Order(unpack(came.buffer, came.packed), came.accumulator)
        batch = run_clients(self.app, self.orders[key], jobs)
        batch.seconds = time.perf_counter() - started
        return batch


def run_clients(app: ClientApp, order: Order, jobs: list[Job]) -> Batch:
    """Run clients one after another; their replies are accumulated where the order says so, and packed where not."""
    total = None if order.accumulator is None else np.zeros(order.accumulator.size)
    batch = Batch([], [], total)
    for number, metadata, context in jobs:
        outcome = call_client(app, Task(message_with(metadata, order.content), context))
        reply, buffer = outcome.reply, None
        if reply.has_error():
            answer = Answer(number, reply.metadata, outcome.state, error=reply.error)
        elif order.accumulator is not None:
            assert total is not None
            rest = order.accumulator.accumulate(total, order.content, reply)
            answer = Answer(number, rest.metadata, outcome.state, content=rest.content)
        else:
            packed, arrays = plan(reply.content)
            buffer = np.empty(packed.size, np.uint8)
            write(buffer, packed, arrays)
            answer = Answer(number, reply.metadata, outcome.state, packed)
        batch.answers.append(answer)
        batch.buffers.append(buffer)
    return batch
