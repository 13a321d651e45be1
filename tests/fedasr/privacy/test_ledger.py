import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.errors import InputError
from fedasr.privacy.accountants import epsilon_of
from fedasr.privacy.events import (
    KINDS,
    FixedSizeGaussian,
    Gaussian,
    Laplace,
    MicroBatchGaussian,
    PateVotes,
    PoissonGaussian,
    Skellam,
    ZeroConcentrated,
    event_from_json,
)
from fedasr.privacy.ledger import Budget, Ledger
from tests.tiers import examples

ROUND = PoissonGaussian(unit="user", noise_multiplier=1.0, sampling_probability=0.02)
EXAMPLE = PoissonGaussian(unit="example", noise_multiplier=0.8, sampling_probability=0.1, steps=20)


def pate(rdp=(0.1, 0.2), steps=1, scale=40.0):
    return PateVotes(
        mechanism="gnmax", scales=(scale,), orders=(2.0, 8.0), rdp=rdp, rdp_data_independent=(0.3, 0.6), steps=steps
    )


ALL = [
    ROUND,
    MicroBatchGaussian(unit="example", noise_multiplier=1.0, sampling_probability=0.1, steps=3),
    FixedSizeGaussian(unit="user", noise_multiplier=2.0, sampling_probability=1 / 3),
    Gaussian(unit="user", adjacency="replace-one", noise_multiplier=5.0, steps=7),
    Laplace(unit="user", scale=3.0),
    Skellam(unit="user", noise_multiplier=2.0, dimensions=64, scaled_clip=300.0, steps=3),
    ZeroConcentrated(unit="user", rho=0.1, gaussian=False),
    pate(),
]


def test_every_kind_survives_json():
    assert {type(event).kind for event in ALL} == set(KINDS)
    for event in ALL:
        assert event_from_json(json.loads(json.dumps(event.as_json()))) == event
        assert event.describe()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "poison"}, "unknown kind of privacy event 'poison'"),
        ({"noise": 1}, "has no 'noise'"),
        ({"noise_multiplier": -1}, "'noise_multiplier' is -1"),
    ],
)
def test_a_damaged_event_is_refused(change, says):
    with pytest.raises(InputError, match=says):
        event_from_json(ROUND.as_json() | change)
    with pytest.raises(InputError, match="incomplete"):
        event_from_json({"kind": "poisson-gaussian", "unit": "user"})


@pytest.mark.thorough
def test_repeated_releases_are_one_entry():
    ledger = Ledger()
    for round in range(1, 2001):
        ledger.charge(ROUND, released="global model", population=1000, round=round)
    [entry] = ledger.entries
    assert (entry.event.steps, entry.first_round, entry.last_round) == (2000, 1, 2000)
    assert len(json.dumps(ledger.state_dict())) < 1000
    assert ledger.epsilon(1e-5, "user") == epsilon_of([ROUND.times(2000)], 1e-5).epsilon


def test_queries_of_teachers_add_up():
    ledger = Ledger()
    ledger.charge(pate((0.1, 0.2)), released="labels", population=250)
    ledger.charge(pate((0.05, 0.1), steps=2), released="labels", population=250)
    ledger.charge(pate((0.05, 0.1), scale=80.0), released="labels", population=250)
    assert [entry.event.steps for entry in ledger.entries] == [3, 1]
    assert ledger.entries[0].event.rdp == pytest.approx((0.15, 0.3))
    assert ledger.entries[0].event.rdp_data_independent == pytest.approx((0.6, 1.2))
    [spent] = ledger.spent(1e-5)
    assert spent.data_dependent
    assert spent.epsilon < spent.epsilon_data_independent
    assert spent.accountant == "rdp"  # votes are known by their curve only


@pytest.mark.thorough
def test_units_are_never_added():
    ledger = Ledger()
    ledger.charge(ROUND.times(100), released="global model", population=1000)
    alone = ledger.epsilon(1e-5, "user")
    ledger.charge(EXAMPLE, released="a client's model", population=200)
    ledger.charge(pate(), released="labels", population=250)
    local = Gaussian(unit="user", adjacency="replace-one", noise_multiplier=8.0)
    ledger.charge(local, released="an update", population=1000, seen_by="server")
    assert ledger.groups() == [
        ("user", "everyone"),
        ("example", "everyone"),
        ("teacher", "everyone"),
        ("user", "server"),
    ]
    assert ledger.epsilon(1e-5, "user") == alone
    assert ledger.epsilon(1e-5, "user", "server") == epsilon_of([local], 1e-5).epsilon
    assert ledger.epsilon(1e-5, "example") == epsilon_of([EXAMPLE], 1e-5).epsilon
    assert Ledger().epsilon(1e-5, "user") == 0


def test_one_unit_has_one_adjacency():
    ledger = Ledger()
    ledger.charge(ROUND, released="global model", population=1000)
    fixed = FixedSizeGaussian(unit="user", noise_multiplier=1.0, sampling_probability=0.02)
    for ask in (
        lambda: ledger.charge(fixed, released="statistics", population=1000),
        lambda: ledger.would_exceed(Budget(1.0, 1e-5), fixed),
    ):
        with pytest.raises(InputError, match="accounted for under replace-one, but 'global model' of the same unit"):
            ask()
    assert len(ledger.entries) == 1


