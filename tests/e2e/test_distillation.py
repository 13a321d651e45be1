"""A teacher and a student, both central: the store, the mixture, the same bits however it is done, and refusals."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import fedasr
from fedasr.cli.main import status
from fedasr.config import load, override, to_yaml
from fedasr.data.posteriors import PosteriorStore
from fedasr.data.posteriors.layout import FRAMES
from fedasr.errors import InputError, RunFailed
from fedasr.runtime.callbacks import Row
from fedasr.runtime.launch import launch

from .own_callbacks import Kills
from .small_speech import HEADER, small, speech
from .tiny import ROOT, environment, tiny

CENTRAL: dict[str, Any] = {"strategy.name": "central", "interleave.labelled_share": 0.4}
TEACHER = {**CENTRAL, "rounds": 40, "client.learning_rate": 0.01, "evaluate.every": 0}
SETTINGS = {**CENTRAL, "client.epochs": 2, "data.augment.time_masks": 1, "data.augment.gain_db": 3.0}
STUDENT = {**SETTINGS, "model.encoder": "lstm", "interleave.unlabelled": 2, "interleave.labelled_rate": 2.0}
RESULTS = ["round", "loss", "wer", "train_loss", "machine_loss", "machine_utterances", "examples"]


class Fails(fedasr.Callback):
    """Breaks the run off after a round that is in the checkpoint."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_round(self, row: Row) -> None:
        if row["round"] == self.after:
            raise RuntimeError("broken off")


def run(out: Path, overrides: dict[str, Any], **how: Any) -> fedasr.Run:
    """Run the tiny config without a report, which takes longer than the run."""
    return fedasr.load_run(launch(override(load(tiny()), overrides), out, **how))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "teacher", TEACHER).path


@pytest.fixture(scope="module")
def taught(teacher: Path) -> dict[str, Any]:
    return {**STUDENT, "distillation.teacher": str(teacher), "distillation.top_k": 4}


@pytest.fixture(scope="module")
def student(taught: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tmp_path_factory.mktemp("runs") / "student", taught)


def assert_same(found: fedasr.Run, other: fedasr.Run) -> None:
    assert found.summary["model_sha256"] == other.summary["model_sha256"]
    pd.testing.assert_frame_equal(found.rounds[RESULTS], other.rounds[RESULTS])


def test_a_student_learns_from_both_sources_in_the_ratio(student: fedasr.Run) -> None:
    batch = student.config.client.batch_size
    rounds = student.rounds
    assert (rounds["machine_loss"] > 0).all()
    machine = rounds["machine_utterances"].sum()
    total = student.summary["utterances_trained"]
    assert abs(machine / total - 2 / 3) < 3 * batch / total
    assert rounds["machine_loss"].iloc[-1] < rounds["machine_loss"].iloc[0]


@pytest.mark.slow
def test_a_rate_scales_the_step_as_a_loss_does_where_nothing_undoes_it(taught: dict[str, Any], tmp_path: Path) -> None:
    """Plain SGD without clipping, in powers of two, so that all digits are kept; the loss is reported unweighted."""
    plain = {**taught, "client.optimizer": "sgd", "client.clip_norm": None, "evaluate.every": 0, "rounds": 2}
    weighed = {"client.learning_rate": 0.01, "interleave.labelled_rate": 1.0, "distillation.weight": 2.0}
    scaled = {"client.learning_rate": 0.02, "interleave.labelled_rate": 0.5, "distillation.weight": 1.0}
    assert_same(run(tmp_path / "weighed", {**plain, **weighed}), run(tmp_path / "scaled", {**plain, **scaled}))


