"""Speech of the clients that is never trained on, and which tells the WER of light and heavy users apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.draws import uniforms
from fedasr.data.partition import Partition

Ids = npt.NDArray[np.int64]
Rows = npt.NDArray[np.integer]


def split_held_out(partition: Partition, share: float, seed: int) -> tuple[Partition, Partition]:
    """Return what the clients train on and what is held out of it: the same clients twice.

    A client with two utterances or more gives up ``share`` of them, rounded, but at least one and never all; a client
    with one keeps it.

    Args:
        partition: who holds what.
        share: of each client's utterances, 0 to below 1.
        seed: of the run; which utterances are held out is a function of it and of their rows.
    """
    counts, clients = partition.counts, partition.clients
    wanted = np.clip(np.rint(share * counts).astype(np.int64), 1, np.maximum(counts - 1, 0))
    order = np.lexsort((uniforms(seed, "held-out", partition.rows), clients))
    place = np.arange(len(clients)) - partition.offsets[clients]
    held = np.zeros(len(clients), bool)
    held[order] = place < wanted[clients]
    return part(partition, ~held), part(partition, held)


def part(partition: Partition, kept: npt.NDArray[np.bool_]) -> Partition:
    """Return the partition with the marked entries only; clients may be empty."""
    offsets = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[partition.offsets]
    return Partition(partition.names, offsets, partition.rows[kept], partition.dropped)


def deciles(counts: Ids, seed: int) -> npt.NDArray[np.int64]:
    """Return the decile of activity of each client, 1 (lightest) to 10, shape ``(clients,)``; 0: it stores nothing.

    Ties fall by lot, so that the ten are equally large.
    """
    decile = np.zeros(len(counts), np.int64)
    holders = np.flatnonzero(counts > 0)
    order = holders[np.lexsort((uniforms(seed, "deciles", holders), counts[holders]))]
    decile[order] = 1 + 10 * np.arange(len(order)) // max(1, len(order))
    return decile


def decile_sample(train: Partition, held: Partition, per_decile: int, seed: int) -> tuple[Rows, Ids, Ids]:
    """Return held-out rows of every decile with the decile and the client of each, shape ``(rows,)``.

    Args:
        train: what the clients train on; its counts are their activity.
        held: what they do not train on.
        per_decile: at most so many rows of a decile, drawn with the seed.
        seed: of the run.
    """
    clients = held.clients
    decile = deciles(train.counts, seed)[clients]
    order = np.lexsort((uniforms(seed, "decile-sample", held.rows), decile))
    sorted_deciles = decile[order]
    first = np.searchsorted(sorted_deciles, sorted_deciles, side="left")
    chosen = order[(np.arange(len(order)) - first < per_decile) & (sorted_deciles > 0)]
    return held.rows[chosen], decile[chosen], clients[chosen]
