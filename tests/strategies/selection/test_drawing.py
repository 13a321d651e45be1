"""Draws with exact inclusion probabilities."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.strategies.selection.drawing import draw, draw_uniformly, exponentials, inclusion, powers
from tests.tiers import examples

from .populations import draws as cohorts
from .populations import indicators, p_value, rng, roster

SIZES = st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e12), st.sampled_from([1.0, 3.0])), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("sizes", "k", "expected"),
    [
        ([1, 1, 2], 2, [0.5, 0.5, 1]),
        ([1, 1, 100], 2, [0.5, 0.5, 1]),
        ([1, 2, 3, 4], 1, [0.1, 0.2, 0.3, 0.4]),
        ([5, 1], 2, [1, 1]),
        ([5, 1], 7, [1, 1]),
        ([5, 1], 0, [0, 0]),
        ([100, 50, 1, 1], 3, [1, 1, 0.5, 0.5]),
        ([4, 0, 0, 0, 2], 1, [2 / 3, 0, 0, 0, 1 / 3]),
        ([4, 0, 0, 0, 2], 3, [1, 1 / 3, 1 / 3, 1 / 3, 1]),  # two are certain, three share the third place
        ([0, 0, 0, 0], 1, [0.25] * 4),
    ],
)
def test_inclusion_probabilities_by_hand(sizes: list[float], k: int, expected: list[float]) -> None:
    np.testing.assert_allclose(inclusion(np.array(sizes, float), k), expected, rtol=1e-12)


@pytest.mark.thorough
@settings(max_examples=examples(300), deadline=None)
@given(sizes=SIZES, k=st.integers(0, 35), seed=st.integers(0, 2**31))
def test_laws(sizes: list[float], k: int, seed: int) -> None:
    size = np.array(sizes)
    chosen, probabilities = draw(size, k, np.random.default_rng(seed))
    cohort = min(k, len(size))
    assert len(chosen) == len(set(chosen.tolist())) == cohort
    assert probabilities.sum() == pytest.approx(cohort)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (probabilities[chosen] > 0).all()
    assert set(np.flatnonzero(probabilities == 1)) <= set(chosen.tolist())
    order = np.argsort(size, kind="stable")
    assert (np.diff(probabilities[order]) >= -1e-12).all()  # who is larger is not less likely
    # proportional among those that are neither certain nor impossible, unless the zeros had to help out
    between = (probabilities > 0) & (probabilities < 1 - 1e-9) & (size > 0)
    if between.any():
        ratio = probabilities[between] / size[between]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize("sizes", [[1.0, 2.0, 3.0, 4.0, 40.0, 0.0], [5.0, 5.0, 5.0, 0.0, 0.0], [1.0] * 6])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_draws_have_the_probabilities(sizes: list[float], k: int) -> None:
    size = np.array(sizes)
    result = np.zeros((4000, len(size)))
    for i, row in enumerate(result):
        row[draw(size, k, rng(seed=i))[0]] = 1
    assert p_value(result, inclusion(size, k)) > 1e-3


def test_the_chi_square_test_tells_wrong_probabilities() -> None:
    """Four thousand draws are enough to see an error of three points; a test that cannot fail is none."""
    result = np.zeros((4000, 4))
    for i, row in enumerate(result):
        row[draw(np.array([1.0, 2.0, 3.0, 4.0]), 1, rng(seed=i))[0]] = 1
    assert p_value(result, np.array([0.1, 0.2, 0.3, 0.4])) > 1e-3
    assert p_value(result, np.array([0.13, 0.17, 0.3, 0.4])) < 1e-6
    assert p_value(result, np.array([0.25] * 4)) < 1e-6
    assert p_value(result, np.array([0.1, 0.2, 0.3, 0.5])) == 0.0  # the cohort has one place


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 30.0, 5000.0, 1e300])
def test_no_exponent_loses_the_order_of_the_largest(exponent: float) -> None:
    counts = np.array([7.0, 1.0, 0.0, 1000.0, 999.0, 3.0])
    sizes = powers(counts, exponent, 3)
    assert np.isfinite(sizes).all()
    if exponent in (0.5, 2.0):
        np.testing.assert_allclose(sizes / sizes[1], counts**exponent, rtol=1e-12)
    if exponent >= 30:
        np.testing.assert_allclose(inclusion(sizes, 3), [1, 0, 0, 1, 1, 0], atol=1e-9)
    np.testing.assert_array_equal(powers(np.zeros(3), exponent, 2), np.ones(3))


@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0, 1e6, 1e300])
def test_no_temperature_loses_the_order_of_the_largest(temperature: float) -> None:
    values = np.array([7.0, 1.0, 0.0, 1000.0, 999.0, 3.0])
    sizes = exponentials(temperature * values, 3)
    assert np.isfinite(sizes).all()
    if temperature < 1:
        np.testing.assert_allclose(sizes / sizes[2], np.exp(temperature * values), rtol=1e-12)
    if temperature > 1:
        np.testing.assert_allclose(inclusion(sizes, 3), [1, 0, 0, 1, 1, 0], atol=1e-9)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "two_of_five",
    [lambda rng: draw_uniformly(5, 2, rng), lambda rng: draw(np.full(5, 3.0), 2, rng)[0]],
    ids=["uniform", "in proportion to equal sizes"],
)
def test_equals_give_every_subset_alike(two_of_five: Callable[[np.random.Generator], np.ndarray]) -> None:
    """Systematic sampling in a fixed order would never draw neighbours together."""
    subsets = dict.fromkeys(combinations(range(5), 2), 0)
    for i in range(5000):
        subsets[tuple(sorted(two_of_five(rng(seed=i)).tolist()))] += 1  # type: ignore[index]
    counts = np.array(list(subsets.values()))
    assert ((counts - 500) ** 2 / 500).sum() < 27.9  # the 0.999 quantile of chi-square with 9 degrees of freedom


def test_indicators_are_of_the_chosen() -> None:
    from fedasr.strategies.selection import Uniform

    result = indicators(cohorts(Uniform, roster([1, 0, 1]), 2, 3), 3)
    np.testing.assert_array_equal(result, [[1, 0, 1]] * 3)
