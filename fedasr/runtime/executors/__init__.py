"""Executors: how the local grid runs its clients."""

from fedasr.runtime.executors.base import Accumulator, ClientError, Executor, Outcome, Reduction, Task
from fedasr.runtime.executors.pool import PoolExecutor
from fedasr.runtime.executors.serial import DebugExecutor, SerialExecutor

__all__ = [
    "Accumulator",
    "ClientError",
    "DebugExecutor",
    "Executor",
    "Outcome",
    "PoolExecutor",
    "Reduction",
    "SerialExecutor",
    "Task",
]
