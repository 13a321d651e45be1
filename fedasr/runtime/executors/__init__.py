"""Executors: how the local grid runs its clients."""

from fedasr.runtime.executors.base import BAD_INPUT, ClientError, Executor, Fold, Outcome, Reduction, Task
from fedasr.runtime.executors.pool import PoolExecutor
from fedasr.runtime.executors.serial import DebugExecutor, SerialExecutor

__all__ = [
    "BAD_INPUT",
    "ClientError",
    "DebugExecutor",
    "Executor",
    "Fold",
    "Outcome",
    "PoolExecutor",
    "Reduction",
    "SerialExecutor",
    "Task",
]
