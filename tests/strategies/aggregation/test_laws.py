"""The laws of an aggregator, kept by every shipped one bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedasr.config.schema import StrategyConfig
from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.factory import make_aggregate
from fedasr.strategies.aggregation.update_file import UpdateFile
from fedasr.strategies.aggregation.weighting import Weighting
from fedasr.testing import check_aggregator


class Shipped:
    """An aggregate of ours with the methods of a user's own."""

    def __init__(self, config: StrategyConfig, parameters: int, folder: Path) -> None:
        self.layout = Layout.of({"w": np.zeros(parameters, np.float32)})
        self.start = np.zeros(parameters, np.float32)
        weighting = Weighting("examples", {}, 30.0, None)
        self.aggregate = make_aggregate(config, self.layout, self.start, weighting, None, UpdateFile(folder))

    def accumulate(self, update: Any, weight: int) -> None:
        rule = self.aggregate.rule
        self.aggregate.count(weight, rule.add(self.aggregate.sum, self.start, self.layout.views(update), weight))

    def result(self) -> Any:
        return self.aggregate.mean()


@pytest.mark.parametrize(
    ("config", "averages"),
    [
        (StrategyConfig(), True),
        (StrategyConfig(aggregation="median"), True),
        (StrategyConfig(aggregation="trimmed-mean", trim_share=0.3), True),
        (StrategyConfig(aggregation="norm-bound", norm_bound=100.0), True),
        (StrategyConfig(aggregation="norm-bound", norm_bound=0.5), False),
    ],
    ids=["mean", "median", "trimmed-mean", "wide norm-bound", "norm-bound"],
)
def test_laws(config: StrategyConfig, averages: bool, tmp_path: Path) -> None:
    check_aggregator(
        lambda parameters: Shipped(config, parameters, tmp_path), averages=averages, streams=True, tolerance=0
    )
