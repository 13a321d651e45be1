"""Byzantine clients: what is no update is refused and counted, what looks like one must not steer the model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import fedasr
from fedasr.clients.client_app import app as honest
from fedasr.config import load
from fedasr.experiment import Experiment, as_json
from fedasr.flower.messages import RUN_ID
from fedasr.flower.records import values_of
from fedasr.runtime.executors import Executor, PoolExecutor, SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import open_run
from fedasr.runtime.session import Silent, session
from fedasr.strategies.server_app import app as server_app

from .malformed import SomeMalformed
from .tiny import tiny

CLIENTS = 10
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "mean": {},
    "median": {"aggregation": "median"},
    "trimmed-mean": {"aggregation": "trimmed-mean", "trim_share": 0.2},
    "norm-bound": {"aggregation": "norm-bound", "norm_bound": 0.7},
}
ROBUST = ["median", "trimmed-mean", "norm-bound"]


def everybody(attack: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a config in which all ten clients take part in every round, and learn quickly."""
    config = tiny(
        rounds=5,
        data__synthetic__speakers=CLIENTS,
        model={"encoder": "lstm", "channels": [16, 16], "hidden": 16},
        client={"optimizer": "adamw", "learning_rate": 0.01, "batch_size": 2},
        strategy={"name": "fedavg", "weighting": "uniform"},
        selection={"name": "uniform", "clients_per_round": CLIENTS},
    )
    config["strategy"].update(changes)
    if attack is not None:
        config["attack"] = attack
    return config


def names_of(config: dict[str, Any]) -> list[str]:
    """Return the names of the clients."""
    return [str(name) for name in Experiment(load(config)).partition.names]


@cache
def flipped() -> dict[str, Any]:
    """Return an attack by two of ten clients: ten times the update, reversed."""
    names = names_of(everybody())
    return {"name": "sign-flip", "options": {"factor": 10}, "clients": [names[2], names[7]]}


class Shuffled(LocalGrid):
    """A grid whose replies arrive in any order."""

    reduce = None  # type: ignore[assignment]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield the replies shuffled."""
        replies = list(super().send_and_receive(messages, timeout=timeout))
        random.Random(1).shuffle(replies)
        yield from replies


class Notes(Silent):
    """A watcher that keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)


def run(
    config: dict[str, Any],
    out: Path,
    app: ClientApp = honest,
    *,
    workers: int = 0,
    grid: type[LocalGrid] = LocalGrid,
    resume: bool = False,
    watcher: Notes | None = None,
) -> fedasr.Run:
    """Run a config with a client app of our own."""
    result = open_run(load(config), out, resume)
    assert result is not None
    executor: Executor = PoolExecutor(app, "", workers) if workers else SerialExecutor(app)
    settings = {"experiment": as_json(result.config), "out": str(out), "resume": resume}
    try:
        with session(watcher):
            server_app(grid(executor, len(result.partition)), Context(RUN_ID, 0, {}, RecordDict(), settings))
    finally:
        executor.close()
    return fedasr.load_run(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return ``(aggregation, whether a fifth is Byzantine) -> run``, each made once."""

    @cache
    def made(aggregation: str, attacked: bool) -> fedasr.Run:
        out = tmp_path_factory.mktemp("runs") / "run"
        return run(everybody(flipped() if attacked else None, **AGGREGATIONS[aggregation]), out)

    return made


