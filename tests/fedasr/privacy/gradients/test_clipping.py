"""Clip factors, exactly, on tiny numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.models.weights import Layout
from fedasr.privacy.gradients.clipping import Automatic, Clipping, Flat, PerLayer, square_norms

LAYOUT = Layout(("a", "b"), ((4,), (12,)), (slice(0, 4), slice(4, 16)))
SQUARES = torch.tensor([[9.0, 16.0], [0.09, 0.16], [0.0, 0.0], [0.0, 64.0]])


def test_flat() -> None:
    assert Flat(1.0).factors(SQUARES).tolist() == pytest.approx([0.2, 1.0, 1.0, 0.125])
    assert Flat(2.0).bound == 2.0


def test_automatic() -> None:
    result = Automatic(1.0, stability=0.5).factors(SQUARES).tolist()
    assert result == pytest.approx([1 / 5.5, 1.0, 2.0, 1 / 8.5])
    assert Automatic(3.0).bound == 3.0


def test_per_layer() -> None:
    rule = PerLayer((1.5, 4.0))
    assert rule.factors(SQUARES).tolist() == [[0.5, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.5]]
    assert rule.bound == pytest.approx(math.sqrt(1.5**2 + 16))


def test_shares_of_a_norm() -> None:
    uniform = PerLayer.of(LAYOUT, 2.0, "uniform")
    assert uniform.thresholds == pytest.approx((2 / math.sqrt(2),) * 2)
    by_dimension = PerLayer.of(LAYOUT, 2.0, "dimension")
    assert by_dimension.thresholds == pytest.approx((1.0, math.sqrt(3)))
    assert uniform.bound == pytest.approx(2.0)
    assert by_dimension.bound == pytest.approx(2.0)


def test_refusals() -> None:
    with pytest.raises(InputError, match="share is 'uniformly' \\(did you mean 'uniform'\\?\\)"):
        PerLayer.of(LAYOUT, 1.0, "uniformly")
    with pytest.raises(InputError, match="norm"):
        Flat(0.0)
    with pytest.raises(InputError, match="3 thresholds for a model of 2 parameter tensors"):
        PerLayer((1.0, 1.0, 1.0)).factors(SQUARES)
    with pytest.raises(InputError, match=r"thresholds\[1\]"):
        PerLayer((1.0, -1.0))


def test_square_norms_of_a_flat_gradient() -> None:
    result = square_norms(torch.arange(16.0), LAYOUT.slices)
    torch.testing.assert_close(result, torch.tensor([[14.0, float(sum(n * n for n in range(4, 16)))]]))


@given(
    norms=st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=2),
    rule=st.sampled_from([Flat(0.7), Automatic(0.7), PerLayer((0.3, 0.6)), PerLayer.of(LAYOUT, 0.7, "dimension")]),
)
def test_no_contribution_exceeds_the_bound(norms: list[float], rule: Clipping) -> None:
    squares = torch.tensor([norms], dtype=torch.float64).square()
    factors = rule.factors(squares)
    after = (squares * (factors if factors.dim() == 2 else factors.unsqueeze(1)).square()).sum().sqrt()
    assert float(after) <= rule.bound * (1 + 1e-6)
