"""Which group each client is in, by a column of the corpus."""

from __future__ import annotations

import numpy as np

from fedasr.errors import InputError, nearest
from fedasr.experiment import Experiment
from fedasr.typing import Integers


def client_groups(experiment: Experiment, column: str, key: str) -> tuple[list[str], Integers]:
    """Return the names of the groups, and the group of each client, shape ``(clients,)``.

    A client is in the group of most of its utterances.

    Args:
        experiment: what is trained on what.
        column: of the corpus.
        key: of the config, that names the column.

    Raises:
        InputError: the corpus has no such column.
    """
    columns, partition = experiment.corpus.columns, experiment.partition
    if column not in columns:
        known = ", ".join(columns)
        raise InputError(f"'{key}' is '{column}'{nearest(column, columns)}; expected a column of the corpus: {known}")
    names, place = np.unique(np.asarray(columns[column])[partition.rows].astype(str), return_inverse=True)
    client = np.repeat(np.arange(len(partition)), np.diff(partition.offsets))
    counts = np.zeros((len(partition), len(names)), np.int64)
    np.add.at(counts, (client, place), 1)
    return names.tolist(), np.asarray(counts.argmax(axis=1), np.int64)
