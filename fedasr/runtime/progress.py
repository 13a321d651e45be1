"""The progress of a run: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedasr.runtime.callbacks import Row
from fedasr.units import duration, percent


class ProgressWatcher:
    """Shows round, WER, training loss, clients per second and time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar: Progress | None = None
        self.task: Any = None
        self.rounds = 0
        self.wer = math.nan
        self.replied = 0
        self.first = self.printed = time.monotonic()
        self.done = 0

    def begin(self, name: str, rounds: int, done: int, clients: int) -> None:
        """Open the display."""
        self.rounds, self.done = rounds, done
        self.first = self.printed = time.monotonic()
        resumed = f", resumed after round {done}" if done else ""
        self.console.print(f"{name}: {rounds} rounds, {clients:,} clients{resumed}", markup=False)
        if self.console.is_terminal:
            self.bar = Progress(
                # The time left comes before the words, which a narrow terminal cuts off.
                TextColumn("round"),
                MofNCompleteColumn(),
                BarColumn(bar_width=12),
                TimeRemainingColumn(),
                TextColumn("left"),
                TextColumn("{task.description}"),
                console=self.console,
            )
            self.task = self.bar.add_task("", total=rounds, completed=done)
            self.bar.start()

    def describe(self, row: Row) -> str:
        """Return the state of a run in words."""
        speed = self.replied / max(1e-9, time.monotonic() - self.first)
        wer = percent(self.wer)
        failed = f" · {row['clients_failed']} failed" if row["clients_failed"] else ""
        loss = "" if math.isnan(row["train_loss"]) else f" · train loss {row['train_loss']:.3f}"
        return f"WER {wer}{loss} · {speed:.1f} clients/s{failed}"

    def round(self, row: Row) -> None:
        """Show a round."""
        self.replied += int(row["clients_replied"])
        evaluated = not math.isnan(row["wer"])
        if evaluated:
            self.wer = float(row["wer"])
        number = int(row["round"])
        if self.bar is not None:
            self.bar.update(self.task, completed=number, description=self.describe(row))
        elif evaluated or number == self.rounds or time.monotonic() - self.printed > 10:
            self.printed = time.monotonic()
            passed = time.monotonic() - self.first
            left = passed / max(1, number - self.done) * (self.rounds - number)
            # The time left comes first: a line of 80 columns ends before the rest does.
            ahead = f"{duration(left, 2)} left" if number < self.rounds else f"{duration(passed, 2)} in all"
            self.console.print(f"round {number}/{self.rounds} · {ahead} · {self.describe(row)}", markup=False)

    def note(self, text: str) -> None:
        """Show a line of text."""
        self.console.print(text, style="yellow", markup=False)

    def end(self) -> None:
        """Close the display."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
