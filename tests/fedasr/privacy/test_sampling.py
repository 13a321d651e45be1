import pytest
from fedasr.strategies.selection import SELECTORS

from fedasr.errors import InputError
from fedasr.privacy.events import FixedSizeGaussian, Gaussian, PoissonGaussian
from fedasr.privacy.sampling import ADAPTIVE, SELECTIONS, sampling_assumption

SIZES = {"population": 1000, "cohort": 50}


def test_every_selection_of_the_server_is_known():
    assert set(SELECTORS) == set(SELECTIONS)


def test_poisson_is_poisson():
    event = sampling_assumption("poisson", **SIZES).gaussian(1.1)
    assert event == PoissonGaussian(unit="user", noise_multiplier=1.1, sampling_probability=0.05)
    assert sampling_assumption("poisson", population=10, cohort=50).probability == 1


def test_uniform_is_without_replacement_under_replace_one():
    event = sampling_assumption("uniform", **SIZES).gaussian(1.1, unit="user")
    assert event == FixedSizeGaussian(unit="user", noise_multiplier=1.1, sampling_probability=0.05)
    assert (event.adjacency, event.effective_noise) == ("replace-one", 0.55)


@pytest.mark.parametrize("selection", ["activity", "top-activity", "mixed", "threshold"])
def test_activity_is_refused_unless_it_is_public(selection):
    with pytest.raises(InputError, match=r"how much devices hold.* select by 'poisson'"):
        sampling_assumption(selection, **SIZES)
    with_counts = sampling_assumption(selection, **SIZES, public_activity=True)
    if selection == "threshold":
        assert with_counts.name == "fixed-size"
        return
    # the largest selection probability there is: no amplification, and nobody else is displaced
    assert with_counts.gaussian(2.0) == Gaussian(unit="user", adjacency="zero-out", noise_multiplier=2.0)


def test_drawing_with_replacement_is_refused():
    with pytest.raises(InputError, match="several times over its clip norm"):
        sampling_assumption("activity", **SIZES, public_activity=True, replacement=True)


@pytest.mark.parametrize("selection", ADAPTIVE)
def test_adaptive_selection_is_refused_in_any_case(selection):
    with pytest.raises(InputError, match=f"'selection.name' is '{selection}', which chooses by the losses"):
        sampling_assumption(selection, **SIZES, public_activity=True)


def test_unknown_selections_are_refused():
    with pytest.raises(InputError, match="whose sampling is known"):
        sampling_assumption("my.module:Selector", **SIZES)
    with pytest.raises(InputError, match="did you mean 'poisson'"):
        sampling_assumption("poison", **SIZES)
    with pytest.raises(InputError, match="'cohort' is 0"):
        sampling_assumption("poisson", population=10, cohort=0)


def test_turns_are_charged_as_often_as_a_device_may_have_one():
    with pytest.raises(InputError, match=r"selection\.separation"):
        sampling_assumption("round-robin", **SIZES)
    turns = sampling_assumption("round-robin", **SIZES, separation=20)
    assert [round for round in range(1, 62) if turns.is_charged(round)] == [1, 21, 41, 61]
    for rounds in range(1, 100):
        assert sum(turns.is_charged(round) for round in range(1, rounds + 1)) == turns.turns(rounds)
    assert isinstance(turns.gaussian(1.0), Gaussian)
