"""Persistent worker processes: the model goes out once a round, tasks are small, replies stay in shared memory."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from flwr.app import Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedasr.runtime.executors import memory
from fedasr.runtime.executors.base import TIMED_OUT, WORKER_DIED, Outcome, Task
from fedasr.runtime.executors.worker import serve
from fedasr.runtime.flower_compat import message_with
from fedasr.runtime.threads import one_thread

AHEAD = 2
"""Tasks a worker is given at a time: one runs, one waits, so that a worker never idles while the server aggregates."""


@dataclass
class Worker:
    """A worker process and the tasks it has been given, oldest first."""

    process: Any
    connection: Connection
    given: deque[int] = field(default_factory=deque)
    knows: set[int] = field(default_factory=set)


class PoolExecutor:
    """Persistent worker processes on this machine.

    On Linux the workers are forked, so that a corpus that the parent has read is shared and costs nothing; with CUDA,
    which does not survive a fork, and elsewhere they are spawned and load ``reference`` themselves.
    """

    def __init__(self, app: ClientApp, reference: str, workers: int, fork: bool = True) -> None:
        self.workers = workers
        self.app = app
        self.reference = reference
        self.fork = fork and sys.platform == "linux"
        self.process_context: Any = multiprocessing.get_context("fork" if self.fork else "spawn")
        self.regions = memory.Regions()
        self.next_key = 0
        self.pool: list[Worker] = []
        # The tracker that removes shared memory after a crash must be there before the workers, or each starts its own.
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
        if self.fork:
            one_thread()  # imports torch before the workers: forked ones then share it instead of importing it each
        for _ in range(workers):
            self.pool.append(self.start())

    def start(self) -> Worker:
        """Start a worker process."""
        ours, theirs = self.process_context.Pipe()
        others = [worker.connection for worker in self.pool] + [ours] if self.fork else []
        app = self.app if self.fork else self.reference
        process = self.process_context.Process(
            target=serve, args=(theirs, others, app, os.getpid()), daemon=True, name="fedasr-worker"
        )
        process.start()
        theirs.close()
        return Worker(process, ours)

    def run(self, tasks: Iterable[Task], timeout: float | None = None) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the tasks."""
        return Round(self, list(tasks), timeout).outcomes()

    def close(self) -> None:
        """End the workers and remove the shared memory."""
        for worker in self.pool:
            worker.connection.close()
        for worker in self.pool:
            worker.process.join(timeout=2.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self.pool = []
        self.regions.close()


class Round:
    """The tasks of one call of ``run``."""

    def __init__(self, executor: PoolExecutor, tasks: list[Task], timeout: float | None) -> None:
        self.executor = executor
        self.tasks = tasks
        self.timeout = timeout
        self.waiting = deque(range(len(tasks)))
        self.ready: dict[int, Outcome] = {}
        self.sent: dict[int, tuple[int, int, str, memory.Packed]] = {}
        # Replies that wait for an earlier one hold memory: the window bounds them to a few models a worker.
        self.window = 4 * executor.workers + 4

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes in order."""
        end = None if self.timeout is None else time.monotonic() + self.timeout
        following = 0
        try:
            while following < len(self.tasks):
                self.dispatch(following)
                while following in self.ready:
                    yield self.ready.pop(following)
                    following += 1
                    self.dispatch(following)
                if following < len(self.tasks):
                    if end is not None and time.monotonic() >= end:
                        self.give_up()
                    else:
                        self.collect(None if end is None else end - time.monotonic())
        finally:
            if any(worker.given for worker in self.executor.pool):
                self.give_up()
            for _, _, region, _ in self.sent.values():
                self.executor.regions.give(region)

    def dispatch(self, following: int) -> None:
        """Give waiting tasks to workers that have room, within the window."""
        while self.waiting and self.waiting[0] - following < self.window:
            worker = min(self.executor.pool, key=lambda w: len(w.given))
            if len(worker.given) >= AHEAD:
                return
            self.send(worker, self.waiting.popleft())

    def send(self, worker: Worker, number: int) -> None:
        """Send a task to a worker, and its content where the worker has not seen it."""
        task = self.tasks[number]
        key, size, region, packed = self.publish(task.message.content)
        reply_region = self.executor.regions.take(size)
        worker.given.append(number)
        try:
            if key not in worker.knows:
                worker.connection.send(("content", (key, region, packed)))
                worker.knows.add(key)
            metadata = task.message.metadata
            worker.connection.send(("task", (number, key, metadata, task.context, reply_region, size)))
        except OSError:  # the worker died while it was idle: its pipe tells, and the task goes to another
            self.executor.regions.give(reply_region)

    def publish(self, content: RecordDict) -> tuple[int, int, str, memory.Packed]:
        """Write a content into shared memory, once for all the messages that share it."""
        known = self.sent.get(id(content))
        if known is not None:
            return known
        packed, arrays = memory.plan(content)
        region = self.executor.regions.take(packed.size)
        memory.write(self.executor.regions.memory[region].bytes(), packed, arrays)
        self.executor.next_key += 1
        self.sent[id(content)] = (self.executor.next_key, packed.size, region, packed)
        return self.sent[id(content)]

    def collect(self, seconds: float | None) -> None:
        """Wait for a reply, or for a worker to die."""
        busy = [worker for worker in self.executor.pool if worker.given]
        by_connection = {worker.connection: worker for worker in busy}
        for connection in wait(list(by_connection), timeout=seconds):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                self.receive(worker, worker.connection.recv())
            except (EOFError, OSError):
                self.bury(worker)

    def receive(self, worker: Worker, answer: tuple[Any, ...]) -> None:
        """Turn a worker's answer into an outcome."""
        number, region, metadata, packed, error, content, state = answer
        worker.given.remove(number)
        task = self.tasks[number]
        if packed is not None:
            reply = message_with(metadata, memory.unpack(self.executor.regions.view(region), packed))
        else:
            self.executor.regions.give(region)
            if error is not None:
                reply = Message(error, reply_to=task.message)
            else:
                reply = message_with(metadata, content)
        self.ready[number] = Outcome(reply, state)

    def bury(self, worker: Worker) -> None:
        """Replace a dead worker: the task it ran has failed, those that waited behind it go to others."""
        worker.process.join()
        code = worker.process.exitcode
        given = list(worker.given)
        failed, rest = given[:1], given[1:]
        for number in failed:
            task = self.tasks[number]
            how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
            reason = f"client {task.context.node_id}: its worker process died ({how})"
            self.ready[number] = Outcome(Message(Error(WORKER_DIED, reason), reply_to=task.message))
        self.waiting.extendleft(reversed(rest))
        self.replace(worker)

    def give_up(self) -> None:
        """Stop the clients that have not answered: they count as failed."""
        late = set(self.waiting)
        for worker in list(self.executor.pool):
            late.update(worker.given)
            if worker.given:
                worker.process.kill()
                worker.process.join()
                self.replace(worker)
        self.waiting.clear()
        for number in late:
            task = self.tasks[number]
            reason = f"client {task.context.node_id}: no reply within {self.timeout or 0:g} s"
            self.ready[number] = Outcome(Message(Error(TIMED_OUT, reason), reply_to=task.message))

    def replace(self, worker: Worker) -> None:
        """Put a new worker in a dead one's place."""
        worker.connection.close()
        position = self.executor.pool.index(worker)
        del self.executor.pool[position]
        self.executor.pool.insert(position, self.executor.start())
