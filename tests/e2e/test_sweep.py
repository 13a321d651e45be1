"""Sweeps of runs that take a second: skipped, resumed, refused, broken, interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import fedasr as library
from fedasr.errors import InputError, RunFailed
from tests.e2e.tiny import environment, fedasr, tiny


def write(folder: Path, config: dict[str, Any] | None = None, **content: Any) -> Path:
    """Write a sweep of the tiny config with two selections."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config or tiny(rounds=2)), encoding="utf-8")
    sweep = {"config": "tiny.yaml", "grid": {"selection.name": ["uniform", "activity"]}, **content}
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep), encoding="utf-8")
    return path


def changed_at(folder: Path) -> dict[str, int]:
    """Return when each model under a folder was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob("*/model.safetensors")}


@pytest.mark.slow
def test_a_sweep_runs_once_compares_and_skips_what_is_finished(tmp_path):
    path = write(tmp_path, seeds=[0, 1])
    out = tmp_path / "out"
    plan = fedasr("sweep", str(path), "--out", str(out), "--dry-run", "--json")
    assert plan.returncode == 0, plan.stderr
    rows = json.loads(plan.stdout)["runs"]
    assert [(row["label"], row["seed"], row["state"]) for row in rows] == [
        ("uniform", 0, "new"), ("uniform", 1, "new"), ("activity", 0, "new"), ("activity", 1, "new"),
    ]  # fmt: skip
    assert not out.exists()
    first = fedasr("sweep", str(path), "--out", str(out), "--json")
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    assert [row["status"] for row in result["runs"]] == ["done"] * 4
    assert [group["label"] for group in result["comparison"]["groups"]] == ["uniform", "activity"]
    assert [group["n"] for group in result["comparison"]["groups"]] == [2, 2]
    for number, name in enumerate(("uniform-seed0", "uniform-seed1", "activity-seed0", "activity-seed1"), 1):
        assert (out / name / "report.html").is_file()
        assert f"{number}/4 {name}: done, WER" in first.stderr
    assert (out / "comparison.html").is_file()
    before = changed_at(out)
    again = fedasr("sweep", str(path), "--out", str(out))
    assert again.returncode == 0, again.stderr
    assert changed_at(out) == before
    assert "/4" not in again.stderr
    assert "95 % interval" in again.stderr


@pytest.mark.slow
def test_a_run_of_a_sweep_is_the_run_alone(tmp_path):
    path = write(tmp_path, seeds=[0, 1])
    runs = library.sweep(path, tmp_path / "out", only=["activity-seed1"])
    assert [run.path.name for run in runs] == ["activity-seed1"]
    alone = library.run(tiny(rounds=2, seed=1, selection__name="activity"), tmp_path / "alone")
    assert runs[0].summary["model_sha256"] == alone.summary["model_sha256"]
    assert len(library.compare(runs)) == 1


@pytest.mark.slow
def test_another_config_in_a_folder_is_refused_before_anything_starts(tmp_path):
    path = write(tmp_path)
    out = tmp_path / "out"
    library.sweep(path, out, only=["activity"])
    result = fedasr("sweep", str(path), "rounds=3", "--out", str(out))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "activity-seed0/config.yaml: 'rounds' was 2 and is now 3" in result.stderr
    assert [folder.name for folder in out.iterdir()] == ["activity-seed0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"variants": {"a": {}, "b": {"selection.nme": "x"}}}, "sweep.yaml, variants.b: unknown key 'selection.nme'"),
        ({"variants": {"a": {}, "b": {"data.partition.column": "acent"}}}, "sweep.yaml, variant 'b,uniform': "),
        ({"variants": {"a": {}, "b": {"init_from": "nowhere"}}}, "nowhere"),
        ({"variants": {"a": {}, "b": {"rounds": 0, "client.proximal": -1}}}, "sweep.yaml, variant 'b,uniform': "),
    ],
)
def test_a_wrong_variant_stops_the_sweep_before_it_starts(tmp_path, content, message):
    path = write(tmp_path, **content)
    result = fedasr("sweep", str(path), "--out", str(tmp_path / "out"))
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


BROKEN = """
from fedasr.strategies.selection.uniform import Uniform

