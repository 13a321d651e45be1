"""Fairer objectives on cases that can be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.config import Config, override
from fedasr.errors import InputError, RunFailed
from fedasr.strategies.fairness.afl import AFL, projected
from fedasr.strategies.fairness.base import Asked, Fairness, Replied
from fedasr.strategies.fairness.group_dro import GroupDRO
from fedasr.strategies.fairness.q_ffl import QFFL
from fedasr.strategies.fairness.reweighting import Reweighting


def config(**changes: Any) -> Config:
    return override(Config(), {f"strategy.{key}": value for key, value in changes.items()})


def step(power: float, start: float, trained: list[float], losses: list[float], lipschitz: float = 1.0) -> float:
    """Return the weight after a round of q-FFL with one parameter and clients that count alike."""
    fairness = QFFL(config(fairness="q", fairness_q=power, fairness_lipschitz=lipschitz))
    updates = np.array(trained) - start
    ones = np.ones(len(updates))
    weights = fairness.weigh(Asked(np.array(losses), ones, np.arange(len(updates))))
    mean = (weights * updates).sum() / weights.sum()
    return float(start + mean * fairness.scale(Replied(np.array(losses), weights, np.abs(updates))))


@pytest.mark.parametrize(("power", "expected"), [(0.0, 2.0), (1.0, 13 / 15)])
def test_q_ffl_of_two_clients(power: float, expected: float) -> None:
    assert step(power, 0.0, [1.0, 3.0], [1.0, 4.0]) == pytest.approx(expected)


def test_q_0_is_the_mean_whatever_the_losses_and_the_lipschitz_constant() -> None:
    assert step(0.0, 1.0, [2.0, 5.0], [0.0, 9.0], lipschitz=300.0) == pytest.approx(3.5)


def test_q_ffl_takes_the_lipschitz_constant_from_the_learning_rate() -> None:
    assert QFFL(override(config(fairness="q"), {"client.learning_rate": 0.02})).lipschitz == 50


@pytest.mark.parametrize(("smoothing", "expected"), [(0.0, 0.8155), (0.5, 0.8018)])
def test_group_dro_of_two_groups(smoothing: float, expected: float) -> None:
    chosen = config(fairness="group-dro", fairness_by="accent", fairness_step=0.1, fairness_smoothing=smoothing)
    moved = GroupDRO(chosen, 2).moved(np.array([0.8, 0.2]), np.array([2.0, 1.0]), np.array([0, 1]))
    assert moved[0] == pytest.approx(expected, abs=5e-5)
    assert moved.sum() == pytest.approx(1)


def test_a_group_counts_for_its_weight_however_many_clients_it_has_in_the_round() -> None:
    fairness = GroupDRO(config(fairness="group-dro", fairness_by="accent", fairness_smoothing=0.0), 3)
    fairness.state = {"weights": [0.5, 0.3, 0.2]}
    weights, groups = np.array([10.0, 30.0, 5.0]), np.array([0, 0, 1])
    result = fairness.weigh(Asked(np.ones(3), weights, groups)) * weights
    assert result[:2].sum() / result[2] == pytest.approx(0.5 / 0.3)
    assert result[0] / result[1] == pytest.approx(1 / 3)
    # Nobody of the third group was there: its weight does not grow, and the equal losses of the others leave theirs.
    assert fairness.state["weights"][0] / fairness.state["weights"][1] == pytest.approx(0.5 / 0.3)
    assert fairness.state["weights"][2] < 0.2


def test_the_loss_of_a_group_is_that_of_its_speech() -> None:
    chosen = config(fairness="group-dro", fairness_by="accent", fairness_step=1.0, fairness_smoothing=0.0)
    fairness = GroupDRO(chosen, 2)
    fairness.weigh(Asked(np.array([1.0, 3.0, 2.5]), np.array([3.0, 1.0, 7.0]), np.array([0, 0, 1])))
    first, second = fairness.state["weights"]
    assert np.log(second / first) == pytest.approx(2.5 - 1.5)


def test_many_rounds_of_group_dro_stay_finite() -> None:
    chosen = config(fairness="group-dro", fairness_by="accent", fairness_step=50.0, fairness_smoothing=0.0)
    fairness = GroupDRO(chosen, 2)
    for _ in range(100):
        weights = fairness.weigh(Asked(np.array([9.0, 1.0]), np.ones(2), np.array([0, 1])))
    assert np.isfinite(weights).all()
    assert fairness.state["weights"][0] == pytest.approx(1)


def test_afl_projects_onto_the_simplex() -> None:
    assert projected(np.array([0.2, 0.3, 0.5])) == pytest.approx([0.2, 0.3, 0.5])
    assert projected(np.array([1.5, 0.5])) == pytest.approx([1.0, 0.0])
    assert projected(np.array([0.7, 0.6, -2.0])) == pytest.approx([0.55, 0.45, 0.0])
    moved = AFL(config(fairness="afl", fairness_step=0.1), 2).moved(
        np.array([0.5, 0.5]), np.array([2.0, 1.0]), np.array([0, 1])
    )
    assert moved == pytest.approx([0.55, 0.45])


class Given(Fairness):
    """Weighs by what it is given."""

    def __init__(self, factors: list[float]) -> None:
        super().__init__(1)
        self.factors = factors

    def weigh(self, asked: Asked) -> np.ndarray:
        self.losses = asked.losses
        return np.array(self.factors)


def test_who_does_not_tell_a_loss_counts_as_the_mean_of_the_others() -> None:
    part = Given([1.0, 2.0, 3.0])
    clients, losses = np.array([5, 2, 7]), np.array([1.0, np.nan, 4.0])
    result = Reweighting(part, ["all"], np.zeros(8, np.int64)).multipliers(clients, losses, np.array([2.0, 1.0, 1.0]))
    assert part.losses.tolist() == [1.0, 2.0, 4.0]
    assert sum(result[client] * weight for client, weight in {5: 2.0, 2: 1.0, 7: 1.0}.items()) == pytest.approx(4)
    assert result[7] / result[5] == pytest.approx(3)


def test_where_nobody_tells_a_loss_nothing_is_reweighted() -> None:
    part = Reweighting(Given([1.0]), ["all"], np.zeros(1, np.int64))
    assert part.multipliers(np.array([0]), np.array([np.nan]), np.ones(1)) == {}
    assert part.scale({0: 1}, {0: 1.0}) == 1


@pytest.mark.parametrize("factors", [[1.0], [1.0, float("nan")], [1.0, -1.0], [0.0, 0.0]])
def test_an_objective_that_gives_no_weights_fails_in_a_line(factors: list[float]) -> None:
    part = Reweighting(Given(factors), ["all"], np.zeros(2, np.int64))
    with pytest.raises(RunFailed, match=r"'strategy.fairness': Given.weigh returned"):
        part.multipliers(np.array([0, 1]), np.ones(2), np.ones(2))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"privacy.unit": "user", "strategy.weighting": "uniform", "privacy.noise_multiplier": 1.0},
            "breaks the sensitivity",
        ),
        ({"privacy.unit": "example", "privacy.noise_multiplier": 1.0}, "have to tell their losses"),
        ({"secure_aggregation.mode": "simulate"}, "learns no single losses"),
        ({"runtime.name": "deployment"}, "count for as much as it likes"),
        ({"strategy.aggregation": "median", "strategy.weighting": "uniform"}, "set strategy.aggregation=mean"),
        ({"strategy.weighting": "inverse-probability"}, "choose examples, seconds or uniform"),
        ({"client.labels": "self"}, "wrong and sure of it"),
        ({"audit.canaries": 4}, "canary users have no losses"),
        ({"strategy.fairness": "group-dro"}, "'strategy.fairness_by' is not set"),
        ({"strategy.fairness": "p"}, "expected"),
        ({"strategy.fairness_step": 0.2}, "'strategy.fairness_step' is set but 'strategy.fairness' is 'q'"),
        ({"strategy.name": "central"}, "strategy.fairness"),
    ],
)
def test_refused(changes: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        override(Config(), {"strategy.fairness": "q", "model.alphabet": "latin", **changes})
