"""Edge devices without transcripts: they label their own speech as the same clients of a simulation do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from safetensors.numpy import load_file, save_file

import fedasr
from fedasr.clients.edge.app import UNTOLD
from fedasr.clients.edge.edge_device import EdgeDevice
from fedasr.clients.own_labels import lesson_of
from fedasr.clients.speech import Device
from fedasr.clients.trainer import resident
from fedasr.config import load
from fedasr.edge.checks import speech
from fedasr.edge.trial_round import trial_round
from fedasr.errors import InputError
from fedasr.experiment import as_json, experiment
from fedasr.flower.messages import RUN_ID

from .edge_devices import OPEN, Town, manifest, record
from .test_edge_device import Notes

SELF: dict[str, Any] = {
    "client__labels": "self",
    "self_labels__threshold": [0.0, 0.0],
    "self_labels__guard": ["empty"],
    "self_labels__teacher": "frozen",
}


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of a model that hears something, if not what was said."""
    root = tmp_path_factory.mktemp("seed")
    town = Town(root / "town")
    path = fedasr.run(town.config(town.whole, rounds=1), out=root / "run").path
    arrays = load_file(path / "model.safetensors")
    arrays["head.bias"][0] -= 3.0
    save_file(arrays, path / "model.safetensors")
    return str(path)


def untranscribed(town: Town) -> None:
    """Take the transcripts out of the manifests of the edge devices, and the column with them."""
    for number, folder in enumerate(town.folders.values()):
        rows = [{"path": row["path"], "speaker": row["speaker"]} for row in record(folder, range(3 + number), number)]
        manifest(folder / "manifest.csv", rows, ("path", "speaker"))


