"""Clipping of whole updates: exact on three numbers, and never beyond the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.models.weights import Layout
from fedasr.privacy.update_clipping import Clip
from fedasr.strategies.aggregation.exact_mean import ExactMean, UpdateRefused
from tests.tiers import examples

LAYOUT = Layout.of({"a": np.zeros(3, np.float32), "b": np.zeros(1, np.float32)})


def clipped(values: list[float], bound: float, style: str) -> np.ndarray:
    update = np.array(values, np.float32)
    Clip(LAYOUT, bound, style).apply(update)
    return update


def test_flat() -> None:
    np.testing.assert_allclose(clipped([3, 0, 0, 4], 1.0, "flat"), [0.6, 0, 0, 0.8], rtol=2e-6)
    np.testing.assert_array_equal(clipped([0.3, 0, 0, 0.4], 1.0, "flat"), np.array([0.3, 0, 0, 0.4], np.float32))


def test_per_layer_clips_each_tensor_and_never_scales_up() -> None:
    # C = √2: each of the two tensors is bounded by 1
    result = clipped([3, 0, 4, 0.5], 2**0.5, "per-layer")
    np.testing.assert_allclose(result, [0.6, 0, 0.8, 0.5], rtol=2e-6)


def test_by_dimension_the_larger_tensor_has_the_larger_share() -> None:
    # C = 2, 3 of 4 scalars in the first tensor: bounds √3 and 1
    result = clipped([30, 0, 40, 9], 2.0, "per-layer-dim")
    np.testing.assert_allclose(result, [3**0.5 * 0.6, 0, 3**0.5 * 0.8, 1], rtol=2e-6)


@settings(max_examples=examples(200), deadline=None)
@given(
    values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=4, max_size=4),
    bound=st.floats(1e-6, 1e3),
    style=st.sampled_from(["flat", "per-layer", "per-layer-dim"]),
)
def test_no_update_is_longer_than_the_bound(values: list[float], bound: float, style: str) -> None:
    assert np.linalg.norm(clipped(values, bound, style).astype(np.float64)) <= bound


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 2**32), style=st.sampled_from(["flat", "per-layer", "per-layer-dim"]))
def test_one_user_more_or_less_moves_the_sum_by_at_most_the_bound(seed: int, style: str) -> None:
    rng = np.random.default_rng(seed)
    start = rng.normal(size=4).astype(np.float32)
    users = [start + rng.normal(size=4).astype(np.float32) * rng.choice([0.01, 1, 100]) for _ in range(6)]
    bound, cohort = 0.5, 5.0

    def total(members: list[np.ndarray]) -> np.ndarray:
        mean = ExactMean(LAYOUT, start, cohort, cohort, Clip(LAYOUT, bound, style))
        for member in members:
            mean.add(LAYOUT.views(member.astype(np.float32)), 1)
        return mean.mean().astype(np.float64) * cohort

    assert np.linalg.norm(total(users) - total(users[:-1])) <= bound * (1 + 1e-6)


def test_a_huge_update_is_clipped_and_one_that_is_not_finite_refused() -> None:
    mean = ExactMean(LAYOUT, np.zeros(4, np.float32), 1.0, 1.0, Clip(LAYOUT, 1.0))
    assert mean.add(LAYOUT.views(np.array([1e12, 0, 0, 0], np.float32)), 1) == pytest.approx(1e12)
    np.testing.assert_allclose(mean.mean(), [1, 0, 0, 0], atol=2e-6)
    with pytest.raises(UpdateRefused):
        mean.add(LAYOUT.views(np.array([np.nan, 0, 0, 0], np.float32)), 1)
