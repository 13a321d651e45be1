"""An aggregator of a user's own: what it is given, and what is made of its result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedasr.config.schema import StrategyConfig
from fedasr.errors import InputError, RunFailed
from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.base import UpdateRefused
from fedasr.strategies.aggregation.own import OwnAggregate, make_aggregator

LAYOUT = Layout.of({"w": np.zeros((2, 1), np.float32), "b": np.zeros(1, np.float32)})
HERE = __name__


class Largest:
    """The update with the largest weight, times a factor."""

    def __init__(self, parameters: int, factor: float = 1.0) -> None:
        self.best = np.zeros(parameters, np.float32)
        self.weight, self.factor = 0, factor

    def accumulate(self, update: Any, weight: int) -> None:
        if weight > self.weight:
            self.best, self.weight = update, weight

    def result(self) -> Any:
        return self.factor * self.best


class Mute:
    def accumulate(self, update: Any, weight: int) -> None: ...


def aggregate(name: str = "Largest", **options: Any) -> OwnAggregate:
    config = StrategyConfig(aggregation=f"{HERE}:{name}", aggregation_options=options)
    return OwnAggregate(LAYOUT, make_aggregator(config, LAYOUT), config.aggregation)


def add(to: OwnAggregate, update: list[float], weight: int) -> None:
    start = np.array([1, 2, 3], np.float32)
    arrays = {name: view.copy() for name, view in LAYOUT.views(start + np.array(update, np.float32)).items()}
    to.count(weight, to.rule.add(to.sum, start, arrays, weight))


def test_each_update_comes_with_its_weight() -> None:
    result = aggregate(factor=2.0)
    add(result, [1, 0, 0], 3)
    add(result, [0, 4, 0], 5)
    add(result, [0, 0, 9], 4)
    np.testing.assert_array_equal(result.mean(), np.array([0, 8, 0], np.float32))
    assert result.updates == 3


def test_nobody_replied() -> None:
    np.testing.assert_array_equal(aggregate().mean(), np.zeros(3, np.float32))


def test_an_update_that_is_not_finite_does_not_reach_it() -> None:
    result = aggregate()
    with pytest.raises(UpdateRefused, match="not finite"):
        add(result, [np.nan, 0, 0], 1)
    assert result.rule.aggregator.weight == 0  # type: ignore[attr-defined]


def test_a_result_of_another_shape_or_not_finite_fails() -> None:
    result = aggregate(factor=float("inf"))
    add(result, [1, 1, 1], 1)
    with pytest.raises(RunFailed, match=r"expected finite numbers of shape \(3,\)"):
        result.mean()


def test_what_is_no_aggregator_is_refused() -> None:
    with pytest.raises(InputError, match="which makes no aggregator: it has no 'result'"):
        aggregate("Mute")
