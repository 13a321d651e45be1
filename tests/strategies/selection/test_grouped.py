"""Balanced and stratified selection: by hand, as laws, and in a run's config."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedasr.config import load
from fedasr.data.roster import Roster
from fedasr.errors import InputError
from fedasr.experiment import Experiment
from fedasr.privacy.sampling import PUBLIC_GROUPS, Traits, sampling_assumption
from fedasr.strategies.client_groups import client_groups
from fedasr.strategies.privacy.device_noise import DeviceNoise
from fedasr.strategies.privacy.example_level import ExampleLevel
from fedasr.strategies.selection import Balanced, Selector, Stratified
from fedasr.testing import check_selector
from tests.e2e.tiny import tiny

from .populations import draws, indicators, p_value, rng, roster


def grouped(sizes: list[int]) -> Roster:
    """Return a roster of so many clients of each group, shuffled."""
    table = roster([1] * sum(sizes))
    table.group[:] = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    return table


def counts(selector: type[Selector], table: Roster, k: int) -> list[Counter[int]]:
    return [Counter(table.group[one.clients].tolist()) for one in draws(selector, table, k, 200)]


def test_balanced_takes_as_many_of_each_group() -> None:
    table = grouped([20, 8, 4])
    assert all(count == {0: 3, 1: 3, 2: 3} for count in counts(Balanced, table, 9))
    chosen = Balanced().select(1, table, 9, rng())
    expected = np.array([3 / 20, 3 / 8, 3 / 4])[table.group[chosen.clients]]
    assert chosen.probabilities == pytest.approx(expected)


def test_a_group_below_its_share_is_taken_whole_and_the_others_share_what_it_leaves() -> None:
    table = grouped([20, 10, 1])
    assert all(count == {0: 4, 1: 4, 2: 1} for count in counts(Balanced, table, 9))


def test_a_share_that_is_no_whole_number_is_rounded_down_or_up() -> None:
    seen = counts(Balanced, grouped([20, 8, 4]), 10)
    assert {size for count in seen for size in count.values()} == {3, 4}
    assert np.mean([count[2] for count in seen]) == pytest.approx(10 / 3, abs=0.15)


def test_stratified_takes_of_each_group_its_share() -> None:
    table = grouped([20, 10, 2])
    assert all(count == {0: 10, 1: 5, 2: 1} for count in counts(Stratified, table, 16))
    seen = counts(Stratified, table, 8)
    assert {count[2] for count in seen} == {0, 1}
    assert all(count[0] == 5 and count[1] in (2, 3) for count in seen)
    assert Stratified().select(1, table, 8, rng()).probabilities == pytest.approx(0.25)


@pytest.mark.parametrize("selector", [Balanced, Stratified])
def test_everybody_is_drawn_as_often_as_reported(selector: type[Selector]) -> None:
    table = grouped([6, 3, 1])
    seen = draws(selector, table, 4, 3000)
    expected = np.full(10, np.nan)
    for one in seen:
        expected[one.clients] = one.probabilities
    assert expected.sum() == pytest.approx(4)
    free = expected < 1
    assert p_value(indicators(seen, 10)[:, free], expected[free]) > 1e-3


@pytest.mark.parametrize("selector", [Balanced, Stratified])
def test_the_laws_hold_with_groups(selector: type[Selector]) -> None:
    check_selector(selector)
    check_selector(selector, rosters={"grouped": grouped([7, 2, 3])}, cohort=5)


def test_no_accountant_takes_them_for_uniform_sampling() -> None:
    for selector in (Balanced, Stratified):
        with pytest.raises(InputError, match="chooses by the groups"):
            sampling_assumption("balanced", selector.traits, population=100, cohort=10)
        given = sampling_assumption("balanced", selector.traits, population=100, cohort=10, public_activity=True)
        assert (given.name, given.probability) == ("none", 1.0)
        assert PUBLIC_GROUPS in given.assumption
    with pytest.raises(InputError, match="without 'reads_activity'"):
        Traits("none", reads_groups=True)


@pytest.mark.parametrize("name", ["balanced", "uniform"])
def test_a_ledger_says_that_groups_are_taken_to_be_public(name: str) -> None:
    """Also where the devices protect themselves, and no sampling is accounted for."""
    config = load(tiny())
    config.selection.name = name
    config.privacy.noise_multiplier = 1.0
    for document in (DeviceNoise(config, 10).document(), ExampleLevel(config).document()):
        assert (PUBLIC_GROUPS in document["note"]) == (name == "balanced")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"selection__name": "balanced"}, "'selection.by' is not set"),
        ({"selection__name": "stratified", "selection__by": "gender", "runtime__name": "deployment"}, "deployment"),
        ({"selection__name": "uniform", "selection__by": "gender"}, "selection.by"),
    ],
)
def test_wrong_configs_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        load(tiny(**changes))


def test_clients_are_in_the_group_of_most_of_their_utterances(tmp_path: Path) -> None:
    experiment = Experiment(load(tiny(selection__name="balanced", selection__by="gender")))
    names, groups = client_groups(experiment, "gender", "selection.by")
    assert names == ["f", "m"]
    partition, gender = experiment.partition, experiment.corpus.columns["gender"]
    first = partition.rows[partition.offsets[:-1]]
    assert [names[group] for group in groups] == gender[first].tolist()
    with pytest.raises(InputError, match="did you mean 'gender'"):
        client_groups(experiment, "gendre", "selection.by")
