"""Run clients one after another in this process; and the same for debugging."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from flwr.app import Array, Error, Message
from flwr.clientapp import ClientApp

from fedasr.errors import InputError
from fedasr.protocol import Code
from fedasr.runtime.executors.base import ClientError, Outcome, Reduction, Task, call_client


class SerialExecutor:
    """One client after another, in this process."""

    workers = 1

    def __init__(self, app: ClientApp) -> None:
        self.app = app

    def run(
        self, tasks: Iterable[Task], timeout: float | None = None, reduction: Reduction | None = None
    ) -> Iterator[Outcome]:
        """Yield the outcomes in order; a client that would start after the deadline counts as failed."""
        end = None if timeout is None else time.monotonic() + timeout
        for task in tasks:
            if end is not None and time.monotonic() > end:
                reason = f"client {task.context.node_id}: no reply within {timeout:g} s"
                yield Outcome(Message(Error(Code.TIMED_OUT, reason), reply_to=task.message))
            else:
                sent = task.message.content
                outcome = call_client(self.app, task)
                if reduction is not None and not outcome.reply.has_error():
                    outcome.reply = reduction.accumulator.accumulate(reduction.total, sent, outcome.reply)
                yield outcome

    def close(self) -> None:
        """Do nothing: there are no workers."""


class DebugExecutor(SerialExecutor):
    """Like serial, but a failing client raises where it failed, with its inputs attached and shown."""

    def run(
        self, tasks: Iterable[Task], timeout: float | None = None, reduction: Reduction | None = None
    ) -> Iterator[Outcome]:
        """Yield the outcomes in order.

        Raises:
            InputError: the client met wrong input.
            ClientError: from the client's own exception; ``error.inputs`` is the task.
        """
        for task in tasks:
            try:
                reply = self.app(task.message, task.context)
            except InputError:
                raise
            except Exception as error:
                raise ClientError(describe(task, error), task) from error
            if reduction is not None:
                reply = reduction.accumulator.accumulate(reduction.total, task.message.content, reply)
            yield Outcome(reply, task.context.state if len(task.context.state) else None)


def describe(task: Task, error: Exception) -> str:
    """Say which client failed, how, and on which inputs."""
    kind = task.message.metadata.message_type
    lines = [
        f"client {task.context.node_id} failed on '{kind}': {type(error).__name__}: {error}",
        f"  node_config: {dict(task.context.node_config)}",
        f"  state records: {sorted(task.context.state)}",
    ]
    for name, record in task.message.content.items():
        for key, value in record.items():
            shown = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Array) else repr(value)
            lines.append(f"  {name}.{key}: {shown if len(shown) < 200 else shown[:200] + '…'}")
    return "\n".join(lines)
