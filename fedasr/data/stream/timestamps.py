"""The ``timestamp`` column of a corpus as numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from fedasr.data.corpus import Corpus
from fedasr.errors import InputError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def microseconds(corpus: Corpus, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return when utterances were recorded, in microseconds since 1970 in UTC, shape ``(n,)``.

    Raises:
        InputError: a timestamp is missing or is not ISO 8601; the line names the row and the column.
    """
    stamps = np.empty(len(rows), np.int64)
    for position, (row, value) in enumerate(
        zip(rows.tolist(), corpus.columns["timestamp"][rows].tolist(), strict=True)
    ):
        try:
            stamps[position] = parse(value)
        except ValueError:
            problem = "is empty" if value in (None, "") else f"is '{value}'"
            raise InputError(
                f"the timestamp {problem}; 'stream.arrival' is 'trace' and expects ISO 8601,"
                " such as 2024-05-01T12:00:00Z",
                where=corpus.where(row),
            ) from None
    return stamps


def parse(value: object) -> int:
    """Return an ISO 8601 time in microseconds since 1970 in UTC; one without an offset is taken as UTC.

    Raises:
        ValueError: it is none.
    """
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (aware - EPOCH) // MICROSECOND
