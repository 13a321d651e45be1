"""Model inversion: what is due to a speaker is the difference between a model that heard them and one that did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedasr
from fedasr.audits.inversion import Public, Search, Trained, invert, invert_model, noise
from fedasr.audits.inversion_figure import inversion_figure
from fedasr.cli.main import status
from fedasr.errors import InputError
from fedasr.results.load import load_run

CONFIG: dict[str, Any] = {
    "name": "half",
    "rounds": 0,
    "data": {
        "corpus": "synthetic",
        "synthetic": {
            "grammar": "digits",
            "speakers": 6,
            "utterances_per_speaker": 2,
            "test_speakers": 2,
            "test_utterances_per_speaker": 2,
        },
    },
    "model": {"encoder": "lstm", "channels": [8, 8], "hidden": 8},
    "selection": {"clients_per_round": 2},
    "runtime": {"executor": "serial"},
}
FIRST, SECOND = ["s00000", "s00001", "s00002"], ["s00003", "s00004", "s00005"]
QUICK = Search(steps=3)

Halves = tuple[Path, Path]


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    """Return two runs that have not trained, each on other speakers, from one initial model."""
    folder = tmp_path_factory.mktemp("halves")
    for name, left_out in (("a", SECOND), ("b", FIRST)):
        fedasr.run(CONFIG, out=folder / name, overrides={"data.exclude.speaker": left_out})
    return folder / "a", folder / "b"


@pytest.mark.slow
def test_a_run_leaves_out_whom_it_is_told_to(halves: Halves) -> None:
    assert [sorted(Trained(load_run(half)).by_speaker) for half in halves] == [FIRST, SECOND]


def test_models_that_are_the_same_show_a_difference_of_exactly_nothing(halves: Halves) -> None:
    result = invert_model(halves[0], [halves[1]], search=QUICK)
    assert [pair.speaker for pair in result.pairs] == [*FIRST, *SECOND]
    assert all(pair.difference == 0 and pair.heard != 0 for pair in result.pairs)
    assert result.finding.value == 0
    assert "Wilcoxon p = 1 " in result.finding.sentence
    assert "6 speakers are too few to show anything (20 are needed)" in result.finding.sentence
    assert "no ledger" in result.finding.sentence


def test_the_search_lowers_what_it_is_to_lower(halves: Halves) -> None:
    model = Trained(load_run(halves[0]))
    rows = [rows[0] for rows in model.by_speaker.values()]
    known, public = model.batch(rows), Public.of(model)

    def likelihood(steps: int) -> float:
        frames = invert(model, known, public, Search(steps=steps), noise(known, 0))
        features = torch.zeros_like(known.features)
        for row, result in enumerate(frames):
            assert result.shape == (int(known.feature_lengths[row]), 40)
            assert np.abs(result.mean(axis=0)).max() < 1e-5
            assert np.allclose(result.std(axis=0), 1, atol=1e-3)
            features[row, : len(result)] = torch.from_numpy(result.astype(np.float32))
        known.features = features
        return float(model.recognizer.model.utterance_loss(known).sum())

    assert likelihood(30) < likelihood(1)


@pytest.mark.thorough
def test_runs_that_cannot_be_compared_are_refused(halves: Halves) -> None:
    with pytest.raises(InputError, match="has the same speakers"):
        invert_model(halves[0], [halves[0]], search=QUICK)
    with pytest.raises(InputError, match="'--speakers' is 0"):
        invert_model(halves[0], [halves[1]], speakers=0)
    with pytest.raises(InputError, match="'--utterance' is 999"):
        inversion_figure(halves, utterance=999, search=QUICK)


@pytest.mark.thorough
def test_the_command_writes_its_finding_and_the_picture(halves: Halves, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = map(str, halves)
    assert status(["audit", "invert", run]) == 2
    assert "'--without RUN'" in capsys.readouterr().err
    assert status(["audit", "invert", run, "--without", other, "--figure", other, "--steps", "2"]) == 0
    assert "paired difference of mel similarity" in capsys.readouterr().err
    [finding] = load_run(run).audit.to_dict("records")
    assert (finding["command"], finding["attack"]) == ("invert", "model inversion")
    assert (halves[0] / "audit_inversion.png").read_bytes().startswith(b"\x89PNG")
    assert "model inversion" in (halves[0] / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["update", "link"])
def test_attacks_on_updates_of_a_run_stand_in_its_audit(
    command: str, halves: Halves, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, list[str]] = {
        "update": ["client.steps=1", "client.batch_size=1", "--utterances", "2", "--steps", "2", "--restarts", "0"],
        "link": ["--clients", "3"],
    }
    assert status(["audit", command, str(halves[1]), *options[command], "--json"]) == 0
    assert '"findings"' in capsys.readouterr().out
    assert command in set(load_run(halves[1]).audit["command"])


def test_wrong_targets_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("update", "link"):
        assert status(["audit", command, str(tmp_path)]) == 2
        assert status(["audit", command, "no_such_config"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 2
        assert "config.yaml" in said