def test_the_store_of_a_run(student: fedasr.Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody transcribed is labelled, all of it and nothing else; the index takes 28 bytes an utterance."""
    folder = student.path / "posteriors"
    assert status(["posteriors", "info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bytes_a_row"] == 4 * 3 + 2 < facts["dense_bytes_a_row"] == 2 * 29
    assert facts["index_bytes_an_utterance"] == 28
    assert 0.5 < facts["captured_mass"] <= 1
    assert facts["utterances"] == 12
    assert status(["posteriors", "info", str(folder)]) == 0
    assert "of the mass" in capsys.readouterr().err.replace("\n", " ")


def test_without_a_teacher_the_labelled_speech_alone_is_trained_on(tmp_path: Path) -> None:
    result = run(tmp_path / "run", {**CENTRAL, "rounds": 1, "strategy.central_round": "all"})
    assert result.rounds["machine_utterances"].isna().all()
    assert result.summary["utterances_trained"] == 21
    assert not (result.path / "posteriors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("broken_in", [1, 2])
def test_broken_off_and_resumed(student: fedasr.Run, taught: dict[str, Any], broken_in: int, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", taught, callbacks=[Fails(broken_in)])
    assert_same(run(tmp_path / "run", taught, resume=True), student)


def run_until_killed(folder: str, teacher: str) -> None:
    """Run until the process is killed after round 2; what the child process of the next test does."""
    run(Path(folder), {**STUDENT, "distillation.teacher": teacher, "distillation.top_k": 4}, callbacks=[Kills()])


@pytest.mark.slow
def test_killed_and_resumed(student: fedasr.Run, teacher: Path, taught: dict[str, Any], tmp_path: Path) -> None:
    program = f"from {__name__} import run_until_killed; run_until_killed({str(tmp_path / 'run')!r}, {str(teacher)!r})"
    command = [sys.executable, "-c", program]
    killed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_same(run(tmp_path / "run", taught, resume=True), student)


@pytest.mark.slow
def test_any_number_of_workers_and_a_store_written_before(
    student: fedasr.Run, teacher: Path, taught: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes write the store, part by part, and a third command finds nothing left to do."""
    file = tmp_path / "student.yaml"
    file.write_text(to_yaml(override(load(tiny()), taught)), encoding="utf-8")
    store = tmp_path / "store"
    for part in ("1/2", "2/2", "1/1"):
        command = ["posteriors", "write", str(teacher), "--config", str(file), "--out", str(store), "--part", part]
        assert status([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    own = PosteriorStore(student.path / "posteriors")
    assert facts["utterances"] == len(own)
    assert facts["rows"] == own.counts(FRAMES).sum()
    changes = {**taught, "distillation.store": str(store), "runtime.executor": "pool", "runtime.workers": 3}
    assert_same(run(tmp_path / "run", changes), student)
    assert not (tmp_path / "run" / "posteriors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"distillation.targets": "labels"},
        {"distillation.targets": "sequence", "distillation.n_best": 3, "distillation.beam": 3},
        {"distillation.targets": "labels", "model.name": "rnnt"},
        {"distillation.tail": "renormalise", "distillation.temperature": 2.0, "distillation.shift_frames": 1},
        {"interleave.order": "segregated"},
        {"interleave.labelled": 0},
    ],
)
def test_every_way_to_learn_can_be_broken_off(taught: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    changed = {**taught, "client.epochs": 1, "evaluate.every": 0, **changes}
    if changed.get("distillation.targets", "frames") != "frames":
        del changed["distillation.top_k"]
    whole = run(tmp_path / "whole", changed)
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", changed, callbacks=[Fails(1)])
    assert_same(run(tmp_path / "run", changed, resume=True), whole)
    if "interleave.order" in changes:
        assert (whole.rounds["machine_utterances"] > 0).tolist() == [True, True, False]
    if "interleave.labelled" in changes:
        assert whole.rounds["train_loss"].isna().all()


@pytest.mark.slow
def test_two_voices_of_each_utterance(student: fedasr.Run, taught: dict[str, Any], tmp_path: Path) -> None:
    """The store says which other voice; a run reads no store of another, and goes on where it was broken off."""
    changed = {**taught, "distillation.counterfactual": "pitch", "evaluate.every": 0}
    whole = run(tmp_path / "whole", changed)
    store = whole.path / "posteriors"
    assert json.loads((store / "header.json").read_text())["counterfactual"] == "pitch"
    assert len(PosteriorStore(store)) == len(PosteriorStore(student.path / "posteriors"))
    assert whole.summary["model_sha256"] != student.summary["model_sha256"]
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", changed, callbacks=[Fails(1)])
    assert_same(run(tmp_path / "run", changed, resume=True), whole)
    plain = {**taught, "distillation.store": str(store)}
    with pytest.raises(InputError, match=r'posteriors of another counterfactual .*is "pitch", not "none"'):
        run(tmp_path / "refused", plain)
    plain["distillation.store"] = str(student.path / "posteriors")
    with pytest.raises(InputError, match=r'posteriors of another counterfactual .*is "none", not "pitch"'):
        run(tmp_path / "refused", {**plain, "distillation.counterfactual": "pitch"})
    assert not (tmp_path / "refused").exists()


@pytest.mark.slow
def test_lattices_of_a_transducer(tmp_path: Path) -> None:
    transducer = {"model.name": "rnnt", "model.transducer.prediction": 16, "model.transducer.joint": 16}
    teacher = run(tmp_path / "teacher", {**TEACHER, **transducer, "rounds": 5})
    # After so few rounds a transducer hears blanks alone; this one is made to hear something.
    arrays = load_file(teacher.path / "model.safetensors")
    arrays["output.bias"][0] -= 3.0
    save_file(arrays, teacher.path / "model.safetensors")
    changes = {**STUDENT, **transducer, "distillation.teacher": str(teacher.path), "distillation.targets": "lattice"}
    changes |= {"interleave.labelled": 0, "rounds": 6, "evaluate.every": 0}  # nothing but the teacher is learnt
    student = run(tmp_path / "student", changes)
    losses = student.rounds["machine_loss"]
    assert 0 < losses.iloc[-1] < losses.iloc[0]
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", changes, callbacks=[Fails(1)])
    assert_same(run(tmp_path / "run", changes, resume=True), student)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"interleave.labelled_share": 1.0}, "nothing is left to label"),
        ({"strategy.name": "fedavg"}, "is set but 'strategy.name' is 'fedavg'"),
        ({"data.augment.speed": 0.1}, "'data.augment.speed' is set"),
        ({"data.augment.time_shift_ms": 50}, "'data.augment.time_shift_ms' is set"),
        ({"model.name": "rnnt"}, "'distillation.targets' is 'frames' but 'model.name' is 'rnnt'"),
        ({"distillation.targets": "lattice", "distillation.top_k": 20}, "'model.name' is 'ctc'; expected rnnt"),
        ({"model.strides": [2, 1]}, "the teacher has another frame rate"),
        ({"data.features.hop_ms": 5}, "the teacher has another frame rate"),
        ({"model.alphabet": "chars:zyxwvutsrqponmlkjihgfedcba' "}, "the teacher has other tokens"),
        ({"distillation.temperature": 2.0}, "a stored tail cannot be softened"),
        ({"distillation.store": "/nowhere"}, "holds no posteriors"),
        ({"distillation.counterfactual": "gender"}, "another voice takes its own time"),
        ({"distillation.counterfactual": "pich"}, "did you mean 'pitch'"),
        ({"distillation.min_confidence": 0.5}, "'distillation.min_confidence' is set but"),
        ({"distillation.teacher": "/nowhere"}, "is not a run folder"),
        ({"distillation.teacher": None}, "is set but 'distillation.teacher' is not set"),
    ],
)
def test_what_cannot_be_is_a_line(taught: dict[str, Any], changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path / "run", {**taught, **changes})
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_another_teacher_is_refused(student: fedasr.Run, teacher: Path, taught: dict[str, Any], tmp_path: Path) -> None:
    """Where a run goes on, and where it reads a store that was written before."""
    other = run(tmp_path / "other", {**TEACHER, "rounds": 1}).path
    changes = {**taught, "distillation.teacher": str(other), "distillation.store": str(student.path / "posteriors")}
    with pytest.raises(InputError, match="posteriors of another teacher"):
        run(tmp_path / "run", changes)
    here = tmp_path / "teacher"
    shutil.copytree(teacher, here)
    begun = {**taught, "distillation.teacher": str(here)}
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", begun, callbacks=[Fails(1)])
    shutil.copy(other / "model.safetensors", here / "model.safetensors")
    with pytest.raises(InputError, match=r"another content of the teacher 'distillation\.teacher'"):
        run(tmp_path / "run", begun, resume=True)


