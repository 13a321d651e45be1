"""The order-free weighted mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.models.weights import Layout
from fedasr.strategies.aggregation.exact_mean import ExactMean, UpdateRefused
from tests.tiers import examples

LAYOUT = Layout.of({"w": np.zeros((2, 2), np.float32), "b": np.zeros(1, np.float32)})


def named(values: list[float]) -> dict[str, np.ndarray]:
    return LAYOUT.views(np.array(values, np.float32))


def test_two_clients_weighted_by_examples() -> None:
    start = np.array([1, 1, 1, 1, 0], np.float32)
    mean = ExactMean(LAYOUT, start, expected_weight=4)
    assert mean.add(named([2, 1, 1, 1, 0]), 1) == 1.0
    mean.add(named([1, 1, 5, 1, -4]), 3)
    np.testing.assert_array_equal(mean.mean(), np.array([0.25, 0, 3, 0, -3], np.float32))


def test_nobody_replied_changes_nothing() -> None:
    np.testing.assert_array_equal(ExactMean(LAYOUT, np.ones(5, np.float32), 10).mean(), np.zeros(5))


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clients=st.integers(1, 40),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 10.0]),
    factor=st.floats(1 / 8, 8),
)
def test_any_order_and_any_grouping_give_the_same_bits(seed: int, clients: int, scale: float, factor: float) -> None:
    rng = np.random.default_rng(seed)
    start = rng.normal(size=5).astype(np.float32)
    updates = [(start + scale * rng.normal(size=5)).astype(np.float32) for _ in range(clients)]
    weights = rng.integers(1, 1000, size=clients)
    expected = factor * float(weights.sum())  # what the roster says need not be what the clients report
    results = set()
    for order in (np.arange(clients), np.arange(clients)[::-1], rng.permutation(clients)):
        mean = ExactMean(LAYOUT, start, expected)
        for i in order:
            mean.add(named(updates[i].tolist()), int(weights[i]))
        results.add(mean.mean().tobytes())
    assert len(results) == 1
    exact = np.average([u.astype(np.float64) - start for u in updates], axis=0, weights=weights)
    np.testing.assert_allclose(np.frombuffer(results.pop(), np.float32), exact, rtol=1e-5, atol=scale * 2e-6 + 1e-9)


def test_float_sums_would_not_pass() -> None:
    """The baseline that the exact mean replaces: a float32 sum depends on the order."""
    rng = np.random.default_rng(0)
    updates = rng.normal(size=(50, 10_000)).astype(np.float32)
    forward, backward = updates[0].copy(), updates[-1].copy()
    for update in updates[1:]:
        forward += update
    for update in updates[-2::-1]:
        backward += update
    assert (forward != backward).mean() > 0.5


@pytest.mark.parametrize(
    ("arrays", "weight", "message"),
    [
        (named([np.nan, 0, 0, 0, 0]), 1, "not finite"),
        (named([np.inf, 0, 0, 0, 0]), 1, "not finite"),
        (named([1e9, 0, 0, 0, 0]), 1, "too large"),
        (named([1, 0, 0, 0, 0]), 0, "weight 0"),
        ({"w": np.zeros((2, 2), np.float32)}, 1, "do not match the model: b"),
        ({"w": np.zeros((4, 1), np.float32), "b": np.zeros(1, np.float32)}, 1, r"'w' is float32 \(4, 1\)"),
        ({"w": np.zeros((2, 2), np.int32), "b": np.zeros(1, np.float32)}, 1, "'w' is int32"),
    ],
)
def test_what_cannot_be_an_update_is_refused_and_leaves_the_mean_alone(arrays, weight, message) -> None:  # type: ignore[no-untyped-def]
    mean = ExactMean(LAYOUT, np.zeros(5, np.float32), 2)
    mean.add(named([1, 1, 1, 1, 1]), 1)
    with pytest.raises(UpdateRefused, match=message):
        mean.add(arrays, weight)
    assert mean.updates == 1
    np.testing.assert_array_equal(mean.mean(), np.ones(5))


def test_noise_makes_an_update_long_but_not_too_large() -> None:
    """A device's noise on many parameters: a norm of thousands, and no parameter that a sum could not hold."""
    layout = Layout.of({"w": np.zeros(100_000, np.float32)})
    mean = ExactMean(layout, np.zeros(layout.size, np.float32), 1.0)
    update = np.full(layout.size, 20.0, np.float32)
    assert mean.add(layout.views(update), 1) == pytest.approx(20 * np.sqrt(100_000))
    np.testing.assert_array_equal(mean.mean(), update)
    update[7] = 5000.0
    with pytest.raises(UpdateRefused, match="too large"):
        mean.add(layout.views(update), 1)
