"""A deployed run whose process is told to end says that it was interrupted, before whatever Flower does then."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import FrameType

import pytest

from fedasr.strategies.server_app import ended_recorded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_summary_says_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    summary.write_text('{"name": "a", "status": "running"}')
    seen: list[str] = []

    def flower(number: int, frame: FrameType | None) -> None:
        seen.append(json.loads(summary.read_text())["status"])

    before = signal.signal(number, flower)
    try:
        with ended_recorded(tmp_path):
            os.kill(os.getpid(), number)
        assert signal.getsignal(number) is flower
    finally:
        signal.signal(number, before)
    assert seen == ["interrupted"]
    assert json.loads(summary.read_text()) == {"name": "a", "status": "interrupted"}


def test_a_run_that_is_done_stays_done(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    summary.write_text('{"status": "done"}')
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(KeyboardInterrupt), ended_recorded(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads(summary.read_text()) == {"status": "done"}
