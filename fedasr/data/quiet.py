"""Keep what libmpg123 prints about an MP3 file, which libsndfile cannot turn off, out of standard error.

The lines come from C, so the descriptor itself is redirected while such a file is open. Whatever else was written
meanwhile, by another thread, is passed on.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

SOURCE = b"libmpg123"
"""What marks its lines: the path of the source file that they come from."""

STANDARD_ERROR = 2


class Redirection:
    """Where standard error goes meanwhile, shared by all threads that need it; the last one restores it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.original = -1
        self.file: IO[bytes] | None = None

    def begin(self) -> None:
        """Redirect standard error; where it is closed or no file can be made there is nothing to redirect."""
        with self.lock:
            self.users += 1
            if self.users > 1:
                return
            try:
                self.original = os.dup(STANDARD_ERROR)
            except OSError:
                return
            try:
                self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in ``end``, perhaps by another thread
            except OSError:
                os.close(self.original)
                return
            os.dup2(self.file.fileno(), STANDARD_ERROR)

    def end(self) -> None:
        """Restore standard error and pass on what was none of libmpg123's."""
        with self.lock:
            self.users -= 1
            if self.users or self.file is None:
                return
            os.dup2(self.original, STANDARD_ERROR)
            os.close(self.original)
            self.file.seek(0)
            written = self.file.read()
            self.file.close()
            self.file = None
            for line in written.splitlines(keepends=True):
                if SOURCE not in line:
                    os.write(STANDARD_ERROR, line)

    def forked(self) -> None:
        """Restore standard error in a child process: the threads that redirected it are the parent's."""
        self.lock = threading.Lock()
        self.users = 0
        if self.file is not None:
            os.dup2(self.original, STANDARD_ERROR)
            os.close(self.original)
            self.file = None


_redirection = Redirection()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_redirection.forked)


def may_print(start: bytes) -> bool:
    """Say whether libsndfile would give a file that starts so to libmpg123."""
    return start[:3] == b"ID3" or (len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0)


@contextmanager
def quiet(start: bytes) -> Iterator[None]:
    """Keep libmpg123's lines from standard error while a file that starts with these bytes is open."""
    if not may_print(start):
        yield
        return
    _redirection.begin()
    try:
        yield
    finally:
        _redirection.end()
