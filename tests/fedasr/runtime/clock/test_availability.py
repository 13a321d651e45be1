from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.config.schema import DevicesConfig
from fedasr.errors import InputError, RunFailed
from fedasr.runtime.clock.availability import Always, Diurnal, Traced, make_availability
from fedasr.runtime.clock.trace import Trace
from tests.tiers import examples

DAY = 86_400.0


def traced(*intervals, clients=4):
    """Return availability by a trace of ``(client, start, end)``."""
    client, start, end = (np.array(column) for column in zip(*intervals, strict=True))
    return Traced(Trace(client, start.astype(float), end.astype(float)), clients)


def mask(*there, clients=4):
    return np.isin(np.arange(clients), there)


def test_always():
    always = Always()
    assert always.at(5.0) is None
    assert always.next(5.0, mask(2)) == 5.0


def test_each_device_is_there_for_its_share_of_every_day():
    diurnal = Diurnal(0, 200, 0.25)
    times = np.arange(0, DAY, 600)
    there = np.array([diurnal.at(time) for time in times])
    assert set(there.sum(axis=0).tolist()) == {36}, "144 times a day, a quarter of them"
    changes = (there != np.roll(there, 1, axis=0)).sum(axis=0)
    assert set(changes.tolist()) == {2}, "in one stretch"
    tomorrow = np.array([diurnal.at(time + 3 * DAY) for time in times])
    np.testing.assert_array_equal(tomorrow, there)


def test_days_start_at_all_times():
    diurnal = Diurnal(1, 100_000, 0.3)
    for time in (0.0, 20_000.0, 70_000.0):
        assert diurnal.at(time).mean() == pytest.approx(0.3, abs=0.006)
    hours = np.bincount((Diurnal(1, 100_000, 0.3).since // (3600 * 10**6)).astype(int), minlength=24)
    assert ((hours - 100_000 / 24) ** 2 / (100_000 / 24)).sum() < 49.7, "chi-square, 23 degrees of freedom, 0.1 %"
    assert (Diurnal(2, 100_000, 0.3).at(0.0) != diurnal.at(0.0)).any()


def test_a_day_does_not_depend_on_how_many_devices_there_are():
    np.testing.assert_array_equal(Diurnal(0, 10, 0.4).at(1234.5), Diurnal(0, 1000, 0.4).at(1234.5)[:10])


def test_a_whole_day_is_always():
    assert all(Diurnal(0, 100, 1.0).at(time).all() for time in (0.0, 12_345.678, 86_399.999999, 1e6))


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1e7), st.sampled_from([1e-9, 1e-4, 0.05, 0.9]))
def test_the_next_time_is_the_first_at_which_one_is_there(seed, time, share):
    diurnal = Diurnal(seed, 5, share)
    who = mask(1, 3, clients=5)
    result = diurnal.next(time, who)
    assert result >= time
    assert (diurnal.at(result) & who).any()
    if result > time:
        assert result - time <= DAY + 1e-6
        assert not (diurnal.at(time) & who).any()
        for earlier in np.linspace(time, result - 2e-6, 50):
            assert not (diurnal.at(max(time, earlier)) & who).any()


def test_a_trace_opens_closes_and_repeats():
    trace = traced((0, 0, 10), (1, 5, 20), (0, 30, 40))
    for start in (0, 40, 4000):
        assert trace.at(start + 0.0).tolist() == [True, False, False, False]
        assert trace.at(start + 5.0).tolist() == [True, True, False, False]
        assert trace.at(start + 10.0).tolist() == [False, True, False, False], "the end is not part of it"
        assert trace.at(start + 25.0).tolist() == [False] * 4
        assert trace.at(start + 39.0).tolist() == [True, False, False, False]


def test_intervals_may_overlap():
    trace = traced((2, 0, 10), (2, 5, 20))
    assert [trace.at(time)[2] for time in (0.0, 7.0, 15.0)] == [True, True, True]


def test_waiting_for_a_trace():
    trace = traced((0, 0, 10), (1, 5, 20), (0, 30, 40))
    everyone = mask(0, 1, 2, 3)
    assert trace.next(3.0, everyone) == 3.0
    assert trace.next(20.0, everyone) == 30.0
    assert trace.next(20.0, mask(1)) == 45.0, "in the next turn of the trace"
    assert trace.next(1.0, mask(1)) == 5.0
    assert trace.next(412.0, mask(0)) == 430.0


@pytest.mark.thorough
@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=8),
    st.floats(0, 500),
    st.sets(st.integers(0, 3), min_size=1),
)
def test_laws_of_waiting_for_a_trace(intervals, time, who):
    trace = traced(*[(client, start, start + length) for client, start, length in intervals])
    wanted = mask(*who)
    if not who & {client for client, _, _ in intervals}:
        with pytest.raises(RunFailed, match="no device that stores any speech"):
            trace.next(time, wanted)
        return
    result = trace.next(time, wanted)
    assert result >= time
    assert (trace.at(result) & wanted).any()
    for earlier in np.arange(np.ceil(time), result):
        assert not (trace.at(float(earlier)) & wanted).any()


def test_there_is_nobody_to_wait_for():
    for availability in (Always(), Diurnal(0, 4, 0.5), traced((0, 0, 1))):
        with pytest.raises(RunFailed, match="no device stores any speech"):
            availability.next(0.0, mask())


def test_the_config_says_which(tmp_path: Path):
    file = tmp_path / "trace.csv"
    file.write_text("client,start_s,end_s\nb,0,10\n")
    names = np.array(["a", "b"], object)
    assert isinstance(make_availability(DevicesConfig(), 0, names), Always)
    half = make_availability(DevicesConfig(availability="diurnal", available_share=0.5), 3, names)
    np.testing.assert_array_equal(half.at(0.0), Diurnal(3, 2, 0.5).at(0.0))
    there = make_availability(DevicesConfig(availability="trace", trace=str(file)), 0, names).at(3.0)
    assert there is not None
    assert there.tolist() == [False, True]
    with pytest.raises(InputError, match=r"'devices.trace' is not set"):
        make_availability(DevicesConfig(availability="trace"), 0, names)
