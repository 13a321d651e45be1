"""One process at a time writes a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedasr.files import locked
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
    if not is_folder(checkpoint):
        yield
        return
    refusal = "another process goes on with this run; wait for it or stop it, then resume"
    with locked(checkpoint / LOCK, refusal, checkpoint.parent):
        yield
