import dp_accounting
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.privacy.rdp import ORDERS, quiet
from fedasr.privacy.sampled_gaussian import poisson_gaussian_rdp
from tests.tiers import examples


@settings(max_examples=examples(12), deadline=None)
@given(st.floats(0.3, 20.0), st.floats(1e-6, 0.999))
def test_it_is_what_dp_accounting_computes(noise, q):
    orders = (*ORDERS[::7], *(float(order) for order in range(2, 20)), 512.0)
    with quiet():
        accountant = RdpAccountant(list(orders))
        accountant.compose(dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(noise)))
    ours, theirs = poisson_gaussian_rdp(noise, q, orders), np.asarray(accountant._rdp)
    known = np.isfinite(theirs) & np.isfinite(ours)
    assert known.sum() > len(orders) / 2
    # The same sums in another order, as ln(1 + little): what rounding leaves of it.
    scale = np.asarray(orders)[known] - 1
    assert scale * ours[known] == pytest.approx(scale * theirs[known], rel=1e-6, abs=5e-12)


def test_the_second_order_by_hand():
    # α = 2: ln(1 + q²(e^{1/σ²} − 1))
    assert poisson_gaussian_rdp(2.0, 0.1, (2.0,)) == pytest.approx([np.log1p(0.01 * np.expm1(0.25))])


def test_everybody_is_plain_gaussian_noise():
    assert poisson_gaussian_rdp(2.0, 1.0, (1.5, 8.0)) == pytest.approx([1.5 / 8, 1.0])
    almost = poisson_gaussian_rdp(2.0, 1 - 1e-12, (1.5, 8.0))
    assert almost == pytest.approx([1.5 / 8, 1.0], rel=1e-6)
