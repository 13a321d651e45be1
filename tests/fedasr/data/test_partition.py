import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.config.schema import PartitionConfig
from fedasr.data.partition import PARTITIONERS, Partition, make_partition
from fedasr.data.partition.quantity import apportion
from fedasr.data.partition.request import factorize
from fedasr.errors import InputError
from fedasr.testing import check_partitioner
from fedasr.testing.partitioners import example_columns as table
from tests.tiers import examples


def embed(rows):
    return np.random.default_rng(0).normal(size=(10_000, 3))[rows]


def make(name, columns, rows, clients=None, seed=0, **keys):
    return make_partition(PartitionConfig(name=name, **keys), columns, np.asarray(rows), clients, seed, embed)


def test_rows_of_a_client_are_sorted_and_its_own():
    partition = Partition.from_ids(np.array([2, 0, 2, 0]), np.array([9, 7, 3, 5]), ["a", "b", "c"])
    assert [partition.indices(c).tolist() for c in range(3)] == [[5, 7], [], [3, 9]]
    assert partition.counts.tolist() == [2, 0, 2]
    assert partition.clients.tolist() == [0, 0, 2, 2]
    assert partition.names.tolist() == ["a", "b", "c"]
    assert partition.offsets.dtype == np.int64
    for client in (-1, 3):
        with pytest.raises(IndexError, match="of 3"):
            partition.indices(client)
    with pytest.raises(ValueError, match="read-only"):
        partition.indices(0)[0] = 1


def test_seconds_of_empty_clients_are_zero():
    ids, rows = np.array([1, 1, 3]), np.array([0, 2, 4])
    partition = Partition.from_ids(ids, rows, ["a", "b", "c", "d", "e"])
    durations = np.array([1, 10, 2, 10, 4], np.float32)
    assert partition.seconds(durations).tolist() == [0, 3, 0, 4, 0]
    assert partition.seconds(durations).dtype == np.float64
    assert Partition.from_ids(ids[:0], rows[:0], ["a"]).seconds(durations).tolist() == [0]


def test_dropping_and_selecting_clients():
    partition = Partition.from_ids(np.array([0, 1, 1, 3, 3, 3]), np.arange(6), list("abcd"))
    kept = partition.at_least(2)
    assert (kept.names.tolist(), kept.dropped) == (["b", "d"], 2)
    assert [kept.indices(c).tolist() for c in range(2)] == [[1, 2], [3, 4, 5]]
    assert kept.at_least(3).dropped == 3
    turned = partition.select(np.array([3, 0]))
    assert [turned.indices(c).tolist() for c in range(2)] == [[3, 4, 5], [0]]


def test_a_partition_travels_to_workers():
    partition = Partition.from_ids(np.array([0, 1]), np.arange(2), ["a", "b"])
    copy = pickle.loads(pickle.dumps(partition))
    assert copy.indices(1).tolist() == [1]


def test_factorize_merges_what_is_missing():
    codes, names = factorize(np.array(["b", None, "a", float("nan"), "", "b", float("nan")], object))
    assert names == ["(none)", "a", "b"]
    assert codes.tolist() == [2, 0, 1, 0, 0, 2, 0]
    codes, names = factorize(np.array([10, 9, 10]))
    assert (codes.tolist(), names) == ([1, 0, 1], ["9", "10"])
    codes, names = factorize(np.array([1.5, np.nan, np.nan]))
    assert (codes.tolist(), names) == ([0, 1, 1], ["1.5", "(none)"])


def test_natural_is_one_client_a_value():
    columns = {"speaker": np.array(["b", "a", "b", "c", "a"], object)}
    partition = make("natural", columns, [0, 1, 2, 4])
    assert partition.names.tolist() == ["a", "b"]
    assert [partition.indices(c).tolist() for c in range(2)] == [[1, 4], [0, 2]]


def test_natural_draws_the_clients_that_are_asked_for():
    columns = table(300)
    few = make("natural", columns, range(300), clients=5)
    every = make("natural", columns, range(300))
    assert len(few) == 5
    assert set(few.names) < set(every.names)
    assert few.indices(0).tolist() == every.indices(every.names.tolist().index(few.names[0])).tolist()
    other = make("natural", columns, range(300), clients=5, seed=1)
    assert other.names.tolist() != few.names.tolist()


def test_natural_draws_among_clients_that_have_enough():
    columns = {"speaker": np.array(list("aaabbbcddd"), object)}
    for seed in range(5):
        partition = make("natural", columns, range(10), clients=3, seed=seed, min_utterances=2)
        assert (partition.names.tolist(), partition.dropped) == (["a", "b", "d"], 1)


def test_grouped_keeps_speakers_whole():
    columns = table(500, speakers=11)
    partition = make("grouped", columns, range(500), clients=4)
    speakers = [set(columns["speaker"][partition.indices(c)]) for c in range(4)]
    assert sorted(len(s) for s in speakers) == [2, 3, 3, 3]
    assert sum(len(s) for s in speakers) == len(set.union(*speakers)) == 11


def test_iid_is_shuffled_and_even():
    columns = {"speaker": np.repeat(np.array([f"s{i}" for i in range(10)], object), 100)}
    partition = make("iid", columns, range(1000), clients=7)
    assert sorted(set(partition.counts.tolist())) == [142, 143]
    for client in range(7):
        assert len(set(columns["speaker"][partition.indices(client)])) == 10


def test_without_a_number_there_are_as_many_clients_as_speakers():
    assert len(make("iid", table(400, speakers=9), range(400))) == 9


