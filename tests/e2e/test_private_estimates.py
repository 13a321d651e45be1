"""Estimates of the error rate in a run with user-level DP: their sums carry noise, which the ledger counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fedasr
from fedasr.config import load, override
from fedasr.errors import InputError, RunFailed
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import event_from_json
from fedasr.runtime.launch import launch

from .test_distillation import Fails
from .tiny import tiny

PRIVATE: dict[str, Any] = {
    "selection.name": "poisson",
    "strategy.weighting": "uniform",
    "privacy.unit": "user",
    "privacy.noise_multiplier": 2.0,
    "privacy.clip_norm": 0.5,
    "evaluate.every": 0,
    "evaluate.by": ["gender"],
    "evaluate.estimate.every": 1,
    "evaluate.estimate.panel_share": 0.5,
    "evaluate.estimate.words": 40,
    "rounds": 2,
}
QUIET, LOUD = ({"evaluate.estimate.noise_multiplier": noise} for noise in (1e-6, 4.0))


def run(out: Path, changes: dict[str, Any], **how: Any) -> fedasr.Run:
    return fedasr.load_run(launch(override(load(tiny()), {**PRIVATE, **changes}), out, **how))


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tmp_path_factory.mktemp("runs") / "loud", LOUD)


def test_the_ledger_is_charged_for_every_estimate(loud: fedasr.Run) -> None:
    """Beside the rounds, for all users, with no amplification by sampling."""
    assert loud.privacy is not None
    rounds, sums = loud.privacy["ledger"]["entries"]
    assert rounds["released"] == "global model"
    assert sums["released"] == "sums for the error rate"
    assert (sums["sampling"], sums["adjacency"], sums["population"]) == ("none", rounds["adjacency"], 12)
    assert (sums["first_round"], sums["last_round"], sums["event"]["steps"]) == (1, 2, 2)
    events = [event_from_json(entry["event"]) for entry in (rounds, sums)]
    both, alone = (epsilon_of(part, 1e-5).epsilon for part in (events, events[:1]))
    assert loud.summary["epsilon"] == pytest.approx(both)
    assert both > alone


def test_noise_hides_a_dozen_devices(loud: fedasr.Run) -> None:
    """All groups that were named beforehand have a row, and no count of theirs is the true one."""
    estimates = loud.estimates
    assert estimates["wer_estimate"].isna().all()
    assert estimates["expected_wer"].isna().all()
    by = [("", ""), *(("gender", value) for value in ("f", "m", "other"))]
    assert list(zip(estimates["column"], estimates["value"], strict=True)) == by * 2
    assert estimates["fleet_wer"].notna().any()  # a simulation knows it


@pytest.mark.thorough
def test_with_hardly_any_noise_it_is_the_plain_estimate(tmp_path: Path) -> None:
    """The model is the same too: estimates draw from a stream of their own."""
    plain = run(tmp_path / "plain", {"evaluate.estimate.noise_multiplier": 0})
    quiet = run(tmp_path / "quiet", QUIET)
    assert plain.summary["model_sha256"] == quiet.summary["model_sha256"]
    assert plain.privacy is not None
    assert len(plain.privacy["ledger"]["entries"]) == 1
    there = quiet.estimates[quiet.estimates["value"] != "other"]
    names = ["wer_estimate", "panel_words", "panel_speakers", "fleet_speakers", "fleet_wer"]
    np.testing.assert_allclose(there[names].to_numpy(float), plain.estimates[names].to_numpy(float), atol=0.02)
    assert (there["wer_low"].to_numpy() <= plain.estimates["wer_low"].to_numpy()).all()
    assert (there["wer_high"].to_numpy() >= plain.estimates["wer_high"].to_numpy()).all()


@pytest.mark.thorough
def test_the_same_bits_for_any_number_of_workers_and_after_a_failure(loud: fedasr.Run, tmp_path: Path) -> None:
    pool = run(tmp_path / "pool", {**LOUD, "runtime.executor": "pool", "runtime.workers": 2})
    pd.testing.assert_frame_equal(pool.estimates, loud.estimates)
    with pytest.raises(RunFailed, match="broken off"):
        run(tmp_path / "broken", LOUD, callbacks=[Fails(2)])
    again = run(tmp_path / "broken", LOUD, resume=True)
    pd.testing.assert_frame_equal(again.estimates, loud.estimates)
    assert again.privacy == loud.privacy


@pytest.mark.thorough
def test_a_budget_pays_for_the_estimates_too(tmp_path: Path) -> None:
    """The noise of the rounds is found for what the estimates leave of it."""
    budget = {"privacy.epsilon": 8.0, "privacy.noise_multiplier": None}
    with_estimates = run(tmp_path / "with", {**LOUD, **budget})
    without = run(tmp_path / "without", {**budget, "evaluate.estimate.noise_multiplier": 0})
    assert 7.9 < with_estimates.summary["epsilon"] <= 8.0
    noise = [found.config.privacy.noise_multiplier for found in (with_estimates, without)]
    assert noise[0] > noise[1]
    assert with_estimates.summary["rounds"] == 2


@pytest.mark.thorough
def test_an_estimate_that_the_budget_does_not_pay_for_is_left_out(tmp_path: Path) -> None:
    """The rounds go on: the noise multiplier is given, and ε is where the run would end."""
    found = run(tmp_path / "run", {"privacy.epsilon": 12.0, "evaluate.estimate.noise_multiplier": 0.5})
    assert found.summary["rounds"] == 2
    assert found.summary["epsilon"] <= 12.0
    assert [len(found.estimates[found.estimates["round"] == number]) for number in (1, 2)] == [4, 1]


def refusal(**changes: Any) -> str:
    with pytest.raises(InputError) as refused:
        override(load(tiny()), {**PRIVATE, **changes})
    return str(refused.value)


def test_nobody_estimates_from_exact_sums_without_saying_so() -> None:
    assert "'evaluate.estimate.noise_multiplier' is not set" in refusal()


def test_noise_needs_a_limit() -> None:
    told = refusal(**LOUD, **{"evaluate.estimate.words": None})
    assert "set 'evaluate.estimate.words'" in told


def test_noise_where_no_ledger_is_charged_is_refused() -> None:
    told = {"evaluate.estimate.every": 1, "evaluate.estimate.noise_multiplier": 4.0}
    with pytest.raises(
        InputError, match=r"'evaluate\.estimate\.noise_multiplier' is set but 'privacy\.unit' is 'none'"
    ):
        override(load(tiny()), told)


def test_estimates_that_cost_more_than_the_budget_are_a_line(tmp_path: Path) -> None:
    budget = {"privacy.epsilon": 1.0, "privacy.noise_multiplier": None}
    with pytest.raises(InputError, match=r"2 estimates cost ε = 1\.\d+ by themselves, and 'privacy\.epsilon' is 1"):
        run(tmp_path / "run", {**LOUD, **budget})
    assert not (tmp_path / "run").exists()
