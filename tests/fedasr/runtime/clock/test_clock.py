import json
import time
from pathlib import Path

import numpy as np
import pytest

from fedasr.config.schema import DevicesConfig
from fedasr.runtime.clock import Clock

NAMES = np.array([f"c{i}" for i in range(100)], object)
ALL = np.ones(100, bool)


def clock(seed=0, names=NAMES, **keys):
    return Clock(DevicesConfig(clock=True, **keys), seed, names)


@pytest.mark.parametrize(
    ("over_commit", "cohort", "selected"), [(1.0, 10, 10), (1.3, 10, 13), (1.1, 10, 11), (1.25, 10, 13), (1.01, 1, 2)]
)
def test_how_many_to_select(over_commit, cohort, selected):
    assert clock(over_commit=over_commit).selected(cohort) == selected


def test_a_round_waits_for_all_unless_more_than_the_cohort_was_selected():
    clients = np.arange(13)
    usual = clock().plan(1, clients, 10, 20.0, 10**6, 10**6)
    assert len(usual.accepted) == 13, "a random cohort may be larger than its mean"
    many = clock(over_commit=1.3).plan(1, clients, 10, 20.0, 10**6, 10**6)
    assert len(many.accepted) == 10
    assert len(many.late) == 3
    assert many.accepted.tolist() == usual.accepted.tolist()[:10]
    assert many.seconds == many.durations.max() + 1.0
    assert usual.seconds == usual.durations.max() + 1.0


def test_deadline_drop_out_and_overhead_come_from_the_config():
    clients = np.arange(100)
    plan = clock(deadline_s=5.0, dropout=0.2, overhead_s=2.0).plan(4, clients, 100, 20.0, 10**6, 10**6)
    assert plan.seconds == 7.0
    assert plan.durations.max() <= 5.0
    assert len(plan.late) > 0
    assert 10 < len(plan.dropped) < 35
    assert sorted([*plan.accepted, *plan.late, *plan.dropped]) == clients.tolist()


def test_plans_are_pure():
    """Neither the order of the calls nor time changes what a round does."""
    first, second = clock(dropout=0.1), clock(dropout=0.1)
    clients = np.array([5, 60, 33])
    plans = [first.plan(round, clients, 3, 20.0, 10**6, 10**6) for round in (1, 2, 3)]
    second.advance(1e5)
    for round in (3, 1, 2):
        again = second.plan(round, clients, 3, 20.0, 10**6, 10**6)
        assert again.accepted.tolist() == plans[round - 1].accepted.tolist()
        assert again.durations.tolist() == plans[round - 1].durations.tolist()
        assert again.seconds == plans[round - 1].seconds
    assert clock(seed=1).plan(1, clients, 3, 20.0, 10**6, 10**6).seconds != plans[0].seconds


def test_time_passes_and_is_all_the_state():
    here = clock(availability="diurnal", available_share=0.1)
    here.advance(12.5)
    here.wait(ALL)
    here.advance(0.1)
    there = clock(availability="diurnal", available_share=0.1)
    there.load_state_dict(json.loads(json.dumps(here.state_dict())))
    assert there.time_s == here.time_s >= 12.6
    now, then = here.available(), there.available()
    assert now is not None
    assert then is not None
    np.testing.assert_array_equal(now, then)


def test_waiting(tmp_path: Path):
    file = tmp_path / "trace.csv"
    file.write_text("client,start_s,end_s\nc3,100,200\nc4,150,300\n")
    by_trace = clock(availability="trace", trace=str(file))
    assert by_trace.wait(ALL) == 100.0
    assert by_trace.wait(ALL) == 0.0
    there = by_trace.available()
    assert there is not None
    assert np.flatnonzero(there).tolist() == [3]
    only_four = np.arange(100) == 4
    assert by_trace.wait(only_four) == 50.0
    assert by_trace.time_s == 150.0
    always = clock()
    assert always.wait(ALL) == 0.0
    assert always.available() is None


def test_a_million_devices():
    clients = 1_000_000
    names = np.full(clients, "c", object)
    taken = []
    for attempt in range(3):
        started = time.perf_counter()
        population = clock(seed=attempt, names=names, availability="diurnal")
        tier, there = population.devices.tier, population.available()
        taken.append(time.perf_counter() - started)
        assert there is not None
        assert len(tier) == len(there) == clients
    assert min(taken) < 0.2
    taken = []
    for round in range(1, 6):
        started = time.perf_counter()
        population.advance(1000.0)
        population.available()
        population.plan(round, np.arange(50), 50, 20.0, 10**6, 10**6)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.05
