"""A client that fails: counted below ``strategy.max_failed_share``, the end of the run above it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import fedasr
from fedasr.cli.main import status
from fedasr.errors import RunFailed
from fedasr.runtime.executors import ClientError

from .small_speech import BROKEN_SPEAKER, MENDED, only_line, save, small, speech

CORPUS = "tests.e2e.small_speech:broken_microphone"
REASON = "client 1: RuntimeError: the microphone is broken"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speech(tmp_path_factory.mktemp("speech"))


@pytest.mark.slow
def test_below_the_share_it_is_counted_with_its_reason(manifest: Path, tmp_path: Path) -> None:
    runs = {}
    for executor in ("serial", "pool"):
        config = small(manifest, rounds=2, data__corpus=CORPUS, runtime__executor=executor)
        runs[executor] = run = fedasr.run(config, out=tmp_path / executor)
        assert run.summary["status"] == "done"
        assert run.rounds["clients_failed"].tolist() == [1, 1]
        assert run.rounds["clients_replied"].tolist() == [4, 4]
        assert run.summary["updates"] == 8
        failed = run.clients[run.clients["status"] == "failed"]
        assert failed["client"].tolist() == [BROKEN_SPEAKER] * 2
        assert failed["reason"].tolist() == [REASON] * 2
        assert (failed["examples"] == 0).all()
        assert set(run.clients.loc[run.clients["client"] != BROKEN_SPEAKER, "status"]) == {"ok"}
    assert runs["serial"].summary["model_sha256"] == runs["pool"].summary["model_sha256"]


@pytest.mark.slow
def test_the_others_train_as_they_would_without_it(manifest: Path, tmp_path: Path) -> None:
    failing = fedasr.run(small(manifest, data__corpus=CORPUS), out=tmp_path / "failing")
    sound = fedasr.run(small(manifest), out=tmp_path / "sound")
    columns = ["client", "examples", "train_loss"]
    others = sound.clients[sound.clients["client"] != BROKEN_SPEAKER]
    replied = failing.clients[failing.clients["status"] == "ok"]
    pd.testing.assert_frame_equal(
        replied[columns].sort_values("client", ignore_index=True),
        others[columns].sort_values("client", ignore_index=True),
    )
    assert failing.summary["model_sha256"] != sound.summary["model_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "pool"])
def test_above_the_share_the_run_ends_in_one_line(
    executor: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"data__corpus": CORPUS, "strategy__max_failed_share": 0.1, "runtime__executor": executor}
    config = save(small(manifest, **changes), tmp_path / "config.yaml")
    out = tmp_path / "run"
    arguments = ["run", str(config), "--out", str(out), "--quiet", "--json"]
    for resume in ([], ["--resume"]):
        assert status([*arguments, *resume]) == 1
        line = only_line(capsys)
        assert line == (
            "failed: round 1: 1 of 5 clients failed (strategy.max_failed_share is 0.1);"
            f" the first: {REASON} ({BROKEN_SPEAKER})"
        )
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"] == line.removeprefix("failed: ")
    run = fedasr.load_run(out)
    assert not run.finished
    assert len(run.rounds) == 0


def test_all_failed_is_the_end_whatever_the_share(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"data__corpus": CORPUS, "data__where": {"speaker": [BROKEN_SPEAKER, "s5"]}}
    config = save(small(manifest, strategy__max_failed_share=1.0, **changes), tmp_path / "config.yaml")
    assert status(["run", str(config), "--out", str(tmp_path / "run"), "--quiet"]) == 1
    assert "round 1: 1 of 1 clients failed" in only_line(capsys)


def test_debug_raises_where_it_failed_with_the_inputs(manifest: Path, tmp_path: Path) -> None:
    config = save(small(manifest, data__corpus=CORPUS, runtime__executor="debug"), tmp_path / "config.yaml")
    with pytest.raises(
        ClientError, match="client 1 failed on 'train': RuntimeError: the microphone is broken"
    ) as result:
        status(["run", str(config), "--out", str(tmp_path / "run"), "--quiet"])
    error = result.value
    assert isinstance(error.__cause__, RuntimeError)
    assert error.inputs.message.content["config"]["round"] == 1
    assert "arrays." in str(error)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert summary["error"].startswith("ClientError: client 1 failed on 'train'")


@pytest.mark.slow
def test_a_failed_run_goes_on_once_the_cause_is_mended(tmp_path: Path) -> None:
    manifest = speech(tmp_path / "speech")
    config = small(manifest, rounds=2, data__corpus=CORPUS, strategy__max_failed_share=0.1)
    with pytest.raises(RunFailed, match="round 1: 1 of 5 clients failed"):
        fedasr.run(config, out=tmp_path / "run")
    (manifest.parent / MENDED).touch()
    run = fedasr.run(config, out=tmp_path / "run", resume=True)
    assert run.summary["status"] == "done"
    assert "error" not in run.summary
    assert run.rounds["clients_failed"].tolist() == [0, 0]
    sound = fedasr.run(config, out=tmp_path / "sound")
    assert run.summary["model_sha256"] == sound.summary["model_sha256"]
