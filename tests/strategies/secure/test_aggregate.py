"""The sum of a round as its aggregate, and an aggregator of a user's own that needs nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedasr.config import Config, load
from fedasr.errors import InputError
from fedasr.models.weights import Layout, Vector
from fedasr.protocol import Name
from fedasr.secure.coders import Counts, make_coder
from fedasr.secure.modulus import pack
from fedasr.strategies.aggregation.base import UpdateRefused
from fedasr.strategies.aggregation.factory import check_aggregator, make_aggregate
from fedasr.strategies.aggregation.own import OwnAggregate
from fedasr.strategies.aggregation.update_file import UpdateFile
from fedasr.strategies.aggregation.weighting import Weighting
from fedasr.strategies.secure.aggregate import SecureSum

LAYOUT = Layout(("w",), ((4,),), (slice(0, 4),))
START = np.zeros(4, np.float32)


class Twice:
    """Twice what it gets; it needs the mean alone."""

    sums_alone = True

    def __init__(self) -> None:
        self.seen: list[tuple[Vector, int]] = []

    def accumulate(self, update: Vector, weight: int) -> None:
        self.seen.append((update, weight))

    def result(self) -> Vector:
        ((update, _),) = self.seen
        return 2 * update


class Greedy(Twice):
    """One that does not say what it needs."""

    sums_alone = False


def config(aggregation: str = "mean") -> Config:
    strategy = {"aggregation": aggregation}
    secure = {"mode": "simulate", "bits": 24}
    return load({"data": {"corpus": "synthetic"}, "strategy": strategy, "secure_aggregation": secure})


def filled(sum_of: SecureSum, updates: list[list[float]]) -> SecureSum:
    for client, update in enumerate(updates):
        whole = sum_of.coder.encode(np.array(update, np.float32), Counts(weight=1), 1, client)
        size = sum_of.rule.add(sum_of.sum, START, {Name.ENCODED: pack(whole, sum_of.coder.bits)}, 1)
        sum_of.count(1, size)
    sum_of.open(sum_of.residues())
    return sum_of


UPDATES = [[0.01, -0.02, 0.0, 0.1], [0.03, 0.02, 0.0, 0.1]]
MEAN = [0.02, 0.0, 0.0, 0.1]


def test_the_mean_is_that_of_the_updates() -> None:
    result = filled(SecureSum(LAYOUT, make_coder(config(), 4, 2, 1), 1), UPDATES)
    assert result.updates == 2
    assert result.mean() == pytest.approx(MEAN, abs=1e-6)


def test_what_is_not_opened_is_nothing() -> None:
    result = filled(SecureSum(LAYOUT, make_coder(config(), 4, 2, 1), 1), UPDATES)
    result.close()
    assert result.updates == 0
    assert not result.mean().any()


def test_numbers_of_another_length_are_refused() -> None:
    result = SecureSum(LAYOUT, make_coder(config(), 4, 2, 1), 1)
    with pytest.raises(UpdateRefused, match="the masked update has 3 bytes"):
        result.rule.add(result.sum, START, {Name.ENCODED: np.zeros(3, np.uint8)}, 1)
    assert not result.sum.any()


def test_an_aggregator_that_needs_sums_alone_gets_the_mean(tmp_path: Path) -> None:
    settings = config(f"{__name__}:Twice")
    check_aggregator(settings, LAYOUT)
    own = make_aggregate(settings.strategy, LAYOUT, START, Weighting("uniform", {}, 2.0), None, UpdateFile(tmp_path))
    assert isinstance(own, OwnAggregate)
    result = filled(SecureSum(LAYOUT, make_coder(settings, 4, 2, 1), 1, own), UPDATES)
    assert result.mean() == pytest.approx(2 * np.array(MEAN), abs=2e-6)


def test_an_aggregator_that_does_not_say_so_is_refused() -> None:
    with pytest.raises(InputError, match="which does not say 'sums_alone = True'"):
        check_aggregator(config(f"{__name__}:Greedy"), LAYOUT)
