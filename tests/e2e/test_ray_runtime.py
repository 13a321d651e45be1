"""``runtime.name=ray``: the bits of ``local``, whatever happens to the cluster meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

import fedasr
from fedasr.cli.main import status
from tests.needs import needs
from tests.ray_nodes import Nodes

from . import ray_speech
from .pate.world import pate
from .small_speech import only_line
from .tiny import ROOT, environment, tiny

needs("ray", "runtime 'ray' needs Ray: pip install 'fedasr[ray]'")

RESULTS = ["round", "loss", "wer", "cer", "train_loss", "clients_replied", "clients_failed", "examples", "bytes_up"]
WHO = ["round", "client", "probability", "examples", "train_loss", "status", "reason"]
LINES = ("tiny: ", "round ", "done: WER", "run folder:", "report:")


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the nodes' environment names."""
    folder = tmp_path_factory.mktemp("marks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ray_speech.VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def nodes(marks: Path) -> Iterator[Nodes]:
    cluster = Nodes(nodes=1)
    yield cluster
    cluster.close()


def start(folder: Path, config: dict[str, Any], *more: str) -> subprocess.Popen[str]:
    """Start ``fedasr run`` in a session of its own."""
    file = folder / "config.yaml"
    OmegaConf.save(OmegaConf.create(config), file)
    command = [sys.executable, "-m", "fedasr.cli.main", "run", str(file), "--out", str(folder / "run")]
    return subprocess.Popen(
        [*command, "runtime.name=ray", "runtime.executor=pool", *more],
        env=environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until a file is there and not empty, or the process has ended."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and (path.name == "caught" or path.stat().st_size):
            return
        time.sleep(0.005)
    raise AssertionError(f"{path.name} did not come: {process.stderr and process.poll() and process.stderr.read()}")


def same(one: fedasr.Run, other: fedasr.Run) -> None:
    assert one.summary["model_sha256"] == other.summary["model_sha256"]
    pd.testing.assert_frame_equal(one.rounds[RESULTS], other.rounds[RESULTS])
    pd.testing.assert_frame_equal(one.clients[WHO], other.clients[WHO])


def test_no_cluster_is_one_line_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    OmegaConf.save(OmegaConf.create(tiny(runtime__executor="pool")), tmp_path / "config.yaml")
    ray = ["runtime.name=ray", "runtime.ray_address=127.0.0.1:1"]
    assert status(["run", str(tmp_path / "config.yaml"), *ray, "--out", str(tmp_path / "run")]) == 2
    assert "no Ray cluster answers at 'runtime.ray_address', '127.0.0.1:1'" in only_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_ctrl_c_and_resume_with_a_client_that_fails(tmp_path: Path) -> None:
    """Ray on this machine alone. A terminal's Ctrl-C reaches the whole process group, Ray's processes too."""
    config = tiny(rounds=8, data__corpus="tests.e2e.broken_speech:breaks_down", selection__clients_per_round=9)
    local = fedasr.run(config, out=tmp_path / "local")
    assert local.rounds["clients_failed"].sum() > 0
    process = start(tmp_path, config, "runtime.workers=2")
    wait_for(tmp_path / "run" / "checkpoint" / "rounds.jsonl", process)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    stopped = fedasr.load_run(tmp_path / "run")
    assert stopped.summary["status"] == "interrupted"
    assert 1 <= stopped.summary["rounds"] < 8
    changes = {"runtime.executor": "pool", "runtime.workers": 2}
    same(fedasr.run(config, out=tmp_path / "run", overrides=changes, resume=True), local)


@pytest.mark.slow
def test_teachers_keep_their_weights_where_all_nodes_see_them(nodes: Nodes, tmp_path: Path) -> None:
    """Their noisy votes are masked: the server learns sums alone."""
    config = pate(pate__noise_at="teachers", secure_aggregation={"mode": "protocol", "least_clients": 9})
    ray = {"runtime.name": "ray", "runtime.executor": "pool", "runtime.ray_address": nodes.address}
    local = fedasr.run(config, out=tmp_path / "local")
    run = fedasr.run(config, out=tmp_path / "ray", overrides=ray)
    assert run.summary["model_sha256"] == local.summary["model_sha256"]
    assert run.summary["epsilon"] == local.summary["epsilon"]
    assert run.privacy is not None
    assert run.privacy["server_sees"] == "sum"


@pytest.mark.slow
def test_sums_of_masked_updates(nodes: Nodes, tmp_path: Path) -> None:
    config = tiny(rounds=2, secure_aggregation={"mode": "protocol", "threshold": 3, "least_clients": 3})
    ray = {"runtime.name": "ray", "runtime.executor": "pool", "runtime.ray_address": nodes.address}
    local = fedasr.run(config, out=tmp_path / "local")
    run = fedasr.run(config, out=tmp_path / "ray", overrides=ray)
    assert run.summary["model_sha256"] == local.summary["model_sha256"]
    assert run.clients["bytes_up"].tolist() == local.clients["bytes_up"].tolist()
    assert run.clients["train_loss"].isna().all(), "the server learns no single one"


@pytest.mark.slow
def test_wrong_input_on_a_client_is_one_line_and_status_2(
    nodes: Nodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny(data__corpus="tests.e2e.broken_speech:corrupt", selection__clients_per_round=12)
    OmegaConf.save(OmegaConf.create(config), tmp_path / "config.yaml")
    ray = ["runtime.name=ray", "runtime.executor=pool", f"runtime.ray_address={nodes.address}"]
    assert status(["run", str(tmp_path / "config.yaml"), *ray, "--out", str(tmp_path / "run"), "--quiet"]) == 2
    assert "is no audio" in only_line(capsys)


@pytest.mark.slow
def test_a_node_killed_in_the_middle_of_a_round(nodes: Nodes, marks: Path, tmp_path: Path) -> None:
    """The second node is killed while its devices train in round 2; the first does their work, to the same bits."""
    config = tiny(data__corpus="tests.e2e.ray_speech:hangs", rounds=4)
    local = fedasr.run(config, out=tmp_path / "local")
    victim = nodes.add()
    (marks / "node").write_text(victim.node_id)
    (marks / "journal").write_text(str(tmp_path / "run" / "checkpoint" / "rounds.jsonl"))
    process = start(tmp_path, config, f"runtime.ray_address={nodes.address}", "--json")
    wait_for(marks / "caught", process)
    nodes.kill(victim)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    same(fedasr.load_run(tmp_path / "run"), local)
    assert len(out.splitlines()) == 1, out
    lost = [line for line in error.splitlines() if not line.startswith(LINES)]
    assert len(lost) == 1, error
    assert lost[0].startswith("a worker on ")
    assert lost[0].endswith(" was lost; its clients run again on another")
