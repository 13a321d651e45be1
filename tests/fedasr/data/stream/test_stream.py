import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.config.schema import StreamConfig
from fedasr.data.partition import Partition
from fedasr.data.roster import Roster
from fedasr.data.stream import Stream, make_stream
from fedasr.errors import InputError
from tests.fedasr.data.stream.tables import stream_of, table
from tests.tiers import examples

HOURS = ["00:00", "01:00", "05:00", "08:00", "03:00", "03:00", "03:00"]
"""Eight hours in four periods: client 0 records in periods 0, 0, 2, 3, client 1 thrice at once in 1, client 2 never."""


def by_hand(**keys):
    corpus = table(7, timestamp=[f"2024-05-01T{hour}" for hour in HOURS])
    return stream_of(corpus, [4, 3, 0], arrival="trace", periods=4, **keys)


STORED = {
    "all": [[[0, 1], [], []], [[0, 1], [4, 5, 6], []], [[0, 1, 2], [4, 5, 6], []], [[0, 1, 2, 3], [4, 5, 6], []]],
    "window": [[[0, 1], [], []], [[0, 1], [4, 5, 6], []], [[2], [4, 5, 6], []], [[2, 3], [], []]],
    "count": [[[0, 1], [], []], [[0, 1], [5, 6], []], [[1, 2], [5, 6], []], [[2, 3], [5, 6], []]],
    "period": [[[0, 1], [], []], [[], [4, 5, 6], []], [[2], [], []], [[3], [], []]],
}
RECENT = {
    "all": [[[0, 1], [], []], [[], [4, 5, 6], []], [[2], [], []], [[3], [], []]],
    "count": [[[0, 1], [], []], [[], [5, 6], []], [[2], [], []], [[3], [], []]],
}


@pytest.mark.parametrize("keep", STORED)
def test_three_clients_by_hand(keep):
    stream = by_hand(keep=keep, window=2, count=2)
    for period in range(4):
        held = STORED[keep][period]
        recent = RECENT.get(keep, RECENT["all"])[period]
        assert [stream.rows(client, period).tolist() for client in range(3)] == held
        result = stream.counts(period)
        assert result.utterances.tolist() == [len(rows) for rows in held]
        assert result.seconds.tolist() == [sum(2.0**row for row in rows) for rows in held]
        assert result.recent_utterances.tolist() == [len(rows) for rows in recent]
        assert result.recent_seconds.tolist() == [sum(2.0**row for row in rows) for rows in recent]
        assert result.utterances.dtype == np.int64
        assert result.seconds.dtype == np.float64


def test_wide_windows_and_large_counts_keep_all():
    for keys in ({"keep": "window", "window": 4}, {"keep": "count", "count": 4}):
        stream = by_hand(**keys)
        for period in range(4):
            assert [stream.rows(client, period).tolist() for client in range(3)] == STORED["all"][period]


def test_counts_go_into_the_roster():
    stream = by_hand(keep="window", window=2)
    roster = Roster.from_counts(stream.partition.counts, stream.partition.seconds(stream.durations))
    assert roster.selectable.tolist() == [0, 1]
    roster.store(*stream.counts(2))
    assert roster.seconds.tolist() == [4, 16 + 32 + 64, 0]
    assert roster.recent_utterances.tolist() == [1, 0, 0]
    roster.store(*stream.counts(3))
    assert roster.selectable.tolist() == [0]


@pytest.mark.parametrize(("rounds", "periods"), [(10, 5), (7, 3), (5, 5), (100, 7), (1, 1)])
def test_rounds_are_divided_evenly(rounds, periods):
    stream = stream_of(table(1, text=["a"]), [1], rounds=rounds, arrival="poisson", periods=periods)
    result = [stream.period_of_round(round) for round in range(1, rounds + 1)]
    assert result == sorted(result)
    sizes = np.bincount(result, minlength=periods)
    assert sizes.sum() == rounds
    assert sizes.max() - sizes.min() <= 1
    begins = [round for round in range(1, rounds + 1) if stream.begins(round)]
    ends = [round for round in range(1, rounds + 1) if stream.ends(round)]
    assert len(begins) == len(ends) == periods
    assert begins == [1, *[end + 1 for end in ends[:-1]]]
    assert ends[-1] == rounds
    assert stream.period_of_round(0) == 0
    for round in (-1, rounds + 1):
        with pytest.raises(ValueError, match="of"):
            stream.period_of_round(round)


