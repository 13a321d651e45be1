"""Central training: what it shares with a federated run, to the bit, and what it is compared by."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import fedasr
from fedasr.cli.main import status
from fedasr.config import load, override
from fedasr.errors import InputError, RunFailed
from fedasr.results.pages.report import write_report
from fedasr.runtime.callbacks import Row
from fedasr.runtime.launch import launch

from .own_callbacks import Kills
from .tiny import ROOT, environment, tiny

CENTRAL = {"strategy.name": "central"}
EVERYTHING = 21
"""Utterances that the clients hold."""
SETTINGS = {"client.epochs": 2, "data.augment.time_masks": 1, "data.augment.gain_db": 3.0, "client.schedule": "cosine"}
RESULTS = ["round", "loss", "wer", "cer", "train_loss", "examples", "audio_seconds"]
ALONE: dict[str, Any] = {
    "rounds": 1,
    "data__partition": {"name": "iid"},
    "data__clients": 1,
    "selection": {"clients_per_round": 1},
    "strategy": {"name": "fedavg"},
    "client__optimizer": "sgd",
    "client__learning_rate": 0.05,
}


ONLY_COUNTED: dict[str, Any] = {"evaluate__every": 0, "model__hidden": 8}


class Fails(fedasr.Callback):
    """Breaks the run off after a round that is in the checkpoint."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_round(self, row: Row) -> None:
        if row["round"] == self.after:
            raise RuntimeError("broken off")


def run(config: dict[str, Any], out: Path, overrides: dict[str, Any], **how: Any) -> fedasr.Run:
    """Run a config without a report, which takes longer than the run."""
    return fedasr.load_run(launch(override(load(config), overrides), out, **how))


@pytest.fixture(scope="module")
def federated(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tiny(), tmp_path_factory.mktemp("runs") / "federated", SETTINGS)


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tiny(), tmp_path_factory.mktemp("runs") / "central", {**SETTINGS, **CENTRAL})


def weights(found: fedasr.Run) -> dict[str, Any]:
    return load_file(found.path / "model.safetensors")


def assert_same(found: fedasr.Run, other: fedasr.Run) -> None:
    assert found.summary["model_sha256"] == other.summary["model_sha256"]
    assert found.summary["utterances_trained"] == other.summary["utterances_trained"]
    pd.testing.assert_frame_equal(found.rounds[RESULTS], other.rounds[RESULTS])


@pytest.mark.quick
def test_one_client_that_holds_everything_is_central_training(tmp_path: Path) -> None:
    """The same batches, dropout and steps; the federated weights are ``w + (w' - w)``, which rounds once more."""
    federated = run(tiny(**ALONE), tmp_path / "federated", {})
    central = run(tiny(**ALONE), tmp_path / "central", CENTRAL)
    assert central.rounds["train_loss"][0] == federated.rounds["train_loss"][0]
    expected = weights(federated)
    for name, result in weights(central).items():
        np.testing.assert_allclose(result, expected[name], rtol=0, atol=2.0**-23)


@pytest.mark.slow
def test_so_it_is_over_several_rounds(tmp_path: Path) -> None:
    federated = run(tiny(**ALONE), tmp_path / "federated", {"rounds": 3})
    central = run(tiny(**ALONE), tmp_path / "central", {"rounds": 3, **CENTRAL})
    np.testing.assert_allclose(central.rounds["train_loss"], federated.rounds["train_loss"], rtol=1e-6)
    whole = run(tiny(**ALONE), tmp_path / "all", {"rounds": 3, **CENTRAL, "strategy.central_round": "all"})
    assert_same(whole, central)


@pytest.mark.slow
def test_the_optimiser_goes_on_from_round_to_round(tmp_path: Path) -> None:
    """On a device AdamW starts afresh with every round; here its moments go on, from the second round."""
    adaptive = {**CENTRAL, "client.optimizer": "adamw", "client.learning_rate": 0.003, "rounds": 3}
    federated = run(tiny(**ALONE), tmp_path / "federated", {**adaptive, "strategy.name": "fedavg"})
    central = run(tiny(**ALONE), tmp_path / "central", adaptive)
    assert central.rounds["train_loss"][0] == federated.rounds["train_loss"][0]
    assert central.rounds["train_loss"][2] != pytest.approx(federated.rounds["train_loss"][2], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"selection.name": "round-robin"}, {"client.steps": 3}])
def test_each_round_is_as_much_as_the_federated_one(changes: dict[str, Any], tmp_path: Path) -> None:
    federated = run(tiny(**ONLY_COUNTED), tmp_path / "federated", changes)
    central = run(tiny(**ONLY_COUNTED), tmp_path / "central", {**changes, **CENTRAL})
    assert central.rounds["examples"].tolist() == federated.rounds["examples"].tolist()
    np.testing.assert_allclose(central.rounds["audio_seconds"], federated.rounds["audio_seconds"], atol=0.02)


