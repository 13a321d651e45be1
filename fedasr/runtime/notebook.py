"""The progress of runs in a notebook: a bar that moves, and the state of the run in words."""

from __future__ import annotations

import html
import sys
from typing import Any

from rich.console import Console

from fedasr.runtime.callbacks import Row
from fedasr.runtime.progress import ProgressWatcher


def in_notebook() -> bool:
    """Say whether this is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class NotebookWatcher(ProgressWatcher):
    """Shows a bar in the output of a cell; lines that a person should know stand under it.

    Args:
        label: before the bar, such as the place of the run in a sweep; empty: the name of the run.
    """

    def __init__(self, label: str = "") -> None:
        super().__init__(Console(quiet=True))
        self.label = label
        self.lines: list[str] = []
        self.words = ""
        self.number = 0
        self.handle: Any = None

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Open the display."""
        super().begin(name, rounds, done, clients)
        self.label = self.label or name
        self.number = done
        self.words = f"{clients:,} clients"
        self.show()

    def round(self, row: Row) -> None:
        """Show a round."""
        super().round(row)
        self.number = int(row["round"])
        self.words = self.describe(row)
        self.show()

    def note(self, text: str) -> None:
        """Show a line of text under the bar."""
        self.lines.append(text)
        self.show()

    def show(self) -> None:
        """Draw what there is to say, in the place of what was there before."""
        import IPython.display

        notebook: Any = IPython.display
        notes = "".join(f"<br><small>{html.escape(line)}</small>" for line in self.lines)
        bar = f'<progress value="{self.number}" max="{max(1, self.rounds)}"></progress>'
        words = html.escape(f"round {self.number} of {self.rounds} · {self.words}")
        picture = notebook.HTML(f"{html.escape(self.label)} {bar} {words}{notes}")
        if self.handle is None:
            self.handle = notebook.display(picture, display_id=True)
        else:
            self.handle.update(picture)
