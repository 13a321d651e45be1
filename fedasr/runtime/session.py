"""What a run in this process shares with whoever started it: the progress display, and the wish to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from fedasr.runtime.callbacks import Callback, Row


class Watcher(Protocol):
    """The display of a run: sees it go by, and is told what a person should know."""

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Training starts, ``done`` of ``rounds`` are behind it, in a population of ``clients``."""
        ...

    def round(self, row: Row) -> None:
        """A round ended; ``row`` is what callbacks get, its row of ``rounds.parquet``."""
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

    def round(self, row: Row) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


class Session:
    """The watcher and the callbacks of a run, and the wish to stop it."""

    def __init__(self, watcher: Watcher | None = None, callbacks: Sequence[tuple[str, Callback]] = ()) -> None:
        self.watcher: Watcher = watcher or Silent()
        self.callbacks = callbacks
        self.stop = threading.Event()


_current = Session()


def current() -> Session:
    """Return the session of the run in this process."""
    return _current


STOPPING = tuple(
    number for number in (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")) if number is not None
)
"""Signals that ask a run to stop: Ctrl-C, a scheduler that takes the machine back, a terminal that is closed."""


@contextmanager
def signals_kept() -> Iterator[None]:
    """Take back the signals that a library takes for itself meanwhile, as Ray does where it starts."""
    main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOPPING} if main else {}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let the signals that ask a run to stop wait until the end: what is written meanwhile is written whole."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def session(
    watcher: Watcher | None, interruptible: bool = True, callbacks: Sequence[tuple[str, Callback]] = ()
) -> Iterator[Session]:
    """Make a session the current one; the first signal asks the run to stop after a checkpoint, another Ctrl-C is hard.

    Schedulers may send the others several times for one request, so they never are.

    Args:
        watcher: sees the rounds go by.
        interruptible: false where somebody else minds the signals: Flower, which ends its apps by them.
        callbacks: on the life of the run, with their names.
    """
    global _current
    before = _current
    _current = Session(watcher, callbacks)

    def ask(number: int, frame: FrameType | None) -> None:
        if _current.stop.is_set():
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        _current.stop.set()
        name = "interrupted" if number == signal.SIGINT else f"interrupted by {signal.Signals(number).name}"
        try:
            _current.watcher.note(f"{name}: the run stops after this round's checkpoint (Ctrl-C again stops at once)")
        except OSError:  # the terminal is gone, and the run must not end at its next line either
            _current.watcher = Silent()

    main = interruptible and threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOPPING} if main else {}
    # What nohup ignores stays ignored, and a handler that is none of Python's could not be put back.
    handlers = {n: h for n, h in handlers.items() if h is not None and (h is not signal.SIG_IGN or n == signal.SIGINT)}
    for number in handlers:
        signal.signal(number, ask)
    try:
        yield _current
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _current = before
