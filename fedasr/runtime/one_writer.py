"""One process at a time writes a run folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedasr.errors import InputError
from fedasr.paths import is_folder

LOCK = "lock"
"""File of the checkpoint's folder."""


@contextmanager
def one_writer(checkpoint: Path) -> Iterator[None]:
    """Keep other processes from writing a run meanwhile; whoever is killed keeps nobody away, nor do its workers.

    Args:
        checkpoint: the folder of the run's checkpoint; where it is not there, there is nothing to keep others from.

    Raises:
        InputError: another process writes the run.
    """
    if os.name != "posix" or not is_folder(checkpoint):
        yield
        return
    import fcntl

    # A lock of the process: forked workers, which may outlive it for a moment, do not hold it.
    descriptor = os.open(checkpoint / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, (BlockingIOError, PermissionError)):
                raise InputError(
                    "another process goes on with this run; wait for it or stop it, then resume",
                    where=str(checkpoint.parent),
                ) from None
            # A file system without locks keeps nobody from working.
        yield
    finally:
        os.close(descriptor)
