"""A run of PATE that is stopped or killed goes on to the same labels and the same ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import fedasr
from fedasr.config import load
from fedasr.runtime.launch import launch
from fedasr.strategies.pate import teachers
from fedasr.strategies.pate.units import base

from ..tiny import ROOT, environment
from .world import StopAt, pate, same


@pytest.mark.parametrize(
    "sign",
    [
        pytest.param("teachers: 5 of 12", id="learning", marks=pytest.mark.slow),
        pytest.param("teachers: 12 of 12", id="learnt", marks=pytest.mark.slow),
        pytest.param("votes: 8", id="voting"),
        pytest.param("votes: 20", id="labelled", marks=pytest.mark.slow),
        pytest.param("round 1", id="student", marks=pytest.mark.slow),
    ],
)
def test_stopped_and_resumed(reference: fedasr.Run, sign: str, tmp_path: Path) -> None:
    config = load(pate())
    launch(config, tmp_path / "run", watcher=StopAt(sign))
    assert fedasr.load_run(tmp_path / "run").status == "interrupted"
    assert (tmp_path / "run" / "checkpoint" / "clients").exists()
    launch(config, tmp_path / "run", resume=True)
    same(fedasr.load_run(tmp_path / "run"), reference)


@pytest.mark.slow
def test_teachers_that_are_gone_learn_the_same_again(reference: fedasr.Run, tmp_path: Path) -> None:
    config = load(pate())
    launch(config, tmp_path / "run", watcher=StopAt("votes: 8"))
    for file in sorted((tmp_path / "run" / "checkpoint" / "clients").iterdir())[::2]:
        file.unlink()
    launch(config, tmp_path / "run", resume=True)
    same(fedasr.load_run(tmp_path / "run"), reference)


class KillAt(StopAt):
    """Kills its own process where another would ask the run to stop."""

    def note(self, text: str) -> None:
        """Kill at a note."""
        if text.startswith(self.sign):
            os.kill(os.getpid(), signal.SIGKILL)


def run_until_killed(out: str, sign: str) -> None:
    """Run or resume the tiny config in small blocks; what the child process of the next test does."""
    base.BLOCK, teachers.AT_A_TIME = 8, 5
    launch(load(pate()), Path(out), resume=True, watcher=KillAt(sign))


@pytest.mark.slow
def test_killed_and_resumed(reference: fedasr.Run, tmp_path: Path) -> None:
    """SIGKILL while the teachers learn, while they vote and while the student learns."""
    out = tmp_path / "run"
    program = f"import sys; from {__name__} import run_until_killed; run_until_killed({str(out)!r}, sys.argv[1])"
    for sign in ("teachers: 5", "votes: 8", "round 2"):
        command = [sys.executable, "-c", program, sign]
        killed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, check=False, timeout=120)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (out / "model.safetensors").exists()
    launch(load(pate()), out, resume=True)
    same(fedasr.load_run(out), reference)
