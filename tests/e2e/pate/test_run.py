"""A run of PATE: what it leaves behind, and that workers, the order of answers and Flower's engine change nothing."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flwr.app import Context, Message, RecordDict

import fedasr
from fedasr.clients.client_app import app as client_app
from fedasr.config import load
from fedasr.experiment import as_json, experiment
from fedasr.flower.messages import RUN_ID
from fedasr.privacy.pate.analysis import VoteMechanism, analyse
from fedasr.runtime.executors import SerialExecutor
from fedasr.runtime.grid import LocalGrid
from fedasr.runtime.launch import launch
from fedasr.strategies.server_app import app as server_app

from .world import CHANGES, WORDS, pate, queries, same


def test_what_a_run_leaves_behind(reference: fedasr.Run) -> None:
    summary, table, privacy = reference.summary, queries(reference), reference.privacy
    assert (summary["status"], summary["rounds"], summary["clients"], summary["updates"]) == ("done", 3, 12, 12)
    assert summary["queries"] == summary["labels"] == len(table) == 20
    assert summary["label_accuracy"] == pytest.approx(table["correct"].mean())
    assert set(table["label"]) <= set(WORDS)
    assert table["utterance"].tolist() == list(range(20))
    assert (table["votes"] <= 12).all()
    assert privacy is not None
    assert (privacy["unit"], privacy["population"], privacy["adjacency"]) == ("teacher", 12, "replace-one")
    assert privacy["epsilon"] == summary["epsilon"] <= summary["epsilon_data_independent"]
    assert reference.clients["status"].eq("ok").all()
    assert reference.clients["train_loss"].isna().all()
    assert not (reference.path / "checkpoint" / "clients").exists()
    # What `fedasr privacy pate` says of the saved votes is what the ledger says.
    votes = np.load(reference.path / "votes.npy")
    assert votes.shape == (20, 3)
    assert (votes.sum(axis=1) <= 12).all()
    alone = analyse(votes, VoteMechanism("gnmax", 2.0), 1e-4, conversion="improved")
    assert alone.best[0] == pytest.approx(summary["epsilon"])
    assert alone.best_data_independent[0] == pytest.approx(summary["epsilon_data_independent"])


def test_reports_and_comparisons_read_it(reference: fedasr.Run) -> None:
    from fedasr.results.pages.report import write_report

    write_report(reference.path)
    assert (reference.path / "report.html").stat().st_size > 1000
    assert len(fedasr.compare([reference]))


@pytest.mark.quick
def test_workers_change_nothing(reference: fedasr.Run, tmp_path: Path) -> None:
    same(
        fedasr.run(pate(), out=tmp_path / "run", overrides={"runtime.executor": "pool", "runtime.workers": 3}),
        reference,
    )


class Shuffled(LocalGrid):
    """A grid whose replies arrive in any order."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield the replies shuffled."""
        replies = list(super().send_and_receive(messages, timeout=timeout))
        random.Random(len(replies)).shuffle(replies)
        yield from replies


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["gnmax", "soft-gaussian"])
@pytest.mark.parametrize("noise_at", ["server", "teachers"])
def test_the_order_of_the_answers_changes_nothing(noise_at: str, mechanism: str, tmp_path: Path) -> None:
    changes = {"noise_at": noise_at, "mechanism": mechanism, "store": str(tmp_path / "store")}
    config = load(pate(pate={**CHANGES["pate"], **changes}, rounds=0))
    result = []
    for name, kind in (("straight", LocalGrid), ("shuffled", Shuffled)):
        out = tmp_path / name
        (out / "checkpoint").mkdir(parents=True)
        settings = {"experiment": as_json(config), "out": str(out), "resume": False}
        grid = kind(
            SerialExecutor(client_app), len(experiment(as_json(config)).partition), {"client-store": str(tmp_path)}
        )
        server_app(grid, Context(RUN_ID, 0, {}, RecordDict(), settings))
        result.append((pd.read_parquet(out / "queries.parquet"), json.loads((out / "privacy.json").read_text())))
    pd.testing.assert_frame_equal(result[0][0], result[1][0])
    assert result[0][1] == result[1][1]
    if noise_at == "teachers" or mechanism != "gnmax":
        assert result[0][0]["votes"].isna().all()
        assert not (tmp_path / "straight" / "votes.npy").exists()
        assert "epsilon_data_independent" not in result[0][1]


@pytest.mark.parametrize(
    "family", [pytest.param("las", marks=pytest.mark.slow), pytest.param("hybrid", marks=pytest.mark.slow), "rnnt"]
)
def test_every_family_can_be_teacher_and_student(family: str, tmp_path: Path) -> None:
    """Both units ask the same teachers, which know few characters and enough to end what they write."""
    small = {"speller": {"hidden": 8, "heads": 2}, "transducer": {"prediction": 8, "joint": 8}}
    model = {**CHANGES["model"], "name": family, "alphabet": "chars:enopsty", **small}
    changes = {"client__epochs": 4, "client__learning_rate": 0.03, "rounds": 1, "pate__store": str(tmp_path / "store")}
    for unit in ("utterance", "token"):
        tree = pate(model=model, **changes, pate__unit=unit, pate__queries=4, pate__scale=1.0)
        run = fedasr.load_run(launch(load(tree), tmp_path / unit))
        assert run.status == "done"
        table = queries(run)
        assert table["utterance"].nunique() == 4
        assert 0 < run.summary["labels"] <= 4
        assert run.rounds["examples"].tolist() == [run.summary["labels"]]
        assert run.summary["epsilon"] > 0
        assert (len(table) == 4) == (unit == "utterance")


def test_the_student_hears_public_speakers_with_released_labels_alone() -> None:
    from fedasr.strategies.pate.public import PublicSpeech

    run = experiment(as_json(load(pate())))
    public = PublicSpeech(run)
    speech = public.labelled({3: "no", 0: "stop"})
    assert speech.corpus.columns["text"].tolist() == ["stop", "no"]
    assert speech.corpus.content_key(1) == public.corpus.content_key(3)
    private = {run.corpus.content_key(row) for row in range(len(run.corpus))}
    assert not private & {public.corpus.content_key(row) for row in range(len(public))}


@pytest.mark.slow
def test_flowers_engine_gives_the_same_labels_and_leaves_no_teachers(reference: fedasr.Run, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Flower's simulation engine needs Ray: pip install 'fedasr[ray]'")
    run = fedasr.run(pate(), out=tmp_path / "run", overrides={"runtime.name": "flower", "runtime.workers": 2})
    same(run, reference)
    assert not (tmp_path / "run" / "checkpoint" / "clients").exists()
    assert "FEDASR_CLIENT_STORE" not in os.environ
