"""The control: every client is a random sample."""

from __future__ import annotations

import numpy as np

from fedasr.data.partition.base import Partition
from fedasr.data.partition.request import Request


def iid(request: Request) -> Partition:
    """Return clients of random utterances whose sizes differ by at most one.

    flwr-datasets' ``IidPartitioner`` cuts the table into consecutive blocks without shuffling, which in a corpus
    sorted by speaker makes nearly natural clients.
    """
    clients = request.client_count()
    shuffled = request.generator().permutation(request.rows)
    return request.derived(np.arange(len(shuffled)) % clients, shuffled, clients)
