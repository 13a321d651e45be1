import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data.draws import normals, uniforms
from tests.tiers import examples


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 2**40), min_size=1, max_size=40), st.integers(0, 1000))
def test_one_alone_draws_what_it_draws_among_all(seed, index, round):
    for draw in (uniforms, normals):
        together = draw(seed, "test", np.array(index), round)
        alone = [draw(seed, "test", np.array([one]), round)[0] for one in index]
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(draw(seed, "test", np.array(index)[::-1], round), together[::-1])


def test_draws_depend_on_seed_purpose_round_and_index():
    base = uniforms(1, "a", np.arange(5), 2)
    assert len(set(base.tolist())) == 5
    for other in (uniforms(2, "a", np.arange(5), 2), uniforms(1, "b", np.arange(5), 2), uniforms(1, "a", np.arange(5))):
        assert not np.isin(other, base).any()
    np.testing.assert_array_equal(uniforms(1, "a", np.arange(5, dtype=np.int32), 2), base)


def test_uniforms_are_uniform_and_independent_of_their_neighbours():
    drawn = uniforms(0, "test", np.arange(1_000_000))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.bincount((drawn * 100).astype(int), minlength=100)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 148.2, "chi-square, 99 degrees of freedom, 0.1 %"
    for lag in (1, 2, 1000):
        assert abs(np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]) < 4e-3, "four standard errors"
    next_round = uniforms(0, "test", np.arange(1_000_000), 1)
    assert abs(np.corrcoef(drawn, next_round)[0, 1]) < 4e-3


def test_normals_are_normal():
    drawn = normals(0, "test", np.arange(1_000_000))
    assert drawn.mean() == pytest.approx(0, abs=4e-3)
    assert drawn.std() == pytest.approx(1, abs=3e-3)
    assert (drawn**3).mean() == pytest.approx(0, abs=0.016)
    assert (drawn**4).mean() == pytest.approx(3, abs=0.04)
    assert (drawn > 3).mean() == pytest.approx(0.00135, abs=1.5e-4)
    assert np.isfinite(drawn).all()
