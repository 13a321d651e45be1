"""As many workers as a container has cores, not as many as its host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedasr.runtime import cores


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system would say what the control group grants; a machine of 8 cores, all of them ours."""
    for name in ("QUOTA_2", "QUOTA_1", "PERIOD_1"):
        monkeypatch.setattr(cores, name, tmp_path / name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("granted", "expected"),
    [("max 100000", 8), ("100000 100000", 1), ("150000 100000", 2), ("5000 100000", 1), ("", 8)],
)
def test_a_control_group_of_today(group: Path, granted: str, expected: int) -> None:
    (group / "QUOTA_2").write_text(f"{granted}\n")
    assert cores.cores() == expected


@pytest.mark.parametrize(("granted", "expected"), [("-1", 8), ("200000", 2)])
def test_a_control_group_of_old(group: Path, granted: str, expected: int) -> None:
    (group / "QUOTA_1").write_text(f"{granted}\n")
    (group / "PERIOD_1").write_text("100000\n")
    assert cores.cores() == expected


def test_no_control_group(group: Path) -> None:
    assert cores.cores() == 8


def test_pinned_to_one_core(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert cores.cores() == 1
