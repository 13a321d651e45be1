"""Shares of noise add up to the noise of a server, and their sums do not depend on the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, laplace, norm

from fedasr.privacy.pate.noise import from_fixed, share, to_fixed
from tests.tiers import examples


@pytest.mark.parametrize("mechanism", ["gnmax", "lnmax", "soft-gaussian", "soft-laplace"])
@pytest.mark.parametrize("missing", [0, 3], ids=["all", "three-missing"])
def test_shares_add_up_to_the_noise_of_a_server(mechanism: str, missing: int) -> None:
    parts, size = 7, 20_000
    rng = np.random.default_rng(5)
    total = sum(share(mechanism, 4.0, size, rng, parts) for _ in range(parts - missing))
    if missing:
        total = total + share(mechanism, 4.0, size, rng, parts, missing)
    law = laplace(scale=4.0) if mechanism in ("lnmax", "soft-laplace") else norm(scale=4.0)
    assert kstest(total, law.cdf).pvalue > 1e-3


@settings(max_examples=examples(50), deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), data=st.data())
def test_fixed_point_sums_are_exact_in_any_order(values: list[float], data: st.DataObject) -> None:
    other = data.draw(st.permutations(values))
    assert to_fixed(np.array(values)).sum() == to_fixed(np.array(other)).sum()
    assert from_fixed(to_fixed(np.array(values))) == pytest.approx(np.array(values), abs=2.0**-32)
