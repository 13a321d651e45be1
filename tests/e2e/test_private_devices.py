"""Noise on the devices: DP-SGD with an account on each of them, and noise on whole updates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import fedasr
from fedasr.cli.main import status
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.models.weights import read_weights
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import Event, Gaussian, MicroBatchGaussian, PoissonGaussian
from fedasr.runtime.checkpoint import Checkpoint
from fedasr.runtime.launch import check_accounts, launch
from fedasr.runtime.run_folder import RunFolder

from .test_continual import StopAfter
from .tiny import fedasr as run_in_a_process
from .tiny import tiny

COMMON: dict[str, Any] = {
    "rounds": 4,
    "client__optimizer": "sgd",
    "client__learning_rate": 0.1,
    "client__batch_size": 2,
    "data__synthetic__utterances_per_speaker": 5,
    "strategy__name": "fedavg",
    "selection__name": "uniform",
}


def example(**changes: Any) -> dict[str, Any]:
    """Return a run whose utterances are protected."""
    return tiny(**{**COMMON, "privacy__unit": "example", "privacy__noise_multiplier": 1.1, **changes})


def device(**changes: Any) -> dict[str, Any]:
    """Return a run whose users are protected from the server."""
    private = {"privacy__unit": "user", "privacy__noise_at": "device", "privacy__noise_multiplier": 2.0}
    return tiny(**{**COMMON, **private, "strategy__weighting": "uniform", **changes})


def difference(quiet: fedasr.Run, noisy: fedasr.Run) -> Any:
    """Return how the final weights differ, shape ``(parameters,)``."""
    before, after = (read_weights(run.path)[0] for run in (quiet, noisy))
    return np.concatenate([(after[name] - before[name]).astype(np.float64).reshape(-1) for name in before])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(example(), out=tmp_path_factory.mktemp("runs") / "example")


@pytest.mark.quick
def test_every_device_pays_for_what_it_ran(reference: fedasr.Run) -> None:
    clients = reference.clients
    assert (clients["status"] == "ok").all()
    for _, rows in clients.groupby("client"):
        stored = int(rows["examples"].iloc[0])
        q = min(1.0, 2 / stored)
        for turns, epsilon in enumerate(rows.sort_values("round")["epsilon"], 1):
            steps = turns * int(np.ceil(1 / q))
            event = PoissonGaussian(unit="example", noise_multiplier=1.1, sampling_probability=q, steps=steps)
            assert epsilon == pytest.approx(epsilon_of([event], 1e-5, "rdp").epsilon)


def test_the_document_gives_the_largest_and_the_spread(reference: fedasr.Run) -> None:
    result, clients = reference.privacy, reference.clients
    assert result is not None
    last = clients.groupby("client")["epsilon"].max()
    assert result["epsilon"] == reference.summary["epsilon"] == pytest.approx(last.max())
    assert result["clients"]["clients"] == len(last)
    assert result["clients"]["epsilon"]["median"] == pytest.approx(last.median())
    wanted = {"unit": "example", "adjacency": "add-remove", "sampling": "poisson", "seen_by": "server", "delta": 1e-5}
    assert {name: result[name] for name in wanted} == wanted
    assert reference.rounds["epsilon"].is_monotonic_increasing
    assert "keeps its own ledger" in (reference.path / "report.html").read_text(encoding="utf-8")


def test_nothing_but_the_protected_leaves_the_devices(reference: fedasr.Run) -> None:
    assert reference.clients["train_loss"].isna().all()
    assert reference.clients["loss_square"].isna().all()
    assert reference.rounds["train_loss"].isna().all()


@pytest.mark.parametrize(
    "micro_batches", [None, pytest.param(2, marks=pytest.mark.slow)], ids=["each utterance", "micro-batches"]
)
def test_the_update_carries_the_noise_that_was_asked_for(micro_batches: int | None, tmp_path: Path) -> None:
    """What the server saw of one device in one step: with noise, and with next to none; z·C over the expected batch."""
    one = {"rounds": 1, "client__steps": 1, "selection__clients_per_round": 1, "privacy__clip_norm": 0.5}
    one["privacy__micro_batches"] = micro_batches
    quiet = fedasr.run(example(**one, privacy__noise_multiplier=1e-5), out=tmp_path / "quiet")
    noisy = fedasr.run(example(**one, privacy__noise_multiplier=3.0), out=tmp_path / "noisy")
    assert quiet.clients["client"].tolist() == noisy.clients["client"].tolist()
    stored = int(noisy.clients["examples"].iloc[0])
    expected_batch = min(1.0, 2 / stored) * stored if micro_batches is None else micro_batches
    noise = difference(quiet, noisy) / (0.1 * 3.0 * 0.5 / expected_batch)
    assert noise.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(noise)))
    assert stats.kstest(noise, "norm").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"privacy__clipping": "per-layer"}, {"privacy__clipping": "automatic", "privacy__micro_batches": 2}],
    ids=["flat", "per-layer", "automatic-micro-batches"],
)
def test_the_same_bits_in_workers(changes: dict[str, Any], tmp_path: Path) -> None:
    serial = fedasr.run(example(**changes), out=tmp_path / "serial")
    pool = {"runtime.executor": "pool", "runtime.workers": 3}
    pooled = fedasr.run(example(**changes), out=tmp_path / "pool", overrides=pool)
    assert serial.summary["model_sha256"] == pooled.summary["model_sha256"]
    assert serial.privacy == pooled.privacy


@pytest.mark.slow
def test_a_run_resumed_ten_times_has_the_ledger_of_an_uninterrupted_one(tmp_path: Path) -> None:
    config = load(example(rounds=11, privacy__epsilon=9.0, selection__clients_per_round=3))
    whole = fedasr.run(config, out=tmp_path / "whole")
    for last in range(1, 12):
        launch(config, tmp_path / "parts", resume=True, watcher=StopAfter(last))
    parts = fedasr.load_run(tmp_path / "parts")
    assert parts.summary["status"] == "done"
    assert parts.summary["model_sha256"] == whole.summary["model_sha256"]
    assert parts.privacy == whole.privacy
    assert parts.clients["epsilon"].tolist() == whole.clients["epsilon"].tolist()


@pytest.mark.slow
def test_a_device_that_has_spent_its_budget_is_not_selected_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(example(rounds=30, privacy__epsilon=12.0, selection__clients_per_round=6)))
    assert status(["run", str(config), "--out", str(tmp_path / "run")]) == 0
    assert "every device has spent its privacy budget" in capsys.readouterr().err
    run = fedasr.load_run(tmp_path / "run")
    assert run.summary["status"] == "done"
    assert run.summary["rounds"] == len(run.rounds) < 30
    assert (run.clients["epsilon"].dropna() <= 12.0).all()
    result = run.privacy
    assert result is not None
    assert result["clients_spent"] == run.summary["clients"]
    assert result["budget_epsilon"] == 12.0
    # A device says with its last update that nothing is left, so that no message is wasted on it.
    assert (run.clients["status"] == "ok").all()
    turns = run.clients.groupby("client").size()
    alike = run.clients.groupby("client")["examples"].first()
    assert turns.groupby(alike).nunique().eq(1).all()


@pytest.mark.slow
def test_a_device_that_cannot_afford_one_round_says_so(tmp_path: Path) -> None:
    """Devices with little speech draw each utterance often: the noise is too little for them, not for the others."""
    many = {"data__synthetic__utterances_per_speaker": 8, "data__synthetic__activity": "lognormal"}
    free = fedasr.run(example(rounds=6, **many), out=tmp_path / "free")
    first = free.clients.groupby("client")["epsilon"].first()
    between = float(np.median(first.unique()))
    run = fedasr.run(example(rounds=6, privacy__epsilon=between, **many), out=tmp_path / "run")
    refused = run.clients[run.clients["status"] == "spent"]
    assert len(refused)
    assert refused["epsilon"].isna().all()
    assert set(refused["reason"]) == {"its privacy budget is spent"}
    assert refused["client"].is_unique
    assert (run.rounds["clients_failed"] == 0).all()
    assert run.summary["epsilon"] <= between


@pytest.mark.slow
def test_each_device_finds_its_noise_for_a_budget(tmp_path: Path) -> None:
    changes = {"privacy__noise_multiplier": None, "privacy__epsilon": 4.0, "privacy__participations": 2}
    run = fedasr.run(example(**changes), out=tmp_path / "run")
    assert run.config.privacy.noise_multiplier is None
    turns = run.clients.groupby("client").size()
    spent = run.clients.groupby("client")["epsilon"].max()
    assert (turns <= 2).all()
    assert spent[turns == 2].between(3.9, 4.0).all()
    assert (spent[turns == 1] < 4.0).all()


@pytest.mark.slow
def test_efficient_dp_sgd_is_charged_for_its_true_sensitivity(tmp_path: Path) -> None:
    """Micro-batch means, noise that decays with every pass: twice the clip norm, every step with its own noise."""
    changes = {
        "rounds": 3,
        "privacy__micro_batches": 2,
        "privacy__noise_decay": 0.5,
        "privacy__clipping": "per-layer",
        "privacy__noise_multiplier": 8.0,
    }
    run = fedasr.run(example(**changes), out=tmp_path / "run")
    for _, rows in run.clients.groupby("client"):
        q = min(1.0, 2 / int(rows["examples"].iloc[0]))
        events: list[Event] = [
            MicroBatchGaussian(
                unit="example", noise_multiplier=8.0 * 0.5**turn, sampling_probability=q, steps=int(np.ceil(1 / q))
            )
            for turn in range(len(rows))
        ]
        assert rows["epsilon"].max() == pytest.approx(epsilon_of(events, 1e-5, "rdp").epsilon)
    assert run.privacy is not None
    kinds = {entry["event"]["kind"] for entry in run.privacy["ledger"]["entries"]}
    assert kinds == {"micro-batch-gaussian"}


@pytest.mark.slow
def test_noise_on_the_device_is_what_the_server_sees(tmp_path: Path) -> None:
    """One device, one round: the clipped update and Gaussian noise of z·C, undivided."""
    one = {"rounds": 1, "selection__clients_per_round": 1, "privacy__clip_norm": 0.3}
    quiet = fedasr.run(device(**one, privacy__noise_multiplier=1e-5), out=tmp_path / "quiet")
    noisy = fedasr.run(device(**one), out=tmp_path / "noisy")
    noise = difference(quiet, noisy) / (2.0 * 0.3)
    assert noise.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * len(noise)))
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert noisy.clients["train_loss"].isna().all()


@pytest.mark.slow
def test_a_user_pays_for_each_turn_and_for_no_other(tmp_path: Path) -> None:
    run = fedasr.run(device(rounds=6), out=tmp_path / "run")
    most = int(run.clients.groupby("client").size().max())
    assert 1 < most < 6
    event = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=2.0, steps=most)
    result = run.privacy
    assert result is not None
    assert run.summary["epsilon"] == result["epsilon"] == pytest.approx(epsilon_of([event], 1e-5).epsilon)
    assert (result["seen_by"], result["sampling"], result["most_turns"]) == ("server", "none", most)


@pytest.mark.slow
def test_users_without_turns_are_not_selected_again(tmp_path: Path) -> None:
    changes = {"privacy__noise_multiplier": None, "privacy__epsilon": 6.0, "privacy__participations": 2}
    config = load(device(rounds=12, **changes))
    whole = fedasr.run(config, out=tmp_path / "whole")
    turns = whole.clients.groupby("client").size()
    assert (turns == 2).all()
    assert 5.9 < whole.summary["epsilon"] <= 6.0
    assert "every user has had the 2 participations" in whole.summary["stopped"]
    for last in (1, 3, 12):
        launch(config, tmp_path / "parts", resume=True, watcher=StopAfter(last))
    parts = fedasr.load_run(tmp_path / "parts")
    assert parts.privacy == whole.privacy
    assert parts.summary["model_sha256"] == whole.summary["model_sha256"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"selection__name": "oort"}, "tell their losses"),
        ({"evaluate__client_side": 1}, "tell their error rates"),
        ({"client__batch_seconds": 10.0}, "client.batch_size"),
        ({"strategy__weighting": "seconds"}, "how long their speech is"),
        ({"privacy__clipping": "adaptive"}, "flat, per-layer or automatic"),
        ({"privacy__noise_at": "device"}, "privacy.noise_at"),
        ({"privacy__population": 1000}, "privacy.population"),
        ({"model__alphabet": "auto"}, "model.alphabet"),
        ({"privacy__noise_multiplier": None}, "privacy.epsilon"),
    ],
    ids=["losses", "error-rates", "seconds", "weights", "adaptive", "place", "population", "alphabet", "no-noise"],
)
def test_what_would_leak_or_not_be_read_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        load(example(**changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"privacy__micro_batches": 2}, "privacy.micro_batches"),
        ({"privacy__clipping": "automatic"}, "flat, per-layer or adaptive"),
        ({"privacy__clipping": "adaptive"}, "flat or per-layer"),
        ({"privacy__public_activity": True}, "privacy.public_activity"),
        ({"selection__name": "afl"}, "tell their losses"),
        ({"privacy__noise_at": "server", "privacy__participations": 3}, "privacy.participations"),
    ],
    ids=["micro-batches", "automatic", "adaptive", "activity", "losses", "participations"],
)
def test_what_noise_on_whole_updates_does_not_read_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        load(device(**changes))


@pytest.mark.slow
def test_accounts_that_would_be_forgotten_stop_a_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Flower's engine starts every client afresh: going on there would spend a second budget."""
    launch(load(example()), tmp_path / "run", watcher=StopAfter(2))
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    config = str(tmp_path / "run" / "config.yaml")
    assert status(["run", config, "runtime.name=flower", "--out", str(tmp_path / "run"), "--resume"]) == 2
    said = capsys.readouterr().err
    assert "privacy ledgers are not in its checkpoint" in said
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*")) == before


