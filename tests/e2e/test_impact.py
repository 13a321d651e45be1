"""What several finished runs do to groups: the command, its files, and the measures that rank the runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import fedasr
from fedasr.cli.main import status

from .tiny import tiny

HEARD = {"plain": 0, "plain-2": 0, "private": 1, "smaller": 1}
"""Run → how many words less it hears than the first one."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of a config and two other configs, tested on the same speech, with errors made up for them."""
    folder = tmp_path_factory.mktemp("impact")
    config = tiny(
        data__synthetic__test_speakers=16, data__synthetic__seed=1, evaluate__transcripts=1000, rounds=1
    )  # fmt: skip
    fedasr.run(config, folder / "trained", quiet=True)
    for name, less in HEARD.items():
        run = folder / name
        shutil.copytree(folder / "trained", run)
        settings = yaml.safe_load((run / "config.yaml").read_text())
        settings["seed"] = 5 if name.endswith("-2") else 0
        settings["client"]["learning_rate"] = {"private": 0.1, "smaller": 0.01}.get(name, 0.003)
        (run / "config.yaml").write_text(yaml.safe_dump(settings))
        summary = json.loads((run / "summary.json").read_text())
        (run / "summary.json").write_text(json.dumps({**summary, "seed": settings["seed"]}))
        table = pd.read_parquet(run / "transcripts.parquet")
        number = table["speaker"].str[1:].astype(int)
        table["hypothesis"] = [
            " ".join(text.split()[: 3 - less - of % 3]) for text, of in zip(table["reference"], number, strict=True)
        ]
        table.to_parquet(run / "transcripts.parquet")
    return [folder / name for name in HEARD]


def test_runs_are_compared_with_a_baseline_group_by_group(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fairness", *map(str, runs[1:]), "--baseline", str(runs[0]), "--by", "gender", "--json"]
    files = [tmp_path / f"impact{suffix}" for suffix in (".json", ".csv", ".png")]
    for file in files:
        arguments += ["--out", str(file)]
    assert status(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    (found,) = printed["attributes"]
    assert [config["seed_numbers"] for config in found["configs"]] == [[0, 5], [0], [0]]
    assert printed["baseline"] == found["configs"][0]["label"]
    for config in found["configs"][1:]:
        assert config["change"]["low"] > 0
        for row in config["groups"].values():
            before = found["configs"][0]["groups"]
            assert set(before) == {"f", "m"}
            assert row["change"]["low"] <= row["change"]["difference"] <= row["change"]["high"]
    assert json.loads(files[0].read_text())["attributes"] == [found]
    table = pd.read_csv(files[1])
    assert table["kind"].value_counts().to_dict() == {"group": 6, "all": 3, "gap": 3}
    assert files[2].read_bytes().startswith(b"\x89PNG")
    from_python = fedasr.impact(runs, "gender")
    assert from_python["change"].dropna().tolist() == pytest.approx(table["change"].dropna().tolist())


@pytest.mark.thorough
def test_measures_of_several_runs_are_ranked(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["fairness", *map(str, runs), "--by", "gender", "--counterfactual", "gender", "--utterances", "6"]
    assert status(arguments) == 0
    said = capsys.readouterr().err
    for word in ("By gender", "Do intrinsic measures rank", "divergence", "voice_gap", "worst and the best group"):
        assert word in " ".join(said.split()), word


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--against", "x"], "'--baseline'"),
        (["--out", "impact.jpg"], "expected one of"),
        (["--by", "gendre"], "did you mean 'gender'"),
        (["--baseline", "nowhere"], "no such folder"),
        (["--seed", "-1"], "at least 0"),
        (["--intrinsic", "--points", "0"], "more than 0"),
        (["--points", "5"], "goes with one run"),
        (["--utterances", "12"], "nothing is spoken again"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], word: str, runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["fairness", str(runs[0]), str(runs[2]), *options]) == 2
    said = capsys.readouterr().err
    assert word in said
    assert said.count("\n") == 1


def test_runs_that_cannot_be_compared_are_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["fairness", str(runs[0]), str(runs[1])]) == 2
    assert "the same config but for the seed" in capsys.readouterr().err
    assert status(["fairness", str(runs[0]), "--out", str(tmp_path / "one.png")]) == 2
    assert "several runs" in capsys.readouterr().err
    shutil.copytree(runs[2], tmp_path / "other")
    settings = yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())
    settings["data"]["synthetic"]["seed"] = 2
    (tmp_path / "other" / "config.yaml").write_text(yaml.safe_dump(settings))
    assert status(["fairness", str(runs[0]), str(tmp_path / "other"), "--by", "gender"]) == 2
    assert "other speech" in capsys.readouterr().err
