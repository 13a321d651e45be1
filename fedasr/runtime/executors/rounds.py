"""The tasks of one call on workers that may be lost: in batches, by a deadline, outcomes in order.

What processes and Ray actors have in common; how a task reaches a worker and how its answer comes back is theirs.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from flwr.app import Error, Message

from fedasr.protocol import Code
from fedasr.runtime.executors.base import Outcome, Reduction, Task

AHEAD = 2
"""Batches a worker is given at a time: one runs, one waits, so that a worker never idles while the server works."""
SHARE = 0.5
"""Where replies are added up in the workers, every worker gets this part of its share of what is left, then the same of
the rest, down to single clients (factoring, Hummel et al. 1992): few messages, and no worker waits at the end."""
ROUNDING = 1 + 1e-9
"""A share of equal costs is met by as many of them, however their sum was rounded."""


class Round(ABC):
    """The tasks of one call of an executor's ``run``.

    Args:
        tasks: in the order in which their outcomes are yielded.
        timeout: seconds until those without an answer count as failed; None: never.
        reduction: adds the replies up in the workers; None: they come back.
    """

    def __init__(self, tasks: Sequence[Task], timeout: float | None, reduction: Reduction | None) -> None:
        self.tasks = tasks
        self.timeout = timeout
        self.reduction = reduction
        self.waiting = deque(range(len(tasks)))
        self.left = sum(task.cost for task in tasks)
        """cost of the waiting tasks"""
        self.enough = 0.0
        """cost of a batch"""
        self.equal = 0
        """how many more batches are to be of that cost"""
        self.suspects: set[int] = set()
        """tasks whose worker was lost"""
        self.ready: dict[int, Outcome] = {}

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
                        self.collect(None if end is None else max(0.0, end - time.monotonic()))
        finally:
            self.give_up()
            self.end()

    @abstractmethod
    def dispatch(self, following: int) -> None:
        """Give waiting tasks to workers that have room; ``following`` is the outcome that is yielded next."""

    @abstractmethod
    def collect(self, seconds: float | None) -> None:
        """Wait so long for an answer, or for a worker to be lost."""

    @abstractmethod
    def stop_workers(self) -> Iterable[int]:
        """End the workers that are busy, and return the tasks that they had."""

    @abstractmethod
    def end(self) -> None:
        """Leave nothing behind."""

    def batch(
        self, workers: int, most: int, share: Callable[[float], float], fits: Callable[[Task], bool]
    ) -> list[int]:
        """Take the tasks that one worker gets next; one whose worker was lost comes alone.

        Args:
            workers: how many there are.
            most: tasks of a batch.
            share: cost of a batch, from a worker's equal share of what is left.
            fits: whether a task may come with others.
        """
        first = self.waiting.popleft()
        batch, cost = [first], self.tasks[first].cost
        if most > 1 and first not in self.suspects:
            if not self.equal:
                self.enough, self.equal = share(self.left / workers), workers
            self.equal -= 1
            content = self.tasks[first].message.content
            while self.waiting and self.waiting[0] not in self.suspects and len(batch) < most:
                following = self.tasks[self.waiting[0]]
                too_much = cost + following.cost > self.enough * ROUNDING
                if too_much or following.message.content is not content or not fits(following):
                    break
                batch.append(self.waiting.popleft())
                cost += following.cost
        self.left -= cost
        return batch

    def again(self, numbers: Sequence[int]) -> None:
        """Put tasks of a lost worker in front of those that wait."""
        self.waiting.extendleft(reversed(numbers))
        self.left += sum(self.tasks[number].cost for number in numbers)

    def give_up(self) -> None:
        """Stop the clients that have not answered: they count as failed."""
        late = {*self.waiting, *self.stop_workers()}
        self.waiting.clear()
        for number in late:
            self.fail(number, Code.TIMED_OUT, f"no reply within {self.timeout or 0:g} s")

    def fail(self, number: int, code: int, why: str) -> None:
        """Answer a task with an error that names its client."""
        task = self.tasks[number]
        reason = f"client {task.context.node_id}: {why}"
        self.ready[number] = Outcome(Message(Error(code, reason), reply_to=task.message))
