"""Callbacks on runs: what they see, trackers read back, early stopping, killed and resumed, and one that fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.numpy import load_file

import fedasr
from fedasr.config import load
from fedasr.errors import InputError, RunFailed
from fedasr.runtime.launch import launch

from .own_callbacks import Breaks, Ends, Kills, Recorder
from .pate.world import pate
from .tiny import ROOT, environment, tiny

STOPPING = {"name": "early-stopping", "options": {"patience": 2, "min_delta": 1.0}}
"""Ends a run after round 3: a WER that is better by 1 there is none after the first."""
CHANGES = {"rounds": 6, "evaluate__every": 1, "evaluate__by": ["gender"]}


def config(folder: Path) -> dict[str, Any]:
    """Return the config of a run with every tracker that is installed, whose curves go into ``folder``."""
    log: list[Any] = [STOPPING]
    if find_spec("tensorboard"):
        log.append({"name": "tensorboard", "options": {"folder": str(folder / "tensorboard")}})
    if find_spec("mlflow"):
        log.append({"name": "mlflow", "options": {"tracking_uri": str(folder / "mlflow")}})
    if find_spec("wandb"):
        log.append({"name": "wandb", "options": {"mode": "offline"}})
    return tiny(**CHANGES, log=log)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("callbacks")


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def whole(folder: Path, recorder: Recorder) -> fedasr.Run:
    return fedasr.run(config(folder), out=folder / "run", callbacks=[recorder])


@pytest.mark.slow
def test_early_stopping_ends_a_run_that_is_done(whole: fedasr.Run) -> None:
    assert whole.status == "done"
    assert whole.rounds["round"].tolist() == [1, 2, 3]
    assert whole.summary["stopped"].startswith("early-stopping: wer is no better than its ")
    assert (whole.path / "report.html").exists()


@pytest.mark.slow
def test_callbacks_see_what_the_run_folder_shows(whole: fedasr.Run, recorder: Recorder) -> None:
    told = pd.DataFrame([dict(row) for row in recorder.rows])
    pd.testing.assert_frame_equal(told, whole.rounds, check_dtype=False)
    assert [facts.wer for facts in recorder.evaluations] == whole.rounds["wer"].tolist()
    groups = [(f.round, c, v, w) for f in recorder.evaluations for c, by in f.groups.items() for v, w in by.items()]
    assert groups == list(whole.groups[["round", "column", "value", "wer"]].itertuples(index=False, name=None))
    assert recorder.checkpoints == [1, 2, 3]
    assert recorder.ends == [("done", whole.summary)]
    (run,) = recorder.started
    assert (run.rounds, run.round, run.clients, run.resumed, run.private) == (6, 0, 12, False, False)
    assert run.config["seed"] == 0
    assert run.config["selection.name"] == "activity"


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars that TensorBoard's own reader finds, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_the_curves(whole: fedasr.Run, folder: Path) -> None:
    pytest.importorskip("tensorboard")
    result = curves(folder / "tensorboard")
    for name in ("loss", "wer", "train_loss", "bytes_up"):
        assert result[name] == [(n, pytest.approx(v)) for n, v in enumerate(whole.rounds[name], 1)]
    women = whole.groups[whole.groups["value"] == "f"]["wer"]
    assert result["wer_by_gender/f"] == [(n, pytest.approx(v)) for n, v in enumerate(women, 1)]
    assert "epsilon" not in result


def tracked(folder: Path) -> tuple[Any, Any]:
    """Return MLflow's client and the one run that it knows."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(str(folder / "mlflow"))
    known = client.get_experiment_by_name("fedasr")
    assert known is not None
    (run,) = client.search_runs([known.experiment_id])
    return client, run


def test_mlflow_has_the_config_the_rounds_and_the_report(whole: fedasr.Run, folder: Path) -> None:
    pytest.importorskip("mlflow")
    client, run = tracked(folder)
    assert run.info.status == "FINISHED"
    assert (run.data.params["rounds"], run.data.params["selection.name"]) == ("6", "activity")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(n, v) for n, v in enumerate(whole.rounds["loss"], 1)]
    assert [item.path for item in client.list_artifacts(run.info.run_id)] == ["report.html"]


def test_wandb_keeps_the_rounds_offline(whole: fedasr.Run) -> None:
    pytest.importorskip("wandb")
    (kept,) = (whole.path / "wandb").glob("offline-run-*/*.wandb")
    content = kept.read_bytes()
    assert content.count(b"train_loss") >= 3
    assert str(whole.rounds["loss"].iloc[-1]).encode() in content


def run_until_killed(folder: str) -> None:
    """Run until the process is killed after round 2; what the child process of the next test does."""
    launch(load(config(Path(folder))), Path(folder) / "run", callbacks=[Kills()])