@pytest.mark.thorough
def test_what_differs_stays_apart_and_composes():
    ledger = Ledger()
    ledger.charge(ROUND.times(50), released="global model", population=1000, round=1)
    ledger.charge(ROUND.times(50), released="clip norm", population=1000, round=1)
    ledger.charge(ROUND.times(50), released="global model", population=900, round=2)
    assert len(ledger.entries) == 3
    [spent] = ledger.spent(1e-5)
    assert spent.epsilon == epsilon_of([ROUND.times(150)], 1e-5).epsilon
    assert spent.populations == (900, 1000)


def run(ledger, budget, rounds, start=1):
    """Charge rounds until the budget stops them; return how many ran."""
    for round in range(start, start + rounds):
        if ledger.would_exceed(budget, ROUND):
            return round - start
        ledger.charge(ROUND, released="global model", population=1000, round=round)
    return rounds


@pytest.mark.slow
def test_the_budget_stops_in_time_and_not_before():
    for accountant, epsilon in (("pld", 1.5), ("rdp", 8.0)):
        ledger = Ledger(accountant)
        budget = Budget(epsilon, 1e-5)
        room = ledger.room(budget, ROUND)
        ran = run(ledger, budget, 10_000)
        assert ran == room > 10
        assert ledger.epsilon(1e-5, "user") <= epsilon
        assert epsilon_of([ROUND.times(ran + 1)], 1e-5, accountant).epsilon > epsilon
        assert ledger.room(budget, ROUND) == 0


@pytest.mark.slow
def test_a_budget_of_another_unit_is_not_touched():
    ledger = Ledger()
    assert not ledger.would_exceed(Budget(1e-6, 1e-9, unit="teacher"), ROUND)
    assert ledger.would_exceed(Budget(1e-6, 1e-9, unit="user"), ROUND)
    assert ledger.would_exceed(Budget(1e-6, 1e-9), ROUND)


def test_a_budget_counts_what_else_was_released():
    ledger = Ledger("rdp")
    budget = Budget(4.0, 1e-5)
    before = ledger.room(budget, ROUND)
    other = PoissonGaussian(unit="user", noise_multiplier=0.9, sampling_probability=0.02, steps=60)
    ledger.charge(other, released="clip norm", population=1000)
    assert 0 < ledger.room(budget, ROUND) < before - 60
    ran = run(ledger, budget, 10_000)
    assert ledger.epsilon(1e-5, "user") <= 4.0
    assert epsilon_of([other, ROUND.times(ran + 1)], 1e-5, "rdp").epsilon > 4.0


def test_votes_are_stopped_by_a_budget():
    ledger, budget = Ledger(), Budget(4.0, 1e-5, unit="teacher")
    asked = 0
    while not ledger.would_exceed(budget, pate()):
        ledger.charge(pate(), released="labels", population=250)
        asked += 1
    assert 1 < asked < 100
    assert ledger.epsilon(1e-5, "teacher") <= 4.0


def test_ten_resumes_leave_the_ledger_of_an_uninterrupted_run():
    budget = Budget(3.0, 1e-5)
    whole, resumed = Ledger("rdp"), Ledger("rdp")
    for number in range(10):
        for ledger in (whole, resumed):
            run(ledger, budget, 30, start=1 + 30 * number)
            ledger.charge(pate((0.1 / (number + 1), 0.3 / (number + 1))), released="labels", population=250)
        saved = json.dumps(resumed.state_dict())
        resumed = Ledger()
        resumed.load_state_dict(json.loads(saved))
    assert resumed.state_dict() == whole.state_dict()
    assert resumed.spent(1e-5) == whole.spent(1e-5)
    assert run(resumed, budget, 100_000, start=301) == run(whole, budget, 100_000, start=301)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.sampled_from([ROUND, EXAMPLE, pate(), ROUND.times(5)]), max_size=12), st.integers(0, 12))
def test_a_saved_ledger_goes_on_as_if_it_had_not_been(events, cut):
    whole, first = Ledger("rdp"), Ledger("rdp")
    for round, event in enumerate(events):
        whole.charge(event, released="x", population=100, round=round)
    for round, event in enumerate(events[:cut]):
        first.charge(event, released="x", population=100, round=round)
    second = Ledger()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for round, event in enumerate(events[cut:], start=min(cut, len(events))):
        second.charge(event, released="x", population=100, round=round)
    assert second.state_dict() == whole.state_dict()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 1"),
        ({"entries": [{}]}, "damaged"),
        ({"accountant": "none"}, "'accountant' is 'none'"),
    ],
)
def test_a_damaged_ledger_is_refused(change, says):
    ledger = Ledger()
    ledger.charge(ROUND, released="global model", population=1000)
    with pytest.raises(InputError, match=says):
        Ledger().load_state_dict(ledger.state_dict() | change)


@pytest.mark.parametrize("numbers", [(0, 1e-5), (-1, 1e-5), (1, 0), (1, 1), (float("nan"), 1e-5), (1, float("nan"))])
def test_a_budget_out_of_range_is_refused(numbers):
    with pytest.raises(InputError, match="expected"):
        Budget(*numbers)


def test_a_ledger_by_prv_falls_back_and_says_so():
    ledger = Ledger("prv")
    ledger.charge(
        PoissonGaussian(unit="user", noise_multiplier=0.05, sampling_probability=0.5, steps=1000),
        released="x",
        population=10,
    )
    # Nor does the distribution of the privacy loss fit into bounded memory at so large an ε.
    assert ledger.spent(1e-5)[0].accountant == "rdp"
