"""Any partitioner of flwr-datasets over our tables (Pathological, Shard, InnerDirichlet, Continuous, …)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedasr.data.corpus import Column
from fedasr.data.partition.base import Partition, Rows
from fedasr.data.partition.request import numbered
from fedasr.errors import InputError

ROW = "fedasr_row"


def from_flwr(partitioner: Any, columns: Mapping[str, Column], rows: Rows) -> Partition:
    """Return the partition that a ``flwr_datasets.partitioner.Partitioner`` makes of some rows of a corpus.

    The partitioner is given the table of all columns, one row an utterance, in the order of ``rows``: shuffle them for
    a partitioner that cuts consecutive blocks. To use it in a config, write a function with this call in a module of
    your own and name it ``data.partition.name: "package.module:function"``; see ``docs/partitions.md``.

    Raises:
        InputError: flwr-datasets is not installed, or refuses the arguments.
    """
    try:
        from datasets import Dataset
        from datasets.utils.logging import disable_progress_bar
    except ModuleNotFoundError:
        raise InputError('flwr-datasets is not installed: pip install "fedasr[partition]"') from None
    disable_progress_bar()
    table = {name: values[rows].tolist() for name, values in columns.items()}
    held = []
    try:
        partitioner.dataset = Dataset.from_dict({**table, ROW: rows.tolist()})
        for client in range(partitioner.num_partitions):
            held.append(np.asarray(partitioner.load_partition(client)[ROW], dtype=np.int64))
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{type(partitioner).__name__}: {error}") from None
    ids = np.repeat(np.arange(len(held)), [len(part) for part in held])
    return Partition.from_ids(ids, np.concatenate(held), numbered(len(held)))
