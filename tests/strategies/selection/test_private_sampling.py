"""The rate that a private run charges: never below the probability with which anybody is in a round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedasr.config import Config, load
from fedasr.data.roster import Roster
from fedasr.errors import InputError, RunFailed
from fedasr.models.weights import Layout
from fedasr.privacy.sampling import Sampling
from fedasr.runtime.clock import coupled_by
from fedasr.strategies.population import check_distinct, registered_only
from fedasr.strategies.privacy.user_level import UserLevel, check_cohort
from fedasr.strategies.selection import SELECTORS, Selection, Selector, Stateless, Traits, make_selector, traits_of
from tests.tiers import examples

from .populations import rng, roster

LAYOUT = Layout.of({"w": np.zeros(3, np.float32)})


BASE = load({"privacy": {"unit": "user", "noise_multiplier": 1.5}, "strategy": {"weighting": "uniform"}})


def private(public_activity: bool = False, **selection: Any) -> Config:
    """Return a private run with such a selection."""
    privacy = replace(BASE.privacy, public_activity=public_activity)
    return replace(BASE, privacy=privacy, selection=replace(BASE.selection, **selection))


def drawn(config: Config, selector: Selector, table: Roster, round: int) -> tuple[Selection, Sampling]:
    """Return a cohort as a run draws it, and what is charged for the round."""
    mechanism = UserLevel(config, LAYOUT, selector)
    mechanism.stop(round, table)
    assert mechanism.expected is not None
    seen = registered_only(config, selector, len(table))
    result = selector.select(round, table if seen is None else seen, config.selection.clients_per_round, rng(round))
    check_distinct(result, len(table), round)
    mechanism.admit(result, round)
    return (result if seen is None else result.among(table)), mechanism.expected


@settings(max_examples=examples(150), deadline=None)
@given(
    name=st.sampled_from(sorted(SELECTORS)),
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    away=st.lists(st.booleans(), min_size=30, max_size=30),
    k=st.integers(1, 12),
    minimum=st.integers(0, 9),
    public=st.booleans(),
)
def test_no_probability_is_above_the_charged_one(
    name: str, counts: list[int], away: list[bool], k: int, minimum: int, public: bool
) -> None:
    table = roster(counts)
    table.attend(~np.array(away[: len(counts)]))
    changes = {"name": name, "clients_per_round": k, "public_activity": public}
    config = private(**changes, min_activity=minimum, separation=2)
    selector = make_selector(config.selection)
    try:
        UserLevel(config, LAYOUT, selector).stop(1, table)
    except InputError:
        traits = traits_of(selector)
        assert traits is not None
        assert traits.reads_losses or (traits.reads_activity and not public)
        return
    for round in (1, 2, 3):
        try:
            result, sampling = drawn(config, selector, table, round)
        except InputError:
            assume(False)  # a threshold above everybody's count
            return
        known = result.probabilities[np.isfinite(result.probabilities)]
        assert (known <= sampling.probability * (1 + 1e-9)).all()
        assert len(known) == len(result.clients) or sampling.probability == 1
        assert np.isin(result.clients, table.selectable).all()


@pytest.mark.parametrize("name", ["uniform", "poisson"])
def test_nobody_elses_chance_depends_on_who_holds_speech_or_is_there(name: str) -> None:
    """Twenty devices are registered; the same ones of the rest are drawn whether or not a device holds anything."""
    config = private(name=name, clients_per_round=5)
    for seed in range(30):
        cohorts = []
        for counts, there in (([3] * 20, None), ([0] + [3] * 19, None), ([3] * 20, np.arange(20) > 0)):
            table = roster(counts)
            table.attend(there)
            result, sampling = drawn(config, make_selector(config.selection), table, 1 + seed)
            assert sampling.probability == 5 / 20
            assert (result.probabilities == 5 / 20).all()
            cohorts.append(set(result.clients.tolist()) - {0})
        assert cohorts[0] == cohorts[1] == cohorts[2]


def test_a_threshold_is_charged_for_those_that_qualify() -> None:
    """2 of 40 qualify: both are in every round, which is replace-one without amplification."""
    config = private(
        name="threshold",
        clients_per_round=2,
        min_activity=5,
        public_activity=True,
    )
    result, sampling = drawn(config, make_selector(config.selection), roster([9, 9] + [1] * 38), 1)
    assert sorted(result.clients.tolist()) == [0, 1]
    assert (sampling.name, sampling.probability, sampling.population) == ("fixed-size", 1.0, 2)


def test_what_the_clock_changes_is_known_by_its_key() -> None:
    for changes, key in (
        ({}, None),
        ({"dropout": 0.3, "deadline_s": 60}, None),
        ({"over_commit": 1.3}, "devices.over_commit"),
        ({"availability": "diurnal"}, "devices.availability"),
    ):
        overrides = [f"devices.{name}={value}" for name, value in changes.items()]
        config = load({"devices": {"clock": True}, "selection": {"name": "uniform"}}, overrides)
        assert coupled_by(config.devices) == key


class Own(Stateless):
    """A user's own selector: it draws alike, and says what it likes."""

    def __init__(self, traits: Any, said: float, more: int = 0, twice: bool = False) -> None:
        if traits is not None:
            self.traits = traits
        self.said, self.more, self.twice = said, more, twice

    def select(self, round: int, table: Roster, k: int, source: np.random.Generator) -> Selection:
        chosen = table.selectable[: k + self.more]
        if self.twice:
            chosen = np.concatenate([chosen, chosen[:1]])
        return Selection(chosen, np.full(len(chosen), self.said))


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (Own(Traits("fixed-size"), 1.0), "chose a client with probability 1, but the accountant charges 0.25"),
        (Own(Traits("poisson"), np.nan), "reports no probability"),
        (Own(Traits("fixed-size"), 0.25, more=1), "chose 6 clients, but a cohort of fixed size 5"),
        (Own(Traits("fixed-size"), 0.25, twice=True), "chose a client twice"),
    ],
    ids=["larger", "unknown", "more", "twice"],
)
def test_a_cohort_that_is_not_the_charged_one_is_refused_before_anything_is_sent(selector: Own, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        drawn(private(clients_per_round=5), selector, roster([3] * 20), 1)


def test_what_a_selector_does_not_declare_to_read_it_is_not_shown() -> None:
    seen: list[Roster] = []

    class Curious(Own):
        def select(self, round: int, table: Roster, k: int, source: np.random.Generator) -> Selection:
            seen.append(table)
            return super().select(round, table, k, source)

    table = roster([7, 1, 0, 3])
    table.note(1, np.array([0, 1]), [2.0, 3.0], [1.0, 1.0])
    drawn(private(clients_per_round=2), Curious(Traits("fixed-size"), 0.5), table, 2)
    assert seen[0].utterances.tolist() == [1, 1, 1, 1]
    assert np.isnan(seen[0].last_loss).all()


def test_whoever_asks_for_losses_reads_them_whatever_it_declares() -> None:
    asking = Own(Traits("poisson"), 0.1)
    asking.probe = lambda round, clients: np.zeros(len(clients))  # type: ignore[attr-defined]
    result = traits_of(asking)
    assert result is not None
    assert result.reads_losses
    with pytest.raises(InputError, match=r"expected fedasr\.privacy.sampling\.Traits"):
        traits_of(Own("poisson", 0.1))
    assert traits_of(Own(None, 0.1)) is None


def test_no_sampling_is_charged_at_one_whatever_is_reported() -> None:
    sampling = Sampling("none", "zero-out", 1.0, 20)
    check_cohort(Selection(np.arange(3), np.full(3, np.nan)), sampling, 2, 1)
