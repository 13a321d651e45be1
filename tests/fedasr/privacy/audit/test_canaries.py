"""Canaries and their scores: exact small cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import hadamard as matrix

from fedasr.hadamard import hadamard
from fedasr.privacy.audit import scores
from fedasr.privacy.audit.canaries import Canaries, parity


def test_the_transform_is_that_of_the_matrix() -> None:
    values = np.random.default_rng(0).standard_normal(16)
    np.testing.assert_allclose(hadamard(values[None])[0] * 4, matrix(16) @ values, atol=1e-12)
    assert parity(np.array([0, 1, 2, 3, 7])).tolist() == [1, -1, -1, 1, -1]


def test_one_transform_gives_the_product_with_every_canary() -> None:
    rng = np.random.default_rng(1)
    canaries = Canaries(100, 3, rng.random(100))
    vectors = np.array([canaries.vector(number) for number in range(canaries.count)])
    values = rng.standard_normal(100)
    assert canaries.count == 128
    np.testing.assert_allclose(canaries.products(values), vectors @ values / canaries.length, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), canaries.length)
    assert len(np.unique(np.sign(vectors), axis=0)) == 128


def test_canaries_are_nearly_orthogonal() -> None:
    canaries = Canaries(2000, 0, np.full(2000, 2000**-0.5))
    cosines = canaries.products(canaries.vector(5))
    assert cosines[5] == pytest.approx(1)
    assert np.sqrt(np.mean(np.delete(cosines, 5) ** 2)) < 0.02


def test_whoever_is_in_every_step_is_scored_by_the_likelihood_ratio() -> None:
    x = np.array([[0.5, 2.0], [1.0, -1.0]])
    expected = ((2 * x - 1) / (2 * 0.8**2)).sum(0)
    np.testing.assert_allclose(scores.poisson(x, 0.8, 1.0), expected)
    np.testing.assert_allclose(scores.exchanged(x, 0.8, 1.0), (2 * x / 0.8**2).sum(0))
    assert scores.exchanged(np.zeros((3, 1)), 0.8, 0.3)[0] == 0


def test_matched_scores_are_standard_outside_and_shifted_inside() -> None:
    rng = np.random.default_rng(2)
    square = np.array([[1.0, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]])
    pattern = np.repeat([[1.0], [0], [1]], 20_000, axis=1)
    noise = 2.0 * np.linalg.solve(square, rng.standard_normal((3, 20_000)))
    outside, inside = (scores.matched(noise + there * pattern, pattern, square, 2.0) for there in (0, 1))
    assert outside.std() == pytest.approx(1, abs=0.02)
    assert inside.mean() == pytest.approx(np.linalg.norm(square @ [1, 0, 1]) / 2, abs=0.03)
