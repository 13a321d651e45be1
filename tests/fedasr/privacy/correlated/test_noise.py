import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fedasr import seeds
from fedasr.errors import InputError
from fedasr.privacy.correlated.banded import BandedToeplitz
from fedasr.privacy.correlated.factory import NOISES, make_noise
from fedasr.privacy.correlated.tree import Tree
from tests.tiers import examples


def made(name, bands=4):
    return make_noise(name, bands=bands, separation=5, rounds=20)


def source(round):
    return seeds.generator(7, "central-noise", round)


def drawn(noise, first, last, size=6):
    return np.array([noise.draw(round, source(round), size) for round in range(first, last + 1)])


@pytest.mark.parametrize("name", ["independent", "banded"])
def test_one_band_is_independent_noise_bit_by_bit(name):
    result = drawn(made(name, bands=1), 1, 9)
    assert result.tobytes() == np.array([source(t).standard_normal(6) for t in range(1, 10)]).tobytes()


@pytest.mark.parametrize("name", NOISES)
def test_the_matrix_turns_draws_back_into_independent_noise(name):
    """M·y = z, the definition of the noise."""
    independent = np.array([source(t).standard_normal(6) for t in range(1, 24)])
    assert made(name).matrix(23) @ drawn(made(name), 1, 23) == pytest.approx(independent, abs=1e-12)


def test_two_bands_take_half_of_the_last_round_back():
    y = drawn(BandedToeplitz([1.0, 0.5], separation=2), 1, 3)
    z = np.sqrt(1.25) * np.array([source(t).standard_normal(6) for t in (1, 2, 3)])
    assert y[0] == pytest.approx(z[0])
    assert y[1] == pytest.approx(z[1] - z[0] / 2, abs=1e-12)
    assert y[2] == pytest.approx(z[2] - z[1] / 2 + z[0] / 4, abs=1e-12)


def test_the_noise_of_the_first_rounds_of_a_tree_is_that_of_its_nodes():
    sums = np.cumsum(drawn(Tree(1), 1, 8), axis=0)
    z = {t: source(t).standard_normal(6) for t in range(1, 9)}
    for rounds, nodes in [(1, [1]), (2, [2]), (3, [2, 3]), (4, [4]), (5, [4, 5]), (7, [4, 6, 7]), (8, [8])]:
        assert sums[rounds - 1] == pytest.approx(sum(z[node] for node in nodes), abs=1e-12)


@pytest.mark.parametrize("name", NOISES)
def test_the_covariance_over_many_draws_is_that_of_the_matrix(name):
    """Every parameter is an independent run; an entry's standard error is √((C_ii·C_jj + C_ij²)/runs)."""
    rounds, runs, sigma = 7, 50_000, 1.7
    inverse = np.linalg.inv(made(name).matrix(rounds))
    wanted = sigma**2 * inverse @ inverse.T
    result = sigma * drawn(made(name), 1, rounds, runs)
    spread = np.sqrt((np.outer(np.diag(wanted), np.diag(wanted)) + wanted**2) / runs)
    assert (np.abs(result @ result.T / runs - wanted) < 5 * spread).all()
    assert (np.abs(result.mean(axis=1)) < 5 * np.sqrt(np.diag(wanted) / runs)).all()


@settings(max_examples=examples(40), deadline=None)
@given(st.sampled_from(NOISES), st.integers(1, 5), st.integers(0, 20), st.integers(1, 9))
def test_a_resumed_run_goes_on_with_the_same_noise(name, bands, before, after):
    whole = drawn(made(name, bands), 1, before + after)
    first = made(name, bands)
    drawn(first, 1, before)
    second = made(name, bands)
    second.load_state_dict(load(save(first.state_dict())))
    # What the first does afterwards must not reach the second.
    drawn(first, before + 1, before + 1)
    assert drawn(second, before + 1, before + after).tobytes() == whole[before:].tobytes()


def test_the_state_is_as_small_as_it_can_be():
    banded, tree = made("banded"), made("tree")
    assert "recent" not in banded.state_dict()
    drawn(banded, 1, 2)
    assert banded.state_dict()["recent"].shape == (2, 6)
    drawn(banded, 3, 11)
    assert banded.state_dict()["recent"].shape == (3, 6)
    assert banded.state_dict()["recent"].dtype == np.float64
    drawn(tree, 1, 11)
    assert tree.state_dict()["open"].shape == (3, 6)  # 11 = 8 + 2 + 1
    assert sorted(made("independent").state_dict()) == ["coefficients", "round"]


@pytest.mark.parametrize("name", NOISES)
def test_a_draw_out_of_order_is_refused(name):
    noise = made(name)
    drawn(noise, 1, 2)
    for round in (2, 4):
        with pytest.raises(InputError, match=rf"correlated noise: is that of round 2, and round {round} is to come"):
            noise.draw(round, source(round), 6)
    if name != "independent":
        with pytest.raises(InputError, match="is for 6 parameters, and the model has 7"):
            noise.draw(3, source(3), 7)
    assert drawn(noise, 3, 3).shape == (1, 6)


def test_a_damaged_state_is_refused_and_changes_nothing():
    noise = made("banded")
    drawn(noise, 1, 6)
    good = noise.state_dict()
    for wrong, line in [
        ({}, "it tells no round"),
        ({**good, "round": np.array([-1])}, "it tells no round"),
        ({**good, "recent": good["recent"][1:]}, r"'recent' has shape \(2, 6\); expected 3 rows"),
        ({**good, "coefficients": np.ones(3)}, "has 3 bands; expected 4"),
        ({"round": good["round"]}, "has no bands; expected 4"),
        ({**good, "coefficients": np.full(4, np.nan)}, "must begin with 1"),
    ]:
        with pytest.raises(InputError, match=line):
            noise.load_state_dict(wrong)
    tree = made("tree")
    with pytest.raises(InputError, match=r"'open' has shape None; expected 2 rows"):
        tree.load_state_dict({"round": np.array([3])})
    assert drawn(noise, 7, 7).tobytes() == drawn(made("banded"), 1, 7)[6:].tobytes()
