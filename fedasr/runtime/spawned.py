"""What may not be: that a script which is imported starts its run, or that a daemonic process has workers."""

from __future__ import annotations

import multiprocessing
import sys

from fedasr.errors import InputError
from fedasr.references import importing_now

UNGUARDED = 86
"""Exit status of a spawned worker that was about to start the run of its parent's script anew."""


def leave_spawned() -> None:
    """End this process where it is a worker that is being spawned, and imports a script which starts a run again.

    It says nothing, as each of the workers would; its parent sees the status and says it once.

    Raises:
        InputError: a script is imported for a part of a run, and would start a run itself.
    """
    if importing_now():
        raise InputError(
            f"'{importing_now()[-1]}' starts a run when it is imported; put the call under: if __name__ == '__main__':",
            where="",
        )
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(UNGUARDED)


def unguarded() -> InputError:
    """Return what to raise when a worker has ended so."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    return InputError(
        "every worker imports this script, and so starts its run again; put the call under: if __name__ == '__main__':",
        where=str(script or "the script"),
    )


def check_may_have_workers() -> None:
    """Raise where this process may not have workers.

    Raises:
        InputError: it is a daemon of ``multiprocessing``.
    """
    if multiprocessing.current_process().daemon:
        raise InputError(
            "'runtime.executor' is 'pool', but this process is a worker of a multiprocessing pool, which may have none"
            " of its own; set runtime.executor=serial",
            where="",
        )
