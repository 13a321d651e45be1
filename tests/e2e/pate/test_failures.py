"""Teachers that fail or lie: what is not a vote is not counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedasr.clients.client_app import app as client_app
from fedasr.config import load
from fedasr.errors import RunFailed
from fedasr.experiment import as_json
from fedasr.flower.messages import RUN_ID
from fedasr.flower.records import array_record
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.session import current
from fedasr.strategies.server_app import app as server_app

from .world import CHANGES, WORDS, pate


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["train.teacher", "query.votes"], ids=["learning", "voting"])
def test_a_teacher_that_fails_votes_for_nothing(kind: str, tmp_path: Path) -> None:
    """One of twelve is counted as failed where it did not learn, and the labels come without it."""
    broken: set[int] = {3}
    breaking = ClientApp()

    @breaking.train("teacher")
    @breaking.query("votes")
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type == kind and context.node_config["partition-id"] in broken:
            raise RuntimeError("no battery")
        return client_app(message, context)

    def outcome(name: str) -> Path:
        config = load(pate(rounds=0))
        out = tmp_path / name
        (out / "checkpoint").mkdir(parents=True)
        settings = {"experiment": as_json(config), "out": str(out), "resume": False}
        grid = LocalGrid(SerialExecutor(breaking), 12, {"client-store": str(tmp_path / "store")})
        server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
        return out

    out = outcome("one")
    clients = pd.read_parquet(out / "clients.parquet")
    assert (clients["status"] == "failed").sum() == (1 if kind == "train.teacher" else 0)
    assert np.load(out / "votes.npy").sum(axis=1).max() == 11
    assert json.loads((out / "privacy.json").read_text())["population"] == 12
    broken.update(range(7))
    with pytest.raises(RunFailed, match=r"7 of 12 teachers failed .* no battery"):
        outcome("many")


LIES: dict[str, Any] = {
    "nothing": {},
    "another-kind": {"votes": array_record({"votes": np.zeros(8, np.float32)})},
    "too-few": {"votes": array_record({"votes": np.zeros(1, np.int64)})},
    "too-many": {"votes": array_record({"votes": np.zeros((8, 99), np.int64)})},
    "another-name": {"votes": array_record({"ballots": np.zeros(8, np.int64)})},
    "numbers": {"votes": MetricRecord({"votes": 3})},
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_votes_that_cannot_be_are_not_counted(lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying = ClientApp()

    @lying.train("teacher")
    @lying.query("votes")
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "query.votes" and context.node_config["partition-id"] == 3:
            return Message(RecordDict(LIES[lie]), reply_to=message)
        return client_app(message, context)

    config = load(pate(rounds=0, pate__queries=8))
    (tmp_path / "checkpoint").mkdir(parents=True)
    settings = {"experiment": as_json(config), "out": str(tmp_path), "resume": False}
    grid = LocalGrid(SerialExecutor(lying), 12, {"client-store": str(tmp_path / "store")})
    said: list[str] = []
    monkeypatch.setattr(current().watcher, "note", said.append, raising=False)
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
    assert np.load(tmp_path / "votes.npy").sum(axis=1).max() == 11
    assert any("votes" in text and "(" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("huge", [2**61, -(2**61)], ids=["up", "down"])
def test_shares_that_would_overflow_the_sum_are_refused(huge: int, tmp_path: Path) -> None:
    lying = ClientApp()

    @lying.train("teacher")
    @lying.query("votes")
    def answer(message: Message, context: Context) -> Message:
        if message.metadata.message_type == "query.votes" and context.node_config["partition-id"] == 3:
            return Message(RecordDict({"votes": array_record({"votes": np.full((8, 3), huge)})}), reply_to=message)
        return client_app(message, context)

    config = load(pate(rounds=0, pate={**CHANGES["pate"], "queries": 8, "noise_at": "teachers", "scale": 0.01}))
    (tmp_path / "checkpoint").mkdir(parents=True)
    settings = {"experiment": as_json(config), "out": str(tmp_path), "resume": False}
    grid = LocalGrid(SerialExecutor(lying), 12, {"client-store": str(tmp_path / "store")})
    server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
    assert set(pd.read_parquet(tmp_path / "queries.parquet")["label"]) <= set(WORDS)