def test_seven_rounds_in_three_periods():
    stream = stream_of(table(1, text=["a"]), [1], rounds=7, arrival="poisson", periods=3)
    assert [stream.period_of_round(round) for round in range(1, 8)] == [0, 0, 0, 1, 1, 2, 2]


def test_a_run_without_rounds_has_its_first_period():
    stream = stream_of(table(1, text=["a"]), [1], rounds=0, arrival="poisson", periods=3)
    assert stream.period_of_round(0) == 0


def test_no_such_period():
    stream = by_hand()
    for period in (-1, 4):
        with pytest.raises(ValueError, match=f"period {period} of 4"):
            stream.rows(0, period)
        with pytest.raises(ValueError, match=f"period {period} of 4"):
            stream.counts(period)


def test_static_is_one_period_with_everything():
    stream = stream_of(table(5), [2, 0, 3], arrival="static")
    partition = stream.partition
    assert stream.periods == 1
    assert {stream.period_of_round(round) for round in range(101)} == {0}
    assert [stream.rows(client, 0).tolist() for client in range(3)] == [[0, 1], [], [2, 3, 4]]
    assert stream.rows(2, 0).base is partition.rows.base or stream.rows(2, 0).base is partition.rows
    result = stream.counts(0)
    assert result.utterances.tolist() == result.recent_utterances.tolist() == [2, 0, 3]
    assert result.seconds.tolist() == result.recent_seconds.tolist() == [3, 0, 28]
    assert stream.test_periods(np.arange(4)).tolist() == [0, 0, 0, 0]
    stream.check()


def test_static_costs_nothing_at_a_million_clients():
    clients = 1_000_000
    partition = Partition(np.full(clients, "c", object), np.arange(clients + 1), np.arange(clients, dtype=np.int32))
    durations = np.ones(clients, np.float32)
    stream = Stream(StreamConfig(), 1000, partition, durations, None)
    stream.counts(0)
    started = time.perf_counter()
    for round in range(1, 1001):
        period = stream.period_of_round(round)
        stream.rows(round, period)
        stream.counts(period)
        stream.begins(round)
    assert time.perf_counter() - started < 0.1
    entries = [value for value in vars(stream).values() if isinstance(value, np.ndarray)]
    assert [id(value) for value in entries] == [id(durations)]


def test_a_period_in_which_nobody_stores_anything_is_refused():
    corpus = table(4, timestamp=[f"2024-05-01T{hour}" for hour in HOURS[:4]])
    for keep in ("all", "window", "count"):
        stream_of(corpus, [4], arrival="trace", periods=4, keep=keep, window=2).check()
    said = r"in period 2 of 4 no device stores any speech; use fewer 'stream.periods', .* \('period'\)"
    with pytest.raises(InputError, match=said):
        stream_of(corpus, [4], arrival="trace", periods=4, keep="period").check()
    with pytest.raises(InputError, match=r"in period 2 of 4 .* \('window'\)"):
        stream_of(corpus, [4], arrival="trace", periods=4, keep="window", window=1).check()


settings_of = st.fixed_dictionaries(
    {
        "periods": st.integers(1, 6),
        "drift": st.sampled_from([0.0, 0.5, 1.0]),
        "window": st.integers(1, 6),
        "count": st.integers(1, 6),
    }
)
sizes_of = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(sum)


def poisson(sizes, keys, keep, seed):
    corpus = table(sum(sizes), text=[f"text {row % 5}" for row in range(sum(sizes))])
    return stream_of(corpus, sizes, seed=seed, arrival="poisson", keep=keep, **keys)


