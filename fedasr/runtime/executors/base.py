"""What an executor does: run client tasks and give the outcomes back in the order of the tasks."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedasr.errors import InputError
from fedasr.flower.records import shallow_copy
from fedasr.protocol import Code, Key


@dataclass
class Task:
    """One message to one client, with the client's context."""

    message: Message
    context: Context
    cost: float = 1.0
    """about how long it will take, in any unit: seconds of audio, say"""


class Accumulator(Protocol):
    """Adds up replies where they are made, for a server that needs their sum alone.

    It travels to the workers, so it must pickle, and its sums must commute exactly, or the bits of a run would depend
    on which worker trained which client.
    """

    size: int
    """length of a sum"""

    def accumulate(self, total: npt.NDArray[np.float64], sent: RecordDict, reply: Message) -> Message:
        """Add a reply to ``total``, shape ``(size,)``, and return the reply without what was added.

        Args:
            total: changed in place, as a whole or not at all.
            sent: the content that the client was sent.
            reply: the client's, without an error.
        """
        ...


@dataclass
class Reduction:
    """An accumulator, and where the server keeps the sum of all."""

    accumulator: Accumulator
    total: npt.NDArray[np.float64]


@dataclass
class Outcome:
    """The reply to a task (an error where the client failed) and the client's state, None when it keeps none."""

    reply: Message
    state: RecordDict | None = None


class ClientError(RuntimeError):
    """A client failed in the debug executor; ``inputs`` holds the message and context that it failed on."""

    def __init__(self, text: str, inputs: Task) -> None:
        super().__init__(text)
        self.inputs = inputs


class Executor(Protocol):
    """Runs clients."""

    workers: int

    def run(
        self, tasks: Iterable[Task], timeout: float | None = None, reduction: Reduction | None = None
    ) -> Iterator[Outcome]:
        """Yield one outcome a task, in the order of ``tasks``, each as soon as its turn has come.

        Args:
            tasks: in the order in which they should start.
            timeout: seconds after which the clients that have not answered count as failed.
            reduction: add the replies up and yield what is left of them; the total is complete with the last outcome.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def call_client(app: ClientApp, task: Task) -> Outcome:
    """Run the client app on a task; an exception becomes an error reply that names the client.

    The client gets a copy of the content: all messages of a round share one, and what a client edits there
    the next client must not see.
    """
    message = task.message
    message.content = shallow_copy(message.content)
    try:
        reply = app(message, task.context)
    except InputError as error:
        return Outcome(Message(Error(Code.BAD_INPUT, str(error)), reply_to=message))
    except Exception as error:
        client = task.context.node_config.get(Key.PARTITION, task.context.node_id)
        reason = f"client {client}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
        return Outcome(Message(Error(Code.CLIENT_FAILED, reason), reply_to=message))
    state = task.context.state
    return Outcome(reply, state if len(state) else None)
