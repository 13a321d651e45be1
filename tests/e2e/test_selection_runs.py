"""Every selection strategy in a run: the same bits in worker processes, and exact bookkeeping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedasr
from fedasr.errors import InputError

from .tiny import tiny

CASES: dict[str, dict[str, Any]] = {
    "uniform": {},
    "poisson": {},
    "activity": {"selection__exponent": 0.5, "selection__activity": "seconds"},
    "activity with replacement": {"selection__replacement": True},
    "top-activity": {},
    "threshold": {"selection__min_activity": 2},
    "mixed": {"selection__active_rounds": 2},
    "round-robin": {"selection__separation": 1},
    "power-of-choice": {},
    "power-of-choice on a batch": {"selection__probe": "batch"},
    "power-of-choice by the last loss": {"selection__probe": "last"},
    "oort": {},
    "afl": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(CASES))
def test_a_run_with(case: str, tmp_path: Path) -> None:
    changes = {"selection__name": case.split(" ")[0], "selection__clients_per_round": 4, **CASES[case]}
    serial = fedasr.run(tiny(**changes), out=tmp_path / "serial")
    pool = {"runtime.executor": "pool", "runtime.workers": 2}
    pooled = fedasr.run(tiny(**changes), out=tmp_path / "pool", overrides=pool)
    assert serial.summary["model_sha256"] == pooled.summary["model_sha256"]
    for _, clients in serial.clients.groupby("round"):
        assert not clients["client"].duplicated().any()
        if case != "poisson":
            assert len(clients) <= 4
    probabilities = serial.clients["probability"]
    assert ((probabilities > 0) & (probabilities <= 1) | probabilities.isna()).all()
    assert serial.rounds["clients_replied"].sum() == len(serial.clients)


@pytest.mark.slow
def test_asking_for_losses_costs_bytes(tmp_path: Path) -> None:
    base = {"selection__name": "power-of-choice", "selection__clients_per_round": 4, "selection__candidates": 10}
    asked = fedasr.run(tiny(**base), out=tmp_path / "asked")
    remembered = fedasr.run(tiny(**base, selection__probe="last"), out=tmp_path / "remembered")
    model = remembered.rounds["bytes_down"].iloc[0] / 4
    # The question to ten candidates carries the model; it holds one value more than a training message.
    assert asked.rounds["bytes_down"].iloc[0] == pytest.approx(14 * model, rel=0.01)


def test_a_round_in_which_poisson_selects_nobody_changes_nothing(tmp_path: Path) -> None:
    changes = {"selection__name": "poisson", "selection__clients_per_round": 1, "rounds": 12, "evaluate__every": 1}
    run = fedasr.run(tiny(**changes), out=tmp_path / "run")
    nobody = run.rounds.index[run.rounds["clients_selected"] == 0]
    assert len(nobody)
    for index in nobody:
        if index:
            assert run.rounds["loss"][index] == run.rounds["loss"][index - 1]
    assert run.rounds["clients_selected"].nunique() > 1


@pytest.mark.slow
def test_inverse_probability_weights_give_the_population_mean_when_everybody_is_selected(tmp_path: Path) -> None:
    everybody = {"selection__clients_per_round": 12, "rounds": 2}
    examples = fedasr.run(tiny(**everybody), out=tmp_path / "examples")
    inverse = fedasr.run(tiny(**everybody, strategy__weighting="inverse-probability"), out=tmp_path / "inverse")
    assert (inverse.clients["probability"] == 1).all()
    np.testing.assert_allclose(inverse.rounds["loss"], examples.rounds["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", ["oort", "round-robin", "power-of-choice", "top-activity"])
def test_inverse_probability_needs_probabilities(name: str, tmp_path: Path) -> None:
    changes = {"selection__name": name, "strategy__weighting": "inverse-probability"}
    with pytest.raises(InputError, match=r"'strategy\.weighting'"):
        fedasr.run(tiny(**changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
