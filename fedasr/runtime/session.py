"""What a run in this process shares with whoever started it: the progress display, and the wish to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol


class Watcher(Protocol):
    """Sees a run go by."""

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Training starts, ``done`` of ``rounds`` are behind it, in a population of ``clients``."""
        ...

    def round(self, row: Mapping[str, Any]) -> None:
        """A round ended; ``row`` is its row of ``rounds.parquet``."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know happened."""
        ...

    def end(self) -> None:
        """Training ended."""
        ...


class Silent:
    """Shows nothing."""

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Show nothing."""

    def round(self, row: Mapping[str, Any]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


class Session:
    """The watcher of a run and the wish to stop it."""

    def __init__(self, watcher: Watcher | None = None) -> None:
        self.watcher: Watcher = watcher or Silent()
        self.stop = threading.Event()


_current = Session()


def current() -> Session:
    """Return the session of the run in this process."""
    return _current


@contextmanager
def session(watcher: Watcher | None, interruptible: bool = True) -> Iterator[Session]:
    """Make a session the current one; the first Ctrl-C asks the run to stop after a checkpoint, the second is hard.

    Args:
        watcher: sees the rounds go by.
        interruptible: false where somebody else minds the signals: Flower, which ends its apps by them.
    """
    global _current
    before = _current
    _current = Session(watcher)

    def ask(number: int, frame: FrameType | None) -> None:
        if _current.stop.is_set():
            raise KeyboardInterrupt
        _current.stop.set()
        _current.watcher.note("interrupted: the run stops after this round's checkpoint (Ctrl-C again stops at once)")

    main = interruptible and threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, ask) if main else None
    try:
        yield _current
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        _current = before