@settings(max_examples=examples(120), deadline=None)
@given(
    name=st.sampled_from(sorted(PARTITIONERS)),
    utterances=st.integers(1, 120),
    clients=st.integers(1, 20),
    alpha=st.sampled_from([1e-300, 1e-6, 0.05, 1.0, 100.0, 1e300]),
    least=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_nothing_is_lost_and_nothing_has_two_clients(name, utterances, clients, alpha, least, seed):
    columns = table(300, seed=seed % 7)
    rows = np.random.default_rng(seed).permutation(300)[:utterances]
    keys = {"alpha": alpha, "column": "text" if "dirichlet" in name else "speaker", "clusters": 3}
    every = None if name == "natural" else clients
    try:
        whole = make(name, columns, rows, every, seed, **keys)
        kept = make(name, columns, rows, every, seed, min_utterances=least, **keys)
    except InputError:
        # Only where there is too little for so many clients, or fewer speakers than groups.
        assert utterances < max(clients * least, 48) or (name == "grouped" and clients > 8)
        return
    assert (kept.counts >= least).all()
    assert set(kept.rows.tolist()) <= set(rows.tolist())
    if name.startswith("quantity"):
        assert len(kept) == clients
        assert len(kept.rows) == utterances
    elif name != "grouped":
        assert len(kept) + kept.dropped == len(whole) + whole.dropped
    check_partitioner(
        lambda columns, rows, clients, seed: make(name, columns, rows, clients, seed, **keys),
        columns=columns,
        rows=rows,
        clients=every,
        seed=seed,
        exact_clients=name.startswith("quantity"),
    )


def test_sizes_are_apportioned_exactly():
    assert apportion(np.array([1.0, 1.0, 2.0]), 8, 0).tolist() == [2, 2, 4]
    assert apportion(np.array([1.0, 1.0, 1.0]), 10, 1).tolist() == [4, 3, 3]
    # 0 is raised to 2; the others share 8 in the proportion 1 : 3.
    assert apportion(np.array([0.0, 1.0, 3.0]), 10, 2).tolist() == [2, 2, 6]
    # Raising the first leaves 7 for 3 : 11, which puts the second below 2.
    assert apportion(np.array([0.0, 3.0, 11.0]), 9, 2).tolist() == [2, 2, 5]


def test_quantity_power_is_zipf():
    partition = make("quantity-power", table(3000), range(3000), clients=3, exponent=1.0)
    assert sorted(partition.counts.tolist()) == [546, 818, 1636]  # 3000/11 · (2, 3, 6)


def test_quantity_lognormal_and_dirichlet_have_their_laws():
    rows = range(100_000)
    columns = {"speaker": np.full(100_000, "s", object)}
    logs = np.log(make("quantity-lognormal", columns, rows, clients=500, sigma=0.7).counts)
    assert logs.std() == pytest.approx(0.7, abs=0.07)
    share = make("quantity-dirichlet", columns, rows, clients=500, alpha=2.0).counts / 200
    assert share.var() == pytest.approx(1 / 2.0, rel=0.25)  # of K·Dir(alpha·1): (K - 1)/(K·alpha + 1)


@pytest.mark.parametrize(
    ("name", "clients", "keys", "expected"),
    [
        ("natural", None, {"column": "spaeker"}, "no column 'spaeker' (did you mean 'speaker'?); the corpus has: spe"),
        ("natural", None, {"column": "gender"}, "'gender', which is empty for every utterance"),
        ("natural", 13, {}, "'data.clients' is 13, but column 'speaker' has 12 values"),
        ("natural", None, {"min_utterances": 90}, "none of the 12 clients has 90 utterances"),
        ("grouped", None, {}, "'data.clients' is not set"),
        ("grouped", 13, {}, "has only 12 values to group"),
        ("iid", 101, {}, "'data.clients' is 101, but there are only 100 training utterances"),
        ("quantity-power", 60, {"min_utterances": 2}, "'data.partition.min_utterances' is 2, but 60 clients"),
        ("feature-kmeans", 5, {"clusters": 101}, "'data.partition.clusters' is 101"),
        ("naturel", None, {}, "'naturel' (did you mean 'natural'?)"),
        ("no_such_module:f", None, {}, "there is no module 'no_such_module'"),
        ("fedasr.seeds:zlib", None, {}, "cannot be called"),
        (f"{__name__}:gives_text", None, {}, "returned str; expected a fedasr Partition"),
        (f"{__name__}:gives_twice", None, {}, "gave an utterance to two clients"),
        (f"{__name__}:gives_other", None, {}, "outside the training split"),
    ],
)
def test_what_cannot_be_made_is_one_line(name, clients, keys, expected):
    with pytest.raises(InputError) as error:
        make(name, table(100), range(100), clients, **keys)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_no_rows_is_an_error():
    with pytest.raises(InputError, match="no training utterances"):
        make("natural", table(10), np.arange(0))


def by_age(config, columns, rows, clients, seed):
    old = (columns["age"][rows] >= 40).astype(int)
    return Partition.from_ids(old, rows, ["young", "old"])


def gives_text(config, columns, rows, clients, seed):
    return "text"


def gives_twice(config, columns, rows, clients, seed):
    return Partition(np.array(["a"], object), np.array([0, 2]), np.array([3, 3]))


def gives_other(config, columns, rows, clients, seed):
    return Partition(np.array(["a"], object), np.array([0, 1]), np.array([1000]))


def test_a_function_of_the_user_partitions():
    columns = table(100)
    partition = make(f"{__name__}:by_age", columns, range(100))
    assert partition.names.tolist() == ["young", "old"]
    assert columns["age"][partition.indices(0)].max() < 40 <= columns["age"][partition.indices(1)].min()
