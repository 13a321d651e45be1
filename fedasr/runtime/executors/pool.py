"""Persistent worker processes: the model goes out once a round, tasks are small, replies stay in shared memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp

from fedasr.flower.messages import message_with
from fedasr.protocol import Code
from fedasr.runtime.client_apps import WorkerApp
from fedasr.runtime.executors import memory
from fedasr.runtime.executors.base import Outcome, Reduction, Task
from fedasr.runtime.executors.rounds import AHEAD, SHARE, Round
from fedasr.runtime.executors.worker import KEPT, Answer, serve
from fedasr.runtime.spawned import UNGUARDED, check_may_have_workers, unguarded
from fedasr.runtime.threads import one_thread

LONGEST_BATCH = 16
"""Clients. What is sent ahead must fit a pipe's buffer: a server that blocks on a worker which itself blocks on its
answer would wait for ever."""


@dataclass
class Worker:
    """A worker process and the batches of tasks it has been given, oldest first."""

    process: Any
    connection: Connection
    given: deque[list[int]] = field(default_factory=deque)
    knows: set[int] = field(default_factory=set)


class PoolExecutor:
    """Persistent worker processes on this machine.

    On Linux the workers are forked, so that a corpus that the parent has read is shared and costs nothing; with CUDA,
    which does not survive a fork, and elsewhere they are spawned and load ``reference`` themselves.
    """

    def __init__(self, app: ClientApp, reference: str | WorkerApp, workers: int, fork: bool = True) -> None:
        self.workers = workers
        self.app = app
        self.reference = reference
        self.fork = fork and sys.platform == "linux"
        check_may_have_workers()
        self.process_context: Any = multiprocessing.get_context("fork" if self.fork else "spawn")
        self.regions = memory.Regions()
        self.next_key = 0
        self.pool: list[Worker] = []
        # The tracker that removes shared memory after a crash must be there before the workers, or each starts its own.
        start_tracker()
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

    def run(
        self, tasks: Iterable[Task], timeout: float | None = None, reduction: Reduction | None = None
    ) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the tasks.

        A client whose worker dies runs once more, alone: the death of a worker changes no result. Where it dies again,
        the client has failed.
        """
        return PoolRound(self, list(tasks), timeout, reduction).outcomes()

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


def start_tracker() -> None:
    """Start the process that removes shared memory after a crash; a terminal that is closed must not end it."""
    from multiprocessing import resource_tracker

    handler = None
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGHUP)
    if handler is None:
        resource_tracker.ensure_running()
        return
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which it inherits
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, handler)


class PoolRound(Round):
    """The tasks of one call of ``run``."""

    def __init__(
        self, executor: PoolExecutor, tasks: list[Task], timeout: float | None, reduction: Reduction | None
    ) -> None:
        super().__init__(tasks, timeout, reduction)
        self.executor = executor
        self.sent: dict[int, tuple[int, int, str, memory.Packed]] = {}
        # Replies that wait for an earlier one hold memory, unless they are added up where they are made: the window
        # bounds them to a few models a worker.
        self.window = len(tasks) if reduction is not None else 4 * executor.workers + 4
        self.most = LONGEST_BATCH if reduction is not None and timeout is None else 1

    def dispatch(self, following: int) -> None:
        """Give waiting tasks to workers that have room, within the window."""
        while self.waiting and self.waiting[0] - following < self.window:
            worker = min(self.executor.pool, key=lambda w: len(w.given))
            ahead = AHEAD if has_no_state(self.tasks[self.waiting[0]]) else 1
            if len(worker.given) >= ahead:
                return
            self.send(worker, self.batch(self.executor.workers, self.most, lambda share: SHARE * share, has_no_state))

    def send(self, worker: Worker, batch: list[int]) -> None:
        """Send tasks to a worker, and their content where the worker has not seen it."""
        tasks = [self.tasks[number] for number in batch]
        key, size, region, packed = self.publish(tasks[0].message.content)
        reply_region = self.executor.regions.take(size)
        worker.given.append(batch)
        accumulator = None if self.reduction is None else self.reduction.accumulator
        try:
            if key not in worker.knows:
                worker.connection.send(("order", (key, region, packed, accumulator)))
                # What it forgets then, so that a content whose turn comes again is sent again.
                worker.knows = {known for known in worker.knows if known > key - KEPT} | {key}
            jobs = [(number, task.message.metadata, task.context) for number, task in zip(batch, tasks, strict=True)]
            worker.connection.send(("batch", (key, reply_region, size, jobs)))
        except OSError:  # the worker has died: its pipe tells, and the tasks go to another
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
        size = packed.size if self.reduction is None else 8 * self.reduction.accumulator.size
        self.sent[id(content)] = (self.executor.next_key, size, region, packed)
        return self.sent[id(content)]

    def collect(self, seconds: float | None) -> None:
        """Wait for a reply, or for a worker to die."""
        busy = [worker for worker in self.executor.pool if worker.given]
        by_connection = {worker.connection: worker for worker in busy}
        for connection in wait(list(by_connection), timeout=seconds):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                received = worker.connection.recv()
            except (EOFError, OSError):
                received = None
            if received is None:
                self.bury(worker)
            else:
                self.receive(worker, *received)

    def receive(self, worker: Worker, region: str, answers: list[Answer]) -> None:
        """Turn a worker's answers into outcomes."""
        worker.given.popleft()
        regions, kept = self.executor.regions, False
        for answer in answers:
            task = self.tasks[answer.number]
            if answer.packed is not None:
                reply, kept = message_with(answer.metadata, memory.unpack(regions.view(region), answer.packed)), True
            elif answer.error is not None:
                reply = Message(answer.error, reply_to=task.message)
            else:
                assert answer.content is not None
                reply = message_with(answer.metadata, answer.content)
            self.ready[answer.number] = Outcome(reply, answer.state)
        if self.reduction is not None:
            size = 8 * self.reduction.accumulator.size
            self.reduction.total += regions.memory[region].bytes()[:size].view(np.float64)
        if not kept:
            regions.give(region)

    def bury(self, worker: Worker) -> None:
        """Replace a dead worker: its tasks run once more, one at a time; one that ran alone has failed."""
        worker.process.join()
        code = worker.process.exitcode
        if code == UNGUARDED:
            raise unguarded()
        given = list(worker.given)
        self.replace(worker)
        again: list[int] = []
        for position, batch in enumerate(given):
            if position == 0 and batch[0] in self.suspects:
                how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
                self.fail(batch[0], Code.WORKER_DIED, f"its worker process died twice ({how})")
            else:
                again += batch
                if position == 0:
                    self.suspects.update(batch)
        self.again(again)

    def stop_workers(self) -> Iterator[int]:
        """Kill the workers that are busy, and yield the tasks that they had."""
        for worker in list(self.executor.pool):
            if worker.given:
                yield from (number for batch in worker.given for number in batch)
                worker.process.kill()
                worker.process.join()
                self.replace(worker)

    def end(self) -> None:
        """Give back the memory of the contents."""
        for _, _, region, _ in self.sent.values():
            self.executor.regions.give(region)

    def replace(self, worker: Worker) -> None:
        """Put a new worker in a dead one's place."""
        worker.connection.close()
        position = self.executor.pool.index(worker)
        del self.executor.pool[position]
        self.executor.pool.insert(position, self.executor.start())


def has_no_state(task: Task) -> bool:
    """Say whether a client keeps no state: one may be large, and then only a worker that waits for it will read it."""
    return not len(task.context.state)
