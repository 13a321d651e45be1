"""Whose speech is where: people who are in more than one client, or on both sides of a split. Rows tell, not names."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Column
from fedasr.data.partition.base import Partition
from fedasr.data.partition.request import factorize


def in_several_clients(partition: Partition, speakers: Column) -> list[str]:
    """Return the speakers, sorted, whose utterances more than one client holds.

    Args:
        partition: who holds what.
        speakers: the speaker of every utterance of the corpus, shape ``(corpus,)``.
    """
    codes, names = factorize(np.asarray(speakers)[partition.rows])
    pairs = np.unique(codes * max(1, len(partition)) + partition.clients)
    clients = np.bincount(pairs // max(1, len(partition)), minlength=len(names))
    return [names[code] for code in np.flatnonzero(clients > 1).tolist()]


def in_both(speakers: Column, first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> list[str]:
    """Return the speakers, sorted, of whom some utterances are ``first`` and some ``second``, masks of the corpus."""
    return sorted(set(map(str, speakers[first].tolist())) & set(map(str, speakers[second].tolist())))