def test_a_store_that_lacks_speech_is_refused(
    teacher: Path, taught: dict[str, Any], student: fedasr.Run, tmp_path: Path
) -> None:
    store = str(student.path / "posteriors")
    with pytest.raises(InputError, match=r"lacks \d+ of the \d+ utterances"):
        run(tmp_path / "run", {**taught, "distillation.store": store, "interleave.labelled_share": 0.1})
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_labels_the_teacher_is_not_sure_of_are_not_learnt(taught: dict[str, Any], tmp_path: Path) -> None:
    changes = {**taught, "distillation.targets": "labels", "distillation.min_confidence": 1.0}
    del changes["distillation.top_k"]
    with pytest.raises(InputError, match=r"lower 'distillation\.min_confidence'"):
        run(tmp_path / "run", changes)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "expected one of --config and --manifest"),
        (["--manifest", "nowhere.csv"], "nowhere.csv"),
        (["--manifest", "nowhere.csv", "--targets", "frame"], "did you mean 'frames'?"),
        (["--manifest", "nowhere.csv", "--part", "3/2"], "expected NUMBER/OF"),
        (["--manifest", "nowhere.csv", "--counterfactual", "pich"], "did you mean 'pitch'?"),
        (["--manifest", "nowhere.csv", "--counterfactual", "rate"], "takes its own time"),
    ],
)
def test_what_the_command_cannot_do_is_a_line(
    teacher: Path, arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["posteriors", "write", str(teacher), "--out", str(tmp_path / "store"), *arguments]) == 2
    assert line in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "store").exists()


