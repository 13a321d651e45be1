"""Starting Flower's processes, passing on what they say, and stopping them all."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from fedasr.edge.log import pass_on, source_of

TAIL_LINES = 40
STOP_SECONDS = 6.0
"""How long a process may take to end after each request."""
LEFT_SECONDS = 4.0
"""How long what it has started may live on."""
LOOK_SECONDS = 0.2
LOOKS = 3
DEATH_SIGNAL, SUBREAPER = 1, 36
"""Linux: what ``prctl`` calls PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER."""


PARENT_VARIABLE = "FEDASR_PARENT"
"""Environment variable with the process that has started this one, which may have ended before this one could look."""


def die_with_parent() -> None:
    """Have this process killed when the one that has started it ends: nothing of a device outlives a ``kill -9`` of it.

    What lived on would keep the device connected, or write to its ledger beside the processes that come after.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
        parent = os.environ.pop(PARENT_VARIABLE, None)  # of this process, not of those that it starts
        if parent is not None and os.getppid() != int(parent):
            os._exit(1)


def ask_to_end_with_parent() -> None:
    """Have the kernel ask this process to end when the one that has started it ends, on Linux.

    Flower raises that signal in a thread, which does not wake a main thread that waits for a lock: for a pool that
    sends objects to a SuperLink that is gone, again and again.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGTERM)


@contextmanager
def nothing_left() -> Iterator[None]:
    """End, at the end, what the processes of this one have left behind, on Linux.

    Flower's apps are to notice by themselves that their SuperLink has gone. One that does not would wait for it to come
    back, and write to the folder of a run beside the app that goes on with it.
    """
    others = set(descendants(os.getpid()))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SUBREAPER, 1)
    try:
        yield
    finally:
        if sys.platform == "linux":
            for _ in range(LOOKS):  # one that ends may just have started another
                end([pid for pid in descendants(os.getpid()) if pid not in others], patience=0)


class Process:
    """A process whose lines go to standard error and whose last ones are remembered.

    Args:
        arguments: of the command.
        environment: of the process.
        folder: where it works.
        shows: which lines are passed on; None: all.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        shows: Callable[[str], bool] | None = None,
    ) -> None:
        self.shows = shows or (lambda line: True)
        self.source = source_of(arguments)
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.process = subprocess.Popen(
            list(arguments),
            env={**environment, PARENT_VARIABLE: str(os.getpid())},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C is passed on by us, once
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        """Pass lines on until the process closes its output."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.tail.append(line.rstrip("\n"))
            if self.shows(line):
                pass_on(line, self.source)

    @property
    def ended(self) -> int | None:
        """The exit status, None while it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """End the process and all that it has started, at once where they do not end by themselves."""
        offspring = descendants(self.process.pid)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):  # Flower's server waits for callers at the first
            if self.ended is not None:
                break
            self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        end(offspring)
        self.reader.join(2)


def end(processes: Sequence[int], patience: float = LEFT_SECONDS) -> None:
    """Wait so many seconds for processes to end by themselves, and end those that do not."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, LEFT_SECONDS)):
        limit = time.monotonic() + seconds
        while (processes := [pid for pid in processes if lives(pid)]) and time.monotonic() < limit:
            time.sleep(LOOK_SECONDS)
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def lives(pid: int) -> bool:
    """Say whether a process has not ended; of an own child that has, its parent was to take note first."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return Path(f"/proc/{pid}").exists()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have; none where there is no ``/proc``."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):  # it has ended meanwhile
            fields = entry.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    processes, wave = [], [pid]
    while wave:
        wave = [child for parent in wave for child in children.get(parent, [])]
        processes += wave
    return processes


def process_name(pid: int) -> str:
    """Return the name of a process, cut off after 15 letters; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except OSError:
        return ""


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that is set when somebody asks this process to end."""
    wish = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        wish.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def first_to_end(processes: Sequence[Process], wish: threading.Event) -> Process | None:
    """Wait until a process has ended and return it; None where somebody wished for the end."""
    while not wish.is_set():
        for process in processes:
            if process.ended is not None:
                process.reader.join(2)
                return process
        time.sleep(LOOK_SECONDS)
    return None


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