@pytest.mark.parametrize("name", ["local", "flower"])
def test_a_run_in_which_nobody_has_spent_yet_goes_on_anywhere(name: str, tmp_path: Path) -> None:
    """An empty Poisson cohort leaves no state and no account; what Flower's engine left has accounts and no states."""
    config = load(example(runtime__name=name))
    nothing, something = {"epsilons": {}}, {"epsilons": {"3": 1.0}}
    folder = RunFolder(tmp_path)
    check_accounts(config, Checkpoint(1, {}, facts={"privacy": nothing}), folder)
    with pytest.raises(InputError, match="privacy ledgers are not in its checkpoint"):
        check_accounts(config, Checkpoint(1, {}, facts={"privacy": something}), folder)


@pytest.mark.slow
def test_flowers_engine_keeps_the_same_accounts(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Flower's simulation engine needs Ray: pip install 'fedasr[ray]'")
    config = example(rounds=2, privacy__epsilon=14.0)
    local = fedasr.run(config, out=tmp_path / "local")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    done = run_in_a_process(
        "run", str(file), "runtime.name=flower", "runtime.workers=2", "--out", str(tmp_path / "flower")
    )
    assert done.returncode == 0, done.stderr
    flower = fedasr.load_run(tmp_path / "flower")
    assert flower.summary["model_sha256"] == local.summary["model_sha256"]
    assert flower.privacy == local.privacy
    assert flower.clients["epsilon"].tolist() == local.clients["epsilon"].tolist()
