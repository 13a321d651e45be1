import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedasr.data.heterogeneity import gini
from fedasr.results.tables.statistics import jain, mean_interval, t_quantile

# Two-sided 95 % points of Student's t from printed tables.
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 10: 2.228, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize(("degrees", "expected"), TABLE.items())
def test_t_quantile_matches_the_printed_table(degrees, expected):
    assert t_quantile(degrees) == pytest.approx(expected, abs=5e-4)
    assert t_quantile(4, 0.99) == pytest.approx(4.604, abs=5e-4)


def test_mean_interval_by_hand():
    mean, low, high = mean_interval([1.0, 2.0, 3.0])  # s = 1, t(2) = 4.3027
    assert float(mean) == 2.0
    assert float(high) - 2 == pytest.approx(4.30265 / math.sqrt(3), abs=1e-4)
    assert float(low) + float(high) == pytest.approx(4.0)


def test_one_seed_has_no_interval_and_none_has_no_mean():
    mean, low, high = mean_interval([0.25])
    assert (float(mean), math.isnan(low), math.isnan(high)) == (0.25, True, True)
    assert all(math.isnan(value) for value in mean_interval([]))


def test_mean_interval_over_points():
    mean, low, high = mean_interval([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(mean, [2, 5])
    np.testing.assert_allclose(high - low, [2 * 12.706205, 0], rtol=1e-5)


def test_gini_and_jain_by_hand():
    assert gini([3, 3, 3]) == 0
    assert gini([0, 0, 0, 8]) == pytest.approx(0.75)  # (n - 1) / n
    assert gini([1, 3]) == pytest.approx(0.25)
    assert jain([2, 2]) == 1
    assert jain([0, 0, 0, 8]) == 0.25
    assert (gini([]), gini([0, 0]), jain([]), jain([0, 0])) == (0, 0, 1, 1)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.integers(1, 9))
def test_gini_and_jain_do_not_depend_on_the_unit_and_stay_in_bounds(values, factor):
    scaled = [factor * value for value in values]
    assert gini(scaled) == pytest.approx(gini(values), abs=1e-9)
    assert jain(scaled) == pytest.approx(jain(values), abs=1e-9)
    assert -1e-12 <= gini(values) < 1
    assert 1 / len(values) - 1e-12 <= jain(values) <= 1 + 1e-12
