"""Start Ray on this machine, which gives a node 30 seconds: on a busy machine that is too little, once."""

from __future__ import annotations

from typing import Any

from fedasr.errors import RunFailed

SLOW = "timed out during startup"
"""What Ray says of a node that has not registered in time; it says so with a plain ``Exception``."""
TRIES = 2
"""The second start reads from memory what the first one read from the disk."""


def start_ray(cpus: int, **settings: Any) -> None:
    """Start a cluster of this machine for this process, at a second try where the first one is too slow.

    Args:
        cpus: how many tasks run at a time.
        settings: of ``ray.init``.

    Raises:
        RunFailed: the second one was too slow as well.
    """
    import ray

    for _ in range(TRIES):
        try:
            ray.init("local", num_cpus=cpus, include_dashboard=False, **settings)
        except Exception as error:
            if SLOW not in str(error):
                raise
            ray.shutdown()
        else:
            return
    raise RunFailed(
        "Ray was not up within 30 seconds, twice: this machine is too busy for it; try again later, or set"
        " runtime.name=local, which gives the same bits"
    )
