"""A student that labels public speech by itself: what it learns from, and that it may be stopped anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import fedasr
from fedasr.config import load
from fedasr.data.synthetic import synthesize
from fedasr.errors import InputError
from fedasr.runtime.launch import launch

from .world import CHANGES, StopAt, pate, queries, same

SETTINGS: dict[str, Any] = {
    **CHANGES["pate"],
    "queries": 8,
    "student": {"batch_size": 4, "self_training": 2, "unlabelled": 10, "least_labels": 8},
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(pate(pate=SETTINGS, rounds=6), out=tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.slow
def test_later_stages_learn_more_and_cost_nothing(reference: fedasr.Run, tmp_path: Path) -> None:
    alone = fedasr.run(pate(pate={**SETTINGS, "student": {"batch_size": 4}}, rounds=2), out=tmp_path / "alone")
    pd.testing.assert_frame_equal(queries(alone), queries(reference))
    assert alone.summary["epsilon"] == reference.summary["epsilon"]
    assert alone.privacy == reference.privacy
    assert "own_labels" not in alone.summary
    assert 0 < reference.summary["own_labels"] <= 10
    assert 0 <= reference.summary["own_label_accuracy"] <= 1
    examples = reference.rounds["examples"].tolist()
    last = 8 + reference.summary["own_labels"]
    assert examples == [8, 8, examples[2], examples[2], last, last]
    assert 8 < examples[2] < last
    # The first stage is the whole run of a student that has two rounds.
    assert reference.rounds["train_loss"].tolist()[:2] == alone.rounds["train_loss"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("sign", ["round 2", "round 3"])
def test_stopped_in_a_stage_or_between_two(reference: fedasr.Run, sign: str, tmp_path: Path) -> None:
    config = load(pate(pate=SETTINGS, rounds=6))
    launch(config, tmp_path / "run", watcher=StopAt(sign))
    assert fedasr.load_run(tmp_path / "run").status == "interrupted"
    launch(config, tmp_path / "run", resume=True)
    same(fedasr.load_run(tmp_path / "run"), reference)
    for name in ("own_labels", "own_label_accuracy"):
        assert fedasr.load_run(tmp_path / "run").summary[name] == reference.summary[name]


@pytest.mark.slow
def test_the_transcripts_of_the_public_speech_teach_nothing(tmp_path: Path) -> None:
    """With the candidates given, wrong transcripts change what the experimenter is told of the labels, and no more."""
    folder = tmp_path / "speech"
    synthesize(folder, 4, 4, 0, "digits")
    table = pd.read_csv(folder / "manifest.csv")
    candidates = sorted(set(table["text"]))
    table["split"] = "train"
    table.to_csv(folder / "right.csv", index=False)
    table["text"] = table["text"].sample(frac=1.0, random_state=1).tolist()
    table.to_csv(folder / "wrong.csv", index=False)
    runs = []
    for name in ("right", "wrong"):
        public = {"corpus": "manifest", "manifest": str(folder / f"{name}.csv")}
        settings = {**SETTINGS, "public": public, "candidates": candidates}
        runs.append(fedasr.run(pate(pate=settings, rounds=3), out=tmp_path / name))
    right, wrong = (run.summary for run in runs)
    assert right["model_sha256"] == wrong["model_sha256"]
    assert right["own_labels"] == wrong["own_labels"] > 0
    told = ["label_accuracy", "own_label_accuracy"]
    assert [right[name] for name in told] != [wrong[name] for name in told]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["utterance", "frame"])
def test_public_speech_needs_no_transcripts(unit: str, tmp_path: Path) -> None:
    folder = tmp_path / "speech"
    synthesize(folder, 4, 3, 0, "digits")
    table = pd.read_csv(folder / "manifest.csv")
    table["split"], table["text"] = "train", ["", "?!"] * (len(table) // 2)
    table.to_csv(folder / "silent.csv", index=False)
    public = {"corpus": "manifest", "manifest": str(folder / "silent.csv")}
    settings = {**SETTINGS, "public": public, "unit": unit, "candidates": ["yes", "no", "stop"]}
    if unit != "utterance":
        settings.pop("candidates")
    run = fedasr.run(pate(pate=settings, rounds=3), out=tmp_path / "run")
    assert queries(run)["correct"].isna().all()
    assert run.summary["label_accuracy"] is None
    assert run.summary["label_wer"] is None
    if unit == "utterance":
        assert run.summary["own_labels"] > 0
        table["text"] = ""
        table.to_csv(folder / "empty.csv", index=False)
        settings["public"] = {"corpus": "manifest", "manifest": str(folder / "empty.csv")}
        tree = pate(pate={**settings, "candidates": []}, data__on_bad_audio="skip")
        with pytest.raises(InputError, match=r"no transcripts; list what may have been said in 'pate\.candidates'"):
            fedasr.run(tree, out=tmp_path / "no")


@pytest.mark.slow
def test_soft_labels_and_steps(tmp_path: Path) -> None:
    """Soft released labels stand beside own ones, and a round may be a number of steps."""
    student = {"batch_size": 4, "self_training": 1, "answers": 2, "steps": 7}
    settings = {**CHANGES["pate"], "mechanism": "soft-gaussian", "scale": 0.3, "queries": 12, "student": student}
    run = fedasr.run(pate(pate=settings, rounds=2), out=tmp_path / "run")
    assert run.rounds["examples"].tolist()[0] == 4 * 7
    assert run.summary["own_labels"] > 0


@pytest.mark.slow
def test_without_a_released_label_the_start_teaches_itself(tmp_path: Path) -> None:
    """What self-training gives at no cost is what PATE must be compared with."""
    tree = pate(pate=SETTINGS, rounds=3, privacy={"unit": "teacher", "epsilon": 0.01, "delta": 1e-4})
    run = fedasr.run(tree, out=tmp_path / "run")
    assert run.summary["labels"] == 0
    assert run.summary["own_labels"] > 0
    examples = run.rounds["examples"].tolist()
    # The stage of released labels alone is left out; the other two have the three rounds.
    assert 0 < examples[0] < examples[1] == examples[2] == run.summary["own_labels"]
    assert run.privacy is None


@pytest.mark.slow
def test_of_a_few_released_labels_no_stage_is_made(reference: fedasr.Run, tmp_path: Path) -> None:
    """With eight labels where nine are asked for the start labels first, and they are learnt beside its labels."""
    student = {**SETTINGS["student"], "least_labels": 9}
    config = load(pate(pate={**SETTINGS, "student": student}, rounds=4))
    launch(config, tmp_path / "whole")
    whole = fedasr.load_run(tmp_path / "whole")
    pd.testing.assert_frame_equal(queries(whole), queries(reference))
    examples = whole.rounds["examples"].tolist()
    assert 8 < examples[0] == examples[1] < examples[2] == 8 + whole.summary["own_labels"]
    launch(config, tmp_path / "halves", watcher=StopAt("round 2"))
    assert fedasr.load_run(tmp_path / "halves").status == "interrupted"
    launch(config, tmp_path / "halves", resume=True)
    same(fedasr.load_run(tmp_path / "halves"), whole)


@pytest.mark.slow
def test_nothing_to_label_means_one_stage(tmp_path: Path) -> None:
    """Where every public utterance has a label, all rounds go to the released ones."""
    student = {"batch_size": 4, "self_training": 1}
    run = fedasr.run(pate(pate={**CHANGES["pate"], "student": student}), out=tmp_path / "run")
    plain = fedasr.run(pate(), out=tmp_path / "plain")
    assert run.summary["labels"] == 20
    assert run.summary["model_sha256"] == plain.summary["model_sha256"]


def test_more_stages_than_rounds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which makes 3 stages, but 'rounds' is 2"):
        fedasr.run(pate(pate=SETTINGS, rounds=2), out=tmp_path / "no")
    assert not (tmp_path / "no").exists()
