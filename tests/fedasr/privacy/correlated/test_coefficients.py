from math import comb, sqrt

import numpy as np
import pytest
from scipy.linalg import solve_triangular

from fedasr.privacy.correlated.banded import BandedToeplitz
from fedasr.privacy.correlated.coefficients import optimised, square_root
from fedasr.privacy.correlated.factory import make_noise
from fedasr.privacy.correlated.noise import CorrelatedNoise


def test_the_square_root_squares_to_prefix_sums():
    assert square_root(4).tolist() == [1, 0.5, 0.375, 0.3125]
    assert square_root(30) == pytest.approx([comb(2 * k, k) / 4**k for k in range(30)])
    root = BandedToeplitz(square_root(12), 12)
    whole = root.matrix(12) * root.norm
    assert whole @ whole == pytest.approx(np.tril(np.ones((12, 12))))


def test_two_bands_are_optimised_to_the_best_of_a_grid():
    rounds, best = 20, optimised(2, 20)
    grid = np.linspace(0.3, 0.9, 601)
    errors = [whole_error([1.0, c], rounds) for c in grid]
    assert best[1] == pytest.approx(grid[int(np.argmin(errors))], abs=1.5e-3)
    assert whole_error(best, rounds) <= min(errors) + 1e-9


def whole_error(coefficients, rounds):
    """Return ‖A·M⁻¹‖² for the matrix A of prefix sums."""
    matrix = BandedToeplitz(coefficients, len(coefficients)).matrix(rounds)
    return (np.cumsum(np.linalg.inv(matrix), axis=0) ** 2).sum()


@pytest.mark.parametrize(
    ("rounds", "bands", "gain"),
    [(50, 4, 1.02), (500, 8, 1.08), (2000, 16, 1.1)],
    ids=["50-rounds", "500-rounds", "2000-rounds"],
)
def test_optimised_bands_have_a_smaller_error_than_the_root(rounds, bands, gain):
    result = [toeplitz_error(c, rounds) for c in (square_root(bands), optimised(bands, rounds))]
    assert result[0] > gain * result[1]


def toeplitz_error(coefficients, rounds):
    """Return the root mean square of the noise on prefix sums, from the power series 1/((1 − x)·c(x))."""
    series = np.zeros(rounds)
    for t in range(rounds):
        past = series[max(0, t + 1 - len(coefficients)) : t][::-1]
        series[t] = 1 - coefficients[1 : 1 + len(past)] @ past
    return np.sqrt(coefficients @ coefficients * (np.arange(rounds, 0, -1) @ series**2) / rounds)


def test_more_bands_than_rounds_are_never_used():
    result = optimised(9, 4)
    assert result[:4] == pytest.approx(optimised(4, 4))
    assert not result[4:].any()
    assert optimised(1, 100).tolist() == [1]
    assert optimised(3, 1).tolist() == [1, 0, 0]


def test_the_error_of_prefix_sums_by_hand():
    # Two rounds of independent noise, one turn each: variances 1 and 2, times a squared sensitivity of 2.
    assert prefix_error(make_noise("independent", bands=1, separation=1, rounds=2), 2) ** 2 == pytest.approx(3)
    # A tree has one node in the sum after each, and round 1 is in both.
    assert prefix_error(make_noise("tree", bands=1, separation=2, rounds=2), 2) ** 2 == pytest.approx(2)


def test_correlated_noise_leaves_less_on_the_model_at_equal_epsilon():
    independent, banded, few, tree = (
        prefix_error(make_noise(name, bands=bands, separation=64, rounds=256), 256)
        for name, bands in (("independent", 1), ("banded", 64), ("banded", 16), ("tree", 1))
    )
    assert independent == pytest.approx(np.sqrt(4 * 257 / 2))
    assert banded < few < tree < independent
    assert banded < independent / 4
    assert tree < independent / 1.6


def prefix_error(noise: CorrelatedNoise, rounds: int) -> float:
    """Return the noise on a model, averaged over the rounds, that goes with μ = 1 of Gaussian DP at the end.

    That is the root mean square of Σ_{i ≤ t} σ·y_i over all rounds t, in clip norms, where σ² is what the ledger is
    charged for all rounds.
    """
    inverse = solve_triangular(noise.matrix(rounds), np.eye(rounds), lower=True)
    return sqrt(noise.total(rounds) * float((np.cumsum(inverse, axis=0) ** 2).sum()) / rounds)
