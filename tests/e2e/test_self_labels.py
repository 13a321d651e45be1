"""Devices that label their own speech: what is equal must be equal to the bit, and nothing that is none is learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import RecordDict
from safetensors.numpy import load_file, save_file

import fedasr
from fedasr.config import load, override
from fedasr.errors import InputError, RunFailed
from fedasr.flower.records import array_record, content_bytes
from fedasr.results.pages.report import report_page
from fedasr.runtime.launch import launch

from .small_speech import speech
from .test_distillation import Fails
from .tiny import tiny

OF_LABELS = ["kept_share", "label_wer", "blank_share", "empty_share", "teacher_agreement"]
RESULTS = ["round", "loss", "wer", "train_loss", "bytes_up", "bytes_down", *OF_LABELS]
SELF = {"client.labels": "self", "self_labels.threshold": [0.4, 0.3], "self_labels.teacher": "global"}
SMALL = {"rounds": 3, "evaluate.every": 0, "data.augment.time_masks": 1}


def run(out: Path, overrides: dict[str, Any], **how: Any) -> fedasr.Run:
    return fedasr.load_run(launch(override(load(tiny()), {**SMALL, **overrides}), out, **how))


def hearing(path: Path, less: dict[str, float]) -> str:
    """Make the blank of a finished run's model less likely, by the name of a bias, and return the run's folder."""
    arrays = load_file(path / "model.safetensors")
    for name, by in less.items():
        arrays[name][0] -= by
    save_file(arrays, path / "model.safetensors")
    return str(path)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a seed model that has learnt a little."""
    folder = tmp_path_factory.mktemp("runs") / "seed"
    return {"init_from": str(run(folder, {"rounds": 30, "client.learning_rate": 0.01}).path)}


