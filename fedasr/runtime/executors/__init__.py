"""Executors: how the local grid runs its clients."""

from fedasr.runtime.executors.base import ClientError, Executor, Fold, Outcome, Reduction, Task
from fedasr.runtime.executors.pool import PoolExecutor
from fedasr.runtime.executors.serial import DebugExecutor, SerialExecutor

__all__ = [
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
