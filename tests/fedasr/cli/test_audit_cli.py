"""``fedasr audit mechanism``: what it prints, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedasr.cli.main import status
from fedasr.privacy.randomness import with_normal
from fedasr.strategies.privacy import user_level

CONFIG = """
name: small
rounds: 4
data: {corpus: synthetic, synthetic: {grammar: keywords, speakers: 100, utterances_per_speaker: 4, test_speakers: 2}}
model: {name: ctc, encoder: lstm, channels: [4, 8], hidden: 8, layers: 1}
strategy: {weighting: uniform}
selection: {name: round-robin, clients_per_round: 25, separation: 4}
privacy: {unit: user, noise_multiplier: 0.7}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG)
    return str(path)


def test_a_config_without_privacy_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["audit", "mechanism", "quickstart"]) == 2
    said = capsys.readouterr().err
    assert "privacy.unit" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("options", [["--trials", "0"], ["--seed", "-1"], ["--alpha", "1.5"], ["rounds=no"]])
def test_wrong_arguments_are_refused_in_one_line(
    options: list[str], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["audit", "mechanism", config, *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.thorough
@pytest.mark.parametrize("overrides", [["rounds=0"], ["privacy.epsilon=0.0001"]])
def test_where_nothing_is_released_nothing_is_audited(
    overrides: list[str], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["audit", "mechanism", config, *overrides]) == 2
    said = capsys.readouterr().err
    assert overrides[0].split("=")[0] in said
    assert said.count("\n") == 1


@pytest.mark.thorough
def test_a_right_ledger_is_not_contradicted(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["audit", "mechanism", config, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert not result["contradiction"]
    assert result["claim"]["unit"] == "user"
    assert result["claim"]["adjacency"] == "zero-out"
    assert 0 < result["lower_bound"] < result["claim"]["epsilon"]
    assert result["canaries"] == 100
    for finding in result["findings"]:
        for word in ("bound ε", "δ =", "user", "observer", "knows", "scores", finding["method"]):
            assert word in finding["sentence"], word


@pytest.mark.thorough
def test_a_contradiction_ends_with_status_one_and_a_line(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_level, "with_normal", lambda values, scale, draws: with_normal(values, scale / 3, draws))
    assert status(["audit", "mechanism", config, "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["contradiction"]
    assert said.err.startswith("failed: ")
    assert "CONTRADICTS" in said.err
    assert said.err.count("\n") == 1