@pytest.mark.slow
def test_all_passes_count(federated: fedasr.Run, central: fedasr.Run) -> None:
    expected = 2 * federated.rounds["examples"].sum()
    assert expected <= central.summary["utterances_trained"] < expected + central.config.client.batch_size
    assert central.summary["clients"] == federated.summary["clients"] == 12
    assert not len(central.clients)


@pytest.mark.slow
@pytest.mark.parametrize("broken_in", [1, 2])
def test_broken_off_and_resumed(central: fedasr.Run, broken_in: int, tmp_path: Path) -> None:
    overrides = {**SETTINGS, **CENTRAL}
    with pytest.raises(RunFailed, match="broken off"):
        run(tiny(), tmp_path / "run", overrides, callbacks=[Fails(broken_in)])
    resumed = run(tiny(), tmp_path / "run", overrides, resume=True)
    assert_same(resumed, central)


def run_until_killed(folder: str) -> None:
    """Run until the process is killed after round 2; what the child process of the next test does."""
    run(tiny(), Path(folder), {**SETTINGS, **CENTRAL}, callbacks=[Kills()])


@pytest.mark.slow
def test_killed_and_resumed(central: fedasr.Run, tmp_path: Path) -> None:
    program = f"from {__name__} import run_until_killed; run_until_killed({str(tmp_path / 'run')!r})"
    command = [sys.executable, "-c", program]
    killed = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_same(run(tiny(), tmp_path / "run", {**SETTINGS, **CENTRAL}, resume=True), central)


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", "period"])
def test_speech_that_comes_over_time(keep: str, tmp_path: Path) -> None:
    """A round trains on what is stored by then; a run that is broken off in any period goes on with the same bits."""
    overrides = {**CENTRAL, "rounds": 4, "evaluate.every": 0, "stream.arrival": "poisson", "stream.periods": 2}
    overrides["stream.keep"] = keep
    whole = run(tiny(), tmp_path / "whole", overrides)
    assert whole.rounds["period"].tolist() == [1, 1, 2, 2]
    for number in (1, 2, 3):
        with pytest.raises(RunFailed, match="broken off"):
            run(tiny(), tmp_path / f"{number}", overrides, callbacks=[Fails(number)])
        assert_same(run(tiny(), tmp_path / f"{number}", overrides, resume=True), whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "runtime",
    [
        {"runtime.executor": "pool", "runtime.workers": 3},
        {"runtime.executor": "debug"},
        {"runtime.name": "flower"},
        {"runtime.name": "ray", "runtime.executor": "pool"},
    ],
)
def test_no_runtime_starts_for_nobody_and_changes_a_bit(
    central: fedasr.Run, runtime: dict[str, Any], tmp_path: Path
) -> None:
    assert_same(run(tiny(), tmp_path / "run", {**SETTINGS, **CENTRAL, **runtime}), central)


