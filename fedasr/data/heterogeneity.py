"""How non-IID a partition is: who holds how much, and how unlike the clients' labels are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from fedasr import seeds
from fedasr.data.corpus import Column
from fedasr.data.partition.base import Partition
from fedasr.data.partition.request import Codes, column, factorize

BLOCK = 2_000_000
"""About how many (client, label) entries the divergence of pairs handles at once."""


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """How often each client holds each label, in compressed sparse row form."""

    offsets: npt.NDArray[np.int64]
    """where each client's entries start, shape ``(clients + 1,)``"""
    label: npt.NDArray[np.int64]
    """label of each entry, increasing within a client, shape ``(entries,)``"""
    count: npt.NDArray[np.int64]
    """utterances of each entry, positive, shape ``(entries,)``"""
    names: list[str]
    """name of each label"""

    @classmethod
    def of(cls, client: Codes, codes: Codes, clients: int, names: list[str]) -> LabelCounts:
        """Count the labels ``codes`` of utterances that belong to ``client``, both of shape ``(utterances,)``."""
        keys, count = np.unique(client * len(names) + codes, return_counts=True)
        offsets = np.searchsorted(keys, np.arange(clients + 1) * len(names))
        return cls(offsets, keys % len(names), count, names)

    def shuffled(self, seed: int) -> LabelCounts:
        """Return the counts after the labels were shuffled among all utterances: same sizes, skew by chance only."""
        codes = np.repeat(self.label, self.count)
        sizes = np.diff(np.concatenate([[0], np.cumsum(self.count)])[self.offsets])
        client = np.repeat(np.arange(len(sizes)), sizes)
        codes = seeds.generator(seed, "heterogeneity/shuffle").permutation(codes)
        return LabelCounts.of(client, codes, len(sizes), self.names)

    def dense(self, clients: npt.NDArray[np.integer], labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the counts of some clients and labels, shape ``(clients, labels)``."""
        position = np.full(len(self.names), -1)
        position[labels] = np.arange(len(labels))
        table = np.zeros((len(clients), len(labels)), np.int64)
        for row, client in enumerate(clients.tolist()):
            entries = slice(self.offsets[client], self.offsets[client + 1])
            at = position[self.label[entries]]
            table[row, at[at >= 0]] = self.count[entries][at >= 0]
        return table


def label_counts(partition: Partition, columns: Mapping[str, Column], label: str) -> LabelCounts:
    """Return how often each client holds each value of a column.

    Raises:
        InputError: there is no such column.
    """
    codes, names = factorize(column(columns, label, "label")[partition.rows])
    return LabelCounts.of(partition.clients, codes, len(partition), names)


def heterogeneity(
    partition: Partition,
    columns: Mapping[str, Column],
    durations: npt.NDArray[np.floating],
    label: str = "text",
    sample: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the non-IID report of a partition.

    Args:
        partition: who holds what.
        columns: the corpus's columns, each of shape ``(corpus,)``.
        durations: seconds of every utterance of the corpus, shape ``(corpus,)``.
        label: the column whose distribution is compared between clients.
        sample: up to so many clients every pair is compared; of more, as many random pairs as so many clients have.
        seed: of the pairs and of the shuffle.

    Returns:
        ``clients, utterances, hours``; ``hours_gini`` in [0, 1): 0 where all hold the same, (n - 1)/n where one
        holds all; ``utterances_per_client`` and ``seconds_per_client`` (``min, median, mean, max``); ``label`` and
        ``labels`` (how many there are); ``jensen_shannon``, the mean over pairs of clients of the Jensen–Shannon
        divergence of their label distributions in bits: 0 where they are equal, 1 where they share no label;
        ``jensen_shannon_iid``, the same after the labels were shuffled: what clients of these sizes show by chance,
        which is far from 0 where they are small; ``pairs`` (how many were compared); ``clients_per_label`` and
        ``labels_per_client`` (``min, median, mean, max``).

    Raises:
        InputError: there is no such column.
    """
    counts = label_counts(partition, columns, label)
    pairs = client_pairs(np.flatnonzero(partition.counts), sample, seed)
    seconds = partition.seconds(durations)
    return {
        "clients": len(partition),
        "utterances": len(partition.rows),
        "hours": float(seconds.sum() / 3600),
        "hours_gini": gini(seconds),
        "utterances_per_client": spread(partition.counts),
        "seconds_per_client": spread(seconds),
        "label": label,
        "labels": len(counts.names),
        "jensen_shannon": mean(jensen_shannon(counts, pairs)),
        "jensen_shannon_iid": mean(jensen_shannon(counts.shuffled(seed), pairs)),
        "pairs": len(pairs),
        "clients_per_label": spread(np.bincount(counts.label, minlength=len(counts.names))),
        "labels_per_client": spread(np.diff(counts.offsets)),
    }


def gini(values: ArrayLike) -> float:
    """Return the Gini coefficient of non-negative values of shape ``(n,)``: 0 where all are equal, or all are 0.

    Half the mean absolute difference of two values drawn with replacement, over the mean; (n − 1)/n where one has all.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n, total = len(ordered), float(ordered.sum())
    if total == 0:
        return 0.0
    return max(float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total)), 0.0)


def lorenz(values: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the Lorenz curve: share of the clients that hold least, and the share of the total that they hold."""
    total = np.concatenate([[0.0], np.cumsum(np.sort(values.astype(np.float64)))])
    return np.linspace(0, 1, len(total)), total / total[-1] if total[-1] else total


def client_pairs(clients: npt.NDArray[np.integer], sample: int, seed: int) -> npt.NDArray[np.int64]:
    """Return pairs of different clients, shape ``(pairs, 2)``: all of up to ``sample`` clients, otherwise random ones.

    Random pairs are drawn with replacement, as many as ``sample`` clients have.
    """
    n = len(clients)
    if n <= sample:
        left, right = np.triu_indices(n, 1)
    else:
        rng = seeds.generator(seed, "heterogeneity/pairs")
        size = sample * (sample - 1) // 2
        left = rng.integers(n, size=size)
        right = (left + rng.integers(1, n, size=size)) % n
    return np.stack([clients[left], clients[right]], axis=1).astype(np.int64)


def jensen_shannon(counts: LabelCounts, pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the Jensen–Shannon divergence in bits of each pair's label distributions, shape ``(pairs,)``.

    With m = (p + q)/2, a label that only one client has adds p·log2(p/m)/2 = p/2. So the divergence is 1 less what
    the shared labels miss, and only those are looked at: clients share few of many labels.

    Args:
        counts: of clients that hold something.
        pairs: two clients each, shape ``(pairs, 2)``.
    """
    sizes = np.diff(counts.offsets)
    totals = np.add.reduceat(counts.count, counts.offsets[:-1][sizes > 0])
    share = counts.count / np.repeat(totals, sizes[sizes > 0])
    divergences = np.empty(len(pairs))
    for part in blocks(sizes[pairs].sum(axis=1)):
        left, right = (entries(counts.offsets, sizes, pairs[part, side]) for side in (0, 1))
        # One sorted key a (pair, label) on either side, since labels increase within a client.
        keys = [pair * len(counts.names) + counts.label[entry] for pair, entry in (left, right)]
        at = np.minimum(np.searchsorted(keys[1], keys[0]), len(keys[1]) - 1)
        shared = keys[1][at] == keys[0]
        p, q = share[left[1][shared]], share[right[1][at[shared]]]
        middle = (p + q) / 2
        missing = p + q - p * np.log2(p / middle) - q * np.log2(q / middle)
        pair_of = left[0][shared]
        divergences[part] = 1 - np.bincount(pair_of, missing, part.stop - part.start) / 2
    return np.clip(divergences, 0, 1)


def entries(
    offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], clients: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the entries of some clients one after another, each with the client's position in ``clients``."""
    held = sizes[clients]
    position = np.repeat(np.arange(len(clients)), held)
    first = np.cumsum(held) - held
    return position, np.arange(held.sum()) - first[position] + offsets[clients][position]


def blocks(sizes: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Yield consecutive slices whose sizes add up to about ``BLOCK``, at least one element each."""
    number = (np.cumsum(sizes) - sizes) // BLOCK
    edges = [*np.flatnonzero(np.diff(number, prepend=-1)).tolist(), len(sizes)]
    for start, stop in pairwise(edges):
        yield slice(start, stop)


def spread(values: npt.NDArray[Any]) -> dict[str, float]:
    """Return smallest, median, mean and largest of values, whole numbers as such."""
    return {
        "min": values.min().item(),
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "max": values.max().item(),
    }


def mean(values: npt.NDArray[np.float64]) -> float:
    """Return the mean; of a single client, which has no pair, 0."""
    return float(values.mean()) if len(values) else 0.0
