"""One thread a process: the parallelism is in the clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def one_thread() -> None:
    """Give torch and NumPy's linear algebra one thread each in this process.

    Two workers with two threads each on two cores spend most of their time waiting for each other.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give torch and NumPy's linear algebra as many threads afterwards as before: a notebook goes on after its run."""
    import torch
    from threadpoolctl import ThreadpoolController

    before = torch.get_num_threads()
    pools = [(pool, pool.num_threads) for pool in ThreadpoolController().lib_controllers]
    try:
        yield
    finally:
        torch.set_num_threads(before)
        for pool, threads in pools:
            pool.set_num_threads(threads)
