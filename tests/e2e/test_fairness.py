"""Compare the groups of a finished run's test speech: the command, its file, the report, and the Python API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.cli.main import status
from fedasr.errors import InputError
from fedasr.evaluation.recognizer import Recognizer
from fedasr.experiment import Experiment
from fedasr.results.intrinsic import doubts, sensitivity_to
from fedasr.results.tables.voice_measures import rank_correlation, voice_measures

from .tiny import tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps the transcripts of all test speech; one round teaches its model next to nothing."""
    folder = tmp_path_factory.mktemp("fairness") / "run"
    config = tiny(data__synthetic__test_speakers=16, evaluate__by=["gender"], evaluate__transcripts=1000, rounds=1)
    fedasr.run(config, folder, quiet=True)
    return folder


@pytest.fixture(scope="module")
def runs(trained: Path) -> list[Path]:
    """Two runs whose transcripts have errors that differ between speakers, the first one more."""
    folders = [trained.with_name(name) for name in ("one", "two")]
    for folder, heard in zip(folders, (2, 3), strict=True):
        shutil.copytree(trained, folder)
        table = pd.read_parquet(folder / "transcripts.parquet")
        number = table["speaker"].str[1:].astype(int)
        table["hypothesis"] = [
            " ".join(text.split()[: heard - of % 3]) for text, of in zip(table["reference"], number, strict=True)
        ]
        table.to_parquet(folder / "transcripts.parquet")
    return folders


@pytest.fixture(scope="module")
def compared(runs: list[Path]) -> list[dict[str, Any]]:
    """What is found of two attributes of the first run, against the second."""
    fedasr.fairness(runs[0], ["gender", "device"], against=runs[1])
    result: list[dict[str, Any]] = json.loads((runs[0] / "fairness.json").read_text())
    return result


