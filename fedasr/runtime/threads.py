"""One thread a process: the parallelism is in the clients."""

from __future__ import annotations


def one_thread() -> None:
    """Give torch and NumPy's linear algebra one thread each in this process, for good.

    Two workers with two threads each on two cores spend most of their time waiting for each other.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
