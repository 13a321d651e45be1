"""Speech held out of the clients' own, and deciles of activity."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedasr.data.held_out import decile_sample, deciles, split_held_out
from fedasr.data.partition import Partition
from tests.tiers import examples


def partition(counts: list[int]) -> Partition:
    ids = np.repeat(np.arange(len(counts)), counts)
    return Partition.from_ids(ids, 100 + np.arange(len(ids)), [f"c{i}" for i in range(len(counts))])


def test_every_client_gives_up_its_share_but_never_all() -> None:
    train, held = split_held_out(partition([0, 1, 2, 3, 10, 20]), 0.25, seed=0)
    assert held.counts.tolist() == [0, 0, 1, 1, 2, 5]
    assert train.counts.tolist() == [0, 1, 1, 2, 8, 15]
    assert train.names.tolist() == held.names.tolist()
    other = split_held_out(partition([0, 1, 2, 3, 10, 20]), 0.25, seed=1)[1]
    assert other.rows.tolist() != held.rows.tolist()


@settings(max_examples=examples(60), deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=20),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**32),
)
def test_nothing_is_lost_and_nobody_gets_anothers_speech(counts: list[int], share: float, seed: int) -> None:
    whole = partition(counts)
    train, held = split_held_out(whole, share, seed)
    for client in range(len(counts)):
        parts = np.concatenate([train.indices(client), held.indices(client)])
        assert sorted(parts.tolist()) == whole.indices(client).tolist()
        assert len(train.indices(client)) >= min(counts[client], 1)


def test_deciles_are_equally_large_and_in_the_order_of_activity() -> None:
    counts = np.array([5, 0, 1, 9, 2, 3, 8, 7, 4, 6, 10])
    assert deciles(counts, 0).tolist() == [5, 0, 1, 9, 2, 3, 8, 7, 4, 6, 10]
    ties = deciles(np.ones(1000, np.int64), 0)
    assert np.bincount(ties).tolist() == [0] + [100] * 10


def test_a_sample_holds_rows_of_the_decile_it_names() -> None:
    train, held = split_held_out(partition(list(range(2, 42))), 0.3, seed=3)
    rows, of, clients = decile_sample(train, held, 3, seed=3)
    assert np.bincount(of).tolist() == [0] + [3] * 10
    assert len(set(rows.tolist())) == len(rows)
    expected = deciles(train.counts, 3)
    for row, decile, client in zip(rows, of, clients, strict=True):
        assert row in held.indices(int(client))
        assert expected[client] == decile
