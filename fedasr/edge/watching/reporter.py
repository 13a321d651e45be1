"""Tells in a server's log what its runs do: Flower keeps what an app says to itself, for ``flwr log``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fedasr.edge.control import Control
from fedasr.edge.server_folder import ServerFolder
from fedasr.edge.watching.changes import Event, device_changes, run_changes
from fedasr.edge.watching.server_state import device_states, in_detail
from fedasr.errors import InputError

LOOK_EVERY_SECONDS = 5.0


class Reporter:
    """Looks at edge devices and runs, and tells what has happened since the last look.

    Runs that are over when it first looks are not told of.

    Args:
        server: its files.
        control: asks its SuperLink.
        tell: takes what happened.
    """

    def __init__(self, server: ServerFolder, control: Control, tell: Callable[[Event], None]) -> None:
        self.server = server
        self.control = control
        self.tell = tell
        self.devices: list[dict[str, Any]] = []
        self.runs: dict[str, dict[str, Any]] = {}
        """the runs that are not over, as they were"""
        self.over: set[str] | None = None

    def look(self) -> None:
        """Look once.

        Raises:
            InputError: the SuperLink does not answer, or a file of the server is damaged.
        """
        devices, runs = device_states(self.server, self.control), self.control.runs()
        for event in device_changes(self.devices, devices):
            self.tell(event)
        self.devices = devices
        if self.over is None:
            self.over = {run.run_id for run in runs if run.over}
        for run in reversed(runs):
            if run.run_id in self.over:
                continue
            state = in_detail(self.server, run)
            for event in run_changes(self.runs.get(run.run_id), state):
                self.tell(event)
            self.runs[run.run_id] = state
            if run.over:
                self.over.add(run.run_id)
                del self.runs[run.run_id]


@contextmanager
def reporting(server: ServerFolder, tell: Callable[[Event], None]) -> Iterator[None]:
    """Report beside whatever else is done."""
    end = threading.Event()

    def go_on() -> None:
        reporter = Reporter(server, Control(server), tell)
        problem = ""
        while not end.wait(LOOK_EVERY_SECONDS):
            try:
                reporter.look()
                problem = ""
            except (InputError, OSError) as error:  # the SuperLink is starting or busy: said once, and looked again
                if str(error) != problem and reporter.over is not None:
                    tell(Event("problem", str(error), "warning"))
                    problem = str(error)
        reporter.control.close()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(LOOK_EVERY_SECONDS)