@pytest.mark.slow
def test_report_and_comparison(
    federated: fedasr.Run, central: fedasr.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write_report(central.path, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Speech pooled in one place" in page
    assert "How many clients took part" not in page
    assert status(["compare", str(federated.path), str(central.path), "--metric", "cer", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "strategy.name=central" in json.dumps(result)
    out = tmp_path / "page.html"
    assert status(["compare", str(federated.path), str(central.path), "--x", "audio_seconds", "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"privacy.unit": "user", "privacy.epsilon": 1.0}, "'privacy.unit' is 'user'; pooled speech has no updates"),
        ({"attack.name": "zero", "attack.share": 0.2}, "'attack.name' is set but 'strategy.name' is 'central'"),
        ({"devices.clock": True}, "'devices.clock' is set but 'strategy.name' is 'central'"),
        ({"evaluate.client_side": 1}, "'evaluate.client_side' is set but 'strategy.name' is 'central'"),
        ({"strategy.aggregation": "median", "strategy.weighting": "uniform"}, "'strategy.aggregation' is set but"),
        ({"client.proximal": 0.1}, "'client.proximal' is 0.1, and there is no global model"),
        ({"client_app": "mine:app"}, "'client_app' is set but 'strategy.name' is 'central'"),
        ({"runtime.name": "deployment"}, "'runtime.name' is 'deployment'"),
        ({"selection.name": "oort"}, "'selection.name' is 'oort', which chooses by losses"),
        ({"selection.name": "power-of-choice"}, "set strategy.central_round=all, or selection.name=uniform"),
        ({"strategy.name": "fedavg", "strategy.central_round": "all"}, "'strategy.central_round' is set but"),
    ],
)
def test_what_central_training_cannot_have_is_a_line(changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(tiny(), tmp_path / "run", {**CENTRAL, **changes})
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


FEDERATED = ("quickstart", "ten_thousand_clients", "speech_commands", "seed_keywords")


@pytest.mark.parametrize("name", FEDERATED)
def test_one_override_makes_a_federated_config_central(name: str) -> None:
    assert load(name, ["strategy.name=central"]).strategy.name == "central"


def test_all_speech_a_round_needs_no_selection(tmp_path: Path) -> None:
    """Also where the federated cohort would depend on losses, or be larger than the population."""
    changes = {"strategy.central_round": "all", "selection.name": "oort", "selection.clients_per_round": 20}
    result = run(tiny(rounds=1), tmp_path / "run", {**CENTRAL, **changes})
    assert result.rounds["examples"].tolist() == [result.summary["utterances_trained"]] == [EVERYTHING]


PRIVATE = {
    **CENTRAL,
    "privacy.unit": "example",
    "privacy.epsilon": 4.0,
    "privacy.delta": 1e-3,
    "model.alphabet": "latin",
    "client.steps": 2,
    "client.epochs": 1,
    "client.batch_size": 4,
    "evaluate.every": 0,
}


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    """Private central training, with what draws for each utterance."""
    return run(tiny(), tmp_path_factory.mktemp("private") / "run", {**PRIVATE, "data.augment.time_masks": 1})


def test_the_pool_has_one_ledger(private: fedasr.Run) -> None:
    """Every step draws each of all utterances with the same probability; noise is found for all steps of the run."""
    assert private.privacy is not None
    (entry,) = private.privacy["ledger"]["entries"]
    assert entry["population"] == EVERYTHING
    assert entry["event"]["sampling_probability"] == pytest.approx(4 / EVERYTHING)
    assert entry["event"]["steps"] == private.summary["steps"] > private.rounds["round"].max()
    assert 3.9 < private.privacy["epsilon"] <= 4.0
    assert (private.privacy["unit"], private.privacy["seen_by"]) == ("example", "everyone")
    assert private.rounds["train_loss"].isna().all()
    exact = dp_accounting_epsilon(entry["event"], 1e-3)
    assert exact <= private.privacy["epsilon"] <= 1.3 * exact


def dp_accounting_epsilon(event: dict[str, Any], delta: float) -> float:
    """Return ε by another accountant."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.pld import PLDAccountant

    step = PoissonSampledDpEvent(event["sampling_probability"], GaussianDpEvent(event["noise_multiplier"]))
    return float(PLDAccountant().compose(step, event["steps"]).get_epsilon(delta))


@pytest.mark.slow
def test_private_central_training_is_resumed_with_the_same_bits_and_ledger(private: fedasr.Run, tmp_path: Path) -> None:
    out = tmp_path / "resumed"
    with pytest.raises(RuntimeError, match="broken off"):
        run(tiny(), out, {**PRIVATE, "data.augment.time_masks": 1}, callbacks=[Fails(1)])
    charged = json.loads((out / "privacy.json").read_text())
    assert 0 < charged["epsilon"] < private.privacy["epsilon"]  # type: ignore[index]
    resumed = run(tiny(), out, {**PRIVATE, "data.augment.time_masks": 1}, resume=True)
    assert resumed.summary["model_sha256"] == private.summary["model_sha256"]
    assert resumed.privacy == private.privacy


def test_a_private_pool_stops_before_its_budget_is_exceeded(tmp_path: Path) -> None:
    small = run(tiny(), tmp_path / "run", {**PRIVATE, "privacy.noise_multiplier": 0.9, "privacy.epsilon": 4.0})
    assert small.privacy is not None
    assert 0 < small.privacy["epsilon"] <= 4.0
    assert small.summary["rounds"] < tiny()["rounds"]
    assert "is spent after" in small.summary["stopped"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"privacy.unit": "user", "strategy.weighting": "uniform"}, "set privacy.unit=example"),
        ({"privacy.participations": 3}, "'privacy.participations' is 3, which is of devices"),
        ({"stream.arrival": "poisson", "stream.periods": 2}, "set stream.arrival=static"),
    ],
)
def test_what_private_central_training_cannot_have(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        override(load(tiny()), {**PRIVATE, **changes})


@pytest.mark.slow
def test_the_ledger_of_a_pool_is_audited(tmp_path: Path) -> None:
    from fedasr.audits.mechanism import audit_mechanism

    report = audit_mechanism(override(load(tiny()), PRIVATE))
    assert not report.contradiction
    assert any("a pool with 21" in finding.sentence for finding in report.findings)
    assert all("whoever sees all" in finding.observer for finding in report.findings)
