"""Ray actors as workers, on one machine or many: the model goes out once a round, clients in batches, sums come back.

Which actor runs which client changes no bit of a result, as in the pool: replies are added up exactly, and a client's
draws are its own. So actors may come and go, and the clients of a lost one run again elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ray
from flwr.app import Message, RecordDict
from ray.exceptions import RayError, RayTaskError

from fedasr.errors import InputError, RunFailed
from fedasr.flower.messages import message_with
from fedasr.protocol import Code
from fedasr.runtime.executors import memory
from fedasr.runtime.executors.base import Outcome, Reduction, Task
from fedasr.runtime.executors.ray_worker import Batch, Parcel, Place, RayWorker, version
from fedasr.runtime.executors.rounds import AHEAD, SHARE, Round
from fedasr.runtime.session import current

SHORTEST_S = 0.02
"""Seconds of work that make a batch worth a call: a call costs about a millisecond, and its sum some ten."""
LONGEST_BATCH = 64
"""Clients. A lost actor costs at most so many, twice."""
BATCH_BYTES = 1 << 20
"""Replies that are not added up come several at a time as long as they stay below this."""
START_S = 300.0
"""Seconds without any actor, after a start or the loss of the last, that end the run."""
FAILED_STARTS = 3
"""Actors in a row that died while they started, and end the run."""


@dataclass
class Worker:
    """An actor and the batches it has been given, oldest first."""

    actor: Any
    hello: Any
    """reference of what it says when it has started"""
    node: str = ""
    given: deque[tuple[Any, list[int]]] = field(default_factory=deque)


class RayExecutor:
    """Long-lived Ray actors, one thread and one CPU each.

    There must be a connection to a cluster. Actors that find no room there wait, and join when they have started.

    Args:
        place: what an actor must find where it starts.
        workers: actors.
        gpus: part of a GPU that each is given.
    """

    def __init__(self, place: Place, workers: int, gpus: float = 0.0) -> None:
        self.workers = workers
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self.actor_class: Any = ray.remote(RayWorker).options(**options)
        self.place = place
        self.pool: list[Worker] = []
        """actors that have started"""
        self.starting: list[Worker] = []
        self.failed_starts = 0
        self.next_key = 0
        self.pace: dict[str, float] = {}
        """kind of message → seconds that a client of cost 1 takes"""
        self.fill()

    def fill(self) -> None:
        """Start actors until there are as many as wanted."""
        while len(self.pool) + len(self.starting) < self.workers:
            actor = self.actor_class.remote(self.place)
            self.starting.append(Worker(actor, actor.greet.remote(version())))

    def admit(self, worker: Worker) -> None:
        """Take an actor that has started into the pool.

        Raises:
            InputError: its node cannot run clients.
            RunFailed: several in a row have died while they started.
        """
        self.starting.remove(worker)
        try:
            worker.node, problem = ray.get(worker.hello)
        except RayTaskError:
            raise
        except RayError as error:
            self.failed_starts += 1
            if self.failed_starts >= FAILED_STARTS or getattr(error, "actor_init_failed", False):
                raise RunFailed(
                    f"a worker cannot start on the Ray cluster: {last_line(error)}; is FedASR installed on all nodes?"
                ) from None
            self.fill()
            return
        if problem is not None:
            raise InputError(f"a node of the Ray cluster ({worker.node}) cannot run clients: {problem}", where="")
        self.failed_starts = 0
        self.pool.append(worker)

    def wait_for_one(self, seconds: float = START_S) -> None:
        """Wait until an actor has started.

        Raises:
            RunFailed: none has.
        """
        self.fill()
        end = time.monotonic() + seconds
        while not self.pool:
            by_hello = {worker.hello: worker for worker in self.starting}
            started, _ = ray.wait(list(by_hello), timeout=max(0.0, end - time.monotonic()))
            if not started:
                raise no_place(seconds)
            self.admit(by_hello[started[0]])

    def drop(self, worker: Worker) -> None:
        """End an actor, or make sure that one which does not answer has ended."""
        self.pool.remove(worker)
        ray.kill(worker.actor)

    def run(
        self, tasks: Iterable[Task], timeout: float | None = None, reduction: Reduction | None = None
    ) -> Iterator[Outcome]:
        """Yield the outcomes in the order of the tasks.

        A client whose actor is lost runs once more, alone; where that is lost too, the client has failed.

        Raises:
            RunFailed: there is no actor left, and none has started.
        """
        return RayRound(self, list(tasks), timeout, reduction).outcomes()

    def close(self) -> None:
        """End the actors."""
        for worker in [*self.pool, *self.starting]:
            ray.kill(worker.actor)
        self.pool, self.starting = [], []


class RayRound(Round):
    """The tasks of one call of ``run``."""

    def __init__(
        self, executor: RayExecutor, tasks: list[Task], timeout: float | None, reduction: Reduction | None
    ) -> None:
        super().__init__(tasks, timeout, reduction)
        self.executor = executor
        self.most = 1 if reduction is None or timeout is not None else LONGEST_BATCH
        """clients of a batch; one at a time where each is to answer by a deadline"""
        self.largest = 0
        """bytes of a packed reply"""
        self.sent: dict[int, tuple[int, Any]] = {}
        kind = tasks[0].message.metadata.message_type if tasks else ""
        self.kind = f"{kind} {reduction is not None}"
        self.worked = self.done = 0.0

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcomes in order, once an actor has started."""
        if self.tasks:
            self.executor.wait_for_one()
        yield from super().outcomes()

    def end(self) -> None:
        """Remember how long clients take."""
        if self.done > 0:
            self.executor.pace[self.kind] = self.worked / self.done

    def dispatch(self, following: int) -> None:
        """Give waiting tasks to actors that have room; replies that wait for an earlier one hold memory, so not all."""
        pool = self.executor.pool
        window = len(self.tasks) if self.reduction is not None else (4 * len(pool) + 4) * self.most
        while self.waiting and self.waiting[0] - following < window:
            free = [worker for worker in pool if self.takes(worker, self.waiting[0])]
            if not free:
                return
            batch = self.batch(len(pool), self.most, self.enough_of, lambda task: True)
            self.send(min(free, key=lambda worker: len(worker.given)), batch)

    def takes(self, worker: Worker, number: int) -> bool:
        """Say whether an actor may be given a task now; a suspect has it for itself until it has answered.

        An actor that is killed may take the answer of the batch before along, which has not left it yet.
        """
        if not worker.given:
            return True
        alone = number in self.suspects or worker.given[0][1][0] in self.suspects
        return not alone and len(worker.given) < AHEAD

    def enough_of(self, share: float) -> float:
        """Return the cost of a batch: not less than is worth a call, nor more than an actor's share."""
        pace = self.executor.pace.get(self.kind, 0.0)
        return min(share, max(SHARE * share, SHORTEST_S / pace if pace else 0.0))

    def send(self, worker: Worker, batch: list[int]) -> None:
        """Send tasks to an actor."""
        tasks = [self.tasks[number] for number in batch]
        key, parcel = self.publish(tasks[0].message.content)
        jobs = [(number, task.message.metadata, task.context) for number, task in zip(batch, tasks, strict=True)]
        worker.given.append((worker.actor.run.remote(key, [parcel], jobs), batch))

    def publish(self, content: RecordDict) -> tuple[int, Any]:
        """Put a content into the object store, once for all the messages that share it."""
        if id(content) not in self.sent:
            packed, arrays = memory.plan(content)
            buffer = np.empty(packed.size, np.uint8)
            memory.write(buffer, packed, arrays)
            self.executor.next_key += 1
            accumulator = None if self.reduction is None else self.reduction.accumulator
            self.sent[id(content)] = self.executor.next_key, ray.put(Parcel(packed, buffer, accumulator))
        return self.sent[id(content)]

    def collect(self, seconds: float | None) -> None:
        """Wait for an actor to answer, to be lost, or to have started."""
        executor = self.executor
        answers = {worker.given[0][0]: worker for worker in executor.pool if worker.given}
        started = {worker.hello: worker for worker in executor.starting}
        patience = seconds if executor.pool else min(START_S, START_S if seconds is None else seconds)
        ended, _ = ray.wait([*answers, *started], timeout=patience)
        if not ended and not executor.pool and patience == START_S:
            raise no_place(START_S)
        for reference in ended:
            if reference in started:
                executor.admit(started[reference])
                continue
            worker = answers[reference]
            try:
                batch = ray.get(reference)
            except RayTaskError:
                raise
            except RayError as error:
                self.bury(worker, error)
            else:
                worker.given.popleft()
                self.receive(batch)

    def receive(self, batch: Batch) -> None:
        """Turn an actor's answers into outcomes."""
        self.worked += batch.seconds
        for answer, buffer in zip(batch.answers, batch.buffers, strict=True):
            task = self.tasks[answer.number]
            self.done += task.cost
            if answer.error is not None:
                reply = Message(answer.error, reply_to=task.message)
            elif answer.packed is not None:
                assert buffer is not None
                self.largest = max(self.largest, answer.packed.size, 1)
                reply = message_with(answer.metadata, memory.unpack(buffer, answer.packed))
            else:
                assert answer.content is not None
                reply = message_with(answer.metadata, answer.content)
            self.ready[answer.number] = Outcome(reply, answer.state)
        if self.reduction is not None:
            assert batch.total is not None
            self.reduction.total += batch.total
        elif self.timeout is None and self.largest:
            self.most = min(LONGEST_BATCH, max(1, BATCH_BYTES // self.largest))

    def bury(self, worker: Worker, error: RayError) -> None:
        """Replace a lost actor: its tasks run once more, one at a time; one that ran alone has failed."""
        self.executor.drop(worker)
        self.executor.fill()
        current().watcher.note(f"a worker on {worker.node} was lost; its clients run again on another")
        again = [number for _, batch in worker.given for number in batch]
        if again[0] in self.suspects:
            number = again.pop()
            self.fail(number, Code.WORKER_DIED, f"its worker was lost twice ({last_line(error)})")
        self.suspects.update(again)
        self.again(again)

    def stop_workers(self) -> Iterator[int]:
        """End the actors that are busy, and yield the tasks that they had."""
        for worker in list(self.executor.pool):
            if worker.given:
                yield from (number for _, batch in worker.given for number in batch)
                self.executor.drop(worker)


def no_place(seconds: float) -> RunFailed:
    """Return what to raise when no actor has started for so long."""
    return RunFailed(f"the Ray cluster has given no worker a place within {seconds:g} s; is it busy?")


def last_line(error: Exception) -> str:
    """Return what an exception of Ray comes down to."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
