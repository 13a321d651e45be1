"""The laws of a partitioner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fedasr.data.corpus import Column
from fedasr.data.partition.base import Partition, Rows
from fedasr.testing.law import law, same, shown


def example_columns(utterances: int = 300, speakers: int = 12, seed: int = 0) -> dict[str, Column]:
    """Return the columns of a corpus: speakers, five texts, ages, and an empty column ``gender``."""
    rng = np.random.default_rng(seed)
    return {
        "speaker": np.array([f"s{number:03d}" for number in rng.integers(0, speakers, utterances)], object),
        "text": np.array([f"w{number}" for number in rng.integers(0, 5, utterances)], object),
        "age": rng.integers(20, 60, utterances),
        "gender": np.full(utterances, "", object),
    }


def check_partitioner(
    make: Callable[..., Partition],
    *,
    columns: Mapping[str, Column] | None = None,
    rows: Rows | None = None,
    clients: int | None = 5,
    seed: int = 0,
    every_row: bool = True,
    exact_clients: bool = True,
) -> None:
    """Check the laws of a partitioner.

    - Each row has one client; with ``every_row`` none is left out. No other rows are handed out.
    - Names of clients differ, and each holds something; with ``exact_clients`` there are as many as were asked for.
    - The same seed gives the same partition; columns and rows are only read.

    Args:
        make: called with ``columns``, ``rows``, ``clients`` and ``seed`` by name; returns a ``Partition``.
        columns: of a corpus; None: those of 300 utterances by 12 speakers.
        rows: the training rows; None: two thirds of the corpus, in random order.
        clients: how many to ask for; None: as many as it makes.
        seed: of the partitioner.
        every_row: whether all rows are handed out.
        exact_clients: whether there must be ``clients`` of them.

    Raises:
        AssertionError: naming the law and the example.
    """
    table = example_columns() if columns is None else dict(columns)
    size = len(next(iter(table.values())))
    given = np.random.default_rng(seed).permutation(size)[: 2 * size // 3] if rows is None else np.asarray(rows)
    example = f"{len(given)} of {size} rows, clients {clients}, seed {seed}"
    before, rows_before = {name: column.copy() for name, column in table.items()}, given.copy()
    partition = make(columns=table, rows=given, clients=clients, seed=seed)
    law(isinstance(partition, Partition), "a partitioner returns a Partition", f"{example}: {type(partition).__name__}")
    handed = np.asarray(partition.rows)
    distinct = np.unique(handed)
    law(len(distinct) == len(handed), "no utterance has two clients", f"{example}: {len(handed) - len(distinct)} have")
    foreign = np.setdiff1d(handed, given)
    law(not len(foreign), "only rows of the training split are handed out", f"{example}: {shown(foreign)} are not")
    left = np.setdiff1d(given, handed)
    law(not every_row or not len(left), "every row has a client", f"{example}: {len(left)} rows have none")
    law(
        not exact_clients or clients is None or len(partition) == clients,
        "there are as many clients as were asked for",
        f"{example}: {len(partition)}",
    )
    law(
        len(set(partition.names.tolist())) == len(partition),
        "names of clients differ",
        f"{example}: {shown(partition.names)}",
    )
    empty = np.flatnonzero(partition.counts == 0)
    law(not len(empty), "each client holds something", f"{example}: clients {shown(empty)} hold nothing")
    for name, column in before.items():
        law(bool((column == table[name]).all()), "a partitioner only reads columns", f"{example}: '{name}' changed")
    law(same(rows_before, given), "a partitioner only reads the rows", f"{example}: they changed")
    again = make(columns=table, rows=given, clients=clients, seed=seed)
    alike = same(again.rows, handed) and same(again.offsets, partition.offsets)
    law(
        alike and again.names.tolist() == partition.names.tolist(),
        "the same seed gives the same partition",
        f"{example}: a second call gives another",
    )