@pytest.mark.slow
def test_edge_devices_without_transcripts_give_the_bits_of_the_simulation(seed: str, tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    changes = {**SELF, "init_from": seed, "rounds": 2}
    simulated = fedasr.run(town.config(town.whole, **changes), out=tmp_path / "simulated")
    untranscribed(town)
    deployed = fedasr.load_run(town.run(tmp_path / "deployed", **changes))
    assert deployed.summary["model_sha256"] == simulated.summary["model_sha256"]
    assert (deployed.rounds["kept_share"] > 0).all()
    assert deployed.rounds["kept_share"].tolist() == simulated.rounds["kept_share"].tolist()
    # How wrong the labels are a simulation knows, and a real device never says.
    assert simulated.rounds["label_wer"].notna().all()
    assert deployed.rounds["label_wer"].isna().all()


@pytest.mark.slow
def test_an_edge_device_with_transcripts_does_not_say_how_wrong_its_labels_are(seed: str, tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    deployed = fedasr.load_run(town.run(tmp_path / "deployed", **SELF, init_from=seed, rounds=1))
    assert deployed.clients["kept_share"].notna().all()
    assert deployed.clients["label_wer"].isna().all()


@pytest.mark.slow
def test_without_transcripts_a_run_on_transcripts_is_refused_in_a_line(
    seed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    town = Town(tmp_path / "town")
    (town.folders["ben"] / "manifest.csv").write_text("path,speaker\n0.wav,ben\n")
    watcher = Notes()
    deployed = fedasr.load_run(town.run(tmp_path / "run", watcher, init_from=seed, rounds=1))
    assert set(deployed.clients["client"]) == {"anna", "cleo"}
    assert f"edge device ben: it does not say what it holds: {UNTOLD}" in watcher.notes
    assert "misses the column 'text'; it has: path, speaker; devices that train on labels" in capfd.readouterr().err


def test_an_edge_device_simulates_no_user(tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    config = town.config(town.server, client__labels="feedback", model__alphabet="latin")
    edge_device = EdgeDevice("anna", town.folders["anna"], town.folders["anna"] / "manifest.csv")
    text = edge_device.config(json.dumps(config))
    run = experiment(text)
    device = Device(0, 1, text, run, run.stored(0, 1), "anna")
    with pytest.raises(InputError, match="simulated feedback"):
        lesson_of(device, resident(text), run.first_weights(), None, Context(RUN_ID, 5, {}, RecordDict(), {}))


@pytest.mark.thorough
def test_kept_labels_are_forgotten_with_the_speech(seed: str, tmp_path: Path) -> None:
    """What was labelled on arrival stays; what is no longer stored has no label left on the device."""
    town = Town(tmp_path / "town")
    changes = {**SELF, "self_labels__made": "on-arrival", "init_from": seed}
    text = as_json(load(town.config(town.whole, **changes)))
    run = experiment(text)
    rows, context = run.stored(2, 1), Context(RUN_ID, 5, {}, RecordDict(), {})
    assert len(rows) == 5
    start, other = run.first_weights(), run.first_weights()
    other["head.bias"] = -other["head.bias"][::-1].copy()

    def texts(rows: Any, teacher: Any) -> dict[int, str]:
        lesson = lesson_of(Device(2, 1, text, run, rows), resident(text), start, teacher, context)
        return {int(row): lesson.speech.transcripts([int(row)])[0] for row in lesson.rows}

    first = texts(rows[:3], start)
    assert len(first) > 0
    later = texts(rows[1:], other)
    assert {row: later[row] for row in first if row in later} == {row: t for row, t in first.items() if row in rows[1:]}
    kept = json.loads(str(context.state["labels"]["labels"]))
    assert sorted(kept) == sorted(run.corpus.content_key(int(row)).hex() for row in rows[1:])


@pytest.mark.slow
def test_edge_devices_estimate_where_their_owners_say_so(seed: str, tmp_path: Path) -> None:
    """Two owners are of the panel, one has no transcripts and counts what it expects; nobody trains."""
    town = Town(tmp_path / "town")
    for name in ("anna", "cleo"):
        (town.folders[name] / "policy.yaml").write_text(json.dumps({**OPEN, "panel": True}))
    rows = [{"path": row["path"], "speaker": row["speaker"]} for row in record(town.folders["ben"], range(4), 1)]
    manifest(town.folders["ben"] / "manifest.csv", rows, ("path", "speaker"))
    changes = {"client__labels": "none", "evaluate__estimate__every": 1, "init_from": seed, "rounds": 1}
    deployed = fedasr.load_run(town.run(tmp_path / "run", **changes))
    (result,) = deployed.estimates.to_dict("records")
    assert (result["panel_speakers"], result["fleet_speakers"]) == (2, 1)
    assert result["panel_words"] == 3 + 5
    assert result["wer_low"] <= result["wer_estimate"] <= result["wer_high"]
    assert result["fleet_wer"] != result["fleet_wer"]  # nobody knows the truth
    assert deployed.summary["updates"] == 0
    closed = {**OPEN, "messages": ["query.describe", "train"]}
    town.allow(**closed)
    watcher = Notes()
    silent = fedasr.load_run(town.run(tmp_path / "silent", watcher, **changes))
    assert silent.estimates["wer_estimate"].isna().all()
    assert any("query.estimate" in note for note in watcher.notes)


@pytest.mark.thorough
def test_where_utterances_are_protected_a_label_depends_on_its_own_alone(seed: str, tmp_path: Path) -> None:
    """One utterance less changes no other label, to the bit of its confidence, and nothing is counted."""
    town = Town(tmp_path / "town")
    private = {"privacy__unit": "example", "privacy__noise_multiplier": 1.0, "model__alphabet": "latin"}
    guard = {"self_labels__guard": ["empty", "repeated"], "self_labels__made": "on-arrival"}
    text = as_json(load(town.config(town.whole, **{**SELF, **guard}, **private, init_from=seed)))
    run = experiment(text)
    rows = run.stored(2, 1)

    def labels(rows: Any) -> dict[str, Any]:
        context = Context(RUN_ID, 5, {}, RecordDict(), {})
        device = Device(2, 1, text, run, rows)
        lesson = lesson_of(device, resident(text), run.first_weights(), None, context)
        assert lesson.counts is None
        kept: dict[str, Any] = json.loads(str(context.state["labels"]["labels"]))
        return kept

    whole = labels(rows)
    assert len(whole) == 5
    for left_out in range(2):
        rest = labels(rows[[place for place in range(5) if place != left_out]])
        assert rest == {name: whole[name] for name in rest}


def test_the_doctor_of_a_device_without_transcripts(tmp_path: Path) -> None:
    town = Town(tmp_path / "town")
    untranscribed(town)
    table = town.folders["ben"] / "manifest.csv"
    findings = list(speech(table))
    assert [finding.level for finding in findings] == ["warning", "ok"]
    assert "has no transcripts" in findings[0].text
    assert "trained on, loss" in trial_round(table)
