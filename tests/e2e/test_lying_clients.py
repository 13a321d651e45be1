"""Clients that lie: what is no update is refused and counted, what looks like one must not steer the model."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import fedasr
from benchmarks.liars import Liars
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

from .tiny import tiny

CLIENTS = 10
FLIPPERS = {2: "flip", 7: "flip"}
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "mean": {},
    "median": {"aggregation": "median"},
    "trimmed-mean": {"aggregation": "trimmed-mean", "trim_share": 0.2},
    "norm-bound": {"aggregation": "norm-bound", "norm_bound": 0.7},
}
ROBUST = ["median", "trimmed-mean", "norm-bound"]


def everybody(**changes: Any) -> dict[str, Any]:
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
    return config


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
    app: ClientApp,
    *,
    workers: int = 0,
    grid: type[LocalGrid] = LocalGrid,
    resume: bool = False,
    watcher: Notes | None = None,
) -> fedasr.Run:
    """Run a config with a client app of our own."""
    found = open_run(load(config), out, resume)
    assert found is not None
    executor: Executor = PoolExecutor(app, "", workers) if workers else SerialExecutor(app)
    settings = {"experiment": as_json(found.config), "out": str(out), "resume": resume}
    try:
        with session(watcher):
            server_app(grid(executor, len(found.partition)), Context(RUN_ID, 0, {}, RecordDict(), settings))
    finally:
        executor.close()
    return fedasr.load_run(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return ``(aggregation, whether a fifth lies) -> run``, each made once."""

    @cache
    def made(aggregation: str, lying: bool) -> fedasr.Run:
        out = tmp_path_factory.mktemp("runs") / "run"
        return run(everybody(**AGGREGATIONS[aggregation]), out, Liars(honest, FLIPPERS if lying else {}))

    return made


def test_a_fifth_of_flipped_updates_turns_the_mean_around(runs: Any) -> None:
    sound, broken = runs("mean", False).rounds["loss"], runs("mean", True).rounds["loss"]
    assert sound.iloc[-1] < 0.8 * sound.iloc[0]
    assert broken.iloc[-1] > broken.iloc[0] > sound.iloc[0]
    assert broken.is_monotonic_increasing
    assert (runs("mean", True).clients["status"] == "ok").all(), "a flipped update looks like any other"


@pytest.mark.parametrize("aggregation", ROBUST)
def test_robust_aggregates_learn_all_the_same(runs: Any, aggregation: str) -> None:
    sound, lied_to = runs(aggregation, False).rounds["loss"], runs(aggregation, True).rounds["loss"]
    assert sound.iloc[-1] < 0.9 * sound.iloc[0]
    assert lied_to.iloc[-1] < 0.9 * lied_to.iloc[0]
    assert lied_to.iloc[-1] < runs("mean", True).rounds["loss"].iloc[0]
    assert (runs(aggregation, True).rounds["clients_failed"] == 0).all()


@pytest.mark.parametrize("aggregation", ROBUST)
@pytest.mark.parametrize("how", ["1 worker", "2 workers", "shuffled"])
def test_the_same_bits_with_liars(runs: Any, aggregation: str, how: str, tmp_path: Path) -> None:
    config, app = everybody(**AGGREGATIONS[aggregation]), Liars(honest, FLIPPERS)
    workers = {"1 worker": 1, "2 workers": 2}.get(how, 0)
    again = run(config, tmp_path / "run", app, workers=workers, grid=LocalGrid if workers else Shuffled)
    assert again.summary["model_sha256"] == runs(aggregation, True).summary["model_sha256"]


class Killed(Liars):
    """The process goes away in a round, when half of the clients have answered."""

    def __call__(self, message: Message, context: Context) -> Message:
        if values_of(message, "config")["round"] == 3 and context.node_id == CLIENTS // 2:
            raise KeyboardInterrupt
        return super().__call__(message, context)


@pytest.mark.parametrize("aggregation", ["median", "trimmed-mean"])
def test_the_same_bits_after_a_kill(runs: Any, aggregation: str, tmp_path: Path) -> None:
    config = everybody(**AGGREGATIONS[aggregation])
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "run", Killed(honest, FLIPPERS))
    resumed = run(config, tmp_path / "run", Liars(honest, FLIPPERS), resume=True)
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


class Broken(Liars):
    """The same clients fail honestly instead."""

    def __call__(self, message: Message, context: Context) -> Message:
        if int(context.node_config["partition-id"]) in self.lies:
            raise RuntimeError("broken")
        return super().__call__(message, context)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("aggregation", ["mean", "median"])
def test_what_is_no_update_counts_as_a_failure_and_changes_nothing(
    aggregation: str, workers: int, tmp_path: Path
) -> None:
    """The model has the bits of a run in which these clients fail."""
    config = everybody(**AGGREGATIONS[aggregation], max_failed_share=0.7)
    config["rounds"] = 2
    lies = {client: lie for client, (lie, _) in NONSENSE.items()}
    notes = Notes()
    lied_to = run(config, tmp_path / "lies", Liars(honest, lies), workers=workers, watcher=notes)
    failed = run(config, tmp_path / "failed", Broken(honest, lies))
    assert lied_to.summary["model_sha256"] == failed.summary["model_sha256"]
    assert lied_to.rounds["clients_failed"].tolist() == [6, 6]
    assert lied_to.rounds["clients_replied"].tolist() == [4, 4]
    refused = lied_to.clients[lied_to.clients["status"] == "failed"]
    reasons = dict(zip(refused["client"].astype(str), refused["reason"], strict=False))
    names = names_of(config)
    for client, (_, why) in NONSENSE.items():
        assert reasons[names[client]].startswith(why)
    assert (refused["examples"] == 0).all()
    assert (refused["bytes_up"] > 0).all(), "what was sent was sent"
    assert lied_to.rounds["examples"].equals(failed.rounds["examples"])
    assert sum("round 1: client " in note for note in notes.notes) == 3, "the first three are shown"


def names_of(config: dict[str, Any]) -> list[str]:
    """Return the names of the clients."""
    return [str(name) for name in Experiment(load(config)).partition.names]


def test_liars_alone_end_the_run_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(fedasr.errors.RunFailed, match=r"round 1: 10 of 10 clients failed .*values that are not finite"):
        run(everybody(), tmp_path / "run", Liars(honest, dict.fromkeys(range(CLIENTS), "nan")))


class LiesWhenAsked(Liars):
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
    found = run(config, tmp_path / "run", LiesWhenAsked(honest, {}), watcher=notes)
    names = names_of(config)
    chosen = found.clients["client"].tolist()
    assert names[2] not in chosen, "an infinite loss is no reason to be chosen first"
    assert names[3] not in chosen
    assert 0 <= found.rounds["client_wer"].iloc[0] <= 3
    assert [note for note in notes.notes if "'query.loss': 'loss' is inf; expected a finite number" in note]
    assert [note for note in notes.notes if "'query.loss': 'loss' is missing" in note]
    assert [note for note in notes.notes if "'evaluate': 'word" in note]
