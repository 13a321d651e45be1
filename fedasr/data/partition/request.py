"""What a partitioner is asked: the rows to hand out, to how many clients, and by which column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedasr import seeds
from fedasr.config.schema import PartitionConfig
from fedasr.data.corpus import Column
from fedasr.data.partition.base import Ids, Partition, Rows
from fedasr.errors import InputError, nearest

Embed = Callable[[npt.NDArray[np.integer]], npt.NDArray[np.floating]]
Codes = npt.NDArray[np.int64]

NO_VALUE = "(none)"
"""What a missing value is called: the utterances that have none stay together."""


@dataclass(frozen=True)
class Request:
    """The arguments of ``make_partition``."""

    config: PartitionConfig
    columns: Mapping[str, Column]
    rows: Rows
    clients: int | None
    seed: int
    embed: Embed | None = None

    def generator(self, purpose: str = "") -> np.random.Generator:
        """Return the generator of this partitioner."""
        return seeds.generator(self.seed, f"partition/{self.config.name}/{purpose}")

    def values(self) -> tuple[Codes, list[str]]:
        """Return what the rows have in the config's column: codes of shape ``(utterances,)``, and the sorted values.

        Raises:
            InputError: there is no such column, or no row has a value in it.
        """
        codes, names = factorize(column(self.columns, self.config.column, "data.partition.column")[self.rows])
        if names == [NO_VALUE]:
            raise InputError(
                f"'data.partition.column' is '{self.config.column}', which is empty for every utterance;"
                f" the corpus has: {', '.join(self.columns)}"
            )
        return codes, names

    def client_count(self) -> int:
        """Return how many clients to make: ``data.clients``, or as many as the rows have speakers.

        Raises:
            InputError: there are more clients than utterances.
        """
        if self.clients is None:
            return len(factorize(column(self.columns, "speaker", "data.clients")[self.rows])[1])
        if self.clients > len(self.rows):
            raise InputError(
                f"'data.clients' is {self.clients}, but there are only {len(self.rows)} training utterances;"
                " ask for fewer clients"
            )
        return self.clients

    def derived(self, ids: Ids, rows: Rows, clients: int) -> Partition:
        """Return the partition of made-up clients, called ``client-000 …``: ``rows[i]`` belongs to ``ids[i]``."""
        return Partition.from_ids(ids, rows, numbered(clients))


def column(columns: Mapping[str, Column], name: str, key: str) -> Column:
    """Return a column of the corpus.

    Raises:
        InputError: there is none of that name; the line names the config key that asked for it.
    """
    if name not in columns:
        raise InputError(f"'{key}': no column '{name}'{nearest(name, columns)}; the corpus has: {', '.join(columns)}")
    return columns[name]


def factorize(values: Column) -> tuple[Codes, list[str]]:
    """Return the code of each value, shape ``(values,)``, and the sorted distinct values as text.

    None, NaN and empty text are one value, ``(none)``; numbers sort as numbers. Text goes through a hash table, since
    sorting a million Python strings takes seconds.
    """
    if values.dtype.kind in "iufb":
        unique, inverse = np.unique(values, return_inverse=True)
        return inverse.astype(np.int64), [name_of(value) for value in unique.tolist()]
    seen: dict[object, int] = {}
    first = np.array([seen.setdefault(value, len(seen)) for value in values.tolist()], dtype=np.int64)
    # Distinct objects may have one name: None and "", or two NaN.
    texts = [name_of(value) for value in seen]
    names = sorted(set(texts))
    code = {name: index for index, name in enumerate(names)}
    return np.array([code[text] for text in texts], dtype=np.int64)[first], names


def name_of(value: object) -> str:
    """Return a value as text; a missing one is ``(none)``."""
    missing = value is None or value != value or value == ""
    return NO_VALUE if missing else str(value)


def numbered(clients: int) -> list[str]:
    """Return ``client-000 …``: names of clients that stand for no speaker."""
    width = len(str(clients - 1))
    return [f"client-{index:0{width}d}" for index in range(clients)]