@pytest.fixture(scope="module")
def labelled(start: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    """A run whose global model labels."""
    return run(tmp_path_factory.mktemp("runs") / "global", {**start, **SELF})


def assert_same(one: fedasr.Run, other: fedasr.Run, columns: list[str] = RESULTS) -> None:
    assert one.summary["model_sha256"] == other.summary["model_sha256"]
    pd.testing.assert_frame_equal(one.rounds[columns], other.rounds[columns])


def weights(run: fedasr.Run | str) -> dict[str, np.ndarray]:
    return load_file((run.path if isinstance(run, fedasr.Run) else Path(run)) / "model.safetensors")


@pytest.mark.thorough
def test_tables_say_what_became_of_the_labels(labelled: fedasr.Run) -> None:
    rounds, clients = labelled.rounds, labelled.clients
    assert (rounds["kept_share"] > 0).all()
    assert ((rounds["blank_share"] >= 0) & (rounds["blank_share"] < 1)).all()
    assert (rounds["teacher_agreement"] == 1).all()  # the teacher is the global model
    assert (rounds["label_wer"] > 0).all()
    first = clients[clients["round"] == 1]
    kept = (first["kept_share"] * first["examples"]).sum() / first["examples"].sum()
    assert kept == pytest.approx(rounds["kept_share"][0])
    assert (first["kept_share"] + first["empty_share"] <= 1).all()


@pytest.mark.thorough
def test_an_average_that_forgets_at_once_is_the_global_model(
    start: dict[str, Any], labelled: fedasr.Run, tmp_path: Path
) -> None:
    changes = {**start, **SELF, "self_labels.teacher": "ema", "self_labels.decay": 0.0}
    averaged = run(tmp_path / "run", changes)
    assert_same(averaged, labelled, [name for name in RESULTS if name not in ("bytes_down", "bytes_up")])
    # It is sent beside the global model, to each of the five devices of a round.
    sent = content_bytes(RecordDict({"teacher": array_record(weights(labelled))}))
    longer = averaged.rounds["bytes_down"] - labelled.rounds["bytes_down"]
    assert (longer == 5 * (sent + len("ema") - len("global"))).all()


@pytest.mark.slow
def test_an_average_that_never_moves_is_the_frozen_teacher(start: dict[str, Any], tmp_path: Path) -> None:
    frozen = run(tmp_path / "frozen", {**start, **SELF, "self_labels.teacher": "frozen"})
    still = run(tmp_path / "still", {**start, **SELF, "self_labels.teacher": "ema", "self_labels.decay": 1.0})
    assert_same(frozen, still, [name for name in RESULTS if name not in ("bytes_down", "bytes_up")])
    assert (frozen.rounds["teacher_agreement"][1:] < 1).any()


@pytest.mark.slow
def test_a_threshold_above_one_leaves_the_model_as_it_is(start: dict[str, Any], tmp_path: Path) -> None:
    result = run(tmp_path / "run", {**start, **SELF, "self_labels.threshold": [1.1, 1.1]})
    before, after = weights(start["init_from"]), weights(result)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert (result.rounds["update_norm"] == 0).all()
    assert (result.rounds["kept_share"] == 0).all()
    assert result.rounds["train_loss"].isna().all()


@pytest.mark.slow
def test_users_who_are_always_right_are_transcripts(start: dict[str, Any], tmp_path: Path) -> None:
    feedback = {"client.labels": "feedback", "self_labels.feedback_right": 1.0, "self_labels.teacher": "frozen"}
    right = run(tmp_path / "right", {**start, **feedback})
    truth = run(tmp_path / "truth", start)
    assert_same(right, truth, ["round", "loss", "wer", "train_loss"])
    assert (right.rounds["label_wer"] == 0).all()
    assert (right.rounds["kept_share"] == 1).all()
    assert truth.rounds[OF_LABELS].isna().all().all()
    wrong = {**feedback, "self_labels.feedback_right": 0.0, "self_labels.feedback_wrong": 1.0}
    lying = run(tmp_path / "wrong", {**start, **wrong})
    assert (lying.rounds["label_wer"] > 0.5).all()


EVERYTHING = {
    "self_labels.teacher": "ema",
    "self_labels.decay": 0.5,
    "self_labels.keep_share": 0.9,
    "self_labels.made": "on-arrival",
    "self_labels.server_steps": 2,
    "data.public_share": 0.2,
    "stream.arrival": "poisson",
    "stream.periods": 2,
    "rounds": 4,
}


@pytest.fixture(scope="module")
def whole(start: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tmp_path_factory.mktemp("runs") / "whole", {**start, **SELF, **EVERYTHING})


@pytest.mark.slow
@pytest.mark.parametrize("broken_in", [1, 3])
def test_broken_off_and_resumed(whole: fedasr.Run, start: dict[str, Any], broken_in: int, tmp_path: Path) -> None:
    """With an average, labels that devices keep, and steps at the server."""
    changes = {**start, **SELF, **EVERYTHING}
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", changes, callbacks=[Fails(broken_in)])
    assert_same(run(tmp_path / "run", changes, resume=True), whole)


@pytest.mark.slow
def test_any_number_of_workers(whole: fedasr.Run, start: dict[str, Any], tmp_path: Path) -> None:
    pool = {"runtime.executor": "pool", "runtime.workers": 3}
    columns = [name for name in RESULTS if name != "bytes_down"]  # the config that is sent says how many
    assert_same(run(tmp_path / "run", {**start, **SELF, **EVERYTHING, **pool}), whole, columns)


@pytest.mark.slow
def test_labels_made_on_arrival_stay_what_they_were(start: dict[str, Any], tmp_path: Path) -> None:
    """Of speech that is all there from the start, with everybody in every round: those of the first model."""
    everybody = {**start, **SELF, "selection.name": "uniform", "selection.clients_per_round": 12}
    arrived = run(tmp_path / "arrival", {**everybody, "self_labels.made": "on-arrival"})
    frozen = run(tmp_path / "frozen", {**everybody, "self_labels.teacher": "frozen"})
    assert arrived.summary["model_sha256"] == frozen.summary["model_sha256"]
    assert arrived.rounds["label_wer"].tolist() == frozen.rounds["label_wer"].tolist()


@pytest.mark.slow
def test_without_any_labels_the_server_alone_trains(start: dict[str, Any], tmp_path: Path) -> None:
    none = {**start, "client.labels": "none", "data.public_share": 0.3}
    still = run(tmp_path / "still", none)
    before = weights(start["init_from"])
    assert all(before[name].tobytes() == array.tobytes() for name, array in weights(still).items())
    trained = run(tmp_path / "steps", {**none, "self_labels.server_steps": 3})
    assert trained.summary["model_sha256"] != still.summary["model_sha256"]
    for result in (still, trained):
        assert result.summary["status"] == "done"
        assert result.summary["bytes_down"] == result.summary["updates"] == 0
        assert (result.rounds["clients_selected"] == 0).all()


@pytest.mark.slow
def test_of_a_share_of_the_speakers_transcripts_are_read_and_the_others_take_no_part(
    start: dict[str, Any], tmp_path: Path
) -> None:
    some = {**start, "client.labelled_share": 0.5, "selection.name": "uniform", "selection.clients_per_round": 12}
    result = run(tmp_path / "none", {**some, "client.labels": "none"})
    assert (result.rounds["clients_replied"] == 6).all()
    taught = set(result.clients["client"])
    mixed = run(tmp_path / "self", {**some, **SELF}).clients
    assert mixed[mixed["client"].isin(taught)]["kept_share"].isna().all()
    assert mixed[~mixed["client"].isin(taught)]["kept_share"].notna().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"privacy.unit": "example", "self_labels.guard": ["empty", "repeated"], "client.optimizer": "sgd"},
        {"privacy.unit": "user", "privacy.noise_at": "device", "strategy.weighting": "uniform"},
        {"secure_aggregation.mode": "simulate", "secure_aggregation.clip": 1.0},
    ],
    ids=["example", "device", "secure"],
)
def test_where_nothing_of_a_single_device_is_told_nothing_of_its_labels_is(
    start: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    noise = {"privacy.noise_multiplier": 1.0} if "privacy.unit" in changes else {}
    result = run(tmp_path / "run", {**start, **SELF, "self_labels.teacher": "ema", **noise, **changes})
    assert result.summary["status"] == "done"
    assert result.clients[OF_LABELS].isna().all().all()
    assert result.rounds[OF_LABELS].isna().all().all()


@pytest.mark.slow
@pytest.mark.parametrize(("family", "less"), [("rnnt", {"output.bias": -3.0}), ("las", {})])
def test_other_families_label_their_speech(family: str, less: dict[str, float], tmp_path: Path) -> None:
    """Untrained they hear nothing, or next to it, which they learn where no guard stops it."""
    changes = {**SELF, "model.name": family, "self_labels.threshold": [0.0, 0.0], "self_labels.guard": []}
    untrained = run(tmp_path / "seed", {"model.name": family, "model.alphabet": "latin", "rounds": 0})
    result = run(tmp_path / "run", {**changes, "init_from": hearing(untrained.path, less), "rounds": 1})
    assert result.rounds["blank_share"].isna().all()
    assert (result.rounds["kept_share"] > 0).all()
    assert result.rounds["train_loss"].notna().all()


@pytest.mark.slow
def test_a_manifest_without_transcripts(start: dict[str, Any], tmp_path: Path) -> None:
    """The transcripts of training speech are not read: emptied they make no difference, and truth refuses that."""
    manifest = speech(tmp_path / "speech")
    changes = {"data.corpus": "manifest", "data.manifest": str(manifest), "client.batch_size": 2}
    changes |= {"selection.clients_per_round": 2, "model.alphabet": "latin", "rounds": 1}
    first = hearing(run(tmp_path / "seed", changes).path, {"head.bias": 3.0})
    labelled = {**changes, **SELF, "init_from": first, "rounds": 2, "self_labels.threshold": [0.0, 0.0]}
    labelled["self_labels.guard"] = ["empty"]
    told = run(tmp_path / "told", labelled)
    table = pd.read_csv(manifest, keep_default_na=False)
    table.loc[table["split"] == "train", "text"] = ""
    table.to_csv(manifest, index=False)
    untold = run(tmp_path / "untold", labelled)
    assert untold.summary["model_sha256"] == told.summary["model_sha256"]
    assert untold.rounds["kept_share"].tolist() == told.rounds["kept_share"].tolist()
    assert untold.rounds["label_wer"].isna().all()
    with pytest.raises(InputError, match="the transcript is empty"):
        run(tmp_path / "truth", {**changes, "init_from": first})
    assert not (tmp_path / "truth").exists()


def test_a_public_split_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'self_labels.public_split' is 'public', which no utterance has"):
        run(tmp_path / "run", {"self_labels.server_steps": 1})
    assert not (tmp_path / "run").exists()


ESTIMATE = {
    "evaluate.estimate.every": 2,
    "evaluate.estimate.panel_share": 0.4,
    "evaluate.estimate.panel_utterances": 2,
    "evaluate.by": ["gender"],
    "rounds": 2,
}


@pytest.fixture(scope="module")
def estimating(start: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tmp_path_factory.mktemp("runs") / "estimating", {**start, **ESTIMATE})


@pytest.mark.thorough
def test_the_error_rate_of_the_fleet_is_estimated_beside_the_truth(estimating: fedasr.Run) -> None:
    rounds, result = estimating.rounds, estimating.estimates
    assert rounds["wer_estimate"].isna().tolist() == [True, False]
    whole = result[result["column"] == ""].iloc[0]
    assert (whole["panel_speakers"] + whole["fleet_speakers"]) == 12
    assert 2 <= whole["panel_speakers"] < 12
    assert 0 < whole["panel_words"] <= 2 * 7 * whole["panel_speakers"]
    assert 0 <= whole["wer_low"] <= whole["wer_estimate"] <= whole["wer_high"]
    assert whole["wer_low"] <= whole["fleet_wer"] <= whole["wer_high"]
    assert rounds["fleet_wer"][1] == whole["fleet_wer"]
    groups = result[result["column"] == "gender"]
    assert set(groups["value"]) == {"f", "m"}
    assert groups["panel_words"].sum() == whole["panel_words"]
    page = report_page(estimating)
    assert "Error rate without transcripts" in page
    assert "gender f" in page
    assert whole["expected_low"] <= whole["expected_wer"] <= whole["expected_high"]
    assert whole["excess_low"] <= whole["excess"] <= whole["excess_high"]


@pytest.mark.slow
def test_estimates_ask_and_change_nothing_of_the_model(
    estimating: fedasr.Run, start: dict[str, Any], tmp_path: Path
) -> None:
    """Nor does it matter in which order the devices answer, or whether they train at all."""
    plain = run(tmp_path / "plain", {**start, "rounds": 2})
    assert plain.summary["model_sha256"] == estimating.summary["model_sha256"]
    pool = run(tmp_path / "pool", {**start, **ESTIMATE, "runtime.executor": "pool", "runtime.workers": 3})
    pd.testing.assert_frame_equal(pool.estimates, estimating.estimates)
    none = run(tmp_path / "none", {**start, **ESTIMATE, "client.labels": "none", "evaluate.estimate.clients": 6})
    assert none.rounds["wer_estimate"].notna().tolist() == [False, True] or none.estimates["panel_speakers"].max() < 2
    assert (none.estimates["panel_speakers"] + none.estimates["fleet_speakers"]).max() == 6


@pytest.mark.slow
def test_estimates_and_alarms_are_the_same_after_a_resume(start: dict[str, Any], tmp_path: Path) -> None:
    """Of a model that training spoils; which alarm that raises, and when, depends on the machine's rounding."""
    spoilt = {
        **start,
        **ESTIMATE,
        "evaluate.estimate.every": 1,
        "client.optimizer": "sgd",
        "client.learning_rate": 100.0,
    }
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "run", {**spoilt, "rounds": 3}, callbacks=[Fails(2)])
    result = run(tmp_path / "run", {**spoilt, "rounds": 3}, resume=True).estimates
    pd.testing.assert_frame_equal(result, run(tmp_path / "whole", {**spoilt, "rounds": 3}).estimates)
    whole = result[result["column"] == ""]
    assert whole["round"].tolist() == [1, 2, 3]
    assert (whole["alarms"] != "").any()


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy.unit": "example", "privacy.noise_multiplier": 1.0},
        {"secure_aggregation.mode": "simulate", "privacy.unit": "user", "privacy.noise_at": "shares"},
        {"strategy.name": "central"},
    ],
)
def test_where_nothing_of_a_single_device_is_told_no_errors_are_counted(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"'evaluate\.estimate\.every' is"):
        override(load(tiny(model__alphabet="latin")), {"evaluate.estimate.every": 1, **changes})
