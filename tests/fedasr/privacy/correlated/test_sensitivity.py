from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.privacy.correlated.banded import BandedToeplitz
from fedasr.privacy.correlated.coefficients import optimised, square_root
from fedasr.privacy.correlated.factory import make_noise
from fedasr.privacy.correlated.tree import Tree
from fedasr.privacy.events import Gaussian
from fedasr.privacy.ledger import Ledger
from tests.fedasr.privacy.correlated.patterns import patterns, true_squared_sensitivity
from tests.tiers import examples


def test_the_patterns_of_four_rounds():
    assert list(patterns(4, 2)) == [[], [0], [1], [2], [3], [0, 2], [0, 3], [1, 3]]
    assert list(patterns(4, 2, 1)) == [[], [0], [1], [2], [3]]


def test_two_bands_by_hand():
    noise = BandedToeplitz([1.0, 0.5], separation=2)
    # Columns (1, ½)/√1.25; the last one is cut off after its 1.
    assert noise.matrix(3) == pytest.approx(np.array([[1, 0, 0], [0.5, 1, 0], [0, 0.5, 1]]) / sqrt(1.25))
    assert [noise.squared_sensitivity(t) for t in (1, 2, 3, 4)] == pytest.approx([0.8, 1.0, 1.8, 2.0])
    assert [noise.charge(t) for t in (1, 2, 3, 4)] == [1, 0, 1, 0]
    assert noise.squared_sensitivity(4, participations=1) == pytest.approx(1)


def test_a_tree_of_four_rounds_by_hand():
    noise = Tree(separation=3)
    assert noise.matrix(4).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]]
    # Round 1 is in the nodes that end with 1, 2 and 4; round 4 makes two turns in the last: 1 + 1 + 4.
    assert [noise.squared_sensitivity(t) for t in (1, 2, 3, 4)] == [1, 2, 2, 6]
    assert true_squared_sensitivity(noise.matrix(4), 3) == 6
    assert [noise.charge(t) for t in (1, 2, 3, 4)] == [1, 1, 0, 4]


def test_independent_noise_costs_a_turn_one():
    noise = make_noise("independent", bands=1, separation=4, rounds=10)
    assert noise.matrix(3).tolist() == np.eye(3).tolist()
    assert [round for round in range(1, 11) if noise.charge(round)] == [1, 5, 9]
    assert [noise.squared_sensitivity(t) for t in range(1, 11)] == [noise.total(t) for t in range(1, 11)]


noises = st.sampled_from(["root", "optimised", "tree"])


def built(kind, bands, separation, rounds):
    if kind == "tree":
        return Tree(separation)
    bands = min(bands, separation)
    return BandedToeplitz(square_root(bands) if kind == "root" else optimised(bands, rounds), separation)


@settings(max_examples=examples(60), deadline=None)
@given(noises, st.integers(1, 11), st.integers(1, 6), st.integers(1, 5), st.none() | st.integers(1, 4))
def test_no_device_exceeds_the_bound(kind, rounds, separation, bands, participations):
    noise = built(kind, bands, separation, rounds)
    result = noise.squared_sensitivity(rounds, participations)
    true = true_squared_sensitivity(noise.matrix(rounds), separation, participations)
    if kind == "tree":
        assert result >= true
    else:
        assert result == pytest.approx(true)


@settings(max_examples=examples(40), deadline=None)
@given(noises, st.integers(1, 11), st.integers(1, 6), st.integers(1, 5))
def test_the_charges_of_every_prefix_cover_its_sensitivity(kind, rounds, separation, bands):
    noise = built(kind, bands, separation, rounds)
    charges = [noise.charge(round) for round in range(1, rounds + 1)]
    assert min(charges) >= 0
    for prefix in range(1, rounds + 1):
        true = true_squared_sensitivity(noise.matrix(prefix), separation)
        assert sum(charges[:prefix]) == noise.total(prefix) >= true - 1e-12
        ended = (prefix - 1) % separation + 1
        if kind != "tree" and ended >= min(bands, separation):
            assert noise.total(prefix) == pytest.approx(true)


@pytest.mark.parametrize("separation", [1, 2, 4, 8])
def test_the_bound_of_the_tree_is_attained_at_powers_of_two(separation):
    for rounds in range(1, 13):
        noise = Tree(separation)
        true = true_squared_sensitivity(noise.matrix(rounds), separation)
        assert noise.squared_sensitivity(rounds) == true


@settings(max_examples=examples(30), deadline=None)
@given(noises, st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_no_updates_within_the_clip_norm_exceed_it(kind, separation, seed):
    """Any vectors of norm one at most, in any turns: their images under M are within the charges."""
    rounds, rng = 40, np.random.default_rng(seed)
    noise = built(kind, 4, separation, rounds)
    updates = np.zeros((rounds, 3))
    turn = rng.integers(separation)
    while turn < rounds:
        vector = rng.standard_normal(3)
        updates[turn] = vector / np.linalg.norm(vector) * rng.choice([0.5, 1.0])
        turn += separation + rng.integers(2)
    assert ((noise.matrix(rounds) @ updates) ** 2).sum() <= noise.total(rounds) + 1e-9


@pytest.mark.parametrize("name", ["independent", "banded", "tree"])
def test_a_ledger_charged_round_by_round_composes_to_the_total(name):
    noise = make_noise(name, bands=5, separation=5, rounds=32)
    ledger = Ledger()
    for round in range(1, 33):
        if charge := noise.charge(round):
            event = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=3.0, sensitivity=sqrt(charge))
            ledger.charge(event, released="global model", population=100, round=round)
    assert sum(entry.event.mu_squared for entry in ledger.entries) == pytest.approx(noise.total(32) / 9)
    once = Gaussian(unit="user", adjacency="zero-out", noise_multiplier=3.0, sensitivity=sqrt(noise.total(32)))
    together = Ledger()
    together.charge(once, released="global model", population=100)
    assert ledger.epsilon(1e-6, "user") == pytest.approx(together.epsilon(1e-6, "user"), rel=1e-6)


def test_bands_need_their_separation():
    with pytest.raises(InputError, match=r"'privacy.bands' is 5, but 'selection.separation' 4"):
        make_noise("banded", bands=5, separation=4, rounds=10)
    with pytest.raises(InputError, match=r"'selection.separation' is 0"):
        make_noise("tree", bands=1, separation=0, rounds=10)
    with pytest.raises(InputError, match=r"'privacy.bands' is 0"):
        make_noise("banded", bands=0, separation=4, rounds=10)
    with pytest.raises(InputError, match=r"did you mean 'banded'"):
        make_noise("band", bands=1, separation=4, rounds=10)
    for wrong in ([0.5], [1.0, -0.5], [1.0, np.nan], []):
        with pytest.raises(InputError, match="must begin with 1"):
            BandedToeplitz(wrong, separation=4)
