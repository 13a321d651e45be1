"""One process at a time writes a run, and a killed one keeps nobody away."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

import fedasr
from fedasr.errors import InputError
from fedasr.runtime.one_writer import one_writer
from tests.e2e.tiny import tiny

processes = multiprocessing.get_context("spawn")


def hold(checkpoint: Path, held: Event) -> None:
    with one_writer(checkpoint):
        held.set()
        signal.pause()


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_resumed_beside(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = fedasr.run(tiny(rounds=1), out=out)
    summary = (out / "summary.json").read_text()
    (out / "summary.json").write_text(summary.replace('"done"', '"running"'))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    held = processes.Event()
    writer = processes.Process(target=hold, args=(out / "checkpoint", held))
    writer.start()
    try:
        assert held.wait(60)
        with pytest.raises(InputError, match="another process goes on with this run; wait for it or stop it"):
            fedasr.run(tiny(rounds=1), out=out, resume=True)
        assert {path: path.read_bytes() for path in before} == before
    finally:
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert fedasr.run(tiny(rounds=1), out=out, resume=True).summary["model_sha256"] == run.summary["model_sha256"]


def test_a_run_without_a_checkpoint_has_nothing_to_keep(tmp_path: Path) -> None:
    with one_writer(tmp_path / "checkpoint"):
        assert not list(tmp_path.iterdir())
