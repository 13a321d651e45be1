"""The one source of noise: its distributions, its grids, and that no two draws or keys are alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedasr.privacy.pate.noise import from_fixed, noisy, to_fixed
from fedasr.privacy.randomness import Randomness, discrete_laplace, grid_of, with_normal
from tests.tiers import examples

SOURCE = Randomness.public(7)


def test_normals_are_normal() -> None:
    result = SOURCE.normal(400_000, "test")
    assert stats.kstest(result, "norm").pvalue > 1e-3
    cells = np.histogram(stats.norm.cdf(result), bins=400, range=(0, 1))[0]
    assert stats.chisquare(cells).pvalue > 1e-3
    tail = stats.norm.sf(3.6541528853610088) * 2
    assert (np.abs(result) > 3.6541528853610088).mean() == pytest.approx(tail, abs=5 * math.sqrt(tail / len(result)))
    assert abs(np.corrcoef(result[1:], result[:-1])[0, 1]) < 0.01


def test_a_draw_is_a_function_of_its_source_purpose_and_place() -> None:
    first = SOURCE.normal(1000, "noise", 1, 2)
    assert SOURCE.normal(1000, "noise", 1, 2).tobytes() == first.tobytes()
    others = [
        SOURCE.normal(1000, "noise", 2, 1),
        SOURCE.normal(1000, "noises", 1, 2),
        Randomness.public(8).normal(1000, "noise", 1, 2),
        Randomness.secret().normal(1000, "noise", 1, 2),
        Randomness.secret().normal(1000, "noise", 1, 2),
    ]
    for one, other in zip([first, *others], [*others, first], strict=True):
        assert not np.isin(one, other).any()


def test_seeds_that_differ_above_32_bits_have_other_noise() -> None:
    """Torch reads the low 32 bits of its seed: these would be the same, and 2³² tries would find any."""
    seeds = [5, 5 + 2**32, 5 + 2**63]
    result = [Randomness.public(seed).normal(4, "noise").tobytes() for seed in seeds]
    assert len(set(result)) == 3


def test_a_secret_has_256_bits_and_is_not_shown() -> None:
    keys = {Randomness.secret().key for _ in range(200)}
    assert len(keys) == 200
    assert all(len(key) == 32 for key in keys)
    bits = np.unpackbits(np.frombuffer(b"".join(keys), np.uint8)).reshape(200, 256).mean(0)
    assert (np.abs(bits - 0.5) < 0.2).all()
    assert "key" not in repr(Randomness.secret())


def test_no_two_of_many_draws_have_equal_noise() -> None:
    """Of 195,000 steps with 32-bit seeds two had; here 20,000 of which the first 8 bytes are compared."""
    result = {SOURCE.derived("step", number).key[:8] for number in range(20_000)}
    assert len(result) == 20_000


@settings(max_examples=examples(60), deadline=None)
@given(scale=st.floats(1e-30, 1e30), values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40))
def test_a_noisy_sum_lies_on_a_grid_that_does_not_depend_on_the_values(scale: float, values: list[float]) -> None:
    grid = grid_of(scale)
    assert scale * 2.0**-17 <= grid <= scale * 2.0**-16
    exact = np.array(values)
    draws = SOURCE.normal(len(exact), "test")
    result = with_normal(exact, scale, draws.copy())
    assert (result / grid == np.rint(result / grid)).all()
    assert result == pytest.approx(exact + scale * draws, abs=grid, rel=1e-12)


def test_no_noise_changes_nothing() -> None:
    values = np.array([0.1, 1e-9])
    assert with_normal(values, 0.0, np.ones(2)).tolist() == values.tolist()


@pytest.mark.parametrize("scale", [1, 3, 40])
def test_laplace_noise_on_a_grid_has_its_exact_probabilities(scale: int) -> None:
    count, reach = 60_000, 6 * scale
    result = discrete_laplace(SOURCE.generator("test", scale), scale, count)
    places = np.arange(-reach, reach + 1)
    p = np.exp(-1 / scale)
    expected = (1 - p) / (1 + p) * p ** np.abs(places) * count
    observed = np.array([(result == place).sum() for place in places])
    rest = [count - observed.sum(), count - expected.sum()]
    assert stats.chisquare([*observed, rest[0]], [*expected, rest[1]]).pvalue > 1e-3


def test_laplace_noise_of_a_large_scale() -> None:
    result = discrete_laplace(SOURCE.generator("test"), 3 << 40, (200, 100))
    assert result.shape == (200, 100)
    assert stats.kstest(result.ravel() / (3 << 40), "laplace").pvalue > 1e-3
    assert len(np.unique(result)) == result.size
    with pytest.raises(ValueError, match="scale is 0"):
        discrete_laplace(SOURCE.generator("test"), 0, 1)


@settings(max_examples=examples(40), deadline=None)
@given(
    mechanism=st.sampled_from(["soft-laplace", "soft-gaussian"]),
    scale=st.floats(1e-3, 1e12),
    first=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    second=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_released_sums_of_votes_are_on_one_grid_whatever_the_votes(
    mechanism: str, scale: float, first: list[float], second: list[float]
) -> None:
    """What one hypothesis allows the other does too: the difference of two releases is a multiple of the grid."""
    result = [noisy(mechanism, scale, np.array(votes), SOURCE.generator("a")) for votes in (first, second)]
    grid = grid_of(scale) if mechanism == "soft-gaussian" else max(2.0**-32, 2.0 ** (math.frexp(scale)[1] - 54))
    for released in result:
        assert (released / grid == np.rint(released / grid)).all()


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_posteriors_on_the_grid_sum_to_one_at_most(values: list[float]) -> None:
    """Rounded to the nearest they could sum to more, and one teacher would count for more than one."""
    row = np.array(values)
    if row.sum() > 0:
        row = row / row.sum() / (1 + 1e-15)
    assert to_fixed(row).sum() <= 1 << 32
    assert (from_fixed(to_fixed(row)) <= row).all()
