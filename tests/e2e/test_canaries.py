"""Whole runs with canary users: who they are in the tables, the same bits however they run, and a contradiction."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

import fedasr
from fedasr.errors import InputError
from studies.audit_worlds import MODEL

from .own_callbacks import Kills
from .tiny import ROOT, environment, tiny
from .tiny import fedasr as command

USERS = {"unit": "user", "noise_multiplier": 1.0, "clip_norm": 0.5}
PRIVATE: dict[str, Any] = {
    "model": MODEL,
    "evaluate__every": 0,
    "strategy__weighting": "uniform",
    "privacy": USERS,
    "selection": {"name": "poisson", "clients_per_round": 20},
    "audit": {"canaries": 30, "held_out": 400},
}
RESULTS = ["round", "train_loss", "clients_selected", "clients_replied", "examples", "audio_seconds", "bytes_up"]


def run(folder: Path, resume: bool = False, callbacks: Any = (), **changes: Any) -> fedasr.Run:
    return fedasr.run(tiny(**{**PRIVATE, **changes}), out=folder, quiet=True, resume=resume, callbacks=callbacks)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tmp_path_factory.mktemp("canaries") / "run")


def assert_same(one: fedasr.Run, other: fedasr.Run) -> None:
    assert one.summary["model_sha256"] == other.summary["model_sha256"]
    pd.testing.assert_frame_equal(one.canaries, other.canaries)
    pd.testing.assert_frame_equal(one.rounds[RESULTS], other.rounds[RESULTS])
    pd.testing.assert_frame_equal(one.audit, other.audit)


def test_canaries_are_in_their_own_table_alone(reference: fedasr.Run) -> None:
    clients, canaries, summary = reference.clients, reference.canaries, reference.summary
    assert (summary["clients"], summary["canaries"], summary["canaries_held_out"]) == (12, 30, 400)
    assert summary["contradiction"] is None
    assert len(canaries) == 3 * 430
    assert canaries["turn"][canaries["inserted"]].any()
    assert len(clients) == reference.rounds["clients_selected"].sum() == summary["updates"]
    assert not clients["client"].str.contains("canary").any()
    assert set(clients["probability"]) == {20 / 42}
    assert reference.privacy is not None
    assert "population 42" in reference.privacy["guarantee"]
    assert reference.rounds["bytes_up"].sum() == clients["bytes_up"].sum()
    assert [*reference.audit["method"]] == ["ledger test", "pointwise"]
    assert (reference.path / "audit_canary_users.png").is_file()
    assert "canary users of the run over 3 rounds" in (reference.path / "report.html").read_text()


@pytest.mark.slow
def test_the_same_bits_from_two_workers(reference: fedasr.Run, tmp_path: Path) -> None:
    assert_same(run(tmp_path / "run", runtime={"executor": "pool", "workers": 2}), reference)


def run_until_killed(folder: str) -> None:
    """Run until the process is killed after round 2; what the child process of the next test does."""
    run(Path(folder), callbacks=[Kills()])


def test_killed_and_resumed(reference: fedasr.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    program = f"from {__name__} import run_until_killed; run_until_killed({str(folder)!r})"
    alone = [sys.executable, "-c", program]
    killed = subprocess.run(alone, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for audit in ({"canaries": 31, "held_out": 400}, {"canaries": 30}):
        with pytest.raises(InputError, match=r"'audit\.(canaries|held_out)' was"):
            run(folder, resume=True, audit=audit)
    assert_same(run(folder, resume=True), reference)


@pytest.mark.slow
def test_findings_again_from_the_files(reference: fedasr.Run) -> None:
    before = json.loads((reference.path / "audit.json").read_text())
    again = command("audit", "run", str(reference.path), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["contradiction"] is False
    assert json.loads((reference.path / "audit.json").read_text()) == before


@pytest.mark.slow
def test_a_contradiction_ends_with_status_1_when_everything_is_written(tmp_path: Path) -> None:
    changes = {
        "rounds": 24,
        "privacy": {**USERS, "noise_multiplier": 0.6},
        "selection": {"name": "tests.e2e.own_selectors:TwiceAsOften", "clients_per_round": 50},
        "audit": {"canaries": 300},
        "client__learning_rate": 1e-5,
    }
    OmegaConf.save(tiny(**{**PRIVATE, **changes}), tmp_path / "config.yaml")
    ended = command("run", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run"), cwd=ROOT)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(f"failed: {tmp_path / 'run'}: the ledger is contradicted: ")
    result = fedasr.load_run(tmp_path / "run")
    assert result.status == "done"
    assert "CONTRADICTS" in result.summary["contradiction"]
    assert result.audit["contradiction"].any()
    assert (result.path / "model.safetensors").is_file()
    assert "contradiction" in (result.path / "report.html").read_text()
    again = command("audit", "run", str(result.path))
    assert again.returncode == 1
    assert "the ledger is contradicted" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "methods"),
    [
        pytest.param({"privacy": {"unit": "none"}}, ["Mann–Whitney", "pointwise", "one-shot"], id="nothing private"),
        pytest.param(
            {"privacy": {"unit": "none"}, "strategy__aggregation": "median"},
            ["Mann–Whitney", "pointwise", "one-shot"],
            id="a median",
        ),
        pytest.param(
            {"privacy": {**USERS, "noise_at": "device"}},
            ["ledger test", "pointwise", "GDP", "Gaussian t", "one-shot"],
            id="devices",
        ),
        pytest.param(
            {
                "privacy": {**USERS, "public_activity": True},
                "selection": {"name": "activity", "clients_per_round": 12},
                "stream": {"arrival": "poisson", "periods": 2},
                "devices": {"clock": True, "over_commit": 1.3},
            },
            ["ledger test", "pointwise", "GDP", "Gaussian t", "one-shot"],
            id="by activity, over time, with a clock",
        ),
    ],
)
def test_other_runs(tmp_path: Path, changes: dict[str, Any], methods: list[str]) -> None:
    """More canaries than clients, whatever is there and selected by what."""
    result = run(tmp_path / "run", **changes)
    assert result.finished
    assert [method.split(",")[0] for method in result.audit["method"]] == methods
    assert not result.audit["contradiction"].any()
    assert result.audit["claim"].isna().all() == (result.privacy is None)


@pytest.mark.slow
def test_a_run_without_canaries_has_none_to_audit(tmp_path: Path) -> None:
    OmegaConf.save(tiny(), tmp_path / "config.yaml")
    refused = command("audit", "run", str(tmp_path))
    assert refused.returncode == 2
    assert "has no canary users ('audit.canaries' is 0)" in refused.stderr