def test_speakers_are_labelled_or_not_as_a_whole() -> None:
    from fedasr.experiment import as_json, experiment
    from fedasr.strategies.mixture import unlabelled_rows

    made = experiment(as_json(override(load(tiny()), CENTRAL)))
    labelled = made.labelled
    rows = np.asarray(made.partition.rows)
    speakers = np.asarray(made.corpus.columns["speaker"])
    assert len(set(speakers[rows[labelled[rows]]])) == round(0.4 * 12)
    assert not set(speakers[rows[labelled[rows]]]) & set(speakers[unlabelled_rows(made)])


@pytest.mark.slow
def test_a_manifest_with_empty_transcripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody transcribed is labelled: by a run, or by a command that is given the manifest alone."""
    manifest = speech(tmp_path / "speech")
    lines = manifest.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines[1:] if line.split(",")[1] in ("s0", "s5")]
    manifest.write_text("\n".join([HEADER, *kept]) + "\n", encoding="utf-8")
    teacher = launch(load(small(manifest, strategy__name="central", model__encoder="blstm")), tmp_path / "teacher")
    rest = []
    for line in lines[1:]:
        path, speaker, _, split, gender = line.split(",")
        if line not in kept:
            rest.append(f"{path},{speaker},,{split},{gender}")
    manifest.write_text("\n".join([HEADER, *kept, *rest]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="the transcript is empty"):
        launch(load(small(manifest, strategy__name="central")), tmp_path / "refused")
    store, about = tmp_path / "store", {"strategy__name": "central", "distillation__teacher": str(teacher)}
    command = [
        "posteriors",
        "write",
        str(teacher),
        "--manifest",
        str(manifest),
        "--split",
        "train",
        "--out",
        str(store),
    ]
    assert status([*command, "--targets", "labels", "--counterfactual", "gender"]) == 2
    assert "needs synthetic speech; choose pitch, formant or age" in " ".join(capsys.readouterr().err.split())
    assert not store.exists()
    assert status([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["utterances"] == 15
    own = fedasr.load_run(launch(load(small(manifest, **about)), tmp_path / "own"))
    given = fedasr.load_run(launch(load(small(manifest, **about, distillation__store=str(store))), tmp_path / "given"))
    assert len(PosteriorStore(own.path / "posteriors")) == 12
    for result in (own, given):
        assert result.rounds["machine_utterances"].item() > 0
    assert (tmp_path / "refused").exists() is False


@pytest.mark.slow
def test_two_processes_write_what_one_does(
    student: fedasr.Run, teacher: Path, taught: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "student.yaml"
    file.write_text(to_yaml(override(load(tiny()), taught)), encoding="utf-8")
    store = tmp_path / "store"
    command = ["posteriors", "write", str(teacher), "--config", str(file), "--out", str(store), "--workers", "2"]
    assert status(command) == 0
    assert_same(run(tmp_path / "run", {**taught, "distillation.store": str(store)}), student)