@pytest.mark.quick
def test_a_fifth_of_flipped_updates_turns_the_mean_around(runs: Any) -> None:
    sound, broken = runs("mean", False).rounds["loss"], runs("mean", True).rounds["loss"]
    assert sound.iloc[-1] < 0.8 * sound.iloc[0]
    assert broken.iloc[-1] > broken.iloc[0] > sound.iloc[0]
    assert broken.is_monotonic_increasing
    assert (runs("mean", True).clients["status"] == "ok").all(), "a flipped update looks like any other"


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", ROBUST)
def test_robust_aggregates_learn_all_the_same(runs: Any, aggregation: str) -> None:
    sound, attacked = runs(aggregation, False).rounds["loss"], runs(aggregation, True).rounds["loss"]
    assert sound.iloc[-1] < 0.9 * sound.iloc[0]
    assert attacked.iloc[-1] < 0.9 * attacked.iloc[0]
    assert attacked.iloc[-1] < runs("mean", True).rounds["loss"].iloc[0]
    assert (runs(aggregation, True).rounds["clients_failed"] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", ROBUST)
@pytest.mark.parametrize("how", ["1 worker", "2 workers", "shuffled"])
def test_the_same_bits_with_byzantine_clients(runs: Any, aggregation: str, how: str, tmp_path: Path) -> None:
    config = everybody(flipped(), **AGGREGATIONS[aggregation])
    workers = {"1 worker": 1, "2 workers": 2}.get(how, 0)
    again = run(config, tmp_path / "run", workers=workers, grid=LocalGrid if workers else Shuffled)
    assert again.summary["model_sha256"] == runs(aggregation, True).summary["model_sha256"]


class Killed(SomeMalformed):
    """The process goes away in a round, when half of the clients have answered."""

    def __call__(self, message: Message, context: Context) -> Message:
        if values_of(message, "config")["round"] == 3 and context.node_id == CLIENTS // 2:
            raise KeyboardInterrupt
        return super().__call__(message, context)


@pytest.mark.slow
@pytest.mark.parametrize("aggregation", ["median", "trimmed-mean"])
def test_the_same_bits_after_a_kill(runs: Any, aggregation: str, tmp_path: Path) -> None:
    config = everybody(flipped(), **AGGREGATIONS[aggregation])
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", Killed(honest, {}))
    resumed = run(config, tmp_path / "run", resume=True)
    assert len(resumed.rounds) == 5
    assert resumed.summary["model_sha256"] == runs(aggregation, True).summary["model_sha256"]


NONSENSE = {
    0: ("nan", "client 0: the update holds values that are not finite"),
    2: ("huge", "client 2: the update is too large to be meant (L2 norm"),
    4: ("shape", "client 4: array '"),
    5: ("dtype", "client 5: array '"),
    7: ("boast", "client 7: 'num-examples' is 1000000000; plausible is at most "),
    8: ("no metrics", "client 8: the reply has no metrics"),
}


class Broken(SomeMalformed):
    """The same clients fail honestly instead."""

    def __call__(self, message: Message, context: Context) -> Message:
        if int(context.node_config["partition-id"]) in self.faults:
            raise RuntimeError("broken")
        return super().__call__(message, context)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("aggregation", ["mean", "median"])
def test_what_is_no_update_counts_as_a_failure_and_changes_nothing(
    aggregation: str, workers: int, tmp_path: Path
) -> None:
    """The model has the bits of a run in which these clients fail."""
    config = everybody(**AGGREGATIONS[aggregation], max_failed_share=0.7)
    config["rounds"] = 2
    faults = {client: fault for client, (fault, _) in NONSENSE.items()}
    notes = Notes()
    attacked = run(config, tmp_path / "malformed", SomeMalformed(honest, faults), workers=workers, watcher=notes)
    failed = run(config, tmp_path / "failed", Broken(honest, faults))
    assert attacked.summary["model_sha256"] == failed.summary["model_sha256"]
    assert attacked.rounds["clients_failed"].tolist() == [6, 6]
    assert attacked.rounds["clients_replied"].tolist() == [4, 4]
    refused = attacked.clients[attacked.clients["status"] == "failed"]
    reasons = dict(zip(refused["client"].astype(str), refused["reason"], strict=False))
    names = names_of(config)
    for client, (_, why) in NONSENSE.items():
        assert reasons[names[client]].startswith(why)
    assert (refused["examples"] == 0).all()
    assert (refused["bytes_up"] > 0).all(), "what was sent was sent"
    assert attacked.rounds["examples"].equals(failed.rounds["examples"])
    assert sum("round 1: client " in note for note in notes.notes) == 3, "the first three are shown"


def test_malformed_replies_alone_end_the_run_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(fedasr.errors.RunFailed, match=r"round 1: 10 of 10 clients failed .*values that are not finite"):
        run(everybody(), tmp_path / "run", SomeMalformed(honest, dict.fromkeys(range(CLIENTS), "nan")))


class WrongAnswers(SomeMalformed):
    """Clients whose answers to evaluations and questions make no sense."""

    def __call__(self, message: Message, context: Context) -> Message:
        reply = super().__call__(message, context)
        kind, client = message.metadata.message_type, int(context.node_config["partition-id"])
        if kind == "evaluate" and client < 2:
            changes = {"words": 10**9} if client else {"word-errors": -(10**9)}
            metrics = reply.content["metrics"]
            assert isinstance(metrics, MetricRecord)
            metrics.update(changes)
        elif kind == "query.loss" and client in (2, 3):
            reply.content["metrics"] = MetricRecord({"loss": float("inf")} if client == 2 else {"word": 1})
        return reply


def test_other_answers_are_checked_too(tmp_path: Path) -> None:
    config = everybody()
    config |= {
        "rounds": 1,
        "evaluate": {"client_side": 1},
        "selection": {"name": "power-of-choice", "clients_per_round": CLIENTS - 2, "candidates": CLIENTS},
    }
    notes = Notes()
    result = run(config, tmp_path / "run", WrongAnswers(honest, {}), watcher=notes)
    names = names_of(config)
    chosen = result.clients["client"].tolist()
    assert names[2] not in chosen, "an infinite loss is no reason to be chosen first"
    assert names[3] not in chosen
    assert 0 <= result.rounds["client_wer"].iloc[0] <= 3
    assert [note for note in notes.notes if "'query.loss': 'loss' is inf; expected a finite number" in note]
    assert [note for note in notes.notes if "'query.loss': 'loss' is missing" in note]
    assert [note for note in notes.notes if "'evaluate': 'word" in note]


class Opposed:
    """An attack of one's own: against the colluders' mean, as long as the honest update."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __call__(self, update: Any, weights: Any, collusion: Any, rng: Any) -> Any:
        mean = collusion.updates.mean(axis=0)
        return -self.factor * mean * np.linalg.norm(update) / np.linalg.norm(mean)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alie", "gaussian", f"{__name__}:Opposed"])
def test_colluders_know_the_same_in_every_worker(name: str, tmp_path: Path) -> None:
    options = {"shared": True, "scale": 0.1} if name == "gaussian" else {}
    config = everybody({"name": name, "share": 0.3, "options": options, "colluders": 2})
    config["rounds"] = 2
    serial, pool = run(config, tmp_path / "serial"), run(config, tmp_path / "pool", workers=2)
    assert pool.summary["model_sha256"] == serial.summary["model_sha256"]
    assert (serial.clients["status"] == "ok").all()
    config["attack"] = {"name": "none"}
    assert run(config, tmp_path / "none").summary["model_sha256"] != serial.summary["model_sha256"]


@pytest.mark.slow
def test_a_mimicked_update_is_the_honest_one(tmp_path: Path) -> None:
    """Where the colluder whom the others mimic is alone, nothing changes but the rounding."""
    alone = {"name": "mimic", "clients": [names_of(everybody())[4]]}
    configs = [{**everybody(attack), "rounds": 1} for attack in (alone, None)]
    attacked, sound = (run(config, tmp_path / str(place)) for place, config in enumerate(configs))
    assert (attacked.clients["status"] == "ok").all()
    assert attacked.rounds["loss"].iloc[0] == pytest.approx(sound.rounds["loss"].iloc[0], rel=1e-4)
    assert attacked.summary["attack"] == "simulated Byzantine clients: 1 of 10 (10 %), mimic"
    assert "attack" not in sound.summary


@pytest.mark.slow
def test_attacks_with_noise_on_the_sum_or_on_devices(tmp_path: Path) -> None:
    """Who attacks a private run is clipped like everybody on the server, and adds no noise on the device."""
    config = everybody({"name": "scaled", "share": 0.2, "options": {"factor": 10}})
    config |= {"rounds": 1, "privacy": {"unit": "user", "noise_multiplier": 1.0, "clip_norm": 0.5, "delta": 1e-3}}
    config["selection"]["name"] = "poisson"
    on_server = run(config, tmp_path / "server")
    assert (on_server.clients["status"] == "ok").all()
    config["privacy"]["noise_at"] = "device"
    config["privacy"]["noise_multiplier"] = 5.0
    on_device = run(config, tmp_path / "device")
    assert (on_device.clients["status"] == "ok").all()


def test_wrong_attacks_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for attack, line in (
        ({"name": "zero", "clients": ["nobody"]}, "'attack.clients' has 'nobody'"),
        ({"name": "scaled", "share": 0.1, "options": {"factr": 1}}, "did you mean 'factor'"),
    ):
        with pytest.raises(fedasr.errors.InputError, match=line):
            run(everybody(attack), tmp_path / "run")
    assert not (tmp_path / "run").exists()
