"""Files that nobody else may read, and files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedasr.errors import InputError
from fedasr.files import PRIVATE, READABLE, refused, write_bytes

OTHERS = 0o077
"""What a private file must not allow to anybody but its owner."""


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, that only its owner may look into, unless it is there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        # ``parents=True`` would give the folders above the usual mode.
        for folder in [*reversed(path.parents), path]:
            if not folder.exists():
                folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", where=str(path)) from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from holding a folder meanwhile; whoever is killed keeps nobody away.

    Raises:
        InputError: another one holds it, or there is no such folder.
    """
    import fcntl  # the rest of `fedasr edge` may be used where there is none

    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("runs already on this machine; stop it first", where=str(path)) from None
        yield
    finally:
        os.close(descriptor)


class LockedFolder:
    """A folder that one process at a time may use: that of an edge device, or of a server.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from using it meanwhile; whoever is killed keeps nobody away.

        Raises:
            InputError: somebody does already, or there is no such folder.
        """
        with locked(self.path):
            yield

    @property
    def running(self) -> bool:
        """Whether somebody uses it just now, or starts to."""
        try:
            with self.alone():
                return False
        except InputError:
            return self.path.is_dir()


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600; it is never there with another mode, and never in part."""
    write_whole(path, content, PRIVATE)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that others may read."""
    write_whole(path, content, READABLE)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole or not at all.

    Raises:
        InputError: it cannot be written, such as to a full disk; what was there before is there still.
    """
    with refused(path):
        write_bytes(path, content, mode=mode, durable=True, shared=True)


def read_private(path: Path) -> bytes:
    """Return the content of a private file.

    Raises:
        InputError: it is missing, cannot be read, or others may read it.
    """
    try:
        content = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if os.name == "posix" and mode & OTHERS:
        raise InputError(f"is private but others may read it (mode {mode & 0o777:04o}); chmod 600", where=str(path))
    return content