class Broken(Uniform):
    def __init__(self, config):
        super().__init__()

    def select(self, round, *arguments):
        if round == 2:
            raise KeyError("no such device")
        return super().select(round, *arguments)
"""


@pytest.mark.slow
def test_a_failed_run_does_not_cost_the_others(tmp_path):
    (tmp_path / "mine.py").write_text(BROKEN, encoding="utf-8")
    path = write(tmp_path, grid={"selection.name": ["mine:Broken", "activity"]})
    arguments = [sys.executable, "-m", "fedasr.cli.main", "sweep", str(path), "--out", str(tmp_path / "out"), "--json"]
    import_path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        arguments, capture_output=True, text=True, env={**environment(), "PYTHONPATH": import_path}, check=False
    )
    assert done.returncode == 1, done.stderr
    broken, good = json.loads(done.stdout)["runs"]
    assert (broken["status"], good["status"]) == ("failed", "done")
    assert "no such device" in broken["error"]
    assert "1/2 mine_Broken-seed0: failed" in done.stderr
    assert "failed: mine_Broken-seed0: KeyError" in done.stderr
    assert "Traceback" in done.stderr  # it is the user's code: where it failed must not be lost
    (tmp_path / "mine.py").write_text(BROKEN.replace("round == 2", "False"), encoding="utf-8")
    mended = subprocess.run(
        arguments, capture_output=True, text=True, env={**environment(), "PYTHONPATH": import_path}, check=False
    )
    assert mended.returncode == 0, mended.stderr
    assert [row["status"] for row in json.loads(mended.stdout)["runs"]] == ["done", "done"]


@pytest.mark.slow
def test_ctrl_c_stops_after_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    path = write(tmp_path, tiny(rounds=30), seeds=[0])
    out = tmp_path / "out"
    command = [sys.executable, "-m", "fedasr.cli.main", "sweep", str(path), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    journal = out / "uniform-seed0" / "checkpoint" / "rounds.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert library.load_run(out / "uniform-seed0").status == "interrupted"
    assert not (out / "activity-seed0").exists()
    assert "the same command goes on" in said
    done = fedasr("sweep", str(path), "--out", str(out))
    assert done.returncode == 0, done.stderr
    uniform = library.load_run(out / "uniform-seed0")
    assert list(uniform.rounds["round"]) == list(range(1, 31))
    assert library.load_run(out / "activity-seed0").status == "done"


def test_a_file_in_the_way_is_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    path = write(tmp_path)
    (out / "activity-seed0").touch()
    with pytest.raises(InputError, match="activity-seed0: is a file"):
        library.sweep(path, out)
    assert [file.name for file in out.iterdir()] == ["activity-seed0"]


@pytest.mark.slow
def test_a_run_that_cannot_begin_is_named_and_the_others_run(tmp_path):
    # With seed 1 no synthetic speaker says enough.
    config = tiny(rounds=1, data__synthetic__speakers=2, data__partition__min_utterances=4)
    config["selection"]["clients_per_round"] = 1
    path = write(tmp_path, config, grid={"client.epochs": [1]}, seeds=[1, 0])
    with pytest.raises(InputError, match=r"sweep\.yaml, variant 'epochs=1': none of the 2 clients has 4 utterances"):
        library.sweep(path, tmp_path / "out")
    path = write(tmp_path, config, grid={"client.epochs": [1]}, seeds=[0, 1, 2])
    with pytest.raises(RunFailed, match="epochs=1-seed1: none of the 2 clients has 4 utterances"):
        library.sweep(path, tmp_path / "out")
    assert sorted(folder.name for folder in (tmp_path / "out").glob("*-seed*")) == ["epochs=1-seed0", "epochs=1-seed2"]


@pytest.mark.quick
def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made"):
        library.sweep(write(tmp_path), tmp_path / "file" / "out")


def test_help_has_an_example():
    assert "Example: fedasr sweep" in fedasr("sweep", "--help").stdout