@pytest.mark.slow
def test_killed_and_resumed(whole: fedasr.Run, tmp_path: Path) -> None:
    """Early stopping has seen rounds 1 and 2 in one process, and ends the run after round 3 in another."""
    program = f"from {__name__} import run_until_killed; run_until_killed({str(tmp_path)!r})"
    command = [sys.executable, "-c", program]
    # W&B's helper process of this process would outlive the child, and hold on to its run.
    alone = {name: value for name, value in environment().items() if not name.startswith("WANDB")}
    killed = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    recorder = Recorder()
    resumed = fedasr.run(config(tmp_path), out=tmp_path / "run", resume=True, callbacks=[recorder])
    for name in ("rounds", "stopped", "model_sha256", "status"):
        assert resumed.summary[name] == whole.summary[name]
    assert [row["round"] for row in recorder.rows] == [2, 3]  # the newest round is told again
    assert (recorder.started[0].round, recorder.started[0].resumed) == (2, True)
    told_again = recorder.evaluations[0]
    assert dict(told_again.groups["gender"]) == dict(
        whole.groups[whole.groups["round"] == 2][["value", "wer"]].itertuples(index=False, name=None)
    )
    if find_spec("tensorboard"):
        assert [step for step, _ in curves(tmp_path / "tensorboard")["loss"]] == [1, 2, 3]
    if find_spec("mlflow"):
        client, run = tracked(tmp_path)
        assert run.info.status == "FINISHED"
        steps = {metric.step for metric in client.get_metric_history(run.info.run_id, "loss")}
        assert steps == {1, 2, 3}


PRIVATE: dict[str, Any] = {
    "selection": {"name": "poisson", "clients_per_round": 4},
    "strategy": {"name": "fedavg", "weighting": "uniform"},
    "privacy": {"unit": "user", "noise_multiplier": 1.5, "clip_norm": 0.5},
}


@pytest.mark.slow
def test_one_that_fails_in_a_private_run(tmp_path: Path) -> None:
    """The first failure is told although the ledger cannot be written, and the run goes on without the callback."""
    private = load(tiny(**PRIVATE, rounds=2))
    recorder = Recorder()
    with pytest.raises(RunFailed, match=r"^callback 'Breaks', on_round: RuntimeError: the server of the"):
        launch(private, tmp_path / "run", callbacks=[Breaks(1), recorder])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert recorder.ends == [("failed", summary)]
    (run,) = recorder.started
    assert run.private
    assert "seed" not in run.config
    (tmp_path / "run" / "privacy.json").rmdir()
    again = Recorder()
    launch(private, tmp_path / "run", resume=True, callbacks=[again])
    result = fedasr.load_run(tmp_path / "run")
    assert result.status == "done"
    pd.testing.assert_frame_equal(pd.DataFrame([dict(row) for row in again.rows]), result.rounds, check_dtype=False)
    assert again.evaluations[-1].epsilon == result.summary["epsilon"]


@pytest.mark.slow
def test_a_pate_run_ends_after_a_round_of_its_student(tmp_path: Path) -> None:
    recorder = Recorder()
    result = fedasr.run(pate(), out=tmp_path / "run", callbacks=[Ends(after=1), recorder])
    assert (result.status, result.summary["rounds"], result.summary["stopped"]) == ("done", 1, "Ends: enough")
    assert [row["round"] for row in recorder.rows] == [1]
    assert recorder.started[0].clients == 12


@pytest.mark.slow
def test_a_sweep_calls_the_callbacks_of_each_run(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    OmegaConf.save(tiny(rounds=1), tmp_path / "base.yaml")
    OmegaConf.save({"config": "base.yaml", "seeds": [0, 1]}, tmp_path / "sweep.yaml")
    recorder = Recorder()
    fedasr.sweep(tmp_path / "sweep.yaml", tmp_path / "out", callbacks=lambda run: [recorder] if run.seed else [])
    assert [run.config["seed"] for run in recorder.started] == [1]


OWN = "tests.e2e.own_callbacks"


@pytest.mark.slow
def test_a_strategy_of_ones_own_is_run_and_resumed(tmp_path: Path) -> None:
    grows = {"name": f"{OWN}:Grows", "options": {"by": 0.25}}
    changes = tiny(strategy=grows, evaluate__every=0)
    start = fedasr.run(tiny(rounds=0), out=tmp_path / "start")
    with pytest.raises(RunFailed, match="callback 'Breaks'"):
        launch(load(changes), tmp_path / "run", callbacks=[Breaks(after=1)])
    (tmp_path / "run" / "privacy.json").rmdir()
    result = fedasr.run(changes, out=tmp_path / "run", resume=True)
    assert (result.status, result.summary["rounds"]) == ("done", 3)
    before, after = (load_file(run.path / "model.safetensors") for run in (start, result))
    assert all(abs(after[name] - before[name] - 0.75).max() < 1e-6 for name in before)


@pytest.mark.slow
def test_a_federated_strategy_of_ones_own(tmp_path: Path) -> None:
    own = fedasr.run(tiny(rounds=1, strategy={"name": f"{OWN}:Halves"}), out=tmp_path / "own")
    plain = fedasr.run(tiny(rounds=1, strategy={"name": "fedavg"}), out=tmp_path / "plain")
    assert own.rounds["train_loss"].tolist() == plain.rounds["train_loss"].tolist()
    assert own.summary["model_sha256"] != plain.summary["model_sha256"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"strategy": {"name": f"{OWN}:Grows", "options": {"bye": 1}}}, "'strategy.options.bye' (did you mean 'by'?)"),
        ({"strategy": {"name": f"{OWN}:Ends"}}, f"'strategy.name' is '{OWN}:Ends', which makes no run"),
        ({"strategy": {"name": "fedavg", "options": {"by": 1}}}, "'strategy.options' is set but 'strategy.name' is"),
        (
            {"strategy": {"name": f"{OWN}:Grows"}, "privacy": {"unit": "user"}},
            "what a strategy of your own releases, no accountant knows",
        ),
    ],
)
def test_a_strategy_that_cannot_be(changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        launch(load(tiny(**changes)), tmp_path / "run")
    assert line in str(caught.value)
    assert not (tmp_path / "run").exists()
