"""Exposure: its values, its null, and the p of the null."""

from __future__ import annotations

import numpy as np
import pytest

from fedasr.privacy.audit.exposure import exposure, null_moments, null_tail, p_value, rank_of


def test_exposure_of_a_rank() -> None:
    assert exposure(np.array([1, 2, 1024]), 1024).tolist() == [10, 9, 0]
    assert exposure(np.array([1]), 10_000)[0] == pytest.approx(13.288, abs=1e-3)


def test_the_exposure_of_nothing_is_not_zero() -> None:
    for secrets in (10_000, 1_000_000):
        mean, deviation = null_moments(secrets)
        assert mean == pytest.approx(1.4427, abs=0.002)
        assert deviation == pytest.approx(1.4427, abs=0.01)
    assert null_tail(5, 10_000) == pytest.approx(0.0312, abs=1e-4)
    assert null_tail(0, 1000) == 1.0


@pytest.mark.parametrize("codes", [1, 20])
def test_p_keeps_to_its_level_by_chance_and_not_below_it_by_much(codes: int) -> None:
    ranks = np.random.default_rng(0).integers(1, 1001, (4000, codes))
    result = np.array([p_value(exposure(row, 1000)) for row in ranks])
    for level in (0.01, 0.05, 0.5):
        share = (result <= level).mean()
        assert 0.7 * level - 0.003 < share < level + 3 * np.sqrt(level / 4000)


def test_p_of_what_is_remembered_is_small() -> None:
    assert p_value(exposure(np.full(8, 3), 10_000)) < 1e-18
    assert p_value(exposure(np.array([10_000]), 10_000)) == pytest.approx(1.0)


def test_equal_scores_are_no_memory() -> None:
    assert rank_of(np.zeros(10), 3) == 10
    assert rank_of(np.array([0.5, 2.0, 1.0]), 2) == 2
