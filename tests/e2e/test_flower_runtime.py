"""Flower's own simulation engine runs the same config to the same bits, and fails as clearly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

import fedasr
from tests.needs import needs

from .tiny import ROOT, environment, tiny

needs("ray", "Flower's simulation engine needs Ray: pip install 'fedasr[ray]'")

RESULTS = ["round", "loss", "wer", "cer", "train_loss", "clients_replied", "clients_failed", "examples", "bytes_up"]
WHO = ["round", "client", "probability", "examples", "train_loss", "status", "reason"]


def command(folder: Path, config: Mapping[str, Any], *more: str) -> list[str]:
    """Return the command that runs a config on Flower's engine."""
    file = folder / "config.yaml"
    OmegaConf.save(OmegaConf.create(dict(config)), file)
    start = [sys.executable, "-m", "fedasr.cli.main", "run", str(file), "--out", str(folder / "run")]
    return [*start, "runtime.name=flower", "runtime.workers=2", *more]


def run_command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, env=environment(), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_the_same_bits_and_nothing_but_our_lines(tmp_path: Path) -> None:
    """With codecs: what a client has not sent it keeps in Flower's state of it, and sends it in a later round."""
    config = tiny(compression={"up": "top-k", "down": "eden"})
    local = fedasr.run(config, out=tmp_path / "local")
    assert local.clients["client"].duplicated().any()
    done = run_command(command(tmp_path, config, "--json"))
    assert done.returncode == 0, done.stderr
    run = fedasr.load_run(tmp_path / "run")
    assert run.summary["model_sha256"] == local.summary["model_sha256"]
    pd.testing.assert_frame_equal(run.rounds[RESULTS], local.rounds[RESULTS])
    pd.testing.assert_frame_equal(run.clients[[*WHO, "bytes_up"]], local.clients[[*WHO, "bytes_up"]])
    pd.testing.assert_series_equal(run.rounds["unsent_norm"], local.rounds["unsent_norm"])
    # A message also holds the config, which says where the run is.
    beside = (run.clients["bytes_down"] - local.clients["bytes_down"]).unique()
    assert len(beside) == 1
    starts = ["tiny: 3 rounds", "round 1/3", "round 2/3", "round 3/3", "done: WER", "run folder:", "report:"]
    lines = done.stderr.splitlines()
    assert len(lines) == len(starts), done.stderr
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True)), done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_ctrl_c_and_resume_with_a_client_that_fails(tmp_path: Path) -> None:
    """A terminal's Ctrl-C reaches the whole process group, Ray's processes too."""
    config = tiny(rounds=8, data__corpus="tests.e2e.broken_speech:breaks_down", selection__clients_per_round=9)
    local = fedasr.run(config, out=tmp_path / "local")
    assert local.rounds["clients_failed"].sum() > 0
    process = subprocess.Popen(
        command(tmp_path, config),
        env=environment(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "run" / "checkpoint" / "rounds.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_text()):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    stopped = fedasr.load_run(tmp_path / "run")
    assert stopped.summary["status"] == "interrupted"
    assert 1 <= stopped.summary["rounds"] < 8
    resumed = run_command(command(tmp_path, config, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    run = fedasr.load_run(tmp_path / "run")
    assert run.summary["model_sha256"] == local.summary["model_sha256"]
    pd.testing.assert_frame_equal(run.rounds[RESULTS], local.rounds[RESULTS])
    pd.testing.assert_frame_equal(run.clients[WHO], local.clients[WHO])


@pytest.mark.slow
def test_wrong_input_on_a_client_is_one_line_and_status_2(tmp_path: Path) -> None:
    config = tiny(data__corpus="tests.e2e.broken_speech:corrupt", selection__clients_per_round=12)
    failed = run_command(command(tmp_path, config))
    assert failed.returncode == 2, failed.stderr
    first, last = failed.stderr.splitlines()
    assert first.startswith("tiny: 3 rounds")
    assert last.startswith("error: ")
    assert "is no audio" in last
