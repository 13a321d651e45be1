"""Partitioners: how the utterances of the training split become clients. See ``docs/partitions.md``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fedasr.config.schema import PartitionConfig
from fedasr.data.corpus import Column
from fedasr.data.partition.base import Partition, Rows
from fedasr.data.partition.dirichlet import dirichlet, dirichlet_prior
from fedasr.data.partition.features import feature_kmeans, utterance_embeddings
from fedasr.data.partition.flower import from_flwr
from fedasr.data.partition.iid import iid
from fedasr.data.partition.natural import grouped, natural
from fedasr.data.partition.quantity import quantity_dirichlet, quantity_lognormal, quantity_power
from fedasr.data.partition.request import Embed, Request
from fedasr.errors import InputError, nearest
from fedasr.registry import make_part

__all__ = ["PARTITIONERS", "Partition", "from_flwr", "make_partition", "utterance_embeddings"]

PARTITIONERS: dict[str, Callable[[Request], Partition]] = {
    "natural": natural,
    "grouped": grouped,
    "iid": iid,
    "dirichlet": dirichlet,
    "dirichlet-prior": dirichlet_prior,
    "quantity-dirichlet": quantity_dirichlet,
    "quantity-lognormal": quantity_lognormal,
    "quantity-power": quantity_power,
    "feature-kmeans": feature_kmeans,
}


def make_partition(
    config: PartitionConfig,
    columns: Mapping[str, Column],
    rows: Rows,
    clients: int | None,
    seed: int,
    embed: Embed | None = None,
) -> Partition:
    """Return who holds what: every row has at most one client, and only rows of dropped or undrawn clients have none.

    Args:
        config: the partitioner and its parameters; ``"package.module:attribute"`` is called with those of
            ``config, columns, rows, clients, seed`` that it has parameters for, and with ``options``; it returns a
            ``Partition``.
        columns: the corpus's columns, each of shape ``(corpus,)``.
        rows: corpus rows of the training split, distinct, shape ``(utterances,)``.
        clients: how many clients; None: every value of the column (natural), otherwise as many as there are speakers.
        seed: of every draw.
        embed: returns embeddings ``(n, dimensions)`` of rows ``(n,)``; only ``feature-kmeans`` asks.

    Raises:
        InputError: an unknown partitioner or column, no utterances, more clients than can be made, or no client with
            ``min_utterances``.
    """
    if not len(rows):
        raise InputError("there are no training utterances to partition; see 'data.train_split' and 'data.where'")
    if ":" in config.name:
        partition = custom(config, columns, rows, clients, seed)
    elif config.name in PARTITIONERS:
        partition = PARTITIONERS[config.name](Request(config, columns, np.asarray(rows), clients, seed, embed))
    else:
        raise InputError(
            f"'data.partition.name' is '{config.name}'{nearest(config.name, PARTITIONERS)};"
            f" expected one of: {', '.join(PARTITIONERS)}, or 'package.module:attribute'"
        )
    kept = partition.at_least(config.min_utterances)
    if not len(kept):
        raise InputError(
            f"none of the {len(partition)} clients has {config.min_utterances} utterances (the largest has"
            f" {int(partition.counts.max(initial=0))}); lower 'data.partition.min_utterances' or 'data.clients'"
        )
    return kept


def custom(
    config: PartitionConfig, columns: Mapping[str, Column], rows: Rows, clients: int | None, seed: int
) -> Partition:
    """Return the partition of a user's own function, checked."""
    key = "data.partition.name"
    known = {"config": config, "columns": columns, "rows": rows, "clients": clients, "seed": seed}
    leading = tuple(known.values())
    partitioner = make_part(config.name, key, known, config.options, "data.partition.options", leading)
    subject = f"'{key}' is '{config.name}', which"
    if not isinstance(partitioner, Partition):
        raise InputError(f"{subject} returned {type(partitioner).__name__}; expected a fedasr Partition")
    if len(np.unique(partitioner.rows)) != len(partitioner.rows):
        raise InputError(f"{subject} gave an utterance to two clients")
    if not np.isin(partitioner.rows, rows).all():
        raise InputError(f"{subject} handed out utterances outside the training split")
    return partitioner
