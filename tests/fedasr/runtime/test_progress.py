"""The progress of a run, as plain lines: per cent for people, the time left where a narrow terminal shows it."""

from __future__ import annotations

import io
from math import nan
from typing import Any

import pytest
from rich.console import Console

from fedasr.runtime.progress import ProgressWatcher

ROW: dict[str, Any] = {
    "round": 2, "clients_replied": 30, "clients_failed": 1, "wer": 0.4567, "train_loss": 1.5,
}  # fmt: skip


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines of two of four rounds of an hour each."""
    now = [0.0]
    monkeypatch.setattr("fedasr.runtime.progress.time.monotonic", lambda: now[0])
    screen = io.StringIO()
    watcher = ProgressWatcher(Console(file=screen, width=300, highlight=False))
    watcher.begin("run", 4, 0, 12)
    now[0] = 7200.0
    watcher.round(ROW)
    now[0] = 14400.0
    watcher.round(ROW | {"round": 4, "wer": nan, "clients_failed": 0})
    watcher.end()
    return screen.getvalue().splitlines()


def test_error_rates_are_per_cent(shown: list[str]) -> None:
    assert "WER 45.7 %" in shown[1]
    assert "0.45" not in "".join(shown)


def test_the_time_left_fits_80_columns(shown: list[str]) -> None:
    assert shown[1].startswith("round 2/4 · 2 h left · ")
    assert shown[2].startswith("round 4/4 · 4 h in all · ")
    assert max(map(len, shown)) <= 80


def test_a_run_that_was_not_evaluated_has_no_rate() -> None:
    screen = io.StringIO()
    watcher = ProgressWatcher(Console(file=screen, width=300))
    watcher.begin("run", 2, 0, 3)
    watcher.round(ROW | {"wer": nan, "round": 2})
    assert "WER – ·" in screen.getvalue()
