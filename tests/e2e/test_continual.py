"""The continual setting and the virtual clock, end to end: the same bits however it is run, and exact tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.config import load
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.runtime.session import Silent, current

from .tiny import tiny

CHANGES: dict[str, Any] = {
    "rounds": 6,
    "data__synthetic__speakers": 20,
    "data__synthetic__utterances_per_speaker": 6,
    "stream__arrival": "poisson",
    "stream__periods": 3,
    "stream__drift": 0.5,
    "stream__keep": "window",
    "stream__window": 2,
    "evaluate__held_out": 0.2,
    "evaluate__deciles": 4,
    "evaluate__every": 0,
    "devices__clock": True,
    "devices__dropout": 0.2,
    "devices__over_commit": 1.5,
    "devices__availability": "diurnal",
    "selection__name": "oort",
}
COLUMNS = ["round", "clients_selected", "clients_replied", "examples", "simulated_seconds", "wer", "period"]


class StopAfter(Silent):
    """Asks the run to stop after a round."""

    def __init__(self, last: int) -> None:
        self.last = last

    def round(self, row: Any) -> None:
        """Ask to stop."""
        if row["round"] == self.last:
            current().stop.set()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(tiny(**CHANGES), out=tmp_path_factory.mktemp("runs") / "serial")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers(reference: fedasr.Run, workers: int, tmp_path: Path) -> None:
    overrides = {"runtime.executor": "pool", "runtime.workers": workers}
    run = fedasr.run(tiny(**CHANGES), out=tmp_path / "run", overrides=overrides)
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    pd.testing.assert_frame_equal(run.rounds[COLUMNS], reference.rounds[COLUMNS])
    pd.testing.assert_frame_equal(run.periods, reference.periods)
    pd.testing.assert_frame_equal(run.activity, reference.activity)


@pytest.mark.parametrize("last", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(5, marks=pytest.mark.slow)])
def test_stopped_and_resumed(reference: fedasr.Run, last: int, tmp_path: Path) -> None:
    """In the middle of a period, at its end, and before the last round; Oort's memory and the clock go on."""
    from fedasr.runtime.launch import launch

    config = load(tiny(**CHANGES))
    launch(config, tmp_path / "run", watcher=StopAfter(last))
    assert fedasr.load_run(tmp_path / "run").summary["rounds"] == last
    launch(config, tmp_path / "run", resume=True)
    run = fedasr.load_run(tmp_path / "run")
    assert run.summary["model_sha256"] == reference.summary["model_sha256"]
    pd.testing.assert_frame_equal(run.rounds[COLUMNS], reference.rounds[COLUMNS])


def test_the_tables(reference: fedasr.Run) -> None:
    rounds, periods, activity = reference.rounds, reference.periods, reference.activity
    assert rounds["period"].tolist() == [1, 1, 2, 2, 3, 3]
    # Without evaluate.every, the model is evaluated at the end of each period: on it and on the past ones.
    assert rounds["wer"].notna().tolist() == [False, True] * 3
    assert list(zip(periods["round"], periods["period"], periods["test_period"], strict=True)) == [
        (round, now, past) for round, now in ((2, 1), (4, 2), (6, 3)) for past in range(1, now + 1)
    ]
    assert periods[periods["round"] == 6]["utterances"].sum() == 6
    assert activity["round"].unique().tolist() == [2, 4, 6]
    assert activity["decile"].between(1, 10).all()
    assert (activity["utterances"] <= 4).all()
    assert (activity["words"] > 0).all()
    assert (rounds["simulated_seconds"] > 0).all()


def test_who_is_late_or_drops_out_is_in_the_table_and_not_in_the_mean(reference: fedasr.Run) -> None:
    clients = reference.clients
    assert set(clients["status"]) <= {"ok", "late", "dropped"}
    assert {"late", "dropped"} & set(clients["status"])
    counts = clients[clients["status"] == "ok"].groupby("round").size()
    assert reference.rounds.set_index("round")["clients_replied"].equals(counts.reindex(range(1, 7), fill_value=0))
    assert (counts <= 5).all()
    assert clients.groupby("round").size().max() <= 8  # ⌈1.5 · 5⌉
    assert clients.loc[clients["status"] != "ok", "train_loss"].isna().all()
    assert clients.loc[clients["status"] == "ok", "duration_s"].notna().all()
    assert reference.rounds["clients_failed"].sum() == 0


def test_clients_train_on_what_they_store_then_and_never_on_what_is_held_out(reference: fedasr.Run) -> None:
    run = Experiment(load(reference.config))
    numbers = {str(name): index for index, name in enumerate(run.partition.names)}
    held = set(run.decile_rows[0].tolist())
    assert held
    for row in reference.clients[reference.clients["status"] == "ok"].itertuples():
        stored = run.stored(numbers[row.client], row.round)
        assert row.examples == len(stored)
        assert not held & set(stored.tolist())


@pytest.mark.slow
def test_all_there_from_the_start_is_the_static_setting(tmp_path: Path) -> None:
    one = {"stream__arrival": "poisson", "stream__periods": 1}
    static = fedasr.run(tiny(), out=tmp_path / "static")
    continual = fedasr.run(tiny(**one), out=tmp_path / "continual")
    assert static.summary["model_sha256"] == continual.summary["model_sha256"]


@pytest.mark.slow
def test_activity_counts_what_is_stored_now(tmp_path: Path) -> None:
    changes = {**CHANGES, "selection__name": "activity", "devices__clock": False, "stream__keep": "period"}
    for name in [name for name in changes if name.startswith("devices__") or name == "stream__window"]:
        del changes[name]
    run = fedasr.run(tiny(**changes), out=tmp_path / "run")
    experiment = Experiment(load(run.config))
    for row in run.clients.itertuples():
        counts = experiment.stream.counts(experiment.stream.period_of_round(row.round)).utterances
        number = list(experiment.partition.names).index(row.client)
        assert counts[number] > 0
        if counts.sum() >= 5 * counts.max():
            assert row.probability == pytest.approx(5 * counts[number] / counts.sum())
    assert np.isfinite(run.clients["probability"]).all()


def test_deciles_need_speech_that_is_held_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'evaluate.deciles' needs speech that no client trains on"):
        fedasr.run(tiny(evaluate__deciles=5), out=tmp_path / "run")
