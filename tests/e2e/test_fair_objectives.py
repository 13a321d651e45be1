"""Runs whose updates are weighted by their clients' losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fedasr
from fedasr.errors import RunFailed
from fedasr.runtime.callbacks.base import Row
from fedasr.strategies.fairness.base import Asked, Fairness
from fedasr.typing import Floats

from .tiny import tiny

GROUPS = {"strategy.fairness": "group-dro", "strategy.fairness_by": "gender", "strategy.fairness_step": 1.0}


class BreaksOff(fedasr.Callback):
    """Breaks a run off after its first round."""

    def on_round(self, row: Row) -> str | None:
        raise OSError("broken off")


class ByLoss(Fairness):
    """Counts updates by their losses."""

    def __init__(self, groups: int, power: float) -> None:
        super().__init__(groups)
        self.power = power

    def weigh(self, asked: Asked) -> Floats:
        return asked.losses**self.power


def run(folder: Path, **overrides: Any) -> fedasr.Run:
    return fedasr.run(tiny(rounds=2), folder, overrides, quiet=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> fedasr.Run:
    return run(tmp_path_factory.mktemp("plain") / "run")


def test_q_0_is_the_plain_mean_to_the_bit(plain: fedasr.Run, tmp_path: Path) -> None:
    fair = run(tmp_path / "run", **{"strategy.fairness": "q", "strategy.fairness_q": 0.0})
    assert fair.summary["model_sha256"] == plain.summary["model_sha256"]
    # The clients were asked for their losses with the weights of the round.
    assert (fair.rounds["bytes_down"] > 1.9 * plain.rounds["bytes_down"]).all()


@pytest.mark.slow
def test_groups_have_weights_and_a_resumed_run_goes_on_with_them(plain: fedasr.Run, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", **GROUPS)
    weights = whole.summary["group_weights"]
    assert set(weights) == {"f", "m"}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["f"] != weights["m"]
    assert whole.summary["model_sha256"] != plain.summary["model_sha256"]
    with pytest.raises(RunFailed):
        fedasr.run(tiny(rounds=2), tmp_path / "parts", GROUPS, quiet=True, callbacks=[BreaksOff()])
    resumed = fedasr.run(tiny(rounds=2), tmp_path / "parts", GROUPS, resume=True, quiet=True)
    assert resumed.summary["model_sha256"] == whole.summary["model_sha256"]
    assert resumed.summary["group_weights"] == weights


def test_an_objective_of_ones_own(plain: fedasr.Run, tmp_path: Path) -> None:
    own = {"strategy.fairness": f"{__name__}:ByLoss"}
    equal = run(tmp_path / "equal", **own, **{"strategy.fairness_options": {"power": 0.0}})
    assert equal.summary["model_sha256"] == plain.summary["model_sha256"]