def test_the_command_keeps_the_contract(
    runs: list[Path], compared: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["fairness", str(runs[0]), "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert set(result["groups"]) == {"f", "m"}
    for row in result["groups"].values():
        assert row["low"] <= row["wer"] <= row["high"]
        assert row["speakers"] > 1
    gap = result["gap"]
    rates = [row["wer"] for row in result["groups"].values()]
    assert gap["difference"] == pytest.approx(max(rates) - min(rates))
    assert gap["low"] <= gap["difference"] <= gap["high"]
    assert [one["attribute"] for one in result["attributes"]] == ["gender"]
    # The file holds the other attribute still, and what was compared anew is the same to the bit but for the other run.
    kept = json.loads((runs[0] / "fairness.json").read_text())
    assert [one["attribute"] for one in kept] == ["device", "gender"]
    assert {**compared[0], "against": None} == {**kept[1], "against": None}


def test_people_are_told_gap_ratio_power_and_warnings(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["fairness", str(runs[0]), "--by", "gender", "--points", "10"]) == 0
    said = capsys.readouterr().err
    for word in ("gender", "Gap", "Ratio", "To show a gap of 10.0 points", "fewer than 10 speakers"):
        assert word in said, word


def test_two_runs_are_compared_speaker_by_speaker(runs: list[Path], compared: list[dict[str, Any]]) -> None:
    against = compared[0]["against"]
    assert against["run"] == str(runs[1])
    table = fedasr.load_run(runs[0]).fairness
    theirs = fedasr.fairness(runs[1], "gender").set_index("group")["wer"]
    for row in table[table["attribute"] == "gender"].to_dict("records"):
        if row["difference"] == row["difference"]:
            assert row["difference"] == pytest.approx(row["wer"] - theirs[row["group"]])


def test_kept_transcripts_say_what_the_model_says(trained: Path, tmp_path: Path) -> None:
    kept = fedasr.fairness(trained, "gender")
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "transcripts.parquet").unlink()
    pd.testing.assert_frame_equal(fedasr.fairness(tmp_path / "run", "gender"), kept)


def test_intervals_are_those_of_the_table_of_groups(trained: Path) -> None:
    result = fedasr.fairness(trained, "gender")
    groups = fedasr.load_run(trained).groups
    assert result["group"].tolist() == groups["value"].tolist()
    columns = {"wer": "wer", "low": "wer_low", "high": "wer_high", "speakers": "speakers"}
    for own, theirs in columns.items():
        assert result[own].tolist() == pytest.approx(groups[theirs].tolist())


def test_the_test_speech_is_spoken_again_in_other_voices(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    arguments = ["fairness", str(tmp_path / "run"), "--counterfactual", "gender", "--utterances", "12", "--json"]
    assert status(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    (found,) = result["attributes"]
    assert (found["counterfactual"], found["one_group_a_speaker"]) == ("gender", False)
    assert {row["utterances"] for row in found["groups"].values()} == {12}
    assert found["groups"]["f"]["speakers"] == found["groups"]["m"]["speakers"] == found["speakers"]
    assert 0 < found["divergence"]["low"] <= found["divergence"]["value"] <= found["divergence"]["high"]
    assert found["divergence"]["high"] < 0.6932  # ln 2
    assert found["kl"]["value"] > found["divergence"]["value"]
    assert voice_measures(tmp_path / "run", "gender")["divergence"].tolist() == [found["divergence"]["value"]]
    with pytest.raises(InputError, match="three or more"):
        rank_correlation(tmp_path / "run", "gender")


@pytest.mark.thorough
def test_pitch_and_formants_of_the_speech_that_is_there_are_shifted(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("fairness.json"))
    fedasr.fairness(tmp_path / "run", counterfactual="pitch", utterances=4)
    (found,) = json.loads((tmp_path / "run" / "fairness.json").read_text())
    assert set(found["groups"]) == {"lower", "as it is", "higher"}
    assert {row["utterances"] for row in found["groups"].values()} == {4}
    assert found["divergence"]["value"] > 0


@pytest.mark.thorough
def test_what_the_model_listens_to_is_measured_with_a_probe(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    assert status(["fairness", str(tmp_path / "run"), "--by", "gender", "--intrinsic", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["attributes"]
    given = found["sensitivity"]
    assert 0 < given["low"] <= given["value"] <= given["high"]
    assert given["ratio"]["value"] == pytest.approx(given["value"] / given["even"]["value"])
    assert given["utterances"] == found["utterances"]
    assert given["probe"]["chance"] == 0.5
    assert 0 <= given["probe"]["accuracy"] <= 1
    assert "Accumulated prediction sensitivity" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_an_attribute_that_training_speech_does_not_have_has_no_sensitivity(trained: Path) -> None:
    recognizer = Recognizer(trained)
    experiment = Experiment(recognizer.config)
    unknown = np.full(len(experiment.rows("train")), "", object)
    rows = experiment.test_rows
    found = sensitivity_to(np.full(len(rows), "f", object), unknown, rows, recognizer, experiment, 0)
    assert "training utterances" in found["reason"]
    assert doubts(found) == [f"no sensitivity: {found['reason']}"]


def test_the_report_has_a_section(runs: list[Path], compared: list[dict[str, Any]]) -> None:
    page = (runs[0] / "report.html").read_text(encoding="utf-8")
    assert "<h2>Fairness</h2>" in page
    assert compared[1]["warnings"]
    assert all(warning.split("'")[0] in page for one in compared for warning in one["warnings"])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--by", "gendre"], "did you mean 'gender'"),
        (["--by", "split"], "two groups or more"),
        (["--by", "speaker"], "attribute that speakers share"),
        (["--by", "gender:x"], "expected numbers"),
        (["--by", "gender:3"], "holds no numbers"),
        (["--points", "0"], "more than 0"),
        (["--counterfactual", "gendre"], "did you mean 'gender'"),
        (["--counterfactual", "pich"], "did you mean 'pitch'"),
        (["--counterfactual", "gender", "--utterances", "0"], "at least 1"),
        (["--utterances", "12"], "nothing is spoken again"),
        (["--seed", "-1"], "at least 0"),
        (["--against", "nowhere"], "no such folder"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    options: list[str], word: str, runs: list[Path], compared: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (runs[0] / "fairness.json").read_bytes()
    assert status(["fairness", str(runs[0]), *options]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1
    assert (runs[0] / "fairness.json").read_bytes() == before


def test_a_run_that_was_tested_on_other_speech_is_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs[1], tmp_path / "other")
    (tmp_path / "other" / "transcripts.parquet").unlink()
    config = tmp_path / "other" / "config.yaml"
    config.write_text(config.read_text().replace("test_utterances_per_speaker: 2", "test_utterances_per_speaker: 1"))
    assert status(["fairness", str(runs[0]), "--against", str(tmp_path / "other")]) == 2
    assert "other speech" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[", "{}", '[{"attribute": "gender"}]'])
def test_a_damaged_file_is_named(content: str, runs: list[Path], tmp_path: Path) -> None:
    shutil.copytree(runs[1], tmp_path / "run")
    (tmp_path / "run" / "fairness.json").write_text(content)
    with pytest.raises(InputError, match=r"fairness\.json"):
        _ = fedasr.load_run(tmp_path / "run").fairness
