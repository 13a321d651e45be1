"""Looking at a run again and again until it is over: a picture on a terminal, a line a change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from fedasr.edge.control import Control
from fedasr.edge.server_folder import ServerFolder
from fedasr.edge.watching.changes import changes
from fedasr.edge.watching.screen import screen
from fedasr.edge.watching.server_state import look
from fedasr.errors import InputError


class Watch:
    """Looks at a run until it is over. A SuperLink that goes away is waited for, once it has answered.

    Args:
        server: whose run.
        run_id: of the run; None: the newest, or the first that comes.
        every_s: how long to wait between two looks.
        sleep: waits for so many seconds.

    Raises:
        InputError: there is no server, its SuperLink does not answer, or has no such run.
    """

    def __init__(
        self, server: ServerFolder, run_id: str | None, every_s: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.server = server
        self.every_s = every_s
        self.sleep = sleep
        self.control = Control(server)
        self.status = look(server, self.control, run_id)
        self.run_id = run_id
        self.away: str | None = None
        """what is wrong where the last look brought nothing"""

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.status["run"] is not None and bool(self.status["run"]["over"])

    def again(self) -> None:
        """Wait and look; the run that was seen first is looked at from then on."""
        self.sleep(self.every_s)
        if self.run_id is None and self.status["run"] is not None:
            self.run_id = self.status["run"]["run"]
        try:
            self.status = look(self.server, self.control, self.run_id)
            self.away = None
        except InputError as error:
            self.away = str(error)

    def show(self, console: Console) -> bool:
        """Show the run until it is over; return whether it ended well."""
        try:
            if console.is_terminal:
                self.picture(console)
            else:
                self.lines(console)
        finally:
            self.control.close()
        return bool(self.status["run"]["good"])

    def picture(self, console: Console) -> None:
        """Show a picture that is kept up to date, cut to the terminal; the last one stays, whole."""
        try:
            with Live(screen(self.status), console=console, auto_refresh=False, transient=True) as live:
                live.refresh()
                while not self.over:
                    self.again()
                    parts = [] if self.away is None else [Text(self.away, "yellow")]
                    live.update(Group(*parts, screen(self.status)), refresh=True)
        finally:
            console.print(screen(self.status))

    def lines(self, console: Console) -> None:
        """Print a line a change."""
        before: Mapping[str, Any] | None = None
        told: str | None = None
        while True:
            if self.away is None:
                for event in changes(before, self.status):
                    console.print(f"{time.strftime('%H:%M:%S')} {event.text}", markup=False, soft_wrap=True)
                before = self.status
            elif self.away != told:
                console.print(f"{time.strftime('%H:%M:%S')} {self.away}", markup=False, soft_wrap=True)
            told = self.away
            if self.over:
                return
            self.again()
