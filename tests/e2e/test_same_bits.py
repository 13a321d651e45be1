"""The promise that no other framework makes: the same config gives the same bits, however it is run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from flwr.app import Context, Message, RecordDict
from omegaconf import OmegaConf

import fedasr
from fedasr.clients.client_app import app as client_app
from fedasr.config import load
from fedasr.experiment import as_json, experiment
from fedasr.flower.messages import RUN_ID
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.strategies.server_app import app as server_app

from .tiny import environment, tiny

SETTINGS = {"client.proximal": 0.01, "data.augment.time_masks": 1, "data.augment.gain_db": 3.0}
RESULTS = ["round", "loss", "wer", "cer", "train_loss", "clients_replied", "examples", "audio_seconds", "bytes_up"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(tiny(), out=tmp_path_factory.mktemp("runs") / "serial", overrides=SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers(reference: fedasr.Run, tmp_path: Path, workers: int) -> None:
    overrides = {**SETTINGS, "runtime.executor": "pool", "runtime.workers": workers}
    run = fedasr.run(tiny(), out=tmp_path / "run", overrides=overrides)
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    pd.testing.assert_frame_equal(run.rounds[RESULTS], reference.rounds[RESULTS])
    columns = ["round", "client", "probability", "examples", "train_loss", "status"]
    pd.testing.assert_frame_equal(run.clients[columns], reference.clients[columns])


@pytest.mark.slow
def test_another_seed_gives_other_bits(reference: fedasr.Run, tmp_path: Path) -> None:
    run = fedasr.run(tiny(seed=1), out=tmp_path / "run", overrides=SETTINGS)
    assert run.summary["model_sha256"] != reference.summary["model_sha256"]


class Shuffled(LocalGrid):
    """A grid whose replies arrive in any order, and are added up by the server."""

    reduce = None  # type: ignore[assignment]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield the replies shuffled."""
        replies = list(super().send_and_receive(messages, timeout=timeout))
        random.Random(len(replies)).shuffle(replies)
        yield from reversed(replies)


def test_replies_in_any_order(reference: fedasr.Run, tmp_path: Path) -> None:
    config = load(reference.config)
    out = tmp_path / "run"
    (out / "checkpoint").mkdir(parents=True)
    settings = {"experiment": as_json(config), "out": str(out), "resume": False}
    grid = Shuffled(SerialExecutor(client_app), len(experiment(as_json(config)).partition))
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
    assert json.loads((out / "summary.json").read_text())["model_sha256"] == reference.summary["model_sha256"]


@pytest.mark.parametrize(
    "kill_after", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_killed_and_resumed(reference: fedasr.Run, tmp_path: Path, kill_after: int) -> None:
    """SIGKILL while a round is under way; the resumed run ends with the bits of the uninterrupted one."""
    config = tmp_path / "config.yaml"
    OmegaConf.save(reference.config, config)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "fedasr.cli.main", "run", str(config), "--out", str(out), "--resume"]
    command += ["runtime.executor=pool", "runtime.workers=2"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    journal = out / "checkpoint" / "rounds.jsonl"
    state = out / "checkpoint" / "state.safetensors"
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        rounds = len(journal.read_text().splitlines()) if journal.exists() else 0
        if rounds >= kill_after and state.exists():
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists(), "the run ended before it was killed"
    resumed = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=300)
    assert resumed.returncode == 0, resumed.stderr
    run = fedasr.load_run(out)
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    assert run.summary["updates"] == reference.summary["updates"]
    pd.testing.assert_frame_equal(run.rounds[RESULTS], reference.rounds[RESULTS])
    assert run.clients["round"].tolist() == reference.clients["round"].tolist()


@pytest.mark.slow
def test_ctrl_c_ends_after_a_checkpoint_and_the_run_goes_on(reference: fedasr.Run, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    OmegaConf.save(reference.config, config)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "fedasr.cli.main", "run", str(config), "--out", str(out)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    journal = out / "checkpoint" / "rounds.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    stopped = fedasr.load_run(out)
    assert stopped.summary["status"] == "interrupted"
    assert 1 <= stopped.summary["rounds"] < 3
    run = fedasr.run(config, out=out, resume=True)
    assert run.summary["status"] == "done"
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]


def test_a_finished_run_is_left_as_it_is(reference: fedasr.Run) -> None:
    before = {p: p.stat().st_mtime_ns for p in reference.path.rglob("*") if p.is_file()}
    run = fedasr.run(dict(OmegaConf.to_container(reference.config)), out=reference.path, resume=True)  # type: ignore[arg-type]
    assert run.summary["status"] == "done"
    assert {p: p.stat().st_mtime_ns for p in reference.path.rglob("*") if p.is_file()} == before
