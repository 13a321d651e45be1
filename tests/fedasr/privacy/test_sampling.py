"""What an accountant may assume of a selection follows from what that declares, and from who else changes a round."""

from __future__ import annotations

from typing import Any

import pytest

from fedasr.config.schema import SelectionConfig
from fedasr.errors import InputError
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import FixedSizeGaussian, Gaussian, PoissonGaussian
from fedasr.privacy.sampling import Sampling, Traits, sampling_assumption
from fedasr.strategies.selection import SELECTORS, configured_traits

SIZES = {"population": 1000, "cohort": 50}
POISSON, UNIFORM = Traits("poisson"), Traits("fixed-size")


def assumed(name: str, *, separation: int = 0, replacement: bool = False, **more: Any) -> Sampling:
    """Return what is assumed of one of our own selections."""
    config = SelectionConfig(name=name, separation=separation, replacement=replacement)
    return sampling_assumption(name, configured_traits(config), **{**SIZES, **more})


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selection_of_the_server_declares_itself(name: str) -> None:
    assert configured_traits(SelectionConfig(name=name)) is not None


def test_poisson_is_poisson() -> None:
    event = assumed("poisson").gaussian(1.1)
    assert event == PoissonGaussian(unit="user", noise_multiplier=1.1, sampling_probability=0.05)
    assert assumed("poisson", population=10).probability == 1


def test_uniform_is_without_replacement_under_replace_one() -> None:
    event = assumed("uniform").gaussian(1.1, unit="user")
    assert event == FixedSizeGaussian(unit="user", noise_multiplier=1.1, sampling_probability=0.05)
    assert (event.adjacency, event.effective_noise) == ("replace-one", 0.55)


@pytest.mark.parametrize("selection", ["activity", "top-activity", "mixed", "threshold"])
def test_activity_is_refused_unless_it_is_public(selection: str) -> None:
    with pytest.raises(InputError, match=r"how much devices hold.* select by 'poisson'"):
        assumed(selection)
    with_counts = assumed(selection, public_activity=True)
    if selection == "threshold":
        assert with_counts.name == "fixed-size"
        return
    # the largest selection probability there is: no amplification, and nobody else is displaced
    assert with_counts.gaussian(2.0) == Gaussian(unit="user", adjacency="zero-out", noise_multiplier=2.0)


def test_a_threshold_is_charged_among_those_that_qualify() -> None:
    """Of 40 devices two qualify: each of them is in every round, and not in one of twenty."""
    sizes = {"population": 40, "cohort": 2, "public_activity": True}
    exact = FixedSizeGaussian(unit="user", noise_multiplier=1.5, sampling_probability=1.0, steps=3)
    for eligible in (2, 1, 0, None):  # unknown counts as no more than a cohort
        sampling = assumed("threshold", **sizes, eligible=eligible)
        assert sampling.probability == 1.0
        assert sampling.gaussian(1.5).times(3) == exact
    assert assumed("threshold", **sizes, eligible=8).probability == 0.25
    diluted = FixedSizeGaussian(unit="user", noise_multiplier=1.5, sampling_probability=0.05, steps=3)
    assert epsilon_of([exact], 1e-5, "rdp").epsilon > 2 * epsilon_of([diluted], 1e-5, "rdp").epsilon


@pytest.mark.parametrize("selection", ["uniform", "poisson", "round-robin"])
@pytest.mark.parametrize("key", ["devices.over_commit", "devices.availability"])
def test_who_is_fast_or_there_is_no_sampling(selection: str, key: str) -> None:
    with pytest.raises(InputError, match=f"'{key}' makes who else is in a round depend on how much speech"):
        assumed(selection, separation=3, coupled_by=key)
    sampling = assumed(selection, separation=3, coupled_by=key, public_activity=True)
    assert (sampling.name, sampling.adjacency, sampling.probability) == ("none", "zero-out", 1.0)


def test_drawing_with_replacement_is_refused() -> None:
    with pytest.raises(InputError, match="several times over its clip norm"):
        assumed("activity", public_activity=True, replacement=True)
    with pytest.raises(InputError, match="several times over its clip norm"):
        assumed("mixed", public_activity=True, replacement=True)


@pytest.mark.parametrize("selection", ["oort", "afl", "power-of-choice"])
def test_selection_by_losses_is_refused_in_any_case(selection: str) -> None:
    with pytest.raises(InputError, match=f"'selection.name' is '{selection}', which chooses by the losses"):
        assumed(selection, public_activity=True)


def test_a_selector_of_ones_own_is_what_it_declares() -> None:
    own = "my.module:Selector"
    with pytest.raises(InputError, match=r"does not declare which sampling it is \(attribute 'traits'"):
        sampling_assumption(own, None, **SIZES)
    assert sampling_assumption(own, POISSON, **SIZES).probability == 0.05
    assert sampling_assumption(own, UNIFORM, **SIZES).name == "fixed-size"
    assert sampling_assumption(own, Traits("none", separation=1), **SIZES).probability == 1.0
    with pytest.raises(InputError, match="chooses by the losses"):
        sampling_assumption(own, Traits("poisson", reads_losses=True), **SIZES)
    # Poisson sampling by public counts is no sampling with one probability.
    by_counts = Traits("poisson", reads_activity=True)
    assert sampling_assumption(own, by_counts, **SIZES, public_activity=True).name == "none"
    with pytest.raises(InputError, match="did you mean 'poisson'"):
        Traits("poison")
    with pytest.raises(InputError, match="'cohort' is 0"):
        sampling_assumption("poisson", POISSON, population=10, cohort=0)


def test_turns_are_charged_as_often_as_a_device_may_have_one() -> None:
    with pytest.raises(InputError, match=r"selection\.separation"):
        assumed("round-robin")
    turns = assumed("round-robin", separation=20)
    assert [round for round in range(1, 62) if turns.is_charged(round)] == [1, 21, 41, 61]
    for rounds in range(1, 100):
        assert sum(turns.is_charged(round) for round in range(1, rounds + 1)) == turns.participations(rounds)
    assert isinstance(turns.gaussian(1.0), Gaussian)
