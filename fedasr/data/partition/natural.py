"""Clients as they are: one a speaker (or accent, device, …), or several speakers a client."""

from __future__ import annotations

import numpy as np

from fedasr.data.partition.base import Partition
from fedasr.data.partition.request import Request
from fedasr.errors import InputError


def natural(request: Request) -> Partition:
    """Return one client a value of the column, named and sorted by it.

    With ``data.clients``, that many are drawn without replacement, by the seed, from the values that have at least
    ``min_utterances``; what the others hold is left out.

    Raises:
        InputError: fewer values than ``data.clients``.
    """
    codes, names = request.values()
    every = Partition.from_ids(codes, request.rows, names)
    if request.clients is None:
        return every
    least = request.config.min_utterances
    partition = every.at_least(least)
    if request.clients > len(partition):
        raise InputError(
            f"'data.clients' is {request.clients}, but column '{request.config.column}' has {len(partition)} values"
            f" with at least {least} training utterance{'s' * (least > 1)}; leave it out for all of them"
        )
    drawn = request.generator().choice(len(partition), request.clients, replace=False)
    return partition.select(np.sort(drawn))


def grouped(request: Request) -> Partition:
    """Return ``data.clients`` clients of whole values: no speaker is split, and the numbers of speakers differ by one.

    Raises:
        InputError: ``data.clients`` is not set, or there are fewer values than clients.
    """
    codes, names = request.values()
    if request.clients is None:
        raise InputError("'data.clients' is not set; partition 'grouped' needs to know how many groups to make")
    if request.clients > len(names):
        raise InputError(
            f"'data.clients' is {request.clients}, but column '{request.config.column}' has only {len(names)} values"
            " to group; ask for fewer clients"
        )
    group = np.empty(len(names), np.int64)
    group[request.generator().permutation(len(names))] = np.arange(len(names)) % request.clients
    return request.derived(group[codes], request.rows, request.clients)