@settings(max_examples=examples(150), deadline=None)
@given(sizes_of, settings_of, st.sampled_from(list(STORED)), st.integers(0, 2**40))
def test_what_a_client_finds_is_what_the_server_counts(sizes, keys, keep, seed):
    server, device = (poisson(sizes, keys, keep, seed) for _ in range(2))
    for period in reversed(range(keys["periods"])):
        counts = server.counts(period)
        for client in range(len(sizes)):
            rows = device.rows(client, period)
            assert np.all(np.diff(rows) > 0), "sorted, distinct"
            assert np.isin(rows, device.partition.indices(client)).all()
            new = rows[device.test_periods(rows) == period]
            assert counts.utterances[client] == len(rows)
            assert counts.seconds[client] == device.durations[rows].sum(dtype=np.float64)
            assert counts.recent_utterances[client] == len(new)
            assert counts.recent_seconds[client] == device.durations[new].sum(dtype=np.float64)
    assert "_periods" not in vars(device), "a device draws nobody else's arrivals"


@settings(max_examples=examples(100), deadline=None)
@given(sizes_of, settings_of, st.integers(0, 2**40))
def test_laws_of_what_is_kept(sizes, keys, seed):
    kept = {keep: poisson(sizes, keys, keep, seed) for keep in STORED}
    last = keys["periods"] - 1
    for client, size in enumerate(sizes):
        life = set(kept["all"].partition.indices(client).tolist())
        at = {
            keep: [set(stream.rows(client, period).tolist()) for period in range(last + 1)]
            for keep, stream in kept.items()
        }
        assert at["all"][last] == life
        assert sum(map(len, at["period"])) == size, "every utterance is new in exactly one period"
        assert set().union(*at["period"]) == life
        for period in range(last + 1):
            before = at["period"][: period + 1]
            assert at["all"][period] == set().union(*before), "nothing comes from the future, nothing is lost"
            assert at["window"][period] == set().union(*before[-keys["window"] :])
            newest, there = at["count"][period], at["all"][period]
            assert newest <= there
            assert len(newest) == min(keys["count"], len(there))
            law = kept["all"].arrivals
            order = sorted(there, key=lambda row: (law.times(np.array([row]))[0], row))
            assert newest == set(order[-keys["count"] :])


def test_the_same_seed_gives_the_same_lives_and_another_does_not():
    keys = {"periods": 5, "drift": 0.3, "window": 2, "count": 3}
    sizes = [20] * 30
    first, again, other = (poisson(sizes, keys, "window", seed) for seed in (7, 7, 8))
    for period in (4, 0, 2):
        np.testing.assert_array_equal(first.counts(period).utterances, again.counts(period).utterances)
    assert (first.counts(2).utterances != other.counts(2).utterances).any()


def test_rounds_do_not_change_who_stores_what():
    corpus = table(50, text=["a"] * 50)
    short, long = (stream_of(corpus, [25, 25], rounds=rounds, arrival="poisson") for rounds in (5, 500))
    for period in range(5):
        assert short.rows(1, period).tolist() == long.rows(1, period).tolist()


def test_a_hundred_thousand_clients():
    clients = 100_000
    utterances = 10 * clients
    partition = Partition.from_ids(
        np.repeat(np.arange(clients), 10), np.arange(utterances), np.full(clients, "c", object)
    )
    durations = np.ones(utterances, np.float32)
    corpus = table(1)
    corpus.columns["text"] = np.array([f"text {i}" for i in range(50)], object)[np.arange(utterances) % 50]
    config = StreamConfig(arrival="poisson", drift=0.5, keep="count", count=3)
    stream = make_stream(config, 50, partition, corpus, durations, 0)
    stream.counts(0)
    started = time.perf_counter()
    for period in range(5):
        stream.counts(period)
    assert (time.perf_counter() - started) / 5 < 0.5
    started = time.perf_counter()
    for client in range(1000):
        stream.rows(client, 3)
    assert (time.perf_counter() - started) / 1000 < 2e-3
