"""A model, a selector, an aggregator and an optimiser from outside the package: trained, resumed, evaluated, the same
bits in the workers of a pool."""

from __future__ import annotations

from pathlib import Path

import pytest

import fedasr
from fedasr.evaluation.recognizer import Recognizer

from .tiny import tiny

PARTS = "tests.e2e.own_parts"
CHANGES = {
    "model": {"name": f"{PARTS}:Recogniser", "options": {"width": 12}},
    "selection": {"name": f"{PARTS}:Newest", "options": {"share": 0.8}, "clients_per_round": 5},
    "strategy__aggregation": f"{PARTS}:Geometric",
    "strategy__aggregation_options": {"power": 0.5},
    "client": {"optimizer": f"{PARTS}:Signs", "learning_rate": 0.002, "batch_size": 2},
}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return fedasr.run(tiny(**CHANGES), out=tmp_path_factory.mktemp("own") / "run")


def test_parts_of_ones_own_train(serial: fedasr.Run) -> None:
    assert serial.summary["status"] == "done"
    assert serial.rounds["clients_replied"].tolist() == [4, 4, 4]
    assert serial.rounds["loss"].iloc[-1] < serial.rounds["loss"].iloc[0]


@pytest.mark.slow
def test_the_workers_of_a_pool_give_the_same_bits(serial: fedasr.Run, tmp_path: Path) -> None:
    pool = fedasr.run(tiny(**CHANGES, runtime={"executor": "pool", "workers": 2}), out=tmp_path / "pool")
    assert pool.summary["model_sha256"] == serial.summary["model_sha256"]


def test_the_run_folder_is_enough_to_recognise(serial: fedasr.Run) -> None:
    model = Recognizer(serial.path).model
    assert type(model.module).__name__ == "Recogniser"  # type: ignore[union-attr]
    assert serial.config.model.options == {"width": 12}
